//! What the engine reports.

use common::code;
use common::identity::PeerId;
use common::text;

use super::{App, Closed, Current, End, Exit, Fatal, News, now};
use crate::engine::Event;
use crate::net::{PathChange, Route};
use crate::store::{HistoryRow, MessageRow};

/// Messages of the past that are shown when somebody comes.
const RECENT: usize = 5;
/// Characters of a reason that is repeated.
const MAX_REASON: usize = 200;
/// What is said in the lobby.
const WAITING: &str = "waiting for somebody new; they start a client with the same --server";

impl App {
    pub(super) async fn handle_event(&mut self, event: Event) -> Result<(), End> {
        self.note_change(&event);
        match event {
            Event::ServerUp { key, route, .. } => self.handle_server_up(key, route).await?,
            Event::ServerRerouted(route) => {
                self.say(News::Info(format!("the way to the server is now {route}"))).await?;
            }
            Event::ServerDown { error, retry } => {
                if retry.is_none() && !self.is_ready {
                    return Err(End::Fatal(Fatal::with(Exit::Server)(&error)));
                }
                let again = if retry.is_some() { "; trying again" } else { "" };
                self.handle_server_trouble(format!("{error}{again}")).await?;
            }
            // The engine waits before the server knows; people are told when it is true.
            Event::Waiting if !self.is_ready => self.is_waiting = true,
            Event::Waiting => self.say(News::Info(WAITING.to_owned())).await?,
            Event::Paired { peer } => {
                self.say(News::Info(format!("paired with {}, connecting", self.names.shown(peer)))).await?;
            }
            Event::Impostor { peer, name, known } => self.say(News::Impostor { peer, name, known }).await?,
            Event::Link(news) => self.handle_link(news).await?,
            Event::Code(news) => self.handle_code(news).await?,
            Event::Connected { peer, name, words, is_new } => {
                self.handle_connected(peer, name, words, is_new).await?;
            }
            Event::Path(change) => self.handle_path(change).await?,
            Event::Message { message, .. } => self.handle_message(message).await?,
            Event::State { id, peer, state } => {
                self.delivery.handle_state(now(), id, peer, state);
                self.say(News::State { id, peer, state }).await?;
            }
            Event::Disconnected { peer, reason } => self.handle_disconnected(peer, reason).await?,
            Event::Unreachable { peer, reason } => self.handle_unreachable(peer, reason).await?,
            Event::Nearby { peer, is_here, is_new } => {
                self.say(News::Neighbour { peer, is_here, is_new }).await?;
            }
            // Members of a room who were never met: the list of members shows them.
            Event::Presence { peer, .. } if !self.names.knows(peer) => {}
            Event::Presence { peer, online } => {
                let state = if online { "online" } else { "offline" };
                self.say(News::Detail(format!("{} is {state}", self.names.shown(peer)))).await?;
            }
            Event::Error { message } => self.say(News::Error(message)).await?,
            Event::Chosen(choice) => self.handle_chosen(choice).await?,
            Event::Cancelled { id } => self.say(News::Cancelled(id)).await?,
            Event::Renamed { peer } => self.handle_renamed(peer).await?,
            Event::Changed { message: Some(message), .. } => self.say(News::Changed(message)).await?,
            Event::Changed { conversation, message: None } => self.learn_room(conversation).await,
            Event::Gap { conversation, gap } => self.say(News::Gap { conversation, gap }).await?,
            Event::Typing { conversation, peer } => self.say(News::Typing { conversation, peer }).await?,
            Event::Invited { conversation, name, by } => {
                self.say(News::Invited { conversation, name, by }).await?;
            }
        }
        Ok(())
    }

    /// What still counts while the program ends.
    pub(super) async fn handle_late(&mut self, event: Event) -> Result<(), Closed> {
        match event {
            Event::Message { message, .. } => self.handle_message(message).await,
            Event::State { id, peer, state } => self.say(News::State { id, peer, state }).await,
            Event::Error { message } => self.say(News::Error(message)).await,
            _ => Ok(()),
        }
    }

    async fn handle_server_up(&mut self, key: PeerId, route: Route) -> Result<(), Closed> {
        self.server_trouble = None;
        if self.is_ready {
            return self.say(News::ServerBack).await;
        }
        self.is_ready = true;
        let server = format!("{}#{key}", self.server.address);
        self.say(News::Ready { me: self.engine.me(), server, key, route }).await?;
        if std::mem::take(&mut self.is_waiting) {
            self.say(News::Info(WAITING.to_owned())).await?;
        }
        Ok(())
    }

    /// The same trouble is told once, however often it is met.
    async fn handle_server_trouble(&mut self, trouble: String) -> Result<(), Closed> {
        if self.server_trouble.as_ref() == Some(&trouble) {
            return Ok(());
        }
        self.server_trouble = Some(trouble.clone());
        self.say(News::ServerTrouble(trouble)).await
    }

    async fn handle_connected(
        &mut self,
        peer: PeerId,
        name: String,
        words: String,
        is_new: bool,
    ) -> Result<(), Closed> {
        self.names.set(peer, &name);
        self.connected.insert(peer);
        if let Some(people) = self.people().await? {
            self.show_roster(people).await?;
        }
        self.unreachable.remove(&peer);
        let path = self.path_of(peer).await;
        if let Some(path) = &path {
            self.paths.insert(peer, (path.via, path.remote));
        }
        let via = path.map(|path| path.via);
        self.say(News::Connected { peer, name, words, is_new, via }).await?;
        if self.remembered.insert(peer) && !is_new {
            self.show_recent(peer).await?;
        }
        self.turn_to(peer).await
    }

    async fn path_of(&self, peer: PeerId) -> Option<PathChange> {
        let people = self.engine.people().await.ok()?;
        people.into_iter().find(|person| person.contact.peer == peer)?.connected?.path
    }

    /// Lines go to somebody who comes, unless the user talks to somebody else.
    async fn turn_to(&mut self, peer: PeerId) -> Result<(), Closed> {
        match self.current {
            Some(current) if current.peer == peer => self.update_prompt(),
            // The user of a screen sees who came, and goes there when they like.
            Some(_) if self.front.is_screen() => {}
            None if self.room.is_some() => {}
            Some(current) if current.is_chosen || self.connected.contains(&current.peer) => {}
            before => {
                self.turn(Some(Current { peer, is_chosen: false })).await?;
                // A prompt that stands there already does not say so.
                if before.is_some() || self.prompt.is_some() {
                    let message = format!("what you type goes to {} now", self.names.shown(peer));
                    self.say(News::Info(message)).await?;
                }
            }
        }
        Ok(())
    }

    /// The end of what was said before this run.
    async fn show_recent(&mut self, peer: PeerId) -> Result<(), Closed> {
        if !self.front.is_lines() {
            return Ok(());
        }
        let started_ms = self.started_ms;
        let is_past = |row: &HistoryRow| match row {
            HistoryRow::Message(message) => message.received_ms < started_ms,
            HistoryRow::Gap(_) => false,
        };
        match self.engine.history(self.engine.direct(peer), None, RECENT).await {
            Ok(rows) => {
                let rows = rows.into_iter().filter(is_past).collect();
                self.say(News::History { peer, rows, is_recent: true }).await
            }
            Err(error) => self.say(News::Error(error.to_string())).await,
        }
    }

    async fn handle_code(&mut self, news: code::News) -> Result<(), Closed> {
        match news {
            code::News::Offered(code) => self.say(News::Code(code.to_string())).await,
            code::News::Met { peer, .. } => {
                let message = format!("{} knows the code; connecting", self.names.shown(peer));
                self.say(News::Info(message)).await
            }
            code::News::Failed(failure) => self.say(News::Error(failure.to_string())).await,
        }
    }

    async fn handle_path(&mut self, change: PathChange) -> Result<(), Closed> {
        if !self.connected.contains(&change.peer) {
            // Nothing travels there before they are connected; then it is told again.
            return Ok(());
        }
        let path = (change.via, change.remote);
        let is_shown = self.paths.insert(change.peer, path) == Some(path);
        self.say(News::Path { change, is_shown }).await
    }

    async fn handle_message(&mut self, message: MessageRow) -> Result<(), Closed> {
        if self.printed.remove(&message.id()) || !self.is_told(&message) {
            return Ok(());
        }
        if message.conversation != self.engine.direct(message.author) && !message.own {
            self.learn_room(message.conversation).await;
        }
        self.say(News::Message { message: Box::new(message), is_typed: false }).await
    }

    async fn handle_disconnected(&mut self, peer: PeerId, reason: String) -> Result<(), Closed> {
        self.connected.remove(&peer);
        self.paths.remove(&peer);
        self.say(News::Disconnected { peer, reason }).await?;
        match self.delivery.handle_disconnected(peer) {
            0 => Ok(()),
            count => self.say(News::Unconfirmed { peer, count }).await,
        }
    }

    async fn handle_unreachable(&mut self, peer: PeerId, reason: String) -> Result<(), Closed> {
        let reason = text::one_line(&reason, MAX_REASON);
        if self.unreachable.insert(peer, reason.clone()).as_ref() == Some(&reason) {
            return Ok(());
        }
        self.say(News::Info(format!("{} cannot be reached now: {reason}", self.names.shown(peer)))).await
    }

    /// An own message is committed: says so, and remembers to say when it has arrived.
    pub(super) async fn handle_sent(&mut self, message: MessageRow) -> Result<(), Closed> {
        let id = message.id();
        self.printed.insert(id);
        for (peer, _) in &message.states {
            self.delivery.handle_sent(now(), id, *peer, self.connected.contains(peer));
        }
        self.say(News::Message { message: Box::new(message), is_typed: true }).await
    }
}
