//! One peer's log stream: what is in the outbox goes out in order, what comes in is committed and then
//! acknowledged, and what is missing is asked for (`docs/protocol.md` §7.2).
//!
//! [`run`] works on any pair of byte streams. It writes a message as soon as the store has committed it, and commits
//! everything that has already arrived at once. Everything that a peer can make grow has a bound here.

mod intake;
mod places;
mod receive;
mod send;
mod syncing;

pub use send::READ_MARKS;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::frame::FrameError;
use common::identity::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, broadcast, mpsc};

use super::id::{ConversationId, MessageId};
use super::ingest::{Invalid, Quota};
use super::wire::{HeadsHash, MAX_FRAME_LEN, RefuseReason};
use crate::store::{MessageRow, State, Store, StoreError};

/// Messages on their way that the other side has not acknowledged.
pub const MAX_IN_FLIGHT: usize = 1024;
/// Bytes of such messages; one message may go beyond.
pub const MAX_IN_FLIGHT_BYTES: usize = 1024 * 1024;
/// Messages that are read from the outbox and written at a time.
const PAGE: usize = 64;
/// Bytes that are taken from the stream into one commit.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Wanted ids that wait to be answered. A peer that asks for more at a time than it can have gaps is hostile.
const MAX_WANTED: usize = 2048;
/// Wanted ids that one stream answers in all.
const MAX_WANTED_TOTAL: usize = 65_536;
/// Notes from the receiving half to the sending one. An honest peer causes at most one for each message of the two
/// windows, and one for each wanted id.
const MAX_NOTES: usize = 2 * MAX_IN_FLIGHT + 2 * MAX_WANTED;
/// Messages on their way of what the peer lacks of older times: the rest of the window is for new ones.
const MAX_BACKLOG_IN_FLIGHT: usize = MAX_IN_FLIGHT / 2;
/// How long news of a conversation's heads wait for more: what came meanwhile is told at once.
const SUMMARY_DELAY: Duration = Duration::from_millis(300);
/// How much longer they wait at the one with the greater key: the other's word is there before, on most ways.
const SUMMARY_TURN: Duration = Duration::from_millis(150);
/// How long who is asked for what is missing may send nothing before somebody else is asked. Several round trips.
const ASK_PATIENCE: Duration = Duration::from_millis(500);
/// Messages that became part of the log together and are handed on at once: with more somebody catches up, and the others
/// are told when that is over.
const MAX_HANDED_ON: usize = 16;
/// Conversations of which the peer says something that are not known here and are asked for, in the life of a stream.
const MAX_UNKNOWN: usize = 64;
/// How long a sent message may stay unacknowledged before *sent* is made durable: on a quick path *delivered* comes
/// first and saves a commit.
const SENT_GRACE: Duration = Duration::from_millis(50);

const _: () = assert!(MAX_BATCH_BYTES > MAX_FRAME_LEN);

/// What a user interface learns from a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeEvent {
    /// A message became part of a conversation. Messages come after their parents, each once.
    Message(Box<MessageRow>),
    /// A message of this user got further towards `peer`. States go forward; some may be skipped.
    State {
        /// The message.
        id: MessageId,
        /// The recipient.
        peer: PeerId,
        /// How far it got.
        state: State,
    },
    /// A message is kept back until `missing` are there; they were asked for.
    Gap {
        /// The message.
        id: MessageId,
        /// Who handed it over.
        peer: PeerId,
        /// Parents that are missing.
        missing: Vec<MessageId>,
    },
    /// A message of this user will not be taken; its state is [`State::Refused`].
    Refused {
        /// The message.
        id: MessageId,
        /// The recipient.
        peer: PeerId,
        /// Why.
        reason: RefuseReason,
    },
    /// The peer's user is typing.
    Typing {
        /// Where, as the peer says.
        conversation: ConversationId,
        /// Who.
        peer: PeerId,
    },
    /// There is no room for what the peer hands over; it was told so.
    Postponed {
        /// Where.
        conversation: ConversationId,
        /// Who handed it over.
        peer: PeerId,
        /// What is used up.
        quota: Quota,
    },
    /// The peer handed over something that can never be part of a conversation; it was told so.
    Invalid {
        /// The name of what it sent.
        id: MessageId,
        /// Who sent it.
        peer: PeerId,
        /// What is wrong.
        invalid: Invalid,
    },
}

/// Why a log stream ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] std::io::Error),
    /// The peer sent what is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer sent too many messages whose parents are missing.
    #[error("the peer has too many messages waiting for earlier ones")]
    TooManyGaps,
    /// The peer asked for too many messages.
    #[error("the peer asks for too many messages")]
    TooManyWants,
    /// The peer acknowledged, refused or sent more than it may before it reads.
    #[error("the peer does not keep to the window")]
    Window,
    /// The peer tells of more conversations than anybody has.
    #[error("the peer tells of too many conversations")]
    TooManyConversations,
    /// The peer tells of a room by a place at which it has named none.
    #[error("the peer has named no room {0}")]
    UnnamedRoom(u16),
    /// A frame holds more ids than it may.
    #[error("a frame holds {0} ids")]
    TooManyIds(usize),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
}

/// What a log stream works with.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Where everything is kept; it says who this side is.
    pub store: Store,
    /// The other side, as its TLS handshake proved.
    pub peer: PeerId,
    /// Where events go. While this is full, nothing more is read from the peer.
    pub events: mpsc::Sender<ExchangeEvent>,
    /// Unix time in milliseconds, for the time of arrival.
    pub clock: WallClock,
    /// Tells where this user is typing.
    pub typing: broadcast::Sender<ConversationId>,
}

/// Tells the wall time.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(pub fn() -> u64);

/// What the receiving half tells the sending one.
#[derive(Debug)]
enum Note {
    /// Messages of the peer were committed.
    Ack(Vec<MessageId>),
    /// A message of the peer was refused.
    Refuse(MessageId, RefuseReason),
    /// Messages are missing here.
    Want(Vec<MessageId>),
    /// The peer lacks messages.
    Answer(Vec<MessageId>),
    /// The peer has committed, or refused, messages of this side.
    Settled(Vec<MessageId>),
    /// Messages of the direct chat that came although they are here: the peer may have forgotten what became of them.
    Again(Vec<MessageId>),
    /// What conversations come to at the peer's.
    Theirs(Vec<(ConversationId, HeadsHash)>),
    /// What the peer has of a conversation, and wants more of.
    Has(ConversationId, Vec<MessageId>),
    /// There is no room for more of this conversation here.
    Postpone(ConversationId, Quota),
    /// The peer has no room for more of this conversation.
    Suspend(ConversationId),
    /// Something is missing of this conversation here, and it is not known what.
    Compare(ConversationId),
}

/// What both halves of one stream share.
struct Shared<'a> {
    exchange: &'a Exchange,
    /// Ends the receiving half between two batches.
    stop: Notify,
    /// Ids that wait to be answered.
    wanted: AtomicU64,
    /// Messages that came from the peer.
    taken: AtomicU64,
}

impl Shared<'_> {
    async fn tell(&self, event: ExchangeEvent) {
        // Nobody listening is no reason to stop: the store has it.
        let _ = self.exchange.events.send(event).await;
    }

    /// Adds to the ids that wait to be answered.
    fn want(&self, ids: usize) -> Result<(), ExchangeError> {
        let waiting = self.wanted.fetch_add(ids as u64, Ordering::Relaxed) + ids as u64;
        if waiting > MAX_WANTED as u64 { Err(ExchangeError::TooManyWants) } else { Ok(()) }
    }

    fn answered(&self, ids: usize) {
        self.wanted.fetch_sub(ids as u64, Ordering::Relaxed);
    }
}

/// Runs one log stream until the other side ends it, or something is wrong.
///
/// End it from this side by ending its streams. If the future is dropped instead, a message may be committed without
/// its event; [`Store::arrived`] finds it.
///
/// # Errors
/// [`ExchangeError`]; the store is in order all the same, and a later stream goes on where this one ended.
pub async fn run<R, W>(exchange: Exchange, reader: R, writer: W) -> Result<(), ExchangeError>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let shared = Shared {
        exchange: &exchange,
        stop: Notify::new(),
        wanted: AtomicU64::new(0),
        taken: AtomicU64::new(0),
    };
    let (notes, inbox) = mpsc::channel(MAX_NOTES);
    let receiving = receive::Receiver::new(&shared, notes).run(reader);
    let sending = send::Sender::new(&shared, inbox).run(writer);
    tokio::pin!(receiving, sending);
    let mut sent = None;
    loop {
        tokio::select! {
            received = &mut receiving => {
                return match sent {
                    // The sending half ended first: its reason counts.
                    Some(Err(error)) => Err(error),
                    Some(Ok(())) | None => received,
                };
            }
            result = &mut sending, if sent.is_none() => {
                sent = Some(result);
                shared.stop.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
