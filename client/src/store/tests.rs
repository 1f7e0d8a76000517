use super::*;
use std::path::PathBuf;

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
        store
            .compose(&self.identity, conversation, &[to], Content::Text(text.to_owned()), 1_000, 1)
            .await
            .unwrap()
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
