use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::super::record::{Conversation, Reached, Start};
use super::*;

/// Messages in many languages with personal data between ⟦ and ⟧.
const CORPUS: &str = include_str!("corpus.txt");
/// Whom the owner of the corpus knows.
const KNOWN: [&str; 13] = [
    "Anna Kowalska",
    "Björn Müller",
    "Zoë",
    "Пётр Иванов",
    "Петр",
    "李明",
    "José García",
    "François Dupont",
    "al",
    "Jiří Novák",
    "Fatima al-Zahra",
    "O'Brien",
    "nightowl_77",
];
/// Of what was planted, so much must be found.
const WANTED_PERCENT: usize = 99;

fn anonymiser() -> &'static Anonymiser {
    static ANONYMISER: LazyLock<Anonymiser> = LazyLock::new(|| {
        let name = |name: &&str, is_person| Name {
            of: format!("key of {name}"),
            name: (*name).to_owned(),
            is_person,
        };
        let mut names: Vec<_> = KNOWN.iter().map(|known| name(known, true)).collect();
        names.push(name(&"book club", false));
        Anonymiser::new([7; 32], &names).unwrap()
    });
    &ANONYMISER
}

/// A text without its marks, and what stood between them.
fn unmark(line: &str) -> (String, Vec<String>) {
    let planted = line.split('⟦').skip(1).map(|rest| rest.split('⟧').next().unwrap().to_owned());
    (line.replace(['⟦', '⟧'], ""), planted.collect())
}

/// What an anonymised text says besides the words that were put in.
fn left(text: &str) -> String {
    let words = Regex::new("(person|id|link|mail|mention|address|key|street|number)-[a-z2-7]{7}").unwrap();
    words.replace_all(text, " ").to_lowercase()
}

/// Whether nothing of a planted text is left: none of its words and numbers, but those that stand beside it as well.
fn is_gone(planted: &str, left: &str, outside: &str) -> bool {
    let outside: BTreeSet<&str> = outside.split(|c: char| !c.is_alphanumeric()).collect();
    let left: BTreeSet<&str> = left.split(|c: char| !c.is_alphanumeric()).collect();
    let planted = planted.to_lowercase();
    // The words of a time, a price or a code that say nothing by themselves.
    let says_nothing = ["uhr", "um", "march", "mayo", "de", "ext"];
    let words = planted.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .filter(|word| !says_nothing.contains(word) && !outside.contains(word))
        .all(|word| !left.contains(word))
}

#[test]
fn planted_personal_data_is_found() {
    let anonymiser = anonymiser();
    let (mut count, mut missed) = (0, Vec::new());
    let (mut words, mut lost) = (0, 0);
    for line in CORPUS.lines() {
        let (text, planted) = unmark(line);
        let shown = anonymiser.text(&text);
        let left = left(&shown);
        let outside: String =
            line.split('⟧').map(|part| part.split('⟦').next().unwrap()).collect::<Vec<_>>().join(" ");
        let outside = outside.to_lowercase();
        count += planted.len();
        let survivors = planted.iter().filter(|planted| !is_gone(planted, &left, &outside));
        missed.extend(survivors.map(|planted| format!("{planted} in {shown}")));
        // What stands outside the marks is to stay.
        let kept = left.split(|c: char| !c.is_alphanumeric()).collect::<BTreeSet<_>>();
        for word in outside.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2) {
            words += 1;
            if !kept.contains(word) {
                lost += 1;
            }
        }
    }
    println!(
        "{} of {count} found; {lost} of {words} other words replaced; missed: {missed:#?}",
        count - missed.len()
    );
    assert!(count >= 300, "{count} are few");
    assert!((count - missed.len()) * 100 >= count * WANTED_PERCENT);
    assert!(lost * 100 <= words * 3, "{lost} of {words} words that are not personal were replaced");
}

#[test]
fn the_same_is_replaced_by_the_same() {
    let anonymiser = anonymiser();
    let text = |text| anonymiser.text(text);
    assert_eq!(text("Anna"), text("ANNA"));
    assert_eq!(text("Anna"), text("Kowalska"));
    assert_eq!(text("Anna"), anonymiser.person("key of Anna Kowalska"));
    assert_eq!(text("+49 170 1234567"), text("+491701234567"));
    assert_eq!(text("Mail: A@example.org."), text("Mail: a@example.org."));
    assert_ne!(text("a@example.org"), text("b@example.org"));
    assert_ne!(text("Anna"), text("Björn"));
    let other = Anonymiser::new([8; 32], &[]).unwrap();
    assert_ne!(text("a@example.org"), other.text("a@example.org"));
}

#[test]
fn a_record_keeps_nothing_that_identifies() {
    let anonymiser = anonymiser();
    let message = Record::Message(Box::new(Message {
        conversation: "conversation-id".to_owned(),
        id: "message-id".to_owned(),
        from: "key of Zoë".to_owned(),
        sent_ms: 1_795_262_400_123,
        received_ms: 1_795_262_500_456,
        text: Some("I am Zoë".to_owned()),
        states: vec![Reached { peer: "key of O'Brien".to_owned(), state: "read".to_owned() }],
        signed: Some("c2lnbmVk".to_owned()),
        now: None,
    }));
    let line = anonymiser.record(message).unwrap().to_line();
    for gone in ["conversation-id", "message-id", "Zoë", "Brien", "c2lnbmVk", "123", "456"] {
        assert!(!line.contains(gone), "{gone} in {line}");
    }
    assert!(
        line.contains(&format!(
            "\"sent_ms\":{}",
            1_795_262_400_123 / crate::date::DAY_MS * crate::date::DAY_MS
        ))
    );
    let start = Start { hobnob_export: 1, owner: "key of Zoë".to_owned(), anonymised: false };
    assert!(anonymiser.record(Record::Start(start)).unwrap().to_line().contains("\"anonymised\":true"));
    let members = vec!["key of Zoë".to_owned()];
    let conversation = Record::Conversation(Conversation { id: "c".to_owned(), members });
    assert!(anonymiser.record(conversation).unwrap().to_line().contains(&anonymiser.person("key of Zoë")));
}

proptest::proptest! {
    #[test]
    fn any_text_can_be_anonymised(text in ".{0,200}|[a-z0-9@:./+( -]{0,80}") {
        let shown = anonymiser().text(&text);
        proptest::prop_assert!(!left(&shown).chars().any(|c| c.is_ascii_digit()));
    }
}
