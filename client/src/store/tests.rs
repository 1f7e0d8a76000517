use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;

use super::*;

pub(super) struct Side {
    pub(super) identity: Identity,
    pub(super) path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Side {
    pub(super) fn new(seed: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { identity: Identity::from_seed([seed; 32]), path: dir.path().join("hobnob.db"), _dir: dir }
    }

    pub(super) fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.path, self.peer()).await.unwrap()
    }

    pub(super) async fn say(&self, store: &Store, to: PeerId, text: &str) -> MessageRow {
        let conversation = ConversationId::direct(self.peer(), to);
        store.compose(&self.identity, conversation, &[to], Content::text(text), 1_000, 1).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_composed_survives_and_waits_in_order() {
    let (a, b) = (Side::new(1), Side::new(2));
    let store = a.open().await;
    let first = a.say(&store, b.peer(), "one").await;
    let second = a.say(&store, b.peer(), "two").await;
    assert_eq!(first.states, [(b.peer(), State::Pending)]);
    assert_eq!((first.order.depth, second.order.depth), (1, 2));
    store.close().await;
    assert_eq!(store.unsent(10).await, Err(StoreError::Closed));

    let store = a.open().await;
    let open = store.outbox(b.peer(), 0, 10).await.unwrap();
    assert_eq!(open.iter().map(|row| row.id).collect::<Vec<_>>(), [first.id(), second.id()]);
    assert_eq!(store.outbox(b.peer(), open[0].sequence, 10).await.unwrap(), open[1..]);
    assert_eq!(store.advance(b.peer(), &[first.id()], State::Delivered).await.unwrap(), [first.id()]);
    assert_eq!(store.advance(b.peer(), &[first.id()], State::Sent).await.unwrap(), []);
    assert_eq!(store.outbox(b.peer(), 0, 10).await.unwrap(), open[1..]);
}

/// The signed bytes of messages that this side wrote.
async fn written(store: &Store, to: PeerId) -> Vec<Bytes> {
    store.outbox(to, 0, 10_000).await.unwrap().into_iter().map(|row| row.bytes).collect()
}

async fn lines(store: &Store, conversation: ConversationId) -> Vec<HistoryRow> {
    store.history(Selection { conversation, before: None, limit: 10_000 }).await.unwrap()
}

#[tokio::test]
async fn gaps_are_shown_and_close_and_everything_is_announced_once() {
    let (a, b) = (Side::new(1), Side::new(2));
    let (sender, receiver) = (a.open().await, b.open().await);
    for n in 0..4 {
        a.say(&sender, b.peer(), &n.to_string()).await;
    }
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let mut bytes = written(&sender, b.peer()).await;
    bytes.reverse();
    let first = bytes.pop().unwrap();

    let early = receiver.ingest(a.peer(), bytes.clone(), 5).await.unwrap();
    assert!(early.iter().all(|result| result.delivered.is_empty()));
    assert_eq!(lines(&receiver, conversation).await, [HistoryRow::Gap(Gap { waiting: 3, missing: 1 })]);
    assert_eq!(receiver.missing(a.peer(), 10).await.unwrap(), [MessageId::of(&first)]);
    receiver.close().await;

    let receiver = b.open().await;
    let closed = receiver.ingest(a.peer(), vec![first], 6).await.unwrap();
    assert_eq!(closed[0].delivered.len(), 4);
    assert_eq!(receiver.missing(a.peer(), 10).await.unwrap(), []);
    let again = receiver.ingest(a.peer(), bytes, 7).await.unwrap();
    assert!(again.iter().all(|result| result.outcome == crate::log::ingest::Outcome::Duplicate));
    let shown = lines(&receiver, conversation).await;
    let texts: Vec<_> = shown.iter().map(text).collect();
    assert_eq!(texts, ["0", "1", "2", "3"]);
    let arrived = receiver.arrived(0, 10).await.unwrap();
    assert_eq!(arrived, closed[0].delivered);
    assert_eq!(*receiver.newest().borrow(), arrived[3].arrival);
    assert_eq!(receiver.heads(conversation).await.unwrap(), [arrived[3].id()]);
}

fn text(row: &HistoryRow) -> String {
    match row {
        HistoryRow::Message(row) => match &row.content {
            Content::Text(text) => text.text.clone(),
            other => format!("kind {}", other.kind()),
        },
        HistoryRow::Gap(gap) => format!("gap {}", gap.waiting),
    }
}

#[tokio::test]
async fn history_comes_in_pages() {
    let (a, b) = (Side::new(1), Side::new(2));
    let store = a.open().await;
    for n in 0..10 {
        a.say(&store, b.peer(), &n.to_string()).await;
    }
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = store.history(Selection { conversation, before, limit: 3 }).await.unwrap();
        let Some(HistoryRow::Message(first)) = page.first() else { break };
        before = Some(first.order);
        seen.splice(0..0, page.iter().map(text));
    }
    assert_eq!(seen, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn strangers_are_refused() {
    use crate::log::ingest::{Invalid, Outcome};
    let (a, b, c) = (Side::new(1), Side::new(2), Side::new(3));
    let (sender, receiver) = (a.open().await, b.open().await);
    a.say(&sender, b.peer(), "for b").await;
    a.say(&sender, c.peer(), "for c").await;
    let outcome = async |bearer: PeerId, bytes: Vec<Bytes>| {
        receiver.ingest(bearer, bytes, 1).await.unwrap().remove(0).outcome
    };
    let (for_b, for_c) = (written(&sender, b.peer()).await, written(&sender, c.peer()).await);
    let refused = Outcome::Invalid(Invalid::UnknownConversation);
    assert_eq!(outcome(a.peer(), for_c).await, refused);
    assert_eq!(outcome(c.peer(), for_b.clone()).await, refused);
    assert_eq!(outcome(a.peer(), for_b.clone()).await, Outcome::Delivered);
    assert_eq!(outcome(c.peer(), for_b).await, refused, "a stranger does not learn that b talks with a");
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let forged = crate::log::Message::compose(&c.identity, conversation, &[], Content::text("as c"), 0, 0);
    let forged = vec![forged.unwrap().bytes().clone()];
    assert_eq!(outcome(a.peer(), forged).await, Outcome::Invalid(Invalid::AuthorNotMember));
    let garbage = outcome(a.peer(), vec![Bytes::from_static(b"garbage")]).await;
    assert!(matches!(garbage, Outcome::Invalid(Invalid::Malformed(_))));
    let bytes = receiver.signed_for(c.peer(), vec![receiver.arrived(0, 1).await.unwrap()[0].id()]).await;
    assert_eq!(bytes.unwrap(), [], "who is no member may not read");
}

#[tokio::test]
async fn forks_are_recorded_and_honest_talk_is_not() {
    let (a, b) = (Side::new(1), Side::new(2));
    let (one, two) = (a.open().await, b.open().await);
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let mut early = None;
    for n in 0..3 {
        a.say(&one, b.peer(), &format!("a{n}")).await;
        b.say(&two, a.peer(), &format!("b{n}")).await;
        two.ingest(a.peer(), written(&one, b.peer()).await, 1).await.unwrap();
        one.ingest(b.peer(), written(&two, a.peer()).await, 1).await.unwrap();
        early.get_or_insert(one.heads(conversation).await.unwrap());
    }
    assert_eq!(one.heads(conversation).await.unwrap(), two.heads(conversation).await.unwrap());
    assert_eq!(one.forks(conversation).await.unwrap(), []);

    let old = one.get(&early.unwrap()).await.unwrap();
    let heads: Vec<_> = old
        .iter()
        .map(|row| crate::log::Head { id: row.id(), depth: row.order.depth, author: row.author })
        .collect();
    let text = Content::text("behind");
    let fork = crate::log::Message::compose(&b.identity, conversation, &heads, text, 0, 9).unwrap();
    let taken = one.ingest(b.peer(), vec![fork.bytes().clone()], 1).await.unwrap();
    assert_eq!(taken[0].delivered.len(), 1);
    let forks = one.forks(conversation).await.unwrap();
    assert_eq!((forks.len(), forks[0].author, forks[0].second), (1, b.peer(), fork.id()));
    assert_eq!(one.first_forks(6).await.unwrap(), forks);
    assert_eq!(one.first_forks(7).await.unwrap(), []);

    let text = Content::text("behind again");
    let again = crate::log::Message::compose(&b.identity, conversation, &heads, text, 0, 10).unwrap();
    one.ingest(b.peer(), vec![again.bytes().clone()], 1).await.unwrap();
    assert!(one.forks(conversation).await.unwrap().len() > 1);
    assert_eq!(one.first_forks(0).await.unwrap(), forks, "told once");
}

#[tokio::test]
async fn one_failing_request_leaves_its_neighbours_alone() {
    let (a, b, c) = (Side::new(1), Side::new(2), Side::new(3));
    let store = a.open().await;
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let compose = |to: PeerId, text: String| {
        let (store, identity) = (store.clone(), a.identity.clone());
        async move { store.compose(&identity, conversation, &[to], Content::text(text), 1, 1).await }
    };
    let long = "x".repeat(crate::log::MAX_TEXT_LEN + 1);
    let (one, two, three, four) = tokio::join!(
        compose(b.peer(), "one".to_owned()),
        compose(c.peer(), "to the wrong one".to_owned()),
        compose(b.peer(), long),
        compose(b.peer(), "four".to_owned()),
    );
    assert!(one.is_ok() && four.is_ok());
    assert_eq!(two, Err(StoreError::NotMember(c.peer())));
    assert!(matches!(three, Err(StoreError::Message(_))));
    assert_eq!(lines(&store, conversation).await.len(), 2);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_not_the_end() {
    let (a, b) = (Side::new(1), Side::new(2));
    let options = Options { max_pages: Some(120), ..Options::default() };
    let store = Store::open_with(&a.path, a.peer(), options).await.unwrap();
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let big = Content::text("x".repeat(10_000));
    let mut kept = 0;
    loop {
        match store.compose(&a.identity, conversation, &[b.peer()], big.clone(), 1, kept).await {
            Ok(_) => kept += 1,
            Err(error) => break assert_eq!(error, StoreError::Full),
        }
        assert!(kept < 1000);
    }
    assert!(kept > 5);
    assert_eq!(lines(&store, conversation).await.len() as u64, kept);
    store.close().await;
    let store = a.open().await;
    a.say(&store, b.peer(), "there is room again").await;
    assert_eq!(store.outbox(b.peer(), 0, 1000).await.unwrap().len() as u64, kept + 1);
}

#[tokio::test]
async fn contacts_are_found_by_name_and_key() {
    let side = Side::new(1);
    let store = side.open().await;
    let peer = Identity::from_seed([9; 32]).peer_id();
    let meeting = |name: &str, now_ms| Meeting { peer, given_name: name.to_owned(), now_ms };
    store.meet(meeting("Ada", 10)).await.unwrap();
    store.meet(meeting(&"x".repeat(100), 20)).await.unwrap();
    store.rename(peer, "Countess").await.unwrap();
    let contact = store.contacts().await.unwrap().remove(0);
    assert_eq!((contact.first_met_ms, contact.last_seen_ms), (10, 20));
    assert_eq!((contact.given_name.len(), contact.name()), (MAX_NAME_CHARS, "Countess".to_owned()));
    for text in ["countess", "coun", &peer.short(), &peer.to_string().to_uppercase()] {
        assert_eq!(store.find_contacts(text).await.unwrap().len(), 1, "{text}");
    }
    assert_eq!(store.find_contacts("").await.unwrap(), []);
    assert_eq!(store.find_contacts("nobody").await.unwrap(), []);
    assert_eq!(store.rename(side.peer(), "me").await, Err(StoreError::UnknownContact(side.peer())));
}

#[tokio::test]
async fn where_a_contact_was_seen_is_kept_the_newest_first_until_it_is_blocked() {
    let side = Side::new(1);
    let store = side.open().await;
    let peer = Identity::from_seed([9; 32]).peer_id();
    let at = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    assert_eq!(store.see_at(peer, 5, vec![at(1)]).await, Err(StoreError::UnknownContact(peer)));
    store.meet(Meeting { peer, given_name: String::new(), now_ms: 10 }).await.unwrap();
    assert_eq!(store.see_at(peer, 20, vec![at(1), at(2)]).await.unwrap(), [1, 2].map(at));
    assert_eq!(store.see_at(peer, 30, vec![at(3), at(2)]).await.unwrap(), [3, 2, 1].map(at));
    let many = (4..=99).map(at).collect();
    assert_eq!(store.see_at(peer, 15, many).await.unwrap(), [4, 5, 6, 7].map(at), "no more than four");
    store.meet(Meeting { peer, given_name: String::new(), now_ms: 25 }).await.unwrap();
    let contact = store.contacts().await.unwrap().remove(0);
    assert_eq!((contact.last_seen_ms, contact.endpoints), (30, [4, 5, 6, 7].map(at).to_vec()));

    let span = Span { since_ms: 40, until_ms: None };
    store.take_stance(Stance::Muted, Subject::Person(peer), span).await.unwrap();
    assert_eq!(store.contacts().await.unwrap()[0].endpoints.len(), MAX_ENDPOINTS);
    store.take_stance(Stance::Blocked, Subject::Person(peer), span).await.unwrap();
    assert_eq!(store.contacts().await.unwrap()[0].endpoints, []);
}

#[tokio::test]
async fn pins_and_settings_are_kept() {
    let side = Side::new(1);
    let store = side.open().await;
    assert_eq!(store.pin("host:5000").await.unwrap(), None);
    store.set_pin("Host:5000", side.peer()).await.unwrap();
    store.set_setting("name", "Ada").await.unwrap();
    store.set_setting("identity", "a front end may use any name").await.unwrap();
    store.close().await;
    let store = side.open().await;
    assert_eq!(store.pin("host:5000").await.unwrap(), Some(side.peer()));
    assert_eq!(store.setting("name").await.unwrap().as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_reader_reads_beside_the_writer_and_changes_nothing() {
    let (a, b) = (Side::new(1), Side::new(2));
    assert_eq!(Store::open_read_only(&a.path).await.err(), Some(StoreError::Missing(a.path.clone())));
    let store = a.open().await;
    let conversation = ConversationId::direct(a.peer(), b.peer());
    let reader = Store::open_read_only(&a.path).await.unwrap();
    assert_eq!(reader.me(), a.peer());
    a.say(&store, b.peer(), "one").await;
    assert_eq!(lines(&reader, conversation).await, lines(&store, conversation).await);
    assert_eq!(reader.set_setting("name", "x").await, Err(StoreError::ReadOnly));
    store.close().await;
    let reader = Store::open_read_only(&a.path).await.unwrap();
    assert_eq!(lines(&reader, conversation).await.len(), 1);
}

#[tokio::test]
async fn a_closed_database_is_one_file_that_can_be_copied() {
    let (a, b) = (Side::new(1), Side::new(2));
    let store = a.open().await;
    a.say(&store, b.peer(), "one").await;
    assert_eq!(store.unsent(10).await.unwrap().len(), 1);
    store.close().await;
    assert!(!a.path.with_extension("db-wal").exists());
    let copy = Side::new(1);
    std::fs::copy(&a.path, &copy.path).unwrap();
    assert_eq!(copy.open().await.unsent(10).await.unwrap().len(), 1);
}
