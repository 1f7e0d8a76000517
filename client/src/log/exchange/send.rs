//! The half that writes.

mod compare;
mod direct;
mod turns;

pub use compare::READ_MARKS;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;
use common::frame::Message as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::places::Places;
use super::syncing::Syncing;
use super::{
    ASK_PATIENCE, ExchangeError, ExchangeEvent, MAX_BACKLOG_IN_FLIGHT, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES,
    Note, PAGE, SENT_GRACE, SUMMARY_DELAY, SUMMARY_TURN, Shared,
};
use crate::log::wire::{Ack, Carry, LogFrame, Refuse, Typing, Want};
use crate::log::{ConversationId, MessageId, SignedMessage};
use crate::store::{Onward, OutboxRow, Point, State};
use direct::Direct;
use turns::Turns;

/// Notes that are worked off before the outbox gets its turn.
const MAX_NOTES_AT_ONCE: usize = 64;
/// Messages of an answer that are in memory at a time.
const ANSWER_PAGE: usize = 16;

pub(super) struct Sender<'a> {
    shared: &'a Shared<'a>,
    notes: mpsc::Receiver<Note>,
    /// Everything of the outbox up to here is written.
    cursor: u64,
    /// Whether the outbox may hold more.
    more: bool,
    /// Written and not acknowledged, with the conversation and the length.
    in_flight: BTreeMap<MessageId, (ConversationId, usize)>,
    in_flight_bytes: usize,
    /// Written, but *sent* is not durable yet.
    unmarked: Vec<MessageId>,
    syncing: Syncing,
    direct: Direct,
    /// Conversations that were named to the peer.
    places: Places,
    turns: Turns,
    /// Conversations may have changed since the peer was told of them.
    has_news: bool,
    /// Conversations of which there is no room for more here, as the peer was told.
    postponed: BTreeSet<ConversationId>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, notes: mpsc::Receiver<Note>) -> Self {
        let in_flight = BTreeMap::new();
        Self {
            shared,
            notes,
            cursor: 0,
            more: true,
            in_flight,
            in_flight_bytes: 0,
            unmarked: Vec::new(),
            syncing: Syncing::default(),
            direct: Direct::new(shared.exchange.store.me(), shared.exchange.peer),
            places: Places::default(),
            turns: Turns::new(shared.exchange.store.clone(), shared.exchange.peer),
            has_news: false,
            postponed: BTreeSet::new(),
        }
    }

    /// Writes until the receiving half is gone or the stream breaks.
    pub(super) async fn run(mut self, mut writer: impl AsyncWrite + Unpin) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let mut changes = exchange.store.outbox_changes(exchange.peer);
        let mut newest = exchange.store.newest();
        let mut read = exchange.store.read_changes();
        let mut typing = exchange.typing.subscribe();
        let mut onward = exchange.store.handed_on();
        let (grace, summary) = (sleep(SENT_GRACE), sleep(SUMMARY_DELAY));
        let patience = sleep(ASK_PATIENCE);
        tokio::pin!(grace, summary, patience);
        let mut notes = Vec::with_capacity(MAX_NOTES_AT_ONCE);
        self.compare_all(&mut writer).await?;
        self.send_page(&mut writer).await?;
        read.mark_changed();
        loop {
            let (was_unmarked, was_news) = (!self.unmarked.is_empty(), self.has_news);
            let was_busy = self.is_busy();
            tokio::select! {
                biased;
                count = self.notes.recv_many(&mut notes, MAX_NOTES_AT_ONCE) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.handle(notes.drain(..), &mut writer).await?;
                }
                () = std::future::ready(()), if self.more && self.has_room() => {
                    self.send_page(&mut writer).await?;
                }
                () = std::future::ready(()), if self.syncing.is_ready() && self.has_room_for_backlog() => {
                    self.send_backlog(&mut writer).await?;
                }
                () = std::future::ready(()), if self.is_direct_due() => self.tell_direct(&mut writer).await?,
                Ok(message) = onward.recv() => self.hand_on(&message, &mut writer).await?,
                Ok(()) = changes.changed() => self.more = true,
                Ok(()) = newest.changed() => self.has_news = true,
                () = &mut summary, if was_news => {
                    self.has_news = false;
                    self.summarize(&mut writer).await?;
                    self.ask_postponed(&mut writer).await?;
                }
                () = &mut patience, if was_busy => {
                    self.ask_waiting(&mut writer).await?;
                    patience.set(sleep(ASK_PATIENCE));
                }
                Ok(()) = read.changed() => self.tell_read(&mut writer).await?,
                Ok(conversation) = typing.recv() => {
                    write(&mut writer, &LogFrame::from(Typing { conversation }).to_bytes()).await?;
                }
                () = &mut grace, if !self.unmarked.is_empty() => self.mark().await?,
            }
            if !was_unmarked && !self.unmarked.is_empty() {
                grace.set(sleep(SENT_GRACE));
            }
            if !was_busy && self.is_busy() {
                patience.set(sleep(ASK_PATIENCE));
            }
            if !was_news && self.has_news {
                summary.set(sleep(self.summary_delay()));
            }
        }
    }

    /// How long news wait. Of two who have heard the same the one with the smaller key tells, and the other need not.
    fn summary_delay(&self) -> Duration {
        let exchange = self.shared.exchange;
        if exchange.store.me() < exchange.peer { SUMMARY_DELAY } else { SUMMARY_DELAY + SUMMARY_TURN }
    }

    /// Whether somebody waits for somebody's word.
    fn is_busy(&self) -> bool {
        self.turns.is_busy() || self.syncing.is_held_back()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES
    }

    fn has_room_for_backlog(&self) -> bool {
        self.has_room() && self.in_flight.len() < MAX_BACKLOG_IN_FLIGHT
    }

    /// Writes the next messages of the outbox.
    async fn send_page(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let room = PAGE.min(MAX_IN_FLIGHT - self.in_flight.len());
        let rows = exchange.store.outbox(exchange.peer, self.cursor, room).await?;
        // Messages that are committed from here on wake this half again.
        self.more = rows.len() == room;
        let may = exchange.store.depart(&rows.iter().map(|row| row.id).collect::<Vec<_>>());
        let mut out = BytesMut::new();
        let mut written = Vec::with_capacity(rows.len());
        for (OutboxRow { sequence, id, state, conversation, row, bytes }, may) in rows.into_iter().zip(may) {
            if !self.has_room() {
                self.more = true;
                break;
            }
            self.cursor = sequence;
            if !may || self.syncing.defer(conversation, row) {
                continue;
            }
            self.count_in(conversation, id, bytes.len());
            LogFrame::from(Carry { bytes: bytes.into() }).encode(&mut out);
            written.push((id, state));
        }
        if written.is_empty() {
            return Ok(());
        }
        write(writer, &out).await?;
        exchange.store.reach(Point::Written)?;
        for (id, _) in written.into_iter().filter(|&(_, state)| state < State::Sent) {
            self.unmarked.push(id);
            self.shared.tell(ExchangeEvent::State { id, peer: exchange.peer, state: State::Sent }).await;
        }
        Ok(())
    }

    /// Makes *sent* durable for what is still not acknowledged.
    async fn mark(&mut self) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let mut ids = std::mem::take(&mut self.unmarked);
        ids.retain(|id| self.in_flight.contains_key(id));
        if !ids.is_empty() {
            exchange.store.advance_soon(exchange.peer, ids, State::Sent).await?;
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        notes: impl Iterator<Item = Note>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let mut out = BytesMut::new();
        let (mut answers, mut again) = (Vec::new(), Vec::new());
        for note in notes {
            match note {
                Note::Ack(ids) => LogFrame::from(Ack { ids }).encode(&mut out),
                Note::Want(ids) => LogFrame::from(Want { ids }).encode(&mut out),
                Note::Refuse(id, reason) => LogFrame::from(Refuse { id, reason }).encode(&mut out),
                Note::Answer(ids) => answers.extend(ids),
                Note::Settled(ids) => {
                    self.settle(&ids);
                    again.extend(self.direct.take_handed_back(&ids));
                }
                Note::Again(ids) => again.extend(ids),
                Note::Theirs(summaries) => self.compare(summaries, &mut out).await?,
                Note::Has(conversation, known) => self.begin(conversation, known, &mut out).await?,
                Note::Postpone(conversation, quota) => self.postpone(conversation, quota, &mut out).await,
                Note::Suspend(conversation) => self.suspend(conversation),
                Note::Compare(conversation) => self.ask(conversation, &mut out).await?,
            }
        }
        self.tell_read_again(again, &mut out).await?;
        if !out.is_empty() {
            write(writer, &out).await?;
        }
        for ids in answers.chunks(ANSWER_PAGE) {
            self.answer(ids, writer).await?;
        }
        Ok(())
    }

    fn settle(&mut self, ids: &[MessageId]) {
        for id in ids {
            if let Some((_, len)) = self.in_flight.remove(id) {
                self.in_flight_bytes -= len;
            }
        }
        self.shared.exchange.store.arrived_there(ids);
    }

    fn count_in(&mut self, conversation: ConversationId, id: MessageId, len: usize) {
        if self.in_flight.insert(id, (conversation, len)).is_none() {
            self.in_flight_bytes += len;
        }
    }

    /// Sends messages that the peer lacks, those of them that are here and that it may have.
    async fn answer(
        &mut self,
        ids: &[MessageId],
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        self.carry(ids, writer).await?;
        self.shared.answered(ids.len());
        Ok(())
    }

    /// Writes messages that are here and that the peer may have; returns those.
    async fn carry(
        &mut self,
        ids: &[MessageId],
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Vec<SignedMessage>, ExchangeError> {
        let exchange = self.shared.exchange;
        let found = exchange.store.signed_for(exchange.peer, ids.to_vec()).await?;
        let mut out = BytesMut::new();
        for message in &found {
            LogFrame::from(Carry { bytes: message.bytes().to_vec() }).encode(&mut out);
        }
        if !out.is_empty() {
            write(writer, &out).await?;
        }
        Ok(found)
    }

    /// Hands on what somebody else has brought just now, if the peer is to have it from here and nothing older goes first.
    async fn hand_on(
        &mut self,
        message: &Onward,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let Onward { conversation, id, to } = message;
        if !to.contains(&self.shared.exchange.peer)
            || !self.has_room_for_backlog()
            || !self.syncing.is_level(*conversation)
        {
            return Ok(());
        }
        for message in self.carry(&[*id], writer).await? {
            self.count_in(*conversation, *id, message.bytes().len());
        }
        Ok(())
    }
}

pub(super) async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), ExchangeError> {
    writer.write_all(bytes).await?;
    writer.flush().await?;
    Ok(())
}
