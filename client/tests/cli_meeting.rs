//! Links, names and compared keys, with the built program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "cli_program/support.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Client, Setup, command, run};

fn good(dir: &Path, args: &[&str]) -> Value {
    let (code, out, errors) = run(command(dir).arg("--json").args(args));
    assert_eq!(code, Some(0), "{args:?}: {errors}");
    serde_json::from_str(out.lines().next().unwrap()).unwrap()
}

fn bad(dir: &Path, args: &[&str]) -> (i32, String) {
    let (code, _, errors) = run(command(dir).args(args));
    (code.unwrap(), errors)
}

/// A complete newcomer, without server and identity, and nothing but a link that comes through a pipe.
#[test]
fn a_newcomer_joins_by_a_link_and_comes_into_the_room() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.event("ready");
    alice.type_line("/room Club");
    alice.wait(|event| event["act"] == "create");
    let (dir, guest) = (setup.dir("alice"), setup.dir("bob"));
    let made = good(&dir, &["invite", "club", "--uses", "2", "--for", "3d"]);
    let link = made["link"].as_str().unwrap();
    assert_eq!((&made["event"], &made["uses"]), (&"link".into(), &2.into()));

    let mut bob = Client::start(command(&guest).args(["--json", "--name", "bob", "join", "-"]));
    bob.type_line(link);
    let joined = bob.event("joined");
    assert_eq!(alice.event("admitted")["conversation"], joined["conversation"]);
    bob.type_line("/join club");
    bob.type_line("made it");
    alice.wait(|event| event["text"] == "made it");

    let listed = good(&dir, &["invites"]);
    assert_eq!((&listed["links"][0]["id"], &listed["links"][0]["used"]), (&made["id"], &1.into()));
    good(&dir, &["revoke", made["id"].as_str().unwrap()]);
    assert_eq!(bad(&dir, &["revoke", "ffffffff"]).0, 5);
    let follower = good(&guest, &["join", link]);
    assert_eq!(follower["event"], "following", "through the running client");
    assert!(bob.event("error")["message"].as_str().unwrap().contains("taken back"));

    let (code, error) = bad(&setup.dir("carol"), &["join", &link[..link.len() - 9]]);
    assert!(code == 6 && error.contains("cut off"), "{error}");
    assert!(!setup.dir("carol").exists(), "nothing is made for a link that is none");
    let (code, error) = bad(&guest, &["join", "nowhere"]);
    assert!(code == 5, "{error}");
    bob.terminate();
    alice.terminate();

    // Alone: the server that was reached last is remembered.
    let (code, out, _) = run(command(&dir).args(["invite", "--qr"]));
    let lines: Vec<_> = out.lines().collect();
    let from = lines.iter().position(|line| *line == "as a QR code:").unwrap();
    assert!(code == Some(0) && lines[from + 1..].len() >= 27, "{out}");
    assert!(lines[from + 1..].iter().all(|line| line.chars().count() == lines[from + 1].chars().count()));
    let (code, error) = bad(&setup.dir("dora"), &["invite"]);
    assert_eq!(code, 1, "{error}");
}

#[test]
fn keys_are_compared_and_names_taken_from_the_command_line() {
    let setup = Setup::new();
    let [(mut alice, alice_key), (bob, bob_key)] = setup.pair();
    let (here, there) = (setup.dir("alice"), setup.dir("bob"));
    let [mine, theirs] =
        [(&here, "bob"), (&there, "alice")].map(|(dir, who)| good(dir, &["verify-contact", who]));
    assert_eq!((&mine["number"], &mine["words"]), (&theirs["number"], &theirs["words"]));
    assert_eq!((&mine["verified"], mine["number"].as_str().unwrap().len()), (&false.into(), 71));
    let (code, error) = bad(&here, &["verify-contact", "bob", &"1".repeat(60)]);
    assert!(code == 5 && error.contains("DIFFER"), "{error}");
    let number = theirs["number"].as_str().unwrap();
    assert_eq!(good(&here, &["verify-contact", "bob", number])["verified"], true);
    assert_eq!(good(&here, &["contacts"])["people"][0]["verified"], true);
    let (_, out, _) = run(command(&here).args(["contacts"]));
    assert!(out.contains("verified, "), "{out}");

    let taken = good(&here, &["name", "take", "Alice", "--listed"]);
    assert_eq!(taken["names"][0]["name"], "alice");
    let (code, error) = bad(&there, &["name", "take", "ALICE"]);
    assert!(code == 1 && error.contains("taken"), "{error}");
    let found = good(&there, &["name", "find", "ali"]);
    assert_eq!((&found["names"][0]["peer"], &found["names"][0]["was"]), (&alice_key, &Value::Null));
    assert_eq!(good(&here, &["name", "list"])["names"][0]["listed"], true);
    good(&here, &["name", "drop", "alice"]);
    assert_eq!(good(&there, &["name", "find", "alice"])["names"], Value::Array(Vec::new()));
    assert!(bad(&here, &["name", "take", "a b"]).1.contains("letters and digits"));
    bob.terminate();

    // Somebody else with Bob's name.
    let impostor = Client::start(command(&setup.dir("other")).args([
        "--json",
        "--name",
        "BOB",
        "--meet",
        "--server",
        &setup.server(),
    ]));
    alice.type_line("/meet");
    let warning = alice.event("impostor");
    assert_eq!((&warning["known"], &warning["name"]), (&bob_key, &"BOB".into()));
    impostor.terminate();
    alice.terminate();
    let (code, error) = bad(&here, &["name", "list"]);
    assert!(code == 1 && error.contains("no client runs"), "{error}");
    assert_eq!(good(&here, &["verify-contact", bob_key.as_str().unwrap(), "no"])["verified"], false);
}
