//! `client ping` and `client why` of the built program: beside a running client, and alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "cli_program/support.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Setup, command, run};

fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a command that must go well; returns the events that it prints.
fn good(dir: &Path, args: &[&str]) -> Vec<Value> {
    let (code, out, errors) = run(command(dir).arg("--json").args(args));
    assert_eq!(code, Some(0), "{args:?}: {errors} {out}");
    events(&out)
}

fn assert_pings(events: &[Value], peer: &Value, count: usize) {
    let (replies, sum) = events.split_at(count);
    for (seq, reply) in (1..).zip(replies) {
        assert_eq!((&reply["event"], &reply["seq"], &reply["peer"]), (&"reply".into(), &seq.into(), peer));
        assert!(reply["rtt_ms"].as_f64().unwrap() >= 0.0);
        assert!(["lan", "relay"].contains(&reply["via"].as_str().unwrap()), "{reply}");
    }
    let [sum] = sum else { panic!("{events:?}") };
    assert_eq!(
        (&sum["event"], &sum["sent"], &sum["received"]),
        (&"pings".into(), &count.into(), &count.into())
    );
    assert!(sum["min_ms"].as_f64() <= sum["avg_ms"].as_f64() && sum["loss"] == 0.0, "{sum}");
}

#[test]
fn round_trips_and_reasons_of_a_running_client() {
    let setup = Setup::new();
    let [(mut alice, _), (bob, bob_key)] = setup.pair();
    let dir = setup.dir("alice");
    alice.wait(|event| event["event"] == "path" && event["via"] == "lan");
    assert_pings(&good(&dir, &["ping", "bob", "--count", "5", "--interval", "20ms"]), &bob_key, 5);
    let (_, out, _) = run(command(&dir).args(["ping", "bob", "--count", "1"]));
    assert!(
        out.starts_with("* ping 1 to bob: ") && out.contains("1 pings to bob, 1 answered, 0.0 % lost"),
        "{out}"
    );

    let why = good(&dir, &["why", "bob"]).pop().unwrap();
    assert_eq!(
        (&why["event"], &why["peer"], &why["connected"], &why["via"], &why["cause"]),
        (&"why".into(), &bob_key, &true.into(), &"lan".into(), &"local".into())
    );
    assert!(why["since_ms"].as_u64().is_some() && why["checks"].as_u64() > Some(0), "{why}");
    assert_eq!((&why["you"]["udp"], &why["they"]["udp"]), (&true.into(), &true.into()), "each knows of both");
    alice.type_line("/ping bob 1");
    assert_eq!(alice.event("reply")["seq"], 1);
    assert_eq!(alice.event("pings")["received"], 1);
    alice.type_line("/why");
    assert_eq!(alice.event("why")["cause"], "local");

    bob.terminate();
    alice.event("disconnected");
    let why = good(&dir, &["why", "bob"]).pop().unwrap();
    assert_eq!((&why["connected"], &why["trouble"]), (&false.into(), &"left".into()));
    let (code, _, errors) = run(command(&dir).args(["ping", "bob"]));
    assert_eq!((code, errors.trim()), (Some(1), "client: not connected"));
    alice.terminate();
}

#[test]
fn alone_a_command_connects_by_itself() {
    let setup = Setup::new();
    let [(alice, _), (bob, bob_key)] = setup.pair();
    alice.terminate();
    let (dir, server) = (setup.dir("alice"), setup.server());
    let pings = good(&dir, &["--server", &server, "ping", "bob", "--count", "3", "--interval", "10ms"]);
    assert_pings(&pings, &bob_key, 3);
    let why = good(&dir, &["--server", &server, "why", "bob"]).pop().unwrap();
    assert_eq!((&why["connected"], &why["cause"]), (&true.into(), &"local".into()), "{why}");
    bob.terminate();

    let (code, _, errors) = run(command(&dir).args(["ping", "bob"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("no client runs"), "{errors}");
    let (code, _, errors) = run(command(&dir).args(["--server", &server, "why", "bob"]));
    assert_eq!((code, errors.trim()), (Some(1), "client: bob cannot be reached now: not online"));
    let (code, ..) = run(command(&dir).args(["ping", "carl"]));
    assert_eq!(code, Some(5));
    let (code, ..) = run(command(&dir).args(["ping", "bob", "--interval", "1ms"]));
    assert_eq!(code, Some(2));
}
