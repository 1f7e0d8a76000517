use super::super::tests::Side;
use super::*;
use crate::log::ingest::Outcome;
use crate::log::{Content, Head, Message, SignedMessage};
use crate::store::Ingested;

struct Setup {
    me: Side,
    them: Side,
    store: Store,
    conversation: ConversationId,
}

impl Setup {
    async fn new() -> Self {
        let (me, them) = (Side::new(1), Side::new(2));
        let store = me.open().await;
        let conversation = ConversationId::direct(me.peer(), them.peer());
        Self { me, them, store, conversation }
    }

    /// A message that they have.
    async fn say(&self, text: &str) -> MessageId {
        let id = self.pend(text).await;
        self.store.advance(self.them.peer(), &[id], State::Delivered).await.unwrap();
        id
    }

    /// A message that is still here.
    async fn pend(&self, text: &str) -> MessageId {
        self.me.say(&self.store, self.them.peer(), text).await.id()
    }

    async fn hear(&self, parents: &[Head], nonce: u64) -> SignedMessage {
        let said =
            Message::compose(&self.them.identity, self.conversation, parents, Content::text("x"), 1, nonce);
        let said = said.unwrap();
        assert_eq!(self.take(&said).await.outcome, Outcome::Delivered);
        said
    }

    async fn take(&self, message: &SignedMessage) -> Ingested {
        let bytes = vec![message.bytes().clone()];
        self.store.ingest(self.them.peer(), bytes, 1).await.unwrap().remove(0)
    }

    async fn position(&self) -> Vec<MessageId> {
        self.store.position(self.them.peer(), self.conversation).await.unwrap()
    }

    async fn summary(&self) -> HeadsHash {
        self.store.direct_summary(self.them.peer()).await.unwrap()
    }
}

fn head(message: &SignedMessage) -> Head {
    Head { id: message.id(), depth: message.message().depth, author: message.author() }
}

#[tokio::test]
async fn what_may_be_taken_back_is_not_named() {
    let setup = Setup::new().await;
    assert_eq!(setup.summary().await, HeadsHash::of(Vec::new()));
    let first = setup.say("one").await;
    let heard = setup.hear(&[], 1).await;
    let before = setup.summary().await;
    assert_eq!(before, HeadsHash::of(vec![first, heard.id()]));
    let pending = setup.pend("two").await;
    // They know nothing of it, and go on.
    let later = setup.hear(&[head(&heard)], 2).await;
    let last = setup.pend("three").await;
    let both = HeadsHash::of(vec![first, later.id()]);
    assert_eq!(setup.summary().await, both, "what they said last is not above, what they said first is");
    assert_eq!(setup.position().await, [later.id(), first]);
    setup.store.cancel(last).await.unwrap();
    assert_eq!(setup.summary().await, both);

    setup.store.depart(&[pending]);
    assert_eq!(setup.store.cancel(pending).await, Err(StoreError::NotPending));
    assert_eq!(setup.summary().await, HeadsHash::of(vec![pending, later.id()]), "it is on its way");
}

#[tokio::test]
async fn a_position_is_told_to_those_who_belong_there() {
    let setup = Setup::new().await;
    setup.say("one").await;
    let stranger = Side::new(3).peer();
    assert_eq!(setup.store.position(stranger, setup.conversation).await.unwrap(), []);
    assert_eq!(setup.position().await.len(), 1);
}

#[tokio::test]
async fn what_was_refused_is_not_told_again() {
    let setup = Setup::new().await;
    let first = setup.say("one").await;
    let refused = setup.pend("two").await;
    setup.store.advance(setup.them.peer(), &[refused], State::Refused).await.unwrap();
    assert_eq!(setup.summary().await, HeadsHash::of(vec![first]));
}

/// A message of this user that an old copy does not hold any more.
#[tokio::test]
async fn an_own_message_comes_back_as_delivered() {
    let setup = Setup::new().await;
    let content = Content::text("lost");
    let own = Message::compose(&setup.me.identity, setup.conversation, &[], content, 1, 1).unwrap();
    let taken = setup.take(&own).await;
    assert_eq!(taken.outcome, Outcome::Delivered);
    let states = vec![(setup.them.peer(), State::Delivered)];
    assert!(taken.delivered[0].own);
    assert_eq!(taken.delivered[0].states, states);
    assert_eq!(setup.store.get(&[own.id()]).await.unwrap()[0].states, states);
    assert_eq!(setup.store.outbox(setup.them.peer(), 0, 10).await.unwrap(), []);
    assert_eq!(setup.take(&own).await.outcome, Outcome::Duplicate);
    assert_eq!(setup.store.unsent(10).await.unwrap(), []);
}

#[tokio::test]
async fn who_lost_messages_is_told_again_what_was_read() {
    let setup = Setup::new().await;
    let them = setup.them.peer();
    let read = setup.hear(&[], 1).await;
    let own = setup.say("one").await;
    setup.store.mark_read(setup.conversation).await.unwrap();
    let unread = setup.hear(&[head(&read)], 2).await;
    let all = vec![read.id(), own, unread.id()];
    assert_eq!(setup.store.read_among(them, all).await.unwrap(), [read.id()]);
    assert_eq!(setup.store.read_before(them, 2, 8).await.unwrap(), [read.id()]);
    assert_eq!(setup.store.read_before(them, 1, 8).await.unwrap(), []);
    setup.pend("two").await;
    assert_eq!(setup.store.read_before(them, 4, 8).await.unwrap(), [], "what was not sent was not lost");
}
