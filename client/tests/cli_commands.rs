//! The commands of the built program: beside a running client, and alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "cli_program/support.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::{Setup, command, run};

/// Runs a command that must go well; returns what it prints.
fn good(dir: &Path, args: &[&str]) -> String {
    let (code, out, errors) = run(command(dir).args(args));
    assert_eq!(code, Some(0), "{args:?}: {errors}");
    out
}

fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn commands_go_through_the_running_client_or_do_it_alone() {
    let setup = Setup::new();
    let [(alice, _), (mut bob, bob_key)] = setup.pair();
    let dir = setup.dir("alice");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(dir.join("socket")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let sent = events(&good(&dir, &["send", "bo", "hello", "you", "--json"]));
    assert_eq!((&sent[0]["event"], &sent[0]["text"]), (&"message".into(), &"hello you".into()));
    assert_eq!((&sent[1]["event"], &sent[1]["state"]), (&"state".into(), &"pending".into()));
    assert_eq!(bob.event("message")["id"], sent[0]["id"]);

    good(&dir, &["rename", "bob", "Robert"]);
    let people = events(&good(&dir, &["contacts", "--json"]));
    let robert = &people[0]["people"][0];
    assert_eq!(
        (&robert["name"], &robert["peer"], &robert["connected"]),
        (&"Robert".into(), &bob_key, &true.into())
    );
    let status = events(&good(&dir, &["status", "--json"]));
    assert_eq!((&status[0]["running"], &status[0]["connected"]), (&true.into(), &1.into()));
    assert_eq!(status[0]["registered"], true);

    let found = events(&good(&dir, &["search", "hel*", "from:me", "in:robert", "after:today", "--json"]));
    assert_eq!((found.len(), &found[0]["id"]), (1, &sent[0]["id"]));
    let out = good(&dir, &["search", "\"hello you\"", "--limit", "1"]);
    assert!(out.starts_with("[Robert] ") && out.contains("Z me> hello you\n(for more: --before "), "{out}");
    assert_eq!(good(&dir, &["search", "hello", "--before", sent[0]["id"].as_str().unwrap()]), "");
    bob.type_line("/search YOU");
    assert_eq!(bob.event("found")["messages"][0]["id"], sent[0]["id"]);

    alice.terminate();
    assert!(!dir.join("socket").exists());
    let alone = events(&good(&dir, &["send", "rob", "later", "--json"]));
    let status = events(&good(&dir, &["status", "--json"]));
    assert_eq!((&status[0]["running"], &status[0]["unsent"]), (&false.into(), &1.into()));
    assert!(good(&dir, &["contacts"]).contains("Robert ["));

    let alice = setup.client("alice");
    assert_eq!(bob.wait(|event| event["text"] == "later")["id"], alone[0]["id"]);
    alice.terminate();
    bob.terminate();
}

/// What is decided is kept, beside a running client and alone.
#[test]
fn people_are_blocked_and_muted_and_one_is_invisible() {
    let setup = Setup::new();
    let [(mut alice, _), (mut bob, bob_key)] = setup.pair();
    let dir = setup.dir("alice");
    let block = events(&good(&dir, &["block", "bob", "--json"]));
    assert_eq!(
        (&block[0]["event"], &block[0]["peer"], &block[0]["on"]),
        (&"block".into(), &bob_key, &true.into())
    );
    assert_eq!(alice.event("block")["on"], true, "the running client tells of it");
    assert_eq!(bob.event("disconnected")["reason"], "left");
    let whois = events(&good(&dir, &["whois", "bob", "--json"]));
    assert_eq!((&whois[0]["blocked"], &whois[0]["connected"]), (&true.into(), &false.into()));
    alice.type_line("/msg bob kept");
    alice.wait(|event| event["message"].as_str().is_some_and(|text| text.starts_with("pending: you block")));
    alice.terminate();

    assert_eq!(good(&dir, &["block"]), "* blocked: bob\n");
    good(&dir, &["unblock", &bob_key.as_str().unwrap()[..8]]);
    let (code, _, errors) = run(command(&dir).args(["unblock", "bob"]));
    assert!(code == Some(5) && errors.contains("is not blocked"), "{errors}");
    good(&dir, &["mute", "bob", "2h"]);
    let muted = events(&good(&dir, &["whois", "bob", "--json"]));
    assert!(muted[0]["muted_until_ms"].as_u64().is_some(), "{muted:?}");
    assert!(good(&dir, &["set", "bell", "off"]).contains("bell is off"));
    let settings = events(&good(&dir, &["set", "bell", "--json"]));
    assert_eq!(settings[0]["settings"][0]["value"], "off");
    for (wrong, exit) in
        [(["set", "bell", "loud"], 2), (["set", "colour", "on"], 2), (["mute", "nobody", "2h"], 5)]
    {
        assert_eq!(run(command(&dir).args(wrong)).0, Some(exit), "{wrong:?}");
    }
    assert!(good(&dir, &["invisible"]).starts_with("* you are invisible to all"));
    assert_eq!(events(&good(&dir, &["status", "--json"]))[0]["visible"], false);

    let mut alice = setup.client("alice");
    alice.event("ready");
    good(&dir, &["visible"]);
    assert_eq!(bob.wait(|event| event["text"] == "kept")["event"], "message");
    alice.terminate();
    bob.terminate();
}

/// Rooms, and messages that are there: what is done in a chat can be done from the command line, beside a client and alone.
#[test]
fn conversations_are_led_from_the_command_line() {
    let setup = Setup::new();
    let [(alice, alice_key), (mut bob, bob_key)] = setup.pair();
    let (dir, there) = (setup.dir("alice"), setup.dir("bob"));
    let said = |args: &[&str]| events(&good(&dir, &[args, &["--json"]].concat())).remove(0);
    let fails = |args: &[&str]| run(command(&dir).args(args)).0.unwrap();

    let first = said(&["send", "bob", "first"]);
    assert_eq!(bob.event("message")["id"], first["id"]);
    let answer = events(&good(&there, &["reply", "alice", "1", "and", "second", "--json"])).remove(0);
    assert_eq!((&answer["event"], &answer["reply_to"]), (&"message".into(), &first["id"]));
    let start = &first["id"].as_str().unwrap()[..9];
    assert_eq!(said(&["edit", "bob", start, "1st"])["text"], "1st");
    bob.wait(|event| event["event"] == "changed" && event["text"] == "1st");
    said(&["react", "bob", start, "+1"]);
    bob.wait(|event| event["event"] == "changed" && event["reactions"]["+1"][0] == alice_key);
    assert_eq!(fails(&["edit", "bob", answer["id"].as_str().unwrap(), "mine?"]), 1);
    assert_eq!(fails(&["delete", "bob", "99"]), 5);
    assert_eq!(fails(&["delete", "bob", ""]), 5);
    assert_eq!(said(&["delete", "bob", start])["deleted"], true);
    bob.wait(|event| event["event"] == "changed" && event["deleted"] == true);

    let room = said(&["room", "Tea time"]);
    assert_eq!((&room["event"], &room["name"]), (&"created".into(), &"Tea time".into()));
    assert_eq!(fails(&["topic", "coffee"]), 5);
    good(&dir, &["topic", "tea", "Darjeeling"]);
    assert_eq!(good(&dir, &["topic", "#tea"]), "topic: Darjeeling\n");
    good(&dir, &["invite", "tea", "bob"]);
    bob.event("invited");
    good(&there, &["join", "tea"]);
    let club = |members: &Value| -> BTreeMap<String, String> {
        let members = members["members"].as_array().unwrap();
        members.iter().map(|it| (it["peer"].to_string(), it["standing"].to_string())).collect()
    };
    let expected = [(alice_key, "\"owner\""), (bob_key, "\"member\"")];
    let expected = expected.map(|(peer, standing)| (peer.to_string(), standing.to_owned())).into();
    let is_known = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        club(&said(&["members", "tea"])) == expected
    });
    assert!(is_known, "{expected:?}");
    assert_eq!(said(&["unsent"])["messages"], Value::Array(Vec::new()));

    bob.terminate();
    alice.terminate();
    let alone = said(&["send", "#tea", "later"]);
    assert_eq!(said(&["unsent"])["messages"][0]["id"], alone["id"]);
    assert_eq!((&said(&["cancel"])["event"], fails(&["cancel"])), (&"cancelled".into(), 5));
    assert_eq!(good(&dir, &["unsent"]), "all that you wrote is delivered\n");
    good(&dir, &["remove", "tea", "bob"]);
    assert_eq!(club(&said(&["members", "tea"])).len(), 1);
    good(&there, &["leave", "tea"]);
    assert_eq!(run(command(&there).args(["leave", "tea"])).0, Some(1), "one leaves once");
}

/// A name that was said once is the one that others see from then on.
#[test]
fn the_own_name_is_kept() {
    let setup = Setup::new();
    let name = |more: &[&str]| {
        let server = setup.server();
        let mut client = support::Client::start(
            command(&setup.dir("a")).args(["--json", "--server", &server]).args(more).env("USER", "login"),
        );
        let welcome = client.event("info")["message"].as_str().unwrap().to_owned();
        client.event("ready");
        client.terminate();
        welcome.split(',').next().unwrap().to_owned()
    };
    assert_eq!(name(&[]), "you are login");
    assert_eq!(name(&["--name", "Ann"]), "you are Ann");
    assert_eq!(name(&[]), "you are Ann");
}

#[test]
fn what_cannot_be_done_is_said_with_its_exit_code() {
    let setup = Setup::new();
    let [(alice, _), (bob, _)] = setup.pair();
    bob.terminate();
    let dir = setup.dir("alice");
    let fails = |args: &[&str]| {
        let (code, _, errors) = run(command(&dir).args(args));
        (code.unwrap(), errors)
    };
    let (code, errors) = fails(&["send", "carl", "x"]);
    assert!(code == 5 && errors.contains("\"carl\""), "{code} {errors}");
    let (code, errors) = fails(&["send", "bob", &"x".repeat(20_000)]);
    assert!(code == 1 && errors.contains("20000 bytes"), "{code} {errors}");
    assert_eq!(fails(&["send", "bob", ""]).0, 1);
    assert_eq!(fails(&["send", "bob"]).0, 2);
    assert_eq!(fails(&["search", "x", "from:carl"]).0, 5);
    assert_eq!(fails(&["search", "after:soon"]).0, 2);
    alice.terminate();
    let nowhere = setup.dir("nobody");
    let (code, _, errors) = run(command(&nowhere).args(["send", "bob", "x"]));
    assert!(code == Some(1) && !nowhere.exists() && errors.contains("no identity"), "{errors}");
}

/// A client that has said a few things to somebody; it has ended.
fn told(setup: &Setup) -> std::path::PathBuf {
    let [(mut alice, _), (mut bob, _)] = setup.pair();
    for text in ["hello <b>bob</b>", "call me at +44 20 7946 0958\nor mail alice@example.org"] {
        alice.type_line(text.replace('\n', " "));
        assert_eq!(bob.event("message")["event"], "message");
    }
    bob.type_line("I will, alice");
    alice.wait(|event| event["text"] == "I will, alice");
    bob.terminate();
    alice.terminate();
    let dir = setup.dir("alice");
    good(&dir, &["send", "bob", "pending"]);
    dir
}

#[test]
fn an_export_is_verified_and_restored_byte_for_byte() {
    let setup = Setup::new();
    let dir = told(&setup);
    let path = |name: &str| setup.temp.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (path("first.jsonl"), path("second.jsonl"));
    good(&dir, &["export", "-o", &first]);
    assert_eq!(std::fs::read_to_string(&first).unwrap(), good(&dir, &["export", "bob"]));
    let verified = events(&good(&dir, &["verify", &first, "--json"]));
    assert_eq!((&verified[0]["messages"], &verified[0]["damaged"]), (&4.into(), &0.into()));
    assert_eq!(verified[0]["sealed"], true);

    // The same person on another machine.
    let new = setup.dir("alice again");
    std::fs::create_dir(&new).unwrap();
    std::fs::copy(dir.join("identity"), new.join("identity")).unwrap();
    let imported = events(&good(&new, &["import", &first, "--json"]));
    assert_eq!((&imported[0]["added"], &imported[0]["known"]), (&4.into(), &0.into()));
    good(&new, &["export", "-o", &second]);
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    let again = events(&good(&new, &["import", &first, "--json"]));
    assert_eq!((&again[0]["added"], &again[0]["known"]), (&0.into(), &4.into()));
    // What was pending is sent from there.
    let mut bob = setup.client("bob");
    let mut alice = setup.client("alice again");
    bob.wait(|event| event["text"] == "pending");
    alice.event("connected");
    let known = events(&good(&new, &["import", &first, "--json"]));
    assert_eq!(known[0]["known"], 4, "also through the running client");
    alice.terminate();
    bob.terminate();

    let fails = |dir: &Path, args: &[&str]| run(command(dir).args(args));
    let (code, _, errors) = fails(&setup.dir("bob"), &["import", &first]);
    assert!(code == Some(6) && errors.contains("belongs to the key"), "{errors}");
    let (code, _, errors) = fails(&dir, &["export", "-o", &first]);
    assert!(code == Some(1) && errors.contains("exists"), "{errors}");
}

#[test]
fn damage_is_told_with_its_line_and_the_rest_is_saved() {
    let setup = Setup::new();
    let dir = told(&setup);
    let whole = good(&dir, &["export"]);
    let path = setup.temp.path().join("damaged.jsonl");
    let file = path.to_str().unwrap();
    // Line 5 is the second message.
    std::fs::write(&path, whole.replacen("call me", "kill me", 1)).unwrap();
    let (code, _, errors) = run(command(&dir).args(["verify", file]));
    assert!(
        code == Some(6) && errors.contains("line 5: the text is not the one that was signed"),
        "{errors}"
    );
    let fresh = |name: &str| {
        let new = setup.dir(name);
        std::fs::create_dir(&new).unwrap();
        std::fs::copy(dir.join("identity"), new.join("identity")).unwrap();
        new
    };
    let import = |dir: &Path, more: &[&str]| {
        let (code, out, errors) = run(command(dir).args(["import", file, "--json"]).args(more));
        assert_eq!(code, Some(6), "{errors}");
        let event = events(&out).remove(0);
        (event["added"].clone(), event["waiting"].clone(), errors)
    };
    let (added, waiting, errors) = import(&fresh("stops"), &[]);
    assert_eq!((added, waiting), (1.into(), 0.into()));
    assert!(errors.contains("line 5"), "{errors}");
    // Those after the damaged one wait for it.
    let (added, waiting, _) = import(&fresh("goes on"), &["--skip-damaged"]);
    assert_eq!((added, waiting), (1.into(), 2.into()));

    std::fs::write(&path, &whole[..whole.len() - 200]).unwrap();
    let (added, waiting, errors) = import(&fresh("cut off"), &["--skip-damaged"]);
    assert_eq!((added, waiting), (3.into(), 0.into()));
    assert!(errors.contains("cut off"), "{errors}");
    for (bad, complaint) in [("", "no export"), ("PNG\0\n", "no export"), ("{}\n", "no export")] {
        std::fs::write(&path, bad).unwrap();
        let (code, _, errors) = run(command(&dir).args(["verify", file]));
        assert!(code == Some(6) && errors.contains(complaint), "{errors}");
    }
    let (code, _, errors) = run(command(&dir).args(["verify", setup.temp.path().to_str().unwrap()]));
    assert!(code == Some(1) && errors.contains("directory"), "{errors}");
}

#[test]
fn exports_to_read_and_without_anybody_in_them() {
    let setup = Setup::new();
    let dir = told(&setup);
    let text = good(&dir, &["export", "bob", "--format", "text"]);
    assert!(text.contains("=== bob ===") && text.contains("<bob> I will, alice\n"), "{text}");
    let html = good(&dir, &["export", "--format", "html"]);
    let page = setup.temp.path().join("page.html");
    let verify = || run(command(&dir).args(["verify", page.to_str().unwrap()]));
    std::fs::write(&page, &html).unwrap();
    let (code, out, _) = verify();
    assert!(code == Some(0) && out.contains("as they have exported it"), "{out}");
    std::fs::write(&page, html.replacen("I will", "I will not", 1)).unwrap();
    let (code, _, errors) = verify();
    assert!(code == Some(6) && errors.contains("the seal does not fit"), "{errors}");
    assert!(html.contains("hello &lt;b&gt;bob&lt;/b&gt;") && html.contains("(pending)"), "{html}");

    let mut alice = command(&dir);
    let (code, hidden, _) = run(alice.env("HOBNOB_NAME", "Alice").args(["export", "--anonymise"]));
    assert_eq!(code, Some(0));
    for personal in ["alice", "bob", "7946", "example.org", "\"signed\":\""] {
        assert!(!hidden.contains(personal), "{personal} in {hidden}");
    }
    assert_eq!(hidden.lines().count(), 7, "start, conversation, four messages, end: {hidden}");
    let path = setup.temp.path().join("hidden.jsonl");
    std::fs::write(&path, &hidden).unwrap();
    let (code, _, errors) = run(command(&dir).args(["verify", path.to_str().unwrap()]));
    assert!(code == Some(6) && errors.contains("anonymised"), "{errors}");
    assert_eq!(run(command(&dir).args(["export", "carl"])).0, Some(5));
}

#[test]
fn a_backup_is_whole_and_can_take_the_place_of_what_it_copied() {
    let setup = Setup::new();
    let dir = told(&setup);
    let alice = setup.client("alice");
    let file = setup.temp.path().join("backup.db");
    let name = file.to_str().unwrap();
    let said = events(&good(&dir, &["backup", name, "--json"]));
    assert_eq!(said[0]["messages"], 4);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (code, _, errors) = run(command(&dir).args(["backup", name]));
    assert!(code == Some(1) && errors.contains("exists"), "{errors}");
    let before = good(&dir, &["export"]);
    alice.terminate();
    let new = setup.dir("restored");
    std::fs::create_dir(&new).unwrap();
    std::fs::copy(dir.join("identity"), new.join("identity")).unwrap();
    std::fs::copy(&file, new.join("hobnob.db")).unwrap();
    assert_eq!(good(&new, &["export"]), before);
    assert_eq!(events(&good(&new, &["search", "pending", "--json"])).len(), 1);
}

#[test]
fn completions_and_man_pages_know_all_commands() {
    let setup = Setup::new();
    let dir = setup.dir("nobody");
    let pages = setup.temp.path().join("man");
    std::fs::create_dir(&pages).unwrap();
    good(&dir, &["man", pages.to_str().unwrap()]);
    let man = good(&dir, &["man"]);
    for command in ["send", "search", "export", "backup", "status"] {
        assert!(man.contains(command), "{command}");
        assert!(pages.join(format!("client-{command}.1")).exists(), "{command}");
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            assert!(good(&dir, &["completions", shell]).contains(command), "{command} in {shell}");
        }
    }
    assert!(!dir.exists());
}
