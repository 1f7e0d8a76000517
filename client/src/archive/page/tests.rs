use super::super::record::Reached;
use super::*;
use crate::log::{Act, MessageId};
use crate::reading::TAKEN_BACK;

fn message(text: &str, from: &str, sent_ms: u64) -> Record {
    Record::Message(Box::new(Message {
        conversation: "c".to_owned(),
        id: "1\"2".to_owned(),
        from: from.to_owned(),
        sent_ms,
        received_ms: 0,
        text: Some(text.to_owned()),
        states: vec![Reached { peer: "you".to_owned(), state: "pending".to_owned() }],
        signed: None,
        now: None,
    }))
}

fn export(format: Format, text: &str) -> String {
    let names =
        [("me", "Ann <b>"), ("you", "Bo\u{202e}b")].map(|(key, name)| (key.to_owned(), name.to_owned()));
    let mut page = Page::new(format, Names(names.into()));
    let start = Record::Start(super::super::record::Start {
        hobnob_export: 1,
        owner: "me".to_owned(),
        anonymised: false,
    });
    let members = vec!["me".to_owned(), "you".to_owned()];
    let records = [
        start,
        Record::Conversation(Conversation { id: "c".to_owned(), members }),
        message(text, "me", 86_400_000),
        message("again", "you", 86_460_000),
        message("next day", "you", 2 * 86_400_000),
        Record::End { messages: 3 },
    ];
    records.iter().map(|record| page.add(record)).collect()
}

#[test]
fn text_has_days_and_cannot_be_forged() {
    let text = export(Format::Text, "hi\n00:01 <Bob> forged\u{1b}[2J");
    let expected = "Conversations of Ann <b>; times are UTC\n\n\n=== Bob ===\n\n--- 1970-01-02 ---\n\
        00:00 <Ann <b>> hi\n        00:01 <Bob> forged[2J (pending)\n00:01 <Bob> again (pending)\n\n\
        --- 1970-01-03 ---\n00:00 <Bob> next day (pending)\n";
    assert_eq!(text, expected);
}

#[test]
fn html_is_escaped_and_needs_nothing_else() {
    let hostile = "<script src=//x.org></script>\u{202e}\"'&amp;\n<img src=x onerror=alert(1)>";
    let page = export(Format::Html, hostile);
    for harmful in ["<script", "<img", "\u{202e}", "id=\"m1\"2", "http:", "<b>\"", "Ann <b>"] {
        assert!(!page.contains(harmful), "{harmful}");
    }
    assert!(page.contains("&lt;script src=//x.org&gt;&lt;/script&gt;&quot;&#39;&amp;amp;\n&lt;img"));
    assert_eq!(page.matches("<h3>").count(), 2);
    assert_eq!(page.matches("class=\"own\"").count(), 1);
    assert!(page.ends_with("</html>\n"));
}

/// A page to read has what the history has: a text as it is now, and no trace of what it was or of what was taken back.
#[test]
fn changes_show_in_what_they_change() {
    let record = |now: Option<Reading>| {
        let Record::Message(mut message) = message("as it was signed", "you", 86_400_000) else {
            unreachable!()
        };
        message.states.clear();
        message.now = now;
        Record::Message(message)
    };
    let now = Reading::Text {
        reply_to: Some(MessageId::from_bytes([1; 32])),
        text: "as it is\nnow".to_owned(),
        is_edited: true,
        reactions: vec![("+1\u{202e}".to_owned(), 2)],
    };
    let room = Reading::Room(Act::Topic("tea\u{202e}".to_owned()));
    let records = [Some(now), Some(Reading::Change), Some(Reading::TakenBack), Some(room), None];
    for format in [Format::Text, Format::Html] {
        let mut page = Page::new(format, Names::default());
        let lines: Vec<_> = records.iter().map(|now| page.add(&record(now.clone()))).collect();
        assert!(lines[0].contains("[re 01010101] as it is"), "{}", lines[0]);
        assert!(lines[0].contains("now (edited) [+1 2]"), "{}", lines[0]);
        assert_eq!(lines[1], "");
        assert!(lines[2].contains(TAKEN_BACK) && lines[3].contains("[set the topic: tea]"), "{lines:?}");
        assert!(lines[..4].iter().all(|line| !line.contains("as it was signed")), "{lines:?}");
        assert!(lines[4].contains("as it was signed"));
    }
    assert!(
        !Page::new(Format::Jsonl, Names::default()).add(&record(Some(Reading::TakenBack))).contains("taken")
    );
}
