//! The built program, run as scripts run it: pipes, signals, exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "cli_program/support.rs"]
mod support;

use std::fs;
use std::process::Stdio;

use client::data_dir::DataDir;
use serde_json::Value;
use support::{Client, Rendezvous, Setup, command, run};

fn texts(events: &[String]) -> Vec<String> {
    let events = events.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let messages = events.filter(|event| event["event"] == "message");
    messages.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_newcomers_meet_and_talk() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    let mut bob = setup.client("bob");
    let ready = alice.event("ready");
    let server = ready["server"].as_str().unwrap();
    let (address, key) = server.split_once('#').unwrap();
    assert_eq!((address, key.len()), (setup.server().as_str(), 52));

    let met = [alice.event("connected"), bob.event("connected")];
    assert_eq!((&met[0]["name"], &met[1]["name"]), (&"bob".into(), &"alice".into()));
    assert_eq!(met[0]["words"], met[1]["words"]);
    assert_eq!(met[0]["words"].as_str().unwrap().split(' ').count(), 6);
    let path = alice.event("path");
    assert_eq!(path["peer"], met[0]["peer"]);

    alice.type_line("hello \u{1b}[2J\u{7}");
    let own = alice.event("message");
    assert_eq!((&own["from"], &own["text"]), (&ready["peer"], &"hello \u{1b}[2J\u{7}".into()));
    let pending = serde_json::from_str::<Value>(&alice.wait_line(|_| true)).unwrap();
    assert_eq!((&pending["event"], &pending["state"]), (&"state".into(), &"pending".into()));
    alice.state(&own["id"], "delivered");
    let got = bob.event("message");
    assert_eq!(
        (&got["id"], &got["text"], &got["from"], &got["conversation"], &got["sent_ms"]),
        (&own["id"], &own["text"], &own["from"], &own["conversation"], &own["sent_ms"])
    );

    let (code, out, _) = run(command(&setup.dir("bob")).args(["history", "--json"]));
    assert_eq!(code, Some(0));
    let past: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(past["text"], own["text"]);
    let (code, out, _) = run(command(&setup.dir("bob")).args(["history", "--peer", "ALI"]));
    assert_eq!(code, Some(0));
    assert!(out.ends_with("Z alice> hello [2J\n"), "control characters are not shown: {out:?}");

    alice.terminate();
    assert_eq!(bob.event("disconnected")["peer"], ready["peer"]);
    bob.terminate();
    let (code, out, _) = run(command(&setup.dir("alice")).args(["history"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("* with bob [") && out.ends_with("Z me> hello [2J\n"), "{out:?}");
}

#[test]
fn a_client_without_a_server_is_one() {
    let temp = tempfile::tempdir().unwrap();
    let mut alice = Client::start(command(&temp.path().join("a")).args(["--name", "Alice"]));
    let invite = alice.wait_line(|line| line.contains("client --server "));
    let server = invite.trim().strip_prefix("client --server ").unwrap();
    alice.wait_line(|line| line.starts_with("* server "));
    let mut bob = Client::start(command(&temp.path().join("b")).args(["--name", "Bob", "--server", server]));
    alice.wait_line(|line| line.starts_with("* connected to Bob ("));
    bob.wait_line(|line| line.starts_with("* connected to Alice (") && line.ends_with(", compare them"));
    bob.type_line("//me > hi\tthere");
    assert_eq!(alice.wait_line(|line| line.starts_with("Bob>")), "Bob> /me > hi    there");
    for (typed, answer) in [
        ("/peers", "-> Bob ["),
        ("/path", "   Bob: via "),
        ("/history", "Bob> /me"),
        ("/hlep", "! there is no command /hlep; did you mean /help?"),
        ("/name bob Robert", "* "),
        ("/msg robert x", ""),
        ("/msg carl x", "! nobody whom you know is called \"carl\"; nothing was sent"),
        ("/help", "/history [N]"),
    ] {
        alice.type_line(typed);
        if !answer.is_empty() {
            alice.wait_line(|line| line.contains(answer));
        }
    }
    bob.wait_line(|line| line == "Alice> x");
    let seen = bob.terminate();
    assert!(!seen.iter().any(|line| line.contains("there")), "a pipe gets no echo: {seen:?}");
    alice.wait_line(|line| line.starts_with("* disconnected from Robert: left"));
    alice.type_line("later");
    alice.wait_line(|line| line == "(pending: Robert is offline; sent when you are both here)");
    alice.type_line("/quit");
    assert_eq!(alice.end().0.code(), Some(0));
}

#[test]
fn what_was_pending_survives_a_kill_and_arrives_once() {
    let setup = Setup::new();
    let [(mut alice, _), (mut bob, key)] = setup.pair();
    bob.terminate();
    alice.event("disconnected");
    for text in ["one", "two", "three"] {
        alice.type_line(text);
        let id = alice.event("message")["id"].clone();
        alice.state(&id, "pending");
    }
    alice.signal("KILL");
    assert_eq!(alice.end().0.code(), None);

    bob = setup.client("bob");
    bob.event("ready");
    let mut alice = setup.client("alice");
    for text in ["one", "two", "three"] {
        assert_eq!(bob.event("message")["text"], text);
    }
    let last = bob.seen.last().unwrap().clone();
    let id = serde_json::from_str::<Value>(&last).unwrap()["id"].clone();
    alice.wait(|event| event["event"] == "state" && event["id"] == id && event["state"] == "delivered");
    assert_eq!(
        alice.seen.iter().filter(|line| line.contains("\"message\"") && line.contains("\"text\"")).count(),
        0
    );

    // Nothing comes twice, not after another restart either.
    alice.terminate();
    let mut alice = setup.client("alice");
    alice.wait(|event| event["event"] == "connected" && event["peer"] == key);
    alice.type_line("four");
    bob.wait(|event| event["event"] == "message" && event["text"] == "four");
    assert_eq!(texts(&bob.seen), ["one", "two", "three", "four"]);
}

#[test]
fn bad_lines_are_refused_and_the_client_goes_on() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.type_line("anybody?");
    assert_eq!(alice.event("error")["message"], "nobody is there yet; nothing was sent");
    let mut bob = setup.client("bob");
    alice.event("connected");
    alice.type_line(b"\xff\xfe");
    assert_eq!(alice.event("error")["message"], "the line is not UTF-8; nothing was sent");
    alice.type_line("x".repeat(16 * 1024 + 1));
    let error = alice.event("error")["message"].as_str().unwrap().to_owned();
    assert!(
        error.contains("16385") && error.contains("16384") && error.ends_with("nothing was sent"),
        "{error}"
    );
    alice.type_line("x".repeat(1 << 20));
    let error = alice.event("error")["message"].as_str().unwrap().to_owned();
    assert!(error.contains("1048576") && error.contains("16384"), "{error}");
    let longest = "é".repeat(8 * 1024);
    alice.type_line(&longest);
    assert_eq!(bob.event("message")["text"], longest);
    alice.type_line("");
    alice.type_line("fine");
    assert_eq!(bob.event("message")["text"], "fine");
}

#[test]
fn the_end_of_the_input_waits_for_delivery() {
    let setup = Setup::new();
    let [(alice, _), (mut bob, _)] = setup.pair();
    alice.terminate();
    bob.event("disconnected");
    let mut alice = setup.client("alice");
    for number in 0..200 {
        alice.type_line(format!("line {number}"));
    }
    alice.stdin = None;
    let (status, errors, seen) = alice.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(seen.iter().filter(|line| line.contains("\"delivered\"")).count(), 200);
    for number in 0..200 {
        assert_eq!(bob.event("message")["text"], format!("line {number}"));
    }
}

#[test]
fn one_client_a_data_directory() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.event("ready");
    let server = setup.server();
    let (code, out, errors) = run(command(&setup.dir("alice")).args(["--json", "--server", &server]));
    assert_eq!(code, Some(4), "{errors}");
    assert!(errors.contains("another client (process "), "{errors}");
    assert_eq!(serde_json::from_str::<Value>(out.trim()).unwrap()["event"], "error");
}

#[test]
fn a_changed_server_key_is_refused() {
    let mut setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.event("ready");
    alice.terminate();
    let port = setup.rendezvous.addr.port();
    // The old one goes before the new one takes its port.
    setup.rendezvous = Rendezvous::start(2, 0);
    setup.rendezvous = Rendezvous::start(3, port);
    let server = setup.server();
    let (code, _, errors) = run(command(&setup.dir("alice")).args(["--no-input", "--server", &server]));
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("shows another key than before"), "{errors}");
    let accepted = errors.trim().rsplit("--server ").next().unwrap();
    let mut alice = Client::json(&setup.dir("alice"), "alice", accepted);
    alice.event("ready");
    alice.terminate();
    setup.client("alice").event("ready");
}

#[test]
fn a_server_that_is_not_there_is_reported_and_tried_again() {
    let temp = tempfile::tempdir().unwrap();
    let mut alice = Client::json(temp.path(), "alice", "no-such-host.invalid:5000");
    let error = alice.event("error")["message"].as_str().unwrap().to_owned();
    assert!(
        error.contains("no-such-host.invalid:5000 does not resolve") && error.ends_with("; trying again")
    );
    alice.terminate();
}

#[test]
fn a_damaged_database_is_left_alone() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.event("ready");
    alice.terminate();
    let dir = DataDir::existing(&setup.dir("alice"));
    let garbage = b"this is no database at all, whatever its name says".repeat(100);
    fs::write(dir.database(), &garbage).unwrap();
    // What SQLite keeps beside the file could stand in for its pages.
    for beside in ["hobnob.db-wal", "hobnob.db-shm"] {
        let _ = fs::remove_file(dir.path().join(beside));
    }
    let server = setup.server();
    for args in [vec!["--server", &server], vec!["history"]] {
        let (code, _, errors) = run(command(dir.path()).args(args));
        assert_eq!(code, Some(1), "{errors}");
        assert!(errors.starts_with("client: ") && errors.contains("left as it is"), "{errors}");
        assert_eq!(fs::read(dir.database()).unwrap(), garbage);
    }
}

#[test]
fn exit_codes_of_the_command_line() {
    let temp = tempfile::tempdir().unwrap();
    let (code, out, _) = run(command(temp.path()).arg("--help"));
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit codes:") && out.contains("Examples:"));
    for wrong in
        [vec!["--server", "nonsense"], vec!["--what"], vec!["--log", "loud"], vec!["history", "--limit", "x"]]
    {
        let (code, _, errors) = run(command(temp.path()).args(&wrong));
        assert_eq!(code, Some(2), "{wrong:?}: {errors}");
    }
    let (code, _, errors) = run(command(&temp.path().join("none")).arg("history"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("there is no history in"), "{errors}");
    assert!(!temp.path().join("none").exists());
}

#[test]
fn a_taken_port_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, errors) = run(command(temp.path()).args(["--server", "127.0.0.1:9", "--port", &port]));
    assert_eq!(code, Some(1));
    assert!(errors.contains(&format!("UDP port {port}")), "{errors}");
}

#[test]
fn nobody_reads_any_more() {
    let setup = Setup::new();
    let dir = setup.dir("alice");
    let mut command = command(&dir);
    command.args(["--json", "--server", &setup.server()]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Something to say is what makes it notice; it may have ended before this arrives.
    let _ = std::io::Write::write_all(&mut stdin, b"/help\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
