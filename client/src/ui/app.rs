//! The loop that joins the engine's events with what is typed.

mod commands;
mod delivery;
mod events;
mod meeting;
mod messages;
mod nearby;
mod people;
mod ping;
mod rooms;
mod roster;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use common::identity::PeerId;
use rendezvous::Server;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::front::Front;
use super::names::Names;
use super::news::News;
use super::out::Closed;
use super::plain::{Input, Place, QUEUE_LEN};
use super::signals::Signals;
use super::terminal::{Prompt, Terminal};
use super::{Exit, Fatal};
use crate::engine::{Engine, Event};
use crate::log::{ConversationId, MessageId};
use crate::net::{self, ServerTarget, Via};
use crate::store::{Regard, Search};
use delivery::Delivery;
use ping::Pinging;

/// How long the end of a piped input waits until what was typed is delivered.
const DELIVERY_TIME: Duration = Duration::from_secs(5);
/// How long `/quit` waits for what is on its way to somebody who is connected.
const QUIT_TIME: Duration = Duration::from_secs(1);
/// How long the end may take in all.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);
/// How long the embedded server may take of it.
const SERVER_TIME: Duration = Duration::from_secs(1);

/// Where typed lines come from.
#[derive(Debug)]
pub(super) enum Inputs {
    /// Nowhere.
    None,
    /// A pipe or the like.
    Plain(mpsc::Receiver<Input>),
    /// A terminal with line editing.
    Terminal(Terminal),
    /// The full screen.
    Screen(mpsc::Receiver<Input>),
}

impl Inputs {
    async fn next(&mut self) -> Option<Input> {
        match self {
            Self::None => std::future::pending().await,
            Self::Plain(inputs) | Self::Screen(inputs) | Self::Terminal(Terminal { inputs, .. }) => {
                inputs.recv().await
            }
        }
    }

    /// What has been typed meanwhile.
    fn try_next(&mut self) -> Option<Input> {
        match self {
            Self::None => None,
            Self::Plain(inputs) | Self::Screen(inputs) | Self::Terminal(Terminal { inputs, .. }) => {
                inputs.try_recv().ok()
            }
        }
    }

    /// Whether somebody sits there, rather than a program.
    const fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_) | Self::Screen(_))
    }

    fn handled(&self) {
        if let Self::Terminal(terminal) = self {
            // The reader goes on by itself after a while.
            let _ = terminal.handled.try_send(());
        }
    }
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) engine: Engine,
    /// This user's own name.
    pub(super) name: String,
    pub(super) server: ServerTarget,
    pub(super) front: Front,
    /// Came here by a link, and may not know yet how to come again.
    pub(super) is_guest: bool,
}

/// Why the loop ends.
#[derive(Debug)]
enum End {
    /// The user or the system wants it, or nobody reads any more.
    Wanted,
    /// It cannot go on.
    Fatal(Fatal),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Wanted
    }
}

/// How far the program is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Waits until then for what was typed to be delivered.
    Delivering(Instant),
    /// Waits until then for what is on its way to those who are connected.
    Leaving(Instant),
}

/// Whom the lines go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    peer: PeerId,
    /// The user has chosen them, so nobody who comes takes their place.
    is_chosen: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct App {
    engine: Engine,
    name: String,
    server: ServerTarget,
    front: Front,
    names: Names,
    current: Option<Current>,
    /// The room that lines go to, before the current person.
    room: Option<ConversationId>,
    prompt: Option<watch::Sender<Prompt>>,
    connected: BTreeSet<PeerId>,
    /// The paths that people have seen.
    paths: BTreeMap<PeerId, (Via, Option<SocketAddr>)>,
    /// Why people could not be reached, as last told.
    unreachable: BTreeMap<PeerId, String>,
    delivery: Delivery,
    /// Own messages that were printed and will be reported once more.
    printed: BTreeSet<MessageId>,
    /// Those whose history was shown.
    remembered: BTreeSet<PeerId>,
    is_ready: bool,
    is_guest: bool,
    /// In the lobby, as soon as the server is reached.
    is_waiting: bool,
    server_trouble: Option<String>,
    /// When a screen is told anew how everybody is.
    roster_at: Option<Instant>,
    /// What `/search` shows next.
    next_page: Option<Search>,
    /// What `/ping` has under way.
    pinging: Option<Pinging>,
    started_ms: u64,
    phase: Phase,
}

impl App {
    pub(super) fn new(setup: Setup) -> Self {
        let Setup { engine, name, server, front, is_guest } = setup;
        let names = Names::new(engine.me());
        Self {
            engine,
            name,
            server,
            front,
            names,
            current: None,
            room: None,
            prompt: None,
            connected: BTreeSet::new(),
            paths: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            delivery: Delivery::default(),
            printed: BTreeSet::new(),
            remembered: BTreeSet::new(),
            is_ready: false,
            is_guest,
            is_waiting: false,
            server_trouble: None,
            roster_at: None,
            next_page: None,
            pinging: None,
            started_ms: net::unix_ms(),
            phase: Phase::Running,
        }
    }

    /// Runs until the end, and takes leave.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut inputs: Inputs,
        mut signals: Signals,
        mut embedded: Option<Server>,
    ) -> Result<Exit, Fatal> {
        if let Inputs::Terminal(terminal) = &inputs {
            self.prompt = Some(terminal.prompt.clone());
        }
        let end = self.talk(&mut events, &mut inputs, &mut signals, &mut embedded).await;
        self.leave(&mut events, &mut inputs, &mut signals, embedded).await;
        self.front.finish().await;
        match end {
            Ok(()) | Err(End::Wanted) => Ok(Exit::Good),
            Err(End::Fatal(fatal)) => Err(fatal),
        }
    }

    async fn talk(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        inputs: &mut Inputs,
        signals: &mut Signals,
        embedded: &mut Option<Server>,
    ) -> Result<(), End> {
        self.greet(embedded.is_some()).await?;
        loop {
            if self.is_done() {
                return self.say_what_is_left().await;
            }
            let wake_up = self.timeout();
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle_event(event).await?,
                    None => return Err(End::Fatal(Fatal::failed("the engine has ended"))),
                },
                input = inputs.next() => {
                    let mut batch = vec![input.unwrap_or(Input::End)];
                    while batch.len() < QUEUE_LEN
                        && let Some(input) = inputs.try_next()
                    {
                        batch.push(input);
                    }
                    let is_terminal = inputs.is_terminal();
                    if batch.contains(&Input::End) && !matches!(inputs, Inputs::Screen(_)) {
                        *inputs = Inputs::None;
                    }
                    self.handle_inputs(batch, is_terminal).await?;
                    inputs.handled();
                }
                pinged = ping::next(&mut self.pinging) => self.handle_pinged(pinged).await?,
                () = signals.next() => return Ok(()),
                () = self.front.closed() => return Ok(()),
                () = until(wake_up) => self.handle_timeout(now()).await?,
                () = lost(embedded) => {
                    *embedded = None;
                    self.say(News::Error("the server in this client has lost its sockets".to_owned())).await?;
                }
            }
        }
    }

    /// Says who we are, and finds out whom we know.
    async fn greet(&mut self, is_server: bool) -> Result<(), End> {
        self.say(News::Welcome { me: self.engine.me(), name: self.name.clone() }).await?;
        if is_server {
            let command = format!("client --server {}", self.server);
            self.say(News::Invite { command }).await?;
        }
        match self.engine.people().await {
            Ok(people) => {
                for person in &people {
                    self.names.set(person.contact.peer, &person.contact.name());
                }
                self.say_manner().await?;
                let is_open = |person: &&crate::engine::Person| person.regard != Regard::Hidden;
                let first = people.iter().find(is_open).map(|person| person.contact.peer);
                self.show_roster(people).await?;
                self.show_unread().await?;
                if let Some(peer) = first {
                    self.turn(Some(Current { peer, is_chosen: false })).await?;
                }
                Ok(())
            }
            Err(error) => Err(End::Fatal(Fatal::failed(error))),
        }
    }

    /// Whether everything that the end waits for has happened.
    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Running => false,
            Phase::Delivering(until) => self.delivery.is_settled(None) || until <= now(),
            Phase::Leaving(until) => self.delivery.is_settled(Some(&self.connected)) || until <= now(),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        let end = match self.phase {
            Phase::Running => None,
            Phase::Delivering(until) | Phase::Leaving(until) => Some(until),
        };
        [end, self.delivery.poll_timeout(), self.roster_at].into_iter().flatten().min()
    }

    async fn handle_timeout(&mut self, now: Instant) -> Result<(), Closed> {
        for (peer, count) in self.delivery.handle_timeout(now) {
            self.say(News::Delivered { peer, count }).await?;
        }
        self.refresh_roster(now).await
    }

    async fn say_what_is_left(&mut self) -> Result<(), End> {
        let left = self.delivery.open_count();
        if left > 0 {
            let message = format!("{left} not delivered yet; sent the next time that you are both here");
            self.say(News::Info(message)).await?;
        }
        Ok(())
    }

    async fn say(&self, news: News) -> Result<(), Closed> {
        self.front.say(news, &self.names).await
    }

    /// What is typed goes there from now on.
    async fn turn(&mut self, current: Option<Current>) -> Result<(), Closed> {
        self.current = current;
        self.update_prompt();
        if !self.front.is_screen() {
            return Ok(());
        }
        let conversation = current.map(|current| self.engine.direct(current.peer));
        self.say(News::Turned { conversation }).await
    }

    fn update_prompt(&self) {
        let Some(prompt) = &self.prompt else { return };
        let to = self.here();
        let name = match to {
            None => String::new(),
            Some(Place::Person(peer)) => self.names.shown(peer),
            Some(Place::Room(room)) => self.names.room(room),
        };
        prompt.send_replace(Prompt { to, name });
    }

    /// Ends the engine and the server. What still arrives meanwhile is shown, for the other side takes it for
    /// delivered. A second signal ends it all at once.
    async fn leave(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        inputs: &mut Inputs,
        signals: &mut Signals,
        embedded: Option<Server>,
    ) {
        let engine = self.engine.clone();
        let shutdown = async move {
            engine.shutdown().await;
            if let Some(server) = embedded {
                // It has nothing to lose but its clients' patience.
                let _ = timeout(SERVER_TIME, server.shutdown()).await;
            }
        };
        let late = async {
            while let Some(event) = events.recv().await {
                if self.handle_late(event).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = timeout(SHUTDOWN_TIME, shutdown) => {}
            () = signals.next() => {}
            () = interrupted(inputs) => {}
            () = late => {}
        }
    }
}

/// The moment, for what is shown late and what is waited for.
#[expect(clippy::disallowed_methods, reason = "the front end's one reading of the monotonic clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Ends when the user of a screen wants to leave at once: there Ctrl-C is a key.
async fn interrupted(inputs: &mut Inputs) {
    if let Inputs::Screen(inputs) = inputs {
        while inputs.recv().await.is_some_and(|input| input != Input::Interrupt) {}
    } else {
        std::future::pending::<()>().await;
    }
}

async fn lost(server: &mut Option<Server>) {
    match server {
        Some(server) => {
            server.failed().await;
        }
        None => std::future::pending().await,
    }
}
