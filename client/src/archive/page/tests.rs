use super::super::record::Reached;
use super::*;

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
