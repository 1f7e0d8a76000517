//! `client netcheck` as people and scripts run it, against a rendezvous on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "cli_program/support.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod support;

use std::net::UdpSocket;

use serde_json::Value;
use support::{Setup, command, run};

fn parse(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn it_runs_beside_a_client_and_disturbs_it_not() {
    let setup = Setup::new();
    let mut alice = setup.client("alice");
    alice.event("ready");
    let (dir, server) = (setup.dir("alice"), setup.server());
    let (code, out, errors) = run(command(&dir).args(["netcheck", "--json", "--server", &server]));
    assert_eq!(code, Some(0), "{errors}");
    let [report] = &parse(&out)[..] else { panic!("one object: {out}") };
    assert_eq!(
        (&report["event"], &report["server"]["address"]),
        (&"netcheck".into(), &server.as_str().into())
    );
    assert_eq!(report["server"]["key"].as_str().unwrap().len(), 52);
    let ways = report["server"]["ways"].as_array().unwrap();
    let port: u64 = server.rsplit_once(':').unwrap().1.parse().unwrap();
    for carrier in ["udp", "tls", "websocket", "http"] {
        let way = ways.iter().find(|way| way["carrier"] == carrier && way["port"] == port).unwrap();
        assert!(way["ms"].is_f64() && way["error"].is_null(), "{way}");
    }
    let network = &report["network"];
    assert_eq!((&network["kind"], &network["udp"]), (&"open".into(), &true.into()));
    // The server has one address, on which it has more ports.
    assert_eq!(network["filtering"], "not_port_dependent");
    assert!(report["meaning"].as_array().unwrap().len() >= 4);

    // The client is still the one that is registered: it answers, and heard of no other with its key.
    let (code, out, _) = run(command(&dir).args(["status", "--json"]));
    assert_eq!((code, &parse(&out)[0]["running"]), (Some(0), &true.into()));
    let seen = alice.terminate();
    assert!(!seen.iter().any(|line| line.contains("same identity")), "{seen:?}");

    let (code, out, _) = run(command(&dir).args(["netcheck", "--stun", &server]));
    assert_eq!(code, Some(0));
    assert!(out.contains("Two people on networks like this one: direct"), "{out}");
}

#[test]
fn a_server_that_is_not_there_is_said_to_be_not_there() {
    let setup = Setup::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (code, out, errors) =
        run(command(&setup.dir("eve")).args(["netcheck", "--json", "--server", &address]));
    assert_eq!(code, Some(3));
    assert!(errors.contains(&format!("the server {address} does not answer")), "{errors}");
    let events = parse(&out);
    assert_eq!((&events[0]["event"], &events[1]["event"]), (&"netcheck".into(), &"error".into()));
    assert_eq!(events[0]["network"]["udp"], Value::Null);
    assert!(events[0]["server"]["ways"].as_array().unwrap().iter().all(|way| way["ms"].is_null()));
    let (code, out, errors) =
        run(command(&setup.dir("eve")).args(["netcheck", "--json", "--stun", &address]));
    assert_eq!((code, &parse(&out)[0]["stun_silent"][0]), (Some(3), &address.as_str().into()));
    assert!(errors.contains("no STUN server answered"), "{errors}");
    // Nothing was learned, and nothing is remembered.
    assert!(!setup.dir("eve").join("networks.json").exists());
}

#[test]
fn a_server_with_another_key_is_not_used() {
    let setup = Setup::new();
    let key = common::identity::Identity::from_seed([77; 32]).peer_id();
    let server = format!("{}#{key}", setup.server());
    let (code, out, errors) = run(command(&setup.dir("eve")).args(["netcheck", "--server", &server]));
    assert_eq!(code, Some(3));
    assert!(out.contains("NOT USED") && errors.contains("shows another key"), "{out}{errors}");
}

#[test]
fn somebody_has_to_be_asked() {
    let setup = Setup::new();
    let (code, _, errors) = run(command(&setup.dir("eve")).arg("netcheck"));
    assert_eq!(code, Some(2));
    assert!(errors.contains("--server HOST:PORT"), "{errors}");
    let (code, _, errors) = run(command(&setup.dir("eve")).args(["netcheck", "--stun", "nonsense"]));
    assert_eq!(code, Some(2));
    assert!(errors.contains("is no STUN server"), "{errors}");
}
