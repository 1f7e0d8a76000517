//! The half that writes.

use std::collections::BTreeMap;

use bytes::BytesMut;
use common::frame::Message as _;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{
    ExchangeError, ExchangeEvent, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES, Note, PAGE, SENT_GRACE, Shared,
};
use crate::log::MessageId;
use crate::log::wire::{Ack, Carry, LogFrame, Refuse, Want};
use crate::store::{OutboxRow, Point, State};

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
    /// Written and not acknowledged, with the length.
    in_flight: BTreeMap<MessageId, usize>,
    in_flight_bytes: usize,
    /// Written, but *sent* is not durable yet.
    unmarked: Vec<MessageId>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, notes: mpsc::Receiver<Note>) -> Self {
        let in_flight = BTreeMap::new();
        Self { shared, notes, cursor: 0, more: true, in_flight, in_flight_bytes: 0, unmarked: Vec::new() }
    }

    /// Writes until the receiving half is gone or the stream breaks.
    pub(super) async fn run(mut self, mut writer: impl AsyncWrite + Unpin) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let mut changes = exchange.store.outbox_changes(exchange.peer);
        let grace = sleep(SENT_GRACE);
        tokio::pin!(grace);
        let mut notes = Vec::with_capacity(MAX_NOTES_AT_ONCE);
        loop {
            tokio::select! {
                biased;
                count = self.notes.recv_many(&mut notes, MAX_NOTES_AT_ONCE) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.handle(notes.drain(..), &mut writer).await?;
                }
                () = std::future::ready(()), if self.more && self.has_room() => {
                    let idle = self.unmarked.is_empty();
                    self.send_page(&mut writer).await?;
                    if idle && !self.unmarked.is_empty() {
                        grace.set(sleep(SENT_GRACE));
                    }
                }
                Ok(()) = changes.changed() => self.more = true,
                () = &mut grace, if !self.unmarked.is_empty() => self.mark().await?,
            }
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES
    }

    /// Writes the next messages of the outbox.
    async fn send_page(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let room = PAGE.min(MAX_IN_FLIGHT - self.in_flight.len());
        let rows = exchange.store.outbox(exchange.peer, self.cursor, room).await?;
        // Messages that are committed from here on wake this half again.
        self.more = rows.len() == room;
        let mut out = BytesMut::new();
        let mut written = Vec::with_capacity(rows.len());
        for OutboxRow { sequence, id, state, bytes } in rows {
            if !self.has_room() {
                self.more = true;
                break;
            }
            self.cursor = sequence;
            self.in_flight_bytes += bytes.len();
            self.in_flight.insert(id, bytes.len());
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
        let mut answers = Vec::new();
        for note in notes {
            match note {
                Note::Ack(ids) => LogFrame::from(Ack { ids }).encode(&mut out),
                Note::Want(ids) => LogFrame::from(Want { ids }).encode(&mut out),
                Note::Refuse(id, reason) => LogFrame::from(Refuse { id, reason }).encode(&mut out),
                Note::Answer(ids) => answers.extend(ids),
                Note::Settled(ids) => self.settle(&ids),
            }
        }
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
            if let Some(len) = self.in_flight.remove(id) {
                self.in_flight_bytes -= len;
            }
        }
    }

    /// Sends messages that the peer lacks, those of them that are here and that it may have.
    async fn answer(
        &mut self,
        ids: &[MessageId],
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let found = exchange.store.signed_for(exchange.peer, ids.to_vec()).await?;
        let mut out = BytesMut::new();
        for message in found {
            LogFrame::from(Carry { bytes: message.bytes().to_vec() }).encode(&mut out);
        }
        if !out.is_empty() {
            write(writer, &out).await?;
        }
        self.shared.answered(ids.len());
        Ok(())
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), ExchangeError> {
    writer.write_all(bytes).await?;
    writer.flush().await?;
    Ok(())
}
