use bytes::BytesMut;
use common::frame::{self, Message as _};
use common::identity::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::log::wire::{Ack, Carry, Have, LogFrame, MAX_IDS, News, Summary, Want};
use crate::log::{Content, ConversationId, Head, Message};

/// How long the test waits for a frame, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// One side, with a real exchange on one end of a pipe and the test on the other.
struct Lone {
    store: Store,
    peer: Identity,
    stream: DuplexStream,
    buffer: BytesMut,
    events: mpsc::Receiver<ExchangeEvent>,
    task: JoinHandle<Result<(), ExchangeError>>,
    me: Identity,
    _dir: tempfile::TempDir,
}

async fn lone() -> Lone {
    let dir = tempfile::tempdir().unwrap();
    let (me, peer) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let store = Store::open(&dir.path().join("db"), me.peer_id()).await.unwrap();
    let (stream, theirs) = duplex(64 * 1024);
    let (sender, events) = mpsc::channel(10_000);
    let exchange = Exchange {
        store: store.clone(),
        peer: peer.peer_id(),
        events: sender,
        clock: WallClock(|| 7),
        typing: broadcast::Sender::new(1),
    };
    let (reader, writer) = split(theirs);
    #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
    let task = tokio::spawn(run(exchange, reader, writer));
    Lone { store, peer, stream, buffer: BytesMut::new(), events, task, me, _dir: dir }
}

impl Lone {
    fn conversation(&self) -> ConversationId {
        ConversationId::direct(self.me.peer_id(), self.peer.peer_id())
    }

    async fn send(&mut self, frame: impl Into<LogFrame>) {
        // The exchange may have ended; the test looks at its result.
        let _ = self.stream.write_all(&frame.into().to_bytes()).await;
    }

    /// The next frame that does not only tell what the direct chat comes to.
    async fn next(&mut self) -> LogFrame {
        loop {
            let frame = self.next_of_all().await;
            if !matches!(&frame, LogFrame::Summary(told) if told.conversations[0].0 == self.conversation()) {
                return frame;
            }
        }
    }

    async fn next_of_all(&mut self) -> LogFrame {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer).unwrap() {
                return frame;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("a frame");
            assert_ne!(read.unwrap(), 0, "the stream ended");
        }
    }

    async fn say(&self, text: &str) -> MessageId {
        let content = Content::text(text);
        let to = [self.peer.peer_id()];
        self.store.compose(&self.me, self.conversation(), &to, content, 1, 1).await.unwrap().id()
    }

    /// A message by the peer.
    fn write(&self, heads: &[Head], nonce: u64) -> crate::log::SignedMessage {
        let content = Content::text(nonce.to_string());
        Message::compose(&self.peer, self.conversation(), heads, content, 1, nonce).unwrap()
    }

    async fn ends(self) -> ExchangeError {
        let Self { task, stream, .. } = self;
        let (mut reader, _writer) = split(stream);
        let mut rest = Vec::new();
        let (result, _) = tokio::join!(task, reader.read_to_end(&mut rest));
        result.unwrap().unwrap_err()
    }
}

fn carry(message: &crate::log::SignedMessage) -> Carry {
    Carry { bytes: message.bytes().to_vec() }
}

fn head(message: &crate::log::SignedMessage) -> Head {
    Head { id: message.id(), depth: message.message().depth, author: message.author() }
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_out_at_once_and_is_delivered_by_its_ack() {
    let mut lone = lone().await;
    let peer = lone.peer.peer_id();
    let id = lone.say("hello").await;
    let LogFrame::Message(carry) = lone.next().await else { panic!("not a message") };
    assert_eq!(MessageId::of(&carry.bytes), id);
    assert_eq!(lone.events.recv().await, Some(ExchangeEvent::State { id, peer, state: State::Sent }));
    tokio::time::sleep(SENT_GRACE * 2).await;
    lone.send(Ack { ids: vec![id] }).await;
    assert_eq!(lone.events.recv().await, Some(ExchangeEvent::State { id, peer, state: State::Delivered }));
    assert_eq!(lone.store.unsent(10).await.unwrap(), []);
    lone.stream.shutdown().await.unwrap();
    lone.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn sent_becomes_durable_when_the_ack_stays_away() {
    let mut lone = lone().await;
    lone.say("hello").await;
    lone.next().await;
    assert_eq!(lone.store.unsent(10).await.unwrap()[0].state, State::Pending);
    tokio::time::sleep(SENT_GRACE * 2).await;
    lone.store.set_setting("after", "the mark").await.unwrap();
    assert_eq!(lone.store.unsent(10).await.unwrap()[0].state, State::Sent);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_and_what_is_wrong_refused() {
    let mut lone = lone().await;
    let first = lone.write(&[], 1);
    let second = lone.write(&[head(&first)], 2);
    let wrong = lone.write(&[Head { depth: 50, ..head(&first) }], 3);
    lone.send(carry(&second)).await;
    let mut replies = vec![lone.next().await, lone.next().await];
    replies.sort_by_key(|frame| matches!(frame, LogFrame::Want(_)));
    assert_eq!(
        replies,
        [LogFrame::from(Ack { ids: vec![second.id()] }), LogFrame::from(Want { ids: vec![first.id()] })]
    );
    assert!(matches!(lone.events.recv().await, Some(ExchangeEvent::Gap { .. })));
    lone.send(carry(&first)).await;
    assert_eq!(lone.next().await, LogFrame::from(Ack { ids: vec![first.id()] }));
    for expected in [first.id(), second.id()] {
        let Some(ExchangeEvent::Message(row)) = lone.events.recv().await else { panic!("no message") };
        assert_eq!(row.id(), expected);
    }
    lone.send(carry(&wrong)).await;
    let LogFrame::Refuse(refuse) = lone.next().await else { panic!("not refused") };
    assert_eq!((refuse.id, refuse.reason), (wrong.id(), RefuseReason::GRAPH));
    lone.send(Carry { bytes: b"garbage".to_vec() }).await;
    let LogFrame::Refuse(refuse) = lone.next().await else { panic!("not refused") };
    assert_eq!(refuse.id, MessageId::of(b"garbage"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_sent_again() {
    let mut lone = lone().await;
    let id = lone.say("hello").await;
    lone.next().await;
    lone.send(crate::log::wire::Refuse { id, reason: RefuseReason::VERSION }).await;
    while let Some(event) = lone.events.recv().await {
        if matches!(event, ExchangeEvent::Refused { id: refused, .. } if refused == id) {
            break;
        }
    }
    assert_eq!(lone.store.outbox(lone.peer.peer_id(), 0, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn wants_are_answered_to_members_only() {
    let mut lone = lone().await;
    let id = lone.say("for the peer").await;
    lone.next().await;
    let third = Identity::from_seed([3; 32]).peer_id();
    let elsewhere = ConversationId::direct(lone.me.peer_id(), third);
    let content = Content::text("for somebody else");
    let other = lone.store.compose(&lone.me, elsewhere, &[third], content, 1, 1).await.unwrap();
    lone.send(Want { ids: vec![other.id(), MessageId::of(b"unknown"), id] }).await;
    let LogFrame::Message(answer) = lone.next().await else { panic!("no answer") };
    assert_eq!(MessageId::of(&answer.bytes), id);
}

/// A room that is unknown here, which is asked for.
async fn asks_for(lone: &mut Lone, room: ConversationId) {
    let LogFrame::Have(have) = lone.next().await else { panic!("it does not ask") };
    assert_eq!((have.conversation, have.ids), (room, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn rooms_are_named_in_short_by_their_places() {
    let mut lone = lone().await;
    let rooms = [1, 2, 3].map(|n| ConversationId::from_bytes([n; 32]));
    let [old, new] = [b"old", b"new"].map(|id| HeadsHash::of(vec![MessageId::of(id)]));
    lone.send(Summary { conversations: vec![(rooms[0], old), (rooms[1], old)] }).await;
    lone.send(Summary { conversations: vec![(rooms[0], old), (rooms[2], old)] }).await;
    for place in [0, 1, 0, 2] {
        asks_for(&mut lone, rooms[place]).await;
    }
    lone.send(News(2, new)).await;
    asks_for(&mut lone, rooms[2]).await;
    lone.send(News(3, new)).await;
    assert!(matches!(lone.ends().await, ExchangeError::UnnamedRoom(3)));
}

/// What a peer hears who names the direct chat of two others in all ways that there are.
async fn told_of_others(is_here: bool) -> Vec<LogFrame> {
    let mut lone = lone().await;
    let third = Identity::from_seed([3; 32]);
    let elsewhere = ConversationId::direct(lone.me.peer_id(), third.peer_id());
    if is_here {
        let to = [third.peer_id()];
        lone.store.compose(&lone.me, elsewhere, &to, Content::text("hello"), 1, 1).await.unwrap();
    }
    let theirs = Message::compose(&third, elsewhere, &[], Content::text("guess"), 1, 1).unwrap();
    let ours = Message::compose(&lone.peer, elsewhere, &[], Content::text("guess"), 1, 1).unwrap();
    lone.send(carry(&theirs)).await;
    lone.send(carry(&ours)).await;
    lone.send(Summary { conversations: vec![(elsewhere, HeadsHash::of(Vec::new()))] }).await;
    lone.send(Have { conversation: elsewhere, ids: vec![theirs.id()] }).await;
    lone.send(Have { conversation: elsewhere, ids: Vec::new() }).await;
    let mut frames = Vec::new();
    tokio::time::sleep(2 * SUMMARY_DELAY).await;
    let last = lone.write(&[], 1);
    lone.send(carry(&last)).await;
    loop {
        match lone.next_of_all().await {
            LogFrame::Ack(Ack { ids }) if ids == [last.id()] => return frames,
            frame => frames.push(frame),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_learns_whom_somebody_talks_with() {
    let frames = told_of_others(false).await;
    assert!(frames.iter().any(|frame| matches!(frame, LogFrame::Have(have) if have.ids.is_empty())));
    assert_eq!(told_of_others(true).await, frames);
}

/// `docs/protocol.md` §7.4: nothing more is said if both have the same, whoever of the two tells.
#[tokio::test(start_paused = true)]
async fn who_hears_that_it_is_the_same_says_nothing() {
    let mut lone = lone().await;
    let conversation = lone.conversation();
    let first = lone.write(&[], 1);
    lone.send(carry(&first)).await;
    assert_eq!(lone.next().await, LogFrame::from(Ack { ids: vec![first.id()] }));
    let same = HeadsHash::of(vec![first.id()]);
    lone.send(Summary { conversations: vec![(conversation, same)] }).await;
    tokio::time::sleep(10 * ASK_PATIENCE).await;
    let second = lone.write(&[head(&first)], 2);
    lone.send(carry(&second)).await;
    assert_eq!(lone.next().await, LogFrame::from(Ack { ids: vec![second.id()] }));
    lone.send(Summary { conversations: vec![(conversation, same)] }).await;
    let ids = vec![second.id(), first.id()];
    assert_eq!(lone.next().await, LogFrame::from(Have { conversation, ids }));
}

/// What is on its way cannot be there yet: the comparison waits for it.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_not_compared() {
    let mut lone = lone().await;
    let conversation = lone.conversation();
    let id = lone.say("on its way").await;
    let LogFrame::Message(_) = lone.next().await else { panic!("not a message") };
    lone.send(Summary { conversations: vec![(conversation, HeadsHash::of(Vec::new()))] }).await;
    tokio::time::sleep(ASK_PATIENCE).await;
    lone.send(Ack { ids: vec![id] }).await;
    let same = Summary { conversations: vec![(conversation, HeadsHash::of(vec![id]))] };
    let told = loop {
        match lone.next_of_all().await {
            LogFrame::Summary(told) if told != same => {}
            frame => break frame,
        }
    };
    assert!(matches!(told, LogFrame::Summary(_) | LogFrame::News(_)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn endless_wants_end_the_stream() {
    let mut lone = lone().await;
    for _ in 0..=MAX_WANTED_TOTAL / MAX_IDS {
        lone.send(Want { ids: vec![MessageId::of(b"unknown"); MAX_IDS] }).await;
    }
    assert!(matches!(lone.ends().await, ExchangeError::TooManyWants));
}

#[tokio::test(start_paused = true)]
async fn endless_gaps_end_the_stream() {
    let mut lone = lone().await;
    for nonce in 0..=crate::store::MAX_WAITING as u64 {
        let nowhere = Head { id: MessageId::of(&nonce.to_be_bytes()), depth: 1, author: lone.peer.peer_id() };
        let message = lone.write(&[nowhere], nonce);
        lone.send(carry(&message)).await;
        if nonce % 64 == 0 {
            lone.next().await;
        }
    }
    assert!(matches!(lone.ends().await, ExchangeError::TooManyGaps));
}

#[tokio::test(start_paused = true)]
async fn acks_without_end_from_who_does_not_read_end_the_stream() {
    let mut lone = lone().await;
    for n in 0..200 {
        lone.say(&"x".repeat(10_000 + n)).await;
    }
    // The exchange is stuck writing, and each of these becomes a note that nobody takes.
    for n in 0_u64.. {
        let frame = LogFrame::from(Ack { ids: vec![MessageId::of(b"unknown")] });
        if lone.stream.write_all(&frame.to_bytes()).await.is_err() {
            break;
        }
        assert!(n <= 2 * MAX_NOTES as u64, "notes pile up");
        // The store answers before the next one goes out.
        lone.store.advance(lone.peer.peer_id(), &[], State::Sent).await.unwrap();
    }
    assert!(matches!(lone.task.await.unwrap(), Err(ExchangeError::Window)));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_ends_the_stream() {
    let too_many = LogFrame::from(Ack { ids: vec![MessageId::of(b"x"); MAX_IDS + 1] }).to_bytes();
    for (bytes, expected) in [
        (vec![1, 0xff, 0xff, 0xff], "is longer than"),
        (vec![2, 0, 0, 1, 0xc1], "does not decode"),
        (too_many.to_vec(), "holds 257 ids"),
    ] {
        let mut lone = lone().await;
        lone.stream.write_all(&bytes).await.unwrap();
        let error = lone.ends().await.to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut lone = lone().await;
    lone.stream.write_all(&[1, 0, 0, 9, 1]).await.unwrap();
    lone.stream.shutdown().await.unwrap();
    assert!(matches!(lone.task.await.unwrap(), Err(ExchangeError::Cut)));
}
