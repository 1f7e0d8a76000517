//! Who lives in a home: their client, now running and now not, what they wrote and what they were shown.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use client::engine::{Draft, Event, Kind};
use client::log::{ConversationId, MessageId, Reaction, Standing};
use client::store::{Gap, HistoryRow, MessageRow, Options, Point, State};
use common::identity::PeerId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinSet, yield_now};

use super::super::faults::Deadly;
use crate::world::{Client, Home, World, now, text_of};

/// Lines of a history that are looked at: more than any plan writes.
const WHOLE_HISTORY: usize = 100_000;

/// Something that was written.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Where.
    pub(crate) place: ConversationId,
    /// Counts what its author wrote, from 1.
    pub(crate) number: usize,
    /// Its name, if it was accepted; `None` if its author died before it heard.
    pub(crate) id: Option<MessageId>,
}

/// Something that was shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// In which run of the client.
    pub(crate) run: usize,
    /// Which.
    pub(crate) id: MessageId,
    /// By whom.
    pub(crate) author: PeerId,
    /// Which of its author's.
    pub(crate) number: usize,
}

/// What was seen on the screen, over all runs.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    pub(crate) shown: Vec<Shown>,
    /// Own messages of which it was said that they were delivered, and to whom.
    pub(crate) delivered: BTreeSet<(PeerId, MessageId)>,
    /// What was reported as wrong although no fault was asked for.
    pub(crate) errors: Vec<String>,
}

pub(crate) struct Resident {
    pub(crate) id: PeerId,
    pub(crate) home: Home,
    pub(crate) said: Vec<Said>,
    /// Signs that were set: they show in other messages only.
    signs: BTreeSet<MessageId>,
    /// How many more there may be: the program died while they were made.
    pub(super) unknown_signs: usize,
    pub(crate) runs: usize,
    pub(crate) diary: Arc<Mutex<Diary>>,
    running: Option<Running>,
    bell: Arc<Notify>,
    met: watch::Sender<BTreeSet<PeerId>>,
}

struct Running {
    client: Client,
    faults: Arc<Deadly>,
    /// How long it stays away after a death by fault.
    absence: Duration,
    reader: JoinSet<()>,
}

impl Resident {
    pub(super) fn new(home: Home, bell: Arc<Notify>) -> Self {
        Self {
            id: home.id(),
            home,
            said: Vec::new(),
            signs: BTreeSet::new(),
            unknown_signs: 0,
            runs: 0,
            diary: Arc::default(),
            running: None,
            bell,
            met: watch::Sender::default(),
        }
    }

    pub(crate) fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) async fn start(&mut self, world: &World, verbose: bool) {
        let faults = Arc::new(Deadly::new(Arc::clone(&self.bell)));
        let options = Options { faults: Some(Arc::clone(&faults) as _), ..Options::default() };
        let mut client = world.client_with(&self.home, options).await;
        self.runs += 1;
        let (_, nothing) = mpsc::channel(1);
        let reader = Reader {
            run: self.runs,
            me: self.id,
            diary: Arc::clone(&self.diary),
            met: self.met.clone(),
            verbose,
        };
        let events = std::mem::replace(&mut client.events, nothing);
        let mut tasks = JoinSet::new();
        tasks.spawn(reader.read(events));
        self.running = Some(Running { client, faults, absence: Duration::ZERO, reader: tasks });
    }

    /// Waits until `peer` was connected once.
    pub(super) async fn wait_met(&self, peer: PeerId) {
        let mut met = self.met.subscribe();
        // The sender lives as long as this does.
        let _ = met.wait_for(|met| met.contains(&peer)).await;
    }

    pub(super) async fn meet(&self) {
        if let Some(running) = &self.running {
            let _ = running.client.engine.meet().await;
        }
    }

    /// Makes a room and invites everybody.
    pub(super) async fn make_room(&self, others: &[PeerId]) -> Result<ConversationId, String> {
        let Some(running) = &self.running else { return Err("nobody makes the room".to_owned()) };
        let engine = &running.client.engine;
        let room = engine.create_room("room").await.map_err(|error| error.to_string())?;
        for other in others {
            engine.invite(room, *other).await.map_err(|error| error.to_string())?;
        }
        Ok(room)
    }

    /// Whether all take part in the room; takes the invitation, if there is one.
    pub(super) async fn is_in_whole(&self, room: ConversationId, count: usize) -> bool {
        let Some(running) = &self.running else { return false };
        let engine = &running.client.engine;
        let Ok(Some(info)) = engine.conversation(room).await else { return false };
        if info.is_invitation() {
            // An error shows as a room that does not come together.
            let _ = engine.accept(room).await;
        }
        let Kind::Room { members, .. } = info.kind else { return false };
        members.len() == count && members.iter().all(|member| member.standing > Standing::Invited)
    }

    /// The room as this client has it.
    pub(crate) async fn room(&self, room: ConversationId) -> Option<(String, Vec<(PeerId, Standing)>)> {
        let info = self.running.as_ref()?.client.engine.conversation(room).await.ok()??;
        let Kind::Room { topic, members, .. } = info.kind else { return None };
        Some((topic, members.into_iter().map(|member| (member.peer, member.standing)).collect()))
    }

    pub(super) async fn set_topic(&self, room: Option<ConversationId>) {
        let (Some(running), Some(room)) = (&self.running, room) else { return };
        let _ = running.client.engine.set_topic(room, &self.runs.to_string()).await;
    }

    pub(super) async fn react(&mut self, room: Option<ConversationId>) {
        let (Some(running), Some(room)) = (&self.running, room) else { return };
        let Some(last) = self.history(room).await.ok().and_then(|mut rows| rows.pop()) else { return };
        let set = running.client.engine.react(room, last.id(), "+", Reaction::Add).await;
        match set {
            Ok(row) => drop(self.signs.insert(row.id())),
            Err(_) => self.unknown_signs += 1,
        }
    }

    /// Writes one message, if the client is running.
    pub(super) async fn say(&mut self, place: ConversationId, to: PeerId, len: usize) {
        let Some(running) = &self.running else { return };
        let number = self.said.len() + 1;
        let words = text(number, len);
        let result = write(&running.client, place, to, &words).await;
        self.said.push(Said { place, number, id: result });
    }

    /// Writes one message and dies some turns later.
    pub(super) async fn say_and_die(&mut self, place: ConversationId, to: PeerId, turns: usize) {
        let Some(running) = &self.running else { return };
        let number = self.said.len() + 1;
        let words = text(number, 0);
        let result = few_turns(write(&running.client, place, to, &words), turns).await;
        self.said.push(Said { place, number, id: result.flatten() });
        self.kill().await;
    }

    pub(super) fn doom(&mut self, point: Point, passes: usize, absence: Duration) {
        if let Some(running) = &mut self.running {
            running.faults.doom(point, passes);
            running.absence = absence;
        }
    }

    /// The disk has no room until the client is started anew, or has room again.
    pub(super) fn fill_disk(&self, is_full: bool) {
        if let Some(running) = &self.running {
            running.faults.fill_disk(is_full);
        }
    }

    /// Whoever has not died of its fault by now shall live.
    pub(super) fn spare(&mut self) {
        if let Some(running) = &self.running {
            running.faults.spare();
        }
    }

    /// How long to stay away, if the client has died of its fault and was not buried yet.
    pub(super) fn take_death(&mut self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        running.faults.is_dead().then_some(running.absence)
    }

    pub(super) async fn kill(&mut self) {
        if let Some(Running { client, mut reader, .. }) = self.running.take() {
            client.kill().await;
            // What the client had said before is still read.
            reader.join_next().await;
        }
    }

    pub(super) async fn leave(&mut self) {
        if let Some(running) = &self.running {
            running.client.engine.shutdown().await;
        }
        self.kill().await;
    }

    /// What this user was told that `peer` has.
    pub(super) fn confirmed_by(&self, peer: PeerId) -> Vec<MessageId> {
        let is_line = |(to, id): &&(PeerId, MessageId)| *to == peer && !self.signs.contains(id);
        self.diary().delivered.iter().filter(is_line).map(|(_, id)| *id).collect()
    }

    /// How many of `ids` are here at the most: in a room some may still wait for earlier ones of other authors. The
    /// verdict counts what came of them.
    pub(super) async fn stored(
        &self,
        ids: &[MessageId],
        room: Option<ConversationId>,
    ) -> Result<usize, String> {
        let mut places: BTreeSet<_> = self.said.iter().map(|said| said.place).collect();
        places.extend(self.met.borrow().iter().map(|peer| ConversationId::direct(self.id, *peer)));
        places.extend(room);
        let mut found = 0;
        for place in places {
            for row in self.rows(place).await? {
                found += match row {
                    HistoryRow::Message(row) => usize::from(ids.contains(&row.id())),
                    HistoryRow::Gap(gap) => usize::try_from(gap.waiting).unwrap_or(usize::MAX),
                };
            }
        }
        Ok(found)
    }

    async fn rows(&self, place: ConversationId) -> Result<Vec<HistoryRow>, String> {
        let Some(running) = &self.running else { return Err("a client is not running".to_owned()) };
        running.client.engine.history(place, None, WHOLE_HISTORY).await.map_err(|error| error.to_string())
    }

    /// The conversation, as a user would see it; an error while something is missing.
    pub(crate) async fn history(&self, place: ConversationId) -> Result<Vec<MessageRow>, String> {
        let message = |row| match row {
            HistoryRow::Message(row) => Ok(*row),
            HistoryRow::Gap(Gap { waiting, missing }) => {
                Err(format!("{}: {waiting} messages wait for {missing}", self.id.short()))
            }
        };
        self.rows(place).await?.into_iter().map(message).collect()
    }
}

/// Writes a message; its id if it was accepted.
async fn write(client: &Client, place: ConversationId, to: PeerId, words: &str) -> Option<MessageId> {
    let row = if place == ConversationId::direct(client.id(), to) {
        client.engine.send(to, words).await
    } else {
        client.engine.post(place, Draft::from(words.to_owned())).await
    };
    row.ok().map(|row| row.id())
}

/// A text that says which it is.
fn text(number: usize, len: usize) -> String {
    format!("{number} {}", "x".repeat(len))
}

/// The number in a text.
pub(crate) fn number_of(row: &MessageRow) -> usize {
    text_of(row).split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Polls a future and gives everybody else a turn, so many times; `None` if it has not ended by then.
async fn few_turns<T>(future: impl Future<Output = T>, turns: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..turns {
        let result = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(value) = result.await {
            return Some(value);
        }
        yield_now().await;
    }
    None
}

/// Reads what a client says into the diary.
struct Reader {
    run: usize,
    me: PeerId,
    diary: Arc<Mutex<Diary>>,
    met: watch::Sender<BTreeSet<PeerId>>,
    verbose: bool,
}

impl Reader {
    async fn read(self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            if self.verbose {
                self.tell(&event);
            }
            self.note(event);
        }
    }

    fn tell(&self, event: &Event) {
        let line = match event {
            Event::Message { message, .. } => format!("Message {:?} own {}", message.id(), message.own),
            other => format!("{other:?}"),
        };
        #[expect(clippy::print_stdout, reason = "the story of one seed is what was asked for")]
        {
            println!("          {:?} {}: {line}", now(), self.me.short());
        }
    }

    fn note(&self, event: Event) {
        let mut diary = self.diary.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Message { message, .. } if message.content.as_text().is_some() => {
                diary.shown.push(Shown {
                    run: self.run,
                    id: message.id(),
                    author: message.author,
                    number: number_of(&message),
                });
            }
            Event::State { id, peer, state: State::Delivered | State::Read } => {
                diary.delivered.insert((peer, id));
            }
            Event::Connected { peer, .. } => {
                self.met.send_modify(|met| {
                    met.insert(peer);
                });
            }
            Event::Error { message } => diary.errors.push(message),
            _ => {}
        }
    }
}
