use std::time::Duration;

use common::identity::Identity;
use serde_json::{Value, json};

use super::*;
use crate::engine::{Choice, Connected, Person, Visibility};
use crate::log::{Content, DisplayOrder, MessageId};
use crate::net::{Route, Via};
use crate::store::{Contact, Gap, MessageRow};
use crate::store::{Marks, Regard, Subject};

fn peer(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

fn row(text: &str) -> MessageRow {
    MessageRow {
        arrival: 1,
        conversation: ConversationId::from_bytes([1; 32]),
        author: peer(1),
        own: true,
        order: DisplayOrder { depth: 1, label_ms: 5, id: MessageId::from_bytes([2; 32]) },
        received_ms: 6,
        content: Content::text(text),
        marks: Marks::default(),
        states: vec![(peer(2), State::Sent)],
        regard: Regard::default(),
    }
}

fn change(via: Via, remote: Option<&str>) -> PathChange {
    let remote = remote.map(|addr| addr.parse().unwrap());
    PathChange { peer: peer(2), via, remote, rtt: Some(Duration::from_micros(80_260)) }
}

fn values(news: &News) -> Vec<Value> {
    line(news, 7).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(news: &News) -> Value {
    let [value] = values(news).try_into().unwrap();
    value
}

/// Scripts rely on every name here.
#[test]
fn the_promised_names() {
    let (me, bob) = (peer(1), peer(2));
    let server = format!("h:5000#{bob}");
    let ready = News::Ready { me, server: server.clone(), key: bob, route: Route::udp(5000) };
    assert_eq!(
        value(&ready),
        json!({"event": "ready", "at": 7, "peer": me.to_string(), "server": server, "carrier": "udp"})
    );
    let connected =
        News::Connected { peer: bob, name: "Bob".into(), words: "a b".into(), is_new: true, via: None };
    assert_eq!(
        value(&connected),
        json!({"event": "connected", "at": 7, "peer": bob.to_string(), "name": "Bob", "words": "a b"})
    );
    let path = |via, remote| value(&News::Path { change: change(via, remote), is_shown: true });
    assert_eq!(
        path(Via::Udp, Some("192.0.2.1:9")),
        json!({"event": "path", "at": 7, "peer": bob.to_string(), "via": "udp", "remote": "192.0.2.1:9",
            "rtt_ms": 80.3})
    );
    assert_eq!(path(Via::Relay, None)["via"], "relay");
    assert_eq!(path(Via::Relay, None)["remote"], Value::Null);
    assert_eq!(path(Via::Lan, None)["via"], "lan");
    let gone = News::Disconnected { peer: bob, reason: "left".into() };
    assert_eq!(
        value(&gone),
        json!({"event": "disconnected", "at": 7, "peer": bob.to_string(), "reason": "left"})
    );
    assert_eq!(value(&News::Error("no".into())), json!({"event": "error", "at": 7, "message": "no"}));
    assert_eq!(value(&News::Info("so".into())), json!({"event": "info", "at": 7, "message": "so"}));
    let id = MessageId::from_bytes([2; 32]);
    assert_eq!(
        value(&News::State { id, peer: bob, state: State::Delivered }),
        json!({"event": "state", "at": 7, "id": "02".repeat(32), "peer": bob.to_string(), "state": "delivered"})
    );
}

#[test]
fn own_messages_are_followed_by_their_state() {
    let hostile = "\u{1b}[2J\n\"x\u{202e}";
    let [message, state] =
        values(&News::Message { message: Box::new(row(hostile)), is_typed: true }).try_into().unwrap();
    assert_eq!(
        message,
        json!({"event": "message", "at": 7, "conversation": "01".repeat(32), "from": peer(1).to_string(),
            "id": "02".repeat(32), "text": hostile, "sent_ms": 5})
    );
    assert_eq!(
        state,
        json!({"event": "state", "at": 7, "id": "02".repeat(32), "peer": peer(2).to_string(),
            "state": "pending"})
    );
}

#[test]
fn decisions_and_what_is_hidden() {
    let choice = |choice| value(&News::Chosen(choice));
    let (bob, room) = (peer(2).to_string(), ConversationId::from_bytes([1; 32]));
    let person = Subject::Person(peer(2));
    for (choice, event) in [
        (
            choice(Choice::Block { peer: peer(2), is_on: true }),
            json!({"event": "block", "peer": bob, "on": true}),
        ),
        (
            choice(Choice::Mute { whom: person, until_ms: Some(9) }),
            json!({"event": "mute", "peer": bob, "on": true, "until_ms": 9}),
        ),
        (
            choice(Choice::Unmute(Subject::Room(room))),
            json!({"event": "mute", "conversation": "01".repeat(32), "on": false, "until_ms": null}),
        ),
        (
            choice(Choice::Presence { peer: peer(2), is_shown: false }),
            json!({"event": "shown", "peer": bob, "on": false}),
        ),
        (
            choice(Choice::Visibility(Visibility::Invisible { but: vec![peer(2)] })),
            json!({"event": "visibility", "visible": false, "seen_by": [bob]}),
        ),
    ] {
        let mut event = event;
        event["at"] = json!(7);
        assert_eq!(choice, event);
    }
    let hidden = MessageRow { regard: Regard::Hidden, ..row("spam") };
    let rows = [hidden.clone(), hidden, row("x")].map(|row| HistoryRow::Message(Box::new(row)));
    let history = value(&News::RoomHistory { room, rows: rows.to_vec() });
    assert_eq!((&history["blocked"], history["messages"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(history["conversation"], json!("01".repeat(32)));
    let lines = history_lines(&rows, 9);
    assert!(
        lines.starts_with("{\"event\":\"blocked\",\"messages\":2,") && lines.lines().count() == 2,
        "{lines}"
    );
    let quiet = News::Message {
        message: Box::new(MessageRow { regard: Regard::Quiet, ..row("x") }),
        is_typed: false,
    };
    assert_eq!(value(&quiet)["quiet"], json!(true));
}

#[test]
fn answers_to_commands() {
    let contact = Contact {
        peer: peer(2),
        given_name: "Bob".into(),
        own_name: String::new(),
        first_met_ms: 0,
        last_seen_ms: 0,
        endpoints: Vec::new(),
    };
    let connected = Some(Connected { words: "a b".into(), path: Some(change(Via::Relay, None)) });
    let regard = Regard::Open;
    let away = Person { contact: contact.clone(), online: false, verified_ms: None, connected: None, regard };
    let people = vec![Person { contact, online: true, verified_ms: Some(1), connected, regard }, away];
    let peers = value(&News::Peers { people, current: None });
    assert_eq!(
        peers["people"],
        json!([{"peer": peer(2).to_string(), "name": "Bob", "online": true, "connected": true, "verified": true, "words": "a b",
            "via": "relay", "remote": null, "rtt_ms": 80.3},
            {"peer": peer(2).to_string(), "name": "Bob", "online": false, "connected": false, "verified": false, "words": null,
            "via": null, "remote": null, "rtt_ms": null}])
    );
    let rows = vec![HistoryRow::Message(Box::new(row("x"))), HistoryRow::Gap(Gap { waiting: 2, missing: 1 })];
    let history = value(&News::History { peer: peer(2), rows: rows.clone(), is_recent: false });
    assert_eq!(
        history,
        json!({"event": "history", "at": 7, "peer": peer(2).to_string(), "waiting": 2, "missing": 1, "messages": [
            {"conversation": "01".repeat(32), "from": peer(1).to_string(), "id": "02".repeat(32), "text": "x",
            "sent_ms": 5, "received_ms": 6, "states": [{"peer": peer(2).to_string(), "state": "sent"}]}]})
    );
    let past: Value = serde_json::from_str(&history_line(&rows[0], 9)).unwrap();
    assert_eq!((&past["event"], &past["at"], &past["text"]), (&json!("message"), &json!(6), &json!("x")));
}
