use std::time::Duration;

use common::identity::{Identity, PeerId};

use super::*;
use crate::engine::settings::SETTINGS;
use crate::engine::{Choice, Visibility};
use crate::log::{Content, ConversationId, DisplayOrder, MessageId};
use crate::store::{Gap, Marks, Regard, Subject};

fn peer(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

fn names() -> Names {
    let mut names = Names::new(peer(1));
    names.set(peer(2), "Bob");
    names
}

fn message(author: PeerId, text: &str, states: Vec<(PeerId, State)>) -> MessageRow {
    MessageRow {
        arrival: 1,
        conversation: ConversationId::direct(peer(1), peer(2)),
        author,
        own: author == peer(1),
        order: DisplayOrder { depth: 1, label_ms: 951_782_400_000, id: MessageId::of(text.as_bytes()) },
        received_ms: 0,
        content: Content::text(text),
        marks: Marks::default(),
        states,
        regard: Regard::default(),
    }
}

fn shown(news: &News) -> String {
    lines(news, &names(), Colour::Off).unwrap_or_default()
}

#[test]
fn messages_cannot_pass_for_anything_else() {
    let say = |text: &str| {
        shown(&News::Message { message: Box::new(message(peer(2), text, Vec::new())), is_typed: false })
    };
    assert_eq!(say("hi"), "Bob> hi");
    assert_eq!(say("a\r\nme> b\n* c"), "Bob> a\n    me> b\n    * c");
    assert_eq!(say("\u{1b}[2Jx\u{202e}y\u{9b}1m"), "Bob> [2Jxy1m");
    let typed = News::Message { message: Box::new(message(peer(1), "x", Vec::new())), is_typed: true };
    assert_eq!(lines(&typed, &names(), Colour::Off), None);
}

#[test]
fn one_line_stands_for_what_the_blocked_said_together() {
    let row = |author: u8, text: &str, regard| {
        HistoryRow::Message(Box::new(MessageRow { regard, ..message(peer(author), text, Vec::new()) }))
    };
    let rows = vec![
        row(3, "spam", Regard::Hidden),
        row(3, "spam", Regard::Hidden),
        row(2, "hi", Regard::Open),
        row(3, "spam", Regard::Hidden),
        row(2, "psst", Regard::Quiet),
    ];
    let room = ConversationId::from_bytes([7; 32]);
    let shown = shown(&News::RoomHistory { room, rows });
    let said =
        ["... 2 messages of blocked people", "Bob> hi", "... 1 message of a blocked person", "Bob> psst"];
    let lines: Vec<_> = shown.lines().skip(1).collect();
    assert!(lines.iter().zip(said).all(|(line, said)| line.ends_with(said)) && lines.len() == 4, "{shown}");
}

#[test]
fn decisions_are_told_with_what_they_mean() {
    let told = |choice| shown(&News::Chosen(choice));
    let person = Subject::Person(peer(2));
    assert!(told(Choice::Block { peer: peer(2), is_on: true }).starts_with("* Bob is blocked"));
    let until = Choice::Mute { whom: person, until_ms: Some(951_782_400_000) };
    assert_eq!(told(until), "* Bob is muted until 2000-02-29 00:00:00Z");
    let invisible = Choice::Visibility(Visibility::Invisible { but: vec![peer(2)] });
    assert!(told(invisible).starts_with("* you are invisible to all but Bob"));
    let settings = SETTINGS.map(|setting| (setting, setting.values[0])).to_vec();
    assert_eq!(shown(&News::Settings(settings)).lines().count(), 1 + SETTINGS.len());
}

#[test]
fn connections_and_paths_are_told_shortly() {
    let connected = |is_new| News::Connected {
        peer: peer(2),
        name: "Bob".to_owned(),
        words: "able baker".to_owned(),
        is_new,
        via: Some(Via::Relay),
    };
    assert_eq!(shown(&connected(true)), "* connected to Bob (relay), words: able baker, compare them");
    assert_eq!(shown(&connected(false)), "* connected to Bob (relay)");
    let path = |via, remote: Option<&str>| News::Path {
        change: PathChange {
            peer: peer(2),
            via,
            remote: remote.map(|addr| addr.parse().unwrap()),
            rtt: Some(Duration::from_millis(80)),
        },
        is_shown: false,
    };
    assert_eq!(
        shown(&path(Via::Udp, Some("192.0.2.4:5"))),
        "* Bob: now direct to 192.0.2.4:5 over UDP, 80 ms"
    );
    assert_eq!(shown(&path(Via::Relay, None)), "* Bob: now over the relay, 80 ms");
    let gone = News::Disconnected { peer: peer(2), reason: "left\u{7}\n".to_owned() };
    assert_eq!(shown(&gone), "* disconnected from Bob: left");
}

#[test]
fn states_tell_the_truth() {
    let waiting = |count| shown(&News::Waiting { peer: peer(2), count });
    assert_eq!(waiting(1), "(pending: Bob is offline; sent when you are both here)");
    assert!(waiting(3).starts_with("(3 pending: Bob"));
    assert_eq!(shown(&News::Delivered { peer: peer(2), count: 2 }), "✓ 2 messages delivered to Bob");
    let rows = [State::Pending, State::Delivered]
        .map(|state| HistoryRow::Message(Box::new(message(peer(1), "x", vec![(peer(2), state)]))));
    let rows = [rows.as_slice(), &[HistoryRow::Gap(Gap { waiting: 2, missing: 1 })]].concat();
    assert_eq!(
        shown(&News::History { peer: peer(2), rows, is_recent: false }),
        "* history with Bob:\n2000-02-29 00:00:00Z me> x  (pending)\n2000-02-29 00:00:00Z me> x\n\
         ... 2 newer kept back until 1 that are missing have come"
    );
}

#[test]
fn colour_only_where_it_is_wanted() {
    let error = News::Error("bad".to_owned());
    assert_eq!(lines(&error, &names(), Colour::Off).unwrap(), "! bad");
    assert_eq!(lines(&error, &names(), Colour::On).unwrap(), "\u{1b}[31m! bad\u{1b}[0m");
}
