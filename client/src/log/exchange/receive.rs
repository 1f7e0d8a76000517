//! The half that reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use common::frame;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::intake::Intake;
use super::places::Places;
use super::{
    Exchange, ExchangeError, ExchangeEvent, MAX_BATCH_BYTES, MAX_HANDED_ON, MAX_WANTED_TOTAL, Note, Shared,
};
use crate::log::ingest::{Invalid, Outcome};
use crate::log::wire::{Ack, Have, Later, LogFrame, MAX_IDS, News, Read, Refuse, Summary, Typing, Want};
use crate::log::{ConversationId, MessageId};
use crate::store::{Ingested, MAX_WAITING, Point, State, StoreError, Taking};

/// Frames that were there together.
#[derive(Default)]
struct Batch {
    messages: Vec<Bytes>,
    acked: Vec<MessageId>,
    wanted: Vec<MessageId>,
    refused: Vec<Refuse>,
    read: Vec<MessageId>,
    typing: BTreeSet<ConversationId>,
    /// On comparing conversations.
    notes: Vec<Note>,
}

pub(super) struct Receiver<'a> {
    shared: &'a Shared<'a>,
    notes: mpsc::Sender<Note>,
    intake: Intake,
    /// Messages that are being written while the next ones are read and checked.
    taking: Option<Taking>,
    /// Rooms that the peer has named.
    places: Places,
    /// Ids that the peer asked for so far.
    wanted_total: usize,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, notes: mpsc::Sender<Note>) -> Self {
        Self {
            shared,
            notes,
            intake: Intake::default(),
            taking: None,
            places: Places::default(),
            wanted_total: 0,
        }
    }

    /// Reads until the peer ends the stream or the sending half has ended.
    pub(super) async fn run(mut self, mut reader: impl AsyncRead + Unpin) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        let missing = exchange.store.missing(exchange.peer, MAX_WAITING).await?;
        self.intake.ask(missing).into_iter().try_for_each(|want| note(&self.notes, want))?;
        let mut buffer = BytesMut::with_capacity(MAX_BATCH_BYTES);
        loop {
            buffer.reserve(MAX_BATCH_BYTES.saturating_sub(buffer.len()));
            let read = tokio::select! {
                read = reader.read_buf(&mut buffer) => read?,
                results = committed(self.taking.as_mut()) => {
                    self.taking = None;
                    self.conclude(results?).await?;
                    continue;
                }
                () = self.shared.stop.notified() => return self.finish().await,
            };
            if read == 0 {
                self.finish().await?;
                return if buffer.is_empty() { Ok(()) } else { Err(ExchangeError::Cut) };
            }
            let batch = parse(&mut buffer, &mut self.places)?;
            self.handle(batch).await?;
        }
    }

    async fn handle(&mut self, batch: Batch) -> Result<(), ExchangeError> {
        let Batch { messages, acked, wanted, refused, read, typing, notes } = batch;
        self.answer(wanted)?;
        let peer = self.shared.exchange.peer;
        for conversation in typing {
            self.shared.tell(ExchangeEvent::Typing { conversation, peer }).await;
        }
        if !read.is_empty() {
            for id in self.shared.exchange.store.advance(peer, &read, State::Read).await? {
                self.shared.tell(ExchangeEvent::State { id, peer, state: State::Read }).await;
            }
        }
        self.shared.taken.fetch_add(messages.len() as u64, Ordering::Relaxed);
        // Both halves of the work go into the same commit, if they meet in the writer's queue.
        let ((), taking) =
            tokio::try_join!(self.settle(acked, refused), begin(self.shared.exchange, messages))?;
        self.finish().await?;
        self.taking = taking;
        if notes.is_empty() {
            return Ok(());
        }
        // What came together with messages is compared with them.
        self.finish().await?;
        notes.into_iter().try_for_each(|compared| note(&self.notes, compared))
    }

    /// Waits until all that came is committed and acknowledged.
    async fn finish(&mut self) -> Result<(), ExchangeError> {
        if let Some(mut taking) = self.taking.take() {
            let results = taking.committed().await?;
            self.conclude(results).await?;
        }
        Ok(())
    }

    /// Acknowledges messages that are committed, and tells of them.
    async fn conclude(&mut self, results: Vec<Ingested>) -> Result<(), ExchangeError> {
        let exchange = self.shared.exchange;
        exchange.store.reach(Point::Ack)?;
        let again = came_again(exchange, &results);
        if !again.is_empty() {
            note(&self.notes, Note::Again(again))?;
        }
        let full = results.iter().any(|result| result.outcome == Outcome::NoRoom);
        self.intake.judge(&results).into_iter().try_for_each(|found| note(&self.notes, found))?;
        hand_on(exchange, &results).await?;
        announce(self.shared, results).await;
        if full { Err(ExchangeError::TooManyGaps) } else { Ok(()) }
    }

    /// Lets the sending half answer what the peer lacks.
    fn answer(&mut self, wanted: Vec<MessageId>) -> Result<(), ExchangeError> {
        if wanted.is_empty() {
            return Ok(());
        }
        self.wanted_total += wanted.len();
        if self.wanted_total > MAX_WANTED_TOTAL {
            return Err(ExchangeError::TooManyWants);
        }
        self.shared.want(wanted.len())?;
        note(&self.notes, Note::Answer(wanted))
    }

    /// Records what the peer has committed or refused.
    async fn settle(&self, acked: Vec<MessageId>, refused: Vec<Refuse>) -> Result<(), ExchangeError> {
        let Self { shared, notes, .. } = self;
        let exchange = shared.exchange;
        let peer = exchange.peer;
        if !acked.is_empty() {
            let moved = exchange.store.advance(peer, &acked, State::Delivered).await?;
            note(notes, Note::Settled(acked))?;
            for id in moved {
                shared.tell(ExchangeEvent::State { id, peer, state: State::Delivered }).await;
            }
        }
        if !refused.is_empty() {
            let ids: Vec<_> = refused.iter().map(|refuse| refuse.id).collect();
            let moved = exchange.store.advance(peer, &ids, State::Refused).await?;
            note(notes, Note::Settled(ids))?;
            for Refuse { id, reason } in refused {
                if moved.contains(&id) {
                    shared.tell(ExchangeEvent::Refused { id, peer, reason }).await;
                }
            }
        }
        Ok(())
    }
}

/// Checks messages and has them written.
async fn begin(exchange: &Exchange, messages: Vec<Bytes>) -> Result<Option<Taking>, ExchangeError> {
    if messages.is_empty() {
        return Ok(None);
    }
    Ok(Some(exchange.store.begin_ingest(exchange.peer, messages, (exchange.clock.0)()).await?))
}

/// Waits for the commit of what is being written; for ever if that is nothing.
async fn committed(taking: Option<&mut Taking>) -> Result<Vec<Ingested>, StoreError> {
    match taking {
        Some(taking) => taking.committed().await,
        None => std::future::pending().await,
    }
}

/// Messages of the direct chat that were here already.
fn came_again(exchange: &Exchange, results: &[Ingested]) -> Vec<MessageId> {
    let direct = Some(ConversationId::direct(exchange.store.me(), exchange.peer));
    let is_again = |result: &&Ingested| result.outcome == Outcome::Duplicate && result.conversation == direct;
    results.iter().filter(is_again).map(|result| result.id).collect()
}

/// Lets the streams to other members hand on what came along the tree of its author (`docs/protocol.md` §7.4).
async fn hand_on(exchange: &Exchange, results: &[Ingested]) -> Result<(), ExchangeError> {
    let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let direct = ConversationId::direct(exchange.store.me(), exchange.peer);
    let delivered = results.iter().flat_map(|result| &result.delivered);
    for row in delivered.filter(|row| row.conversation != direct) {
        rooms.entry(row.conversation).or_default().push((row.author, row.id()));
    }
    for (conversation, messages) in rooms.into_iter().filter(|(_, messages)| messages.len() <= MAX_HANDED_ON)
    {
        exchange.store.hand_on(conversation, exchange.peer, messages).await?;
    }
    Ok(())
}

/// Tells the user interface what came in.
async fn announce(shared: &Shared<'_>, results: Vec<Ingested>) {
    let peer = shared.exchange.peer;
    for Ingested { id, outcome, delivered, .. } in results {
        match outcome {
            Outcome::Invalid(Invalid::UnknownConversation) => {}
            Outcome::Waiting { missing } => {
                shared.tell(ExchangeEvent::Gap { id, peer, missing }).await;
            }
            Outcome::Invalid(invalid) => {
                shared.tell(ExchangeEvent::Invalid { id, peer, invalid }).await;
            }
            Outcome::Delivered | Outcome::Duplicate | Outcome::Postponed(_) | Outcome::NoRoom => {}
        }
        for row in delivered {
            shared.tell(ExchangeEvent::Message(Box::new(row))).await;
        }
    }
}

/// Takes all whole frames out of the buffer.
fn parse(buffer: &mut BytesMut, places: &mut Places) -> Result<Batch, ExchangeError> {
    let mut batch = Batch::default();
    while let Some(frame) = frame::take::<LogFrame>(buffer)? {
        match frame {
            LogFrame::Message(carry) => batch.messages.push(carry.bytes.into()),
            LogFrame::Ack(Ack { ids }) => batch.acked.extend(bounded(ids)?),
            LogFrame::Want(Want { ids }) => batch.wanted.extend(bounded(ids)?),
            LogFrame::Refuse(refuse) => batch.refused.push(refuse),
            LogFrame::Summary(Summary { conversations }) => {
                let conversations = bounded(conversations)?;
                for (conversation, _) in &conversations {
                    places.name(*conversation);
                }
                batch.notes.push(Note::Theirs(conversations));
            }
            LogFrame::News(News(place, hash)) => {
                let conversation = places.at(place).ok_or(ExchangeError::UnnamedRoom(place))?;
                batch.notes.push(Note::Theirs(vec![(conversation, hash)]));
            }
            LogFrame::Have(Have { conversation, ids }) => {
                batch.notes.push(Note::Has(conversation, bounded(ids)?));
            }
            LogFrame::Later(Later { conversation }) => batch.notes.push(Note::Suspend(conversation)),
            LogFrame::Read(Read { ids }) => batch.read.extend(bounded(ids)?),
            LogFrame::Typing(Typing { conversation }) => {
                batch.typing.insert(conversation);
            }
        }
    }
    Ok(batch)
}

fn bounded<T>(ids: Vec<T>) -> Result<Vec<T>, ExchangeError> {
    if ids.len() > MAX_IDS { Err(ExchangeError::TooManyIds(ids.len())) } else { Ok(ids) }
}

/// Hands a note to the sending half. The queue holds everything that an honest peer can cause, so this never waits,
/// and the two halves cannot block each other.
fn note(notes: &mpsc::Sender<Note>, note: Note) -> Result<(), ExchangeError> {
    match notes.try_send(note) {
        // Once the sending half has ended there is nobody to tell; its reason ends the stream.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        Err(mpsc::error::TrySendError::Full(_)) => Err(ExchangeError::Window),
    }
}
