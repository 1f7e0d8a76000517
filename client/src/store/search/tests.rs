use proptest::prelude::*;

use super::*;
use crate::log::ConversationId;
use crate::store::tests::Side;
use crate::store::{Store, open};

fn words(text: &str) -> Vec<Term> {
    vec![Term { words: text.to_owned(), is_prefix: false }]
}

fn prefix(text: &str) -> Vec<Term> {
    vec![Term { words: text.to_owned(), is_prefix: true }]
}

async fn texts(store: &Store, search: Search) -> Vec<String> {
    let found = store.search(Search { limit: 100, ..search }).await.unwrap();
    let text = |row: MessageRow| row.content.as_text().expect("a text").to_owned();
    found.into_iter().map(text).collect()
}

#[tokio::test]
async fn words_prefixes_and_phrases_are_found_newest_first() {
    let (a, b) = (Side::new(1), Side::new(2));
    let store = a.open().await;
    for text in ["Der Fluß ist träge", "the river, slow", "a slow RIVER boat", "\"quoted\" AND NOT (x:y)"] {
        a.say(&store, b.peer(), text).await;
    }
    let find = async |terms| texts(&store, Search { terms, ..Search::default() }).await;
    assert_eq!(find(words("river")).await, ["a slow RIVER boat", "the river, slow"]);
    assert_eq!(find(words("slow river")).await, ["a slow RIVER boat"]);
    assert_eq!(find(words("trage")).await, ["Der Fluß ist träge"]);
    assert_eq!(find(prefix("ri")).await.len(), 2);
    assert_eq!(find(words("ri")).await.len(), 0);
    assert_eq!(find(words("\"quoted\" AND NOT (x:y)")).await.len(), 1);
    assert_eq!(find(words("quoted\0slow")).await.len(), 0);
    assert_eq!(find([words("slow"), words("boat")].concat()).await, ["a slow RIVER boat"]);
    assert_eq!(find(words("  !? ")).await.len(), 0);
    assert_eq!(find(vec![]).await.len(), 0);
}

#[tokio::test]
async fn a_search_is_narrowed_and_paged() {
    let (a, b, c) = (Side::new(1), Side::new(2), Side::new(3));
    let store = a.open().await;
    for n in 0..10 {
        a.say(&store, b.peer(), &format!("ping {n}")).await;
    }
    a.say(&store, c.peer(), "ping c").await;
    let ping = || Search { terms: words("ping"), ..Search::default() };
    let with_c = vec![ConversationId::direct(a.peer(), c.peer())];
    assert_eq!(texts(&store, Search { conversations: with_c.clone(), ..ping() }).await, ["ping c"]);
    assert_eq!(texts(&store, Search { conversations: with_c, ..Search::default() }).await, ["ping c"]);
    assert_eq!(texts(&store, Search { authors: vec![a.peer()], ..ping() }).await.len(), 11);
    assert_eq!(texts(&store, Search { authors: vec![b.peer()], ..ping() }).await.len(), 0);
    // `Side::say` labels everything with 1,000 ms.
    assert_eq!(texts(&store, Search { from_ms: Some(1000), until_ms: Some(1001), ..ping() }).await.len(), 11);
    assert_eq!(texts(&store, Search { from_ms: Some(1001), ..ping() }).await.len(), 0);
    assert_eq!(texts(&store, Search { until_ms: Some(1000), ..ping() }).await.len(), 0);

    let (mut before_arrival, mut seen) = (None, 0);
    loop {
        let page = store.search(Search { limit: 4, before_arrival, ..ping() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before_arrival = Some(last.arrival);
        seen += page.len();
    }
    assert_eq!(seen, 11);
}

#[tokio::test]
async fn what_was_edited_is_found_by_its_new_words_and_what_was_taken_back_not_at_all() {
    let (a, b) = (Side::new(1), Side::new(2));
    let store = a.open().await;
    let said = a.say(&store, b.peer(), "first words").await;
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let target = said.id();
    let write = async |content, nonce| {
        store.compose(&a.identity, conversation, &[b.peer()], content, 1_000, nonce).await.unwrap();
    };
    let find = async |terms| texts(&store, Search { terms, ..Search::default() }).await;
    write(Content::Edit { target, text: "other words".to_owned() }, 2).await;
    assert_eq!(find(words("first")).await.len(), 0);
    assert_eq!(find(words("other")).await, ["other words"]);
    let by_author =
        async || texts(&store, Search { authors: vec![a.peer()], limit: 9, ..Search::default() }).await;
    assert_eq!(by_author().await, ["other words"], "an edit is no message of its own");
    let part = crate::store::Part { conversation, after: None, until_arrival: 9, limit: 9 };
    let archived = store.archive(part).await.unwrap();
    assert_eq!(archived[0].content.as_text(), Some("first words"), "an export has what was signed");
    write(Content::Delete { target }, 3).await;
    assert_eq!(find(words("words")).await.len(), 0);
    assert_eq!(by_author().await.len(), 0);
    let archived = store.archive(part).await.unwrap();
    assert!(archived[0].row.marks.deleted && archived[0].content.as_text() == Some("first words"));
}

/// However messages come, one by one or many together, the index stays in few pieces without a burst of merging.
#[test]
fn the_index_is_merged_as_it_grows() {
    let conn = scratch();
    let mut row = 0;
    for (times, together) in [(1_500, 1), (40, 256), (300, 3)] {
        for _ in 0..times {
            let entries: Vec<_> = (0..together)
                .map(|_| {
                    row += 1;
                    Entry {
                        row,
                        text: format!("so many words and number {row}"),
                        marks: format!("d0x{}", row / 99),
                    }
                })
                .collect();
            insert(&conn, &entries).unwrap();
            merge(&conn, &entries).unwrap();
            let count = "SELECT count(DISTINCT segid) FROM search_idx";
            let pieces: i64 = conn.query_row(count, [], |row| row.get(0)).unwrap();
            assert!(pieces < 40, "{pieces} pieces after {row}");
        }
    }
}

fn scratch() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    for script in open::MIGRATIONS {
        conn.execute_batch(script).unwrap();
    }
    conn
}

proptest! {
    /// Whatever is typed is no error of FTS5.
    #[test]
    fn no_term_is_an_error(texts in prop::collection::vec((".{0,30}|[\"*^:()+ \\-\0]{0,9}", any::<bool>()), 0..5)) {
        let terms = texts.into_iter().map(|(words, is_prefix)| Term { words, is_prefix }).collect();
        let me = common::identity::Identity::from_seed([1; 32]).peer_id();
        let search = Search { terms, authors: vec![me], limit: 5, ..Search::default() };
        prop_assert_eq!(find(&scratch(), me, &search), Ok(vec![]));
    }

    /// A span's marks are those of its days and of no others.
    #[test]
    fn marks_cover_exactly_their_days(first in 0..=MAX_DAY, len in 0..3000_u64, day in 0..=MAX_DAY) {
        let last = (first + len).min(MAX_DAY);
        for (first, last) in [(first, last), (0, last), (first, MAX_DAY)] {
            let marks = cover(first, last);
            prop_assert!(marks.len() <= 32 + 4 * 31);
            for day in [day, first, last, first.saturating_sub(1), (last + 1).min(MAX_DAY)] {
                let hit = day_marks(day).filter(|mark| marks.contains(mark)).count();
                prop_assert_eq!(hit, usize::from((first..=last).contains(&day)));
            }
        }
    }
}
