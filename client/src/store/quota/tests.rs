use bytes::Bytes;
use common::identity::Identity;

use super::*;
use crate::log::ingest::Outcome;
use crate::log::{Act, Content};

struct Setup {
    _dir: tempfile::TempDir,
    me: Identity,
    them: Identity,
    mine: Store,
    theirs: Store,
    direct: ConversationId,
}

impl Setup {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [me, them] = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
        let open = async |identity: &Identity| {
            Store::open(&dir.path().join(identity.peer_id().to_string()), identity.peer_id()).await.unwrap()
        };
        let (mine, theirs) = (open(&me).await, open(&them).await);
        let direct = ConversationId::direct(me.peer_id(), them.peer_id());
        Self { mine, theirs, direct, me, them, _dir: dir }
    }

    /// They write, and it is handed to us.
    async fn hear(&self, conversation: ConversationId, content: Content, nonce: u64) -> Outcome {
        let to = [self.me.peer_id()];
        let to = if conversation == self.direct { &to[..] } else { &[] };
        let row = self.theirs.compose(&self.them, conversation, to, content, 1, nonce).await.unwrap();
        let row = i64::try_from(row.arrival).unwrap();
        let bytes: Vec<Bytes> =
            self.theirs.signed_rows(vec![row]).await.unwrap().iter().map(|m| m.bytes().clone()).collect();
        self.mine.ingest(self.them.peer_id(), bytes, 1).await.unwrap().pop().unwrap().outcome
    }

    async fn pretend(&self, conversation: ConversationId, bytes: u64) {
        let set = move |conn: &Connection| {
            let update = "UPDATE conversations SET bytes = ?2 WHERE id = ?1";
            super::super::sql::run(
                conn,
                update,
                params![conversation.as_bytes(), super::super::sql::int(bytes)],
            )
        };
        assert_eq!(self.mine.write(set).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn who_was_never_answered_has_a_bound_until_they_are() {
    let setup = Setup::new().await;
    let text = || Content::text("hello");
    assert_eq!(setup.hear(setup.direct, text(), 1).await, Outcome::Delivered);
    setup.pretend(setup.direct, MAX_UNANSWERED - 1).await;
    assert_eq!(setup.hear(setup.direct, text(), 2).await, Outcome::Delivered, "what is kept is counted");
    assert_eq!(setup.hear(setup.direct, text(), 3).await, Outcome::Postponed(Quota::Unanswered));
    assert_eq!(
        setup.mine.exceeded(setup.them.peer_id(), setup.direct).await.unwrap(),
        Some(Quota::Unanswered)
    );

    setup.mine.compose(&setup.me, setup.direct, &[setup.them.peer_id()], text(), 1, 1).await.unwrap();
    assert_eq!(setup.mine.exceeded(setup.them.peer_id(), setup.direct).await.unwrap(), None, "answered");
}

#[tokio::test]
async fn what_is_known_is_acknowledged_whatever_the_bound() {
    let setup = Setup::new().await;
    setup.hear(setup.direct, Content::text("once"), 1).await;
    setup.pretend(setup.direct, MAX_UNANSWERED).await;
    let bytes: Vec<Bytes> =
        setup.theirs.signed_rows(vec![1]).await.unwrap().iter().map(|m| m.bytes().clone()).collect();
    let again = setup.mine.ingest(setup.them.peer_id(), bytes, 1).await.unwrap();
    assert_eq!(again[0].outcome, Outcome::Duplicate);
}

#[tokio::test]
async fn a_room_has_a_bound_until_its_invitation_is_accepted() {
    let setup = Setup::new().await;
    let room = ConversationId::room(setup.them.peer_id(), 1, 1, "club");
    let me = setup.me.peer_id();
    let create = Content::Room(Act::Create { name: "club".to_owned() });
    for (nonce, content) in [(1, create), (2, Content::Room(Act::Add(me)))] {
        assert_eq!(setup.hear(room, content, nonce).await, Outcome::Delivered);
    }
    setup.pretend(room, MAX_UNACCEPTED).await;
    assert_eq!(setup.hear(room, Content::text("x"), 3).await, Outcome::Postponed(Quota::Unaccepted));
    setup.mine.compose(&setup.me, room, &[], Content::Room(Act::Accept), 1, 9).await.unwrap();
    assert_eq!(setup.mine.exceeded(setup.them.peer_id(), room).await.unwrap(), None);
}

#[tokio::test]
async fn strangers_share_a_bound_that_stops_new_ones_too() {
    let setup = Setup::new().await;
    let room = ConversationId::room(setup.them.peer_id(), 1, 1, "club");
    setup.hear(room, Content::Room(Act::Create { name: "club".to_owned() }), 1).await;
    setup.pretend(room, MAX_UNASKED).await;
    let outcome = setup.hear(setup.direct, Content::text("x"), 2).await;
    assert_eq!(outcome, Outcome::Postponed(Quota::Strangers));
    assert_eq!(setup.mine.conversation(setup.direct).await.unwrap(), None, "nothing is begun");
}

#[tokio::test]
async fn the_disk_is_kept_from_others_only() {
    let setup = Setup::new().await;
    setup.mine.set_setting(DISK, "0").await.unwrap();
    let outcome = setup.hear(setup.direct, Content::text("x"), 1).await;
    assert_eq!(outcome, Outcome::Postponed(Quota::Disk));
    let to = [setup.them.peer_id()];
    setup.mine.compose(&setup.me, setup.direct, &to, Content::text("y"), 1, 1).await.unwrap();
}
