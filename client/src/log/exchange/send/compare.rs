//! Comparing conversations with the peer, and handing over what it lacks (`docs/protocol.md` §7.4).

use std::sync::atomic::Ordering;

use bytes::BytesMut;
use common::frame::Message as _;
use tokio::io::AsyncWrite;

use super::super::syncing::{Answer, MAX_COMPARED, Next, TooMany};
use super::super::{ExchangeError, ExchangeEvent, PAGE};
use super::{Sender, write};
use crate::log::ingest::Quota;
use crate::log::wire::{Carry, Have, HeadsHash, Later, LogFrame, MAX_IDS, News, Read, Summary};
use crate::log::{ConversationId, MessageId};
use crate::store::Point;

/// Name of the setting by which the user does not tell what was read: `off`.
pub const READ_MARKS: &str = "read_marks";

impl Sender<'_> {
    /// Tells the peer what the shared rooms come to. New messages wait there until it has told the same: they may
    /// stand on what others wrote and the peer lacks. Between two there is nobody else.
    pub(super) async fn compare_all(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let mut summaries = exchange.store.summaries(exchange.peer).await?;
        summaries.truncate(MAX_COMPARED);
        let mut out = BytesMut::new();
        let news = self.syncing.news(summaries.clone());
        self.tell(&news, &mut out);
        for (conversation, _) in summaries {
            self.syncing.wait_for(conversation);
        }
        if out.is_empty() { Ok(()) } else { write(writer, &out).await }
    }

    /// Tells the peer what has changed since.
    pub(super) async fn summarize(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let summaries = exchange.store.summaries(exchange.peer).await?;
        let mut out = BytesMut::new();
        let news = self.syncing.news(summaries);
        self.tell(&news, &mut out);
        if out.is_empty() { Ok(()) } else { write(writer, &out).await }
    }

    /// Compares what the peer has told; where it differs, says what is here, and the peer does the same.
    pub(super) async fn compare(
        &mut self,
        theirs: Vec<(ConversationId, HeadsHash)>,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let ours = exchange.store.summaries(exchange.peer).await?;
        for (conversation, hash) in theirs {
            if self.direct.is(conversation) {
                self.hear_direct(hash, out).await?;
                continue;
            }
            let ours = ours.iter().find(|(shared, _)| *shared == conversation).map(|(_, ours)| *ours);
            let answer = self.syncing.compare(conversation, hash, ours);
            let answer = answer.map_err(|TooMany| ExchangeError::TooManyConversations)?;
            if self.postponed.contains(&conversation) {
                continue;
            }
            match answer {
                Some(Answer::Have) if self.turns.take(conversation) => self.ask(conversation, out).await?,
                Some(Answer::Heads) if self.turns.take(conversation) => {
                    self.ask_from_heads(conversation, ours, out).await?;
                }
                Some(Answer::Same) => self.tell(&[(conversation, hash)], out),
                Some(Answer::Have | Answer::Heads) | None => {}
            }
        }
        Ok(())
    }

    /// Compares once more what was not asked for because somebody else was being asked, and reminds the peer if new messages
    /// wait for its word.
    pub(super) async fn ask_waiting(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let waiting = self.turns.tick(self.shared.taken.load(Ordering::Relaxed));
        if waiting.is_empty() && !self.syncing.is_held_back() {
            return Ok(());
        }
        let ours = exchange.store.summaries(exchange.peer).await?;
        let mut out = BytesMut::new();
        let reminders = self.syncing.reminders(&ours);
        self.tell(&reminders, &mut out);
        for conversation in waiting {
            let ours = ours.iter().find(|(shared, _)| *shared == conversation).map(|(_, ours)| *ours);
            let is_wanted =
                !self.postponed.contains(&conversation) && self.syncing.differs(conversation, ours);
            if is_wanted && self.turns.take(conversation) {
                self.ask(conversation, &mut out).await?;
            }
        }
        if out.is_empty() { Ok(()) } else { write(writer, &out).await }
    }

    /// Says what is here of a conversation, and so asks for the rest.
    pub(super) async fn ask(
        &mut self,
        conversation: ConversationId,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        if self.direct.is(conversation) {
            self.direct.note_asked();
        }
        let ids = exchange.store.position(exchange.peer, conversation).await?;
        LogFrame::from(Have { conversation, ids }).encode(out);
        Ok(())
    }

    /// The same to a peer who has our heads, if they still come to `ours`.
    async fn ask_from_heads(
        &mut self,
        conversation: ConversationId,
        ours: Option<HeadsHash>,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let ids = self.shared.exchange.store.heads(conversation).await?;
        if ids.len() > MAX_IDS || Some(HeadsHash::of(ids.clone())) != ours {
            return self.ask(conversation, out).await;
        }
        LogFrame::from(Have { conversation, ids }).encode(out);
        Ok(())
    }

    /// The peer has said what it has.
    pub(super) async fn begin(
        &mut self,
        conversation: ConversationId,
        known: Vec<MessageId>,
        out: &mut BytesMut,
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let lacking = exchange.store.lacking(exchange.peer, conversation, known.clone()).await?;
        if self.direct.is(conversation) {
            self.hear_direct_position(known, &lacking, out).await?;
        }
        // What the peer did not know where to put is not on its way any more; and what it has from a third in the meantime
        // it has not acknowledged here.
        self.drop_in_flight(conversation);
        let unconfirmed = exchange.store.unconfirmed(exchange.peer, conversation, self.cursor).await?;
        self.syncing.begin(conversation, lacking, unconfirmed);
        Ok(())
    }

    fn drop_in_flight(&mut self, conversation: ConversationId) {
        let dropped: Vec<_> =
            self.in_flight.iter().filter(|(_, (at, _))| *at == conversation).map(|(id, _)| *id).collect();
        for id in dropped {
            if let Some((_, len)) = self.in_flight.remove(&id) {
                self.in_flight_bytes -= len;
            }
        }
    }

    /// The peer has no room for more of a conversation: nothing of it goes there until it asks.
    pub(super) fn suspend(&mut self, conversation: ConversationId) {
        self.syncing.suspend(conversation);
        self.drop_in_flight(conversation);
    }

    /// There is no room for more of a conversation here: says so, once.
    pub(super) async fn postpone(&mut self, conversation: ConversationId, quota: Quota, out: &mut BytesMut) {
        if self.postponed.len() < MAX_COMPARED && self.postponed.insert(conversation) {
            LogFrame::from(Later { conversation }).encode(out);
            let peer = self.shared.exchange.peer;
            self.shared.tell(ExchangeEvent::Postponed { conversation, peer, quota }).await;
        }
    }

    /// Asks for what there was no room for, if there is now.
    pub(super) async fn ask_postponed(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let mut out = BytesMut::new();
        for conversation in self.postponed.clone() {
            if self.shared.exchange.store.exceeded(self.shared.exchange.peer, conversation).await?.is_none() {
                self.postponed.remove(&conversation);
                self.ask(conversation, &mut out).await?;
            }
        }
        if out.is_empty() { Ok(()) } else { write(writer, &out).await }
    }

    /// Writes the next messages that the peer lacks.
    pub(super) async fn send_backlog(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let store = &self.shared.exchange.store;
        let numbers = match self.syncing.next(PAGE) {
            None => return Ok(()),
            Some(Next::Rows(numbers)) => numbers,
            Some(Next::After(conversation, after)) => {
                let numbers = store.next_rows(conversation, after, PAGE).await?;
                self.syncing.went_on(conversation, numbers.last().copied());
                numbers
            }
        };
        let messages = store.signed_rows(numbers).await?;
        let may = store.depart(&messages.iter().map(crate::log::SignedMessage::id).collect::<Vec<_>>());
        let mut out = BytesMut::new();
        for (message, _) in messages.iter().zip(may).filter(|(_, may)| *may) {
            self.count_in(message.message().conversation, message.id(), message.bytes().len());
            if message.author() == store.me() {
                self.unmarked.push(message.id());
            } else {
                self.direct.note_handed_back(message);
            }
            LogFrame::from(Carry { bytes: message.bytes().to_vec() }).encode(&mut out);
        }
        // What others brought meanwhile was not told.
        self.has_news |= !self.syncing.is_ready();
        if out.is_empty() {
            return Ok(());
        }
        write(writer, &out).await?;
        Ok(store.reach(Point::Written)?)
    }

    /// Tells the peer which of its messages were read, unless the user does not want that.
    pub(super) async fn tell_read(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let is_off = exchange.store.setting(READ_MARKS).await?.as_deref() == Some("off");
        loop {
            let read = exchange.store.newly_read(exchange.peer, MAX_IDS).await?;
            let Some(&(last, _)) = read.last() else { return Ok(()) };
            if !is_off {
                let ids = read.into_iter().map(|(_, id)| id).collect();
                write(writer, &LogFrame::from(Read { ids }).to_bytes()).await?;
            }
            exchange.store.note_told(exchange.peer, last).await?;
        }
    }

    /// Writes what conversations come to: of those that were named before in short.
    pub(super) fn tell(&mut self, summaries: &[(ConversationId, HeadsHash)], out: &mut BytesMut) {
        let mut unnamed = Vec::new();
        for &(conversation, hash) in summaries {
            match self.places.of(conversation) {
                Some(place) => LogFrame::from(News(place, hash)).encode(out),
                None => unnamed.push((conversation, hash)),
            }
        }
        for page in unnamed.chunks(MAX_IDS) {
            page.iter().for_each(|(conversation, _)| self.places.name(*conversation));
            LogFrame::from(Summary { conversations: page.to_vec() }).encode(out);
        }
    }
}
