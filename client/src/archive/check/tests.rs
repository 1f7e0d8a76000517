use common::identity::Identity;
use proptest::prelude::*;

use super::*;
use crate::archive::page::Names;
use crate::archive::{Format, Page};
use crate::log::{Content, Head, Standing};
use crate::store::{Archived, Conversation as Stored, Marks, MessageRow, Regard};

fn identities() -> [Identity; 2] {
    [1, 2].map(|seed| Identity::from_seed([seed; 32]))
}

/// An export of two messages, line by line.
fn export() -> Vec<String> {
    let [me, other] = identities().map(|identity| identity.peer_id());
    let conversation = ConversationId::direct(me, other);
    let mut records = vec![Record::start(me)];
    let members = [me, other].map(|peer| (peer, Standing::Member)).to_vec();
    records.push((&Stored { id: conversation, room: None, members, unread: 0 }).into());
    let mut heads: Vec<Head> = Vec::new();
    for (n, text) in (1..).zip(["first \"quoted\"\n\u{1b}", "second 😀"]) {
        let content = Content::text(text);
        let message =
            crate::log::Message::compose(&identities()[0], conversation, &heads, content.clone(), 5, n)
                .unwrap();
        heads = vec![Head { id: message.id(), depth: n, author: me }];
        let row = MessageRow {
            arrival: n,
            conversation,
            author: me,
            own: true,
            order: message.order(),
            received_ms: 6,
            content: content.clone(),
            marks: Marks::default(),
            states: vec![(other, State::Delivered)],
            regard: Regard::default(),
        };
        records.push(Archived { row, content, signed: message.bytes().clone() }.into());
    }
    records.push(Record::End { messages: 2 });
    let mut page = Page::new(Format::Jsonl, Names::default());
    records.iter().map(|record| page.add(record)).collect()
}

/// The damage with its line, and how many messages are in order.
fn damage(lines: &[String]) -> (Vec<(u64, Damage)>, u64) {
    let text = lines.concat();
    let mut checker = Checker::new(text.as_bytes());
    let mut found = Vec::new();
    while let Some(line) = checker.read().unwrap() {
        found.extend(line.err().map(|damage| (checker.line(), damage)));
    }
    (found, checker.messages())
}

#[test]
fn a_whole_export_is_in_order() {
    assert_eq!(damage(&export()), (vec![], 2));
}

#[test]
fn whatever_is_changed_is_noticed() {
    let whole = export();
    let changed = |line: usize, from: &str, to: &str| {
        let mut lines = whole.clone();
        assert!(lines[line].contains(from), "{} has no {from}", lines[line]);
        lines[line] = lines[line].replacen(from, to, 1);
        damage(&lines)
    };
    let altered = |line, what| (vec![(line, Damage::Altered(what))], 1);
    assert_eq!(changed(2, "first", "First"), altered(3, "text"));
    assert_eq!(changed(2, "\"sent_ms\":5", "\"sent_ms\":4"), altered(3, "time"));
    assert_eq!(changed(2, "\"id\":\"", "\"id\":\"x"), altered(3, "id"));
    assert_eq!(changed(2, "\"from\":\"", "\"from\":\"x"), altered(3, "author"));
    assert_eq!(changed(2, "\"conversation\":\"", "\"conversation\":\"x"), altered(3, "conversation"));
    assert_eq!(
        changed(2, "\"text\":\"first \\\"quoted\\\"\\n\\u001b\"", "\"text\":null"),
        altered(3, "text")
    );
    assert!(matches!(changed(2, "\"signed\":\"AX", "\"signed\":\"AY").0[0], (3, Damage::Message(_))));
    assert!(matches!(changed(2, "delivered", "eaten").0[0], (3, Damage::Field(..))));
    assert!(matches!(changed(2, "{", "[").0[0], (3, Damage::Syntax(_))));
    assert_eq!(changed(4, "2", "3").0, [(5, Damage::CutOff)]);
    assert_eq!(changed(0, "\"hobnob_export\":1", "\"hobnob_export\":2").0[0], (1, Damage::Version(2)));
    assert_eq!(changed(0, "}", ",\"anonymised\":true}").0[0], (1, Damage::Anonymised));
}

#[test]
fn lines_that_are_missing_doubled_or_too_long_are_noticed() {
    let whole = export();
    assert_eq!(damage(&whole[..4]).0, [(4, Damage::CutOff)]);
    assert_eq!(damage(&whole[..3]).0, [(3, Damage::CutOff)]);
    assert_eq!(damage(&[]).0, [(0, Damage::NoExport)]);
    assert_eq!(damage(&whole[1..]).0[0], (1, Damage::NoExport));
    assert_eq!(damage(&["not JSON\n".to_owned()]).0[0], (1, Damage::NoExport));
    let without = [&whole[..2], &whole[3..]].concat();
    assert_eq!(damage(&without), (vec![(4, Damage::CutOff)], 1));
    let without_conversation = [&whole[..1], &whole[2..]].concat();
    assert_eq!(damage(&without_conversation).0[0], (2, Damage::Misplaced));
    let twice = [&whole[..], &whole[..]].concat();
    assert_eq!(damage(&twice).0[0], (6, Damage::Misplaced));
    let mut long = whole;
    long[2] = "x".repeat(MAX_LINE + 10) + "\n";
    assert_eq!(damage(&long), (vec![(3, Damage::TooLong)], 1));
    let mut checker = Checker::new(long[2].as_bytes());
    assert_eq!(checker.read().unwrap(), Some(Err(Damage::TooLong)));
}

#[test]
fn what_the_authors_have_not_signed_is_sealed_by_the_owner() {
    let mut lines = export();
    let mut seal = Seal::default();
    seal.add(lines.concat().as_bytes());
    let sealed = |owner: &Identity| seal.line(Format::Jsonl, owner);
    let [me, other] = identities();
    lines.push(sealed(&me));
    assert_eq!(damage(&lines), (vec![], 2));
    let with = |line: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[line].contains(from), "{}", lines[line]);
        lines[line] = lines[line].replacen(from, to, 1);
        damage(&lines).0
    };
    assert_eq!(with(2, "\"received_ms\":6", "\"received_ms\":7"), [(6, Damage::Seal)]);
    assert_eq!(with(2, "delivered", "read"), [(6, Damage::Seal)]);
    assert_eq!(damage(&[&lines[..5], &[sealed(&other)]].concat()).0, [(6, Damage::Seal)]);
    assert_eq!(damage(&[&lines[..4], &lines[5..]].concat()).0[0], (5, Damage::Misplaced));
    assert_eq!(damage(&[&lines[..], &lines[5..]].concat()).0, [(7, Damage::Misplaced)]);
}

#[test]
fn ancestors_that_are_not_in_the_file_are_counted() {
    let whole = export();
    let text = [&whole[..2], &whole[3..]].concat().concat();
    let mut checker = Checker::new(text.as_bytes());
    while checker.read().unwrap().is_some() {}
    assert_eq!(checker.missing(), 1);
}

proptest! {
    /// Whatever stands in a file is no panic, and reading it ends.
    #[test]
    fn any_file_can_be_read(cut in 0..5_usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [export()[..cut].concat().as_bytes(), &bytes].concat();
        let mut checker = Checker::new(bytes.as_slice());
        for _ in 0..bytes.len() + 2 {
            match checker.read().unwrap() {
                None => return Ok(()),
                Some(checked) => prop_assert!(checker.line() <= 5 || checked.is_err()),
            }
        }
        prop_assert!(false, "reading did not end");
    }
}
