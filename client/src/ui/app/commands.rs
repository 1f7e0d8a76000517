//! What is typed.

use std::collections::BTreeMap;

use common::identity::PeerId;
use futures_util::future::join_all;
use tokio::task::unconstrained;

use super::{App, Closed, Current, DELIVERY_TIME, News, Phase, QUIT_TIME, now};
use crate::engine::{EngineError, Person};
use crate::log::MAX_TEXT_LEN;
use crate::ui::commands;
use crate::ui::line::{self, Act, Command, Line};
use crate::ui::plain::{Input, Place};
use crate::ui::rooms::find_place;
use crate::ui::talking::Wish;

/// Messages that are to be sent.
type Batch = Vec<(PeerId, String)>;

impl App {
    /// Handles what was typed, in order. Messages that follow each other are committed together.
    pub(super) async fn handle_inputs(
        &mut self,
        inputs: Vec<Input>,
        is_terminal: bool,
    ) -> Result<(), Closed> {
        let mut batch = Batch::new();
        for input in inputs {
            if matches!(self.phase, Phase::Leaving(_)) {
                break;
            }
            match input {
                Input::Line { text, to } => self.handle_line(&text, to, &mut batch).await?,
                Input::Seen(conversation) => self.handle_seen(conversation).await?,
                Input::Typing(conversation) => self.handle_typing(conversation).await?,
                Input::Open(place) => self.handle_open(place),
                Input::Page { conversation, before } => self.handle_page(conversation, before).await?,
                Input::Search { query } => self.search(&query).await?,
                Input::NotUtf8 => self.refuse(&mut batch, "the line is not UTF-8; nothing was sent").await?,
                Input::TooLong { len } => {
                    let message = format!(
                        "the line has {len} bytes; a message may have {MAX_TEXT_LEN}; nothing was sent"
                    );
                    self.refuse(&mut batch, &message).await?;
                }
                Input::End if is_terminal => self.phase = Phase::Leaving(now() + QUIT_TIME),
                Input::End => self.phase = Phase::Delivering(now() + DELIVERY_TIME),
                Input::Interrupt => self.phase = Phase::Leaving(now()),
            }
        }
        self.send_all(&mut batch).await
    }

    /// Says that something is wrong, after what came before it.
    async fn refuse(&mut self, batch: &mut Batch, message: &str) -> Result<(), Closed> {
        self.send_all(batch).await?;
        self.say(News::Error(message.to_owned())).await
    }

    async fn handle_line(&mut self, line: &str, to: Option<Place>, batch: &mut Batch) -> Result<(), Closed> {
        match line::parse(line) {
            Ok(Line::Empty) => Ok(()),
            Ok(Line::Text(text)) => match to.or(self.here()) {
                Some(place) => self.say_to(place, text, batch).await,
                None => self.refuse(batch, "nobody is there yet; nothing was sent").await,
            },
            Ok(Line::Command(Command::Message { to, text })) => match self.place(&to).await {
                Ok(place) => self.say_to(place, text, batch).await,
                Err(error) => self.refuse(batch, &format!("{error}; nothing was sent")).await,
            },
            Ok(Line::Command(command)) => {
                self.send_all(batch).await?;
                self.handle_command(command).await
            }
            Err(error) => self.refuse(batch, &error.to_string()).await,
        }
    }

    /// Where the user talks.
    pub(super) fn here(&self) -> Option<Place> {
        self.room.map(Place::Room).or(self.current.map(|current| Place::Person(current.peer)))
    }

    async fn say_to(&mut self, place: Place, text: String, batch: &mut Batch) -> Result<(), Closed> {
        match place {
            Place::Person(peer) => {
                batch.push((peer, text));
                Ok(())
            }
            Place::Room(room) => {
                self.send_all(batch).await?;
                self.post(room, text).await
            }
        }
    }

    /// Sends in order; one commit serves many.
    async fn send_all(&mut self, batch: &mut Batch) -> Result<(), Closed> {
        let batch = std::mem::take(batch);
        let engine = self.engine.clone();
        let sends = join_all(batch.iter().map(|(peer, text)| engine.send(*peer, text)));
        // Polled in order, they queue for the commit in order, unless tokio sends some of them to the back of the
        // line for the sake of fairness: hence unconstrained.
        let results = unconstrained(sends).await;
        let mut waiting = BTreeMap::new();
        for ((peer, _), result) in batch.iter().zip(results) {
            match result {
                Ok(message) => {
                    self.handle_sent(message).await?;
                    if !self.connected.contains(peer) {
                        *waiting.entry(*peer).or_default() += 1;
                    }
                }
                Err(error) => self.say(News::Error(format!("{error}; nothing was sent"))).await?,
            }
        }
        for (peer, count) in waiting {
            match self.why_kept(peer) {
                Some(reason) => self.say(News::Info(reason)).await?,
                None => self.say(News::Waiting { peer, count }).await?,
            }
        }
        Ok(())
    }

    async fn handle_command(&mut self, command: Command) -> Result<(), Closed> {
        match command {
            Command::Help => self.say(News::Help).await,
            Command::HelpOn(spec) => self.say(News::Info(commands::help_on(spec))).await,
            Command::Peers => match self.people().await? {
                Some(people) => {
                    let current = self.current.map(|current| current.peer);
                    self.say(News::Peers { people, current }).await
                }
                None => Ok(()),
            },
            Command::Path => match self.people().await? {
                Some(people) => {
                    let live = people.into_iter().filter_map(|person| person.connected?.path);
                    self.say(News::Paths(live.collect())).await
                }
                None => Ok(()),
            },
            Command::Nearby { who } => self.nearby(&who).await,
            Command::Why { name } => self.why(&name).await,
            Command::Ping { name, count } => self.ping(&name, count).await,
            Command::History { limit, is_open } => self.show_history(limit, is_open).await,
            Command::Reply { which, text } => {
                self.handle_here(|whom| Wish::Reply { whom, which, text }).await
            }
            Command::Edit { which, text } => self.handle_here(|whom| Wish::Edit { whom, which, text }).await,
            Command::Delete { which } => self.handle_here(|whom| Wish::Delete { whom, which }).await,
            Command::React { which, sign } => {
                self.handle_here(|whom| Wish::React { whom, which, sign }).await
            }
            Command::Search { query } => self.search(&query).await,
            Command::To { name } => self.choose(&name).await,
            Command::Act(act) => self.handle_act(act).await,
            Command::Wish(wish) => self.handle_wish(wish).await,
            Command::Name { peer, name } => self.rename(&peer, &name).await,
            Command::Meeting(wish) => self.handle_meeting(wish).await,
            Command::Meet => match self.engine.meet().await {
                Ok(()) => Ok(()),
                Err(error) => self.fail(&error).await,
            },
            Command::Code { code: None } => {
                self.engine.offer_code().await;
                Ok(())
            }
            Command::Code { code: Some(code) } => match self.engine.claim_code(&code).await {
                Ok(()) => self.say(News::Info("asking the server who offers this code".to_owned())).await,
                Err(error) => self.fail(&error).await,
            },
            Command::Quit => {
                self.phase = Phase::Leaving(now() + QUIT_TIME);
                Ok(())
            }
            // Sent together with other messages.
            Command::Message { .. } => Ok(()),
        }
    }

    pub(super) async fn fail(&self, error: &EngineError) -> Result<(), Closed> {
        self.say(News::Error(error.to_string())).await
    }

    pub(super) async fn people(&self) -> Result<Option<Vec<Person>>, Closed> {
        match self.engine.people().await {
            Ok(people) => Ok(Some(people)),
            Err(error) => self.fail(&error).await.map(|()| None),
        }
    }

    /// Where `typed` leads, or why that is not clear.
    async fn place(&self, typed: &str) -> Result<Place, String> {
        let conversations = self.engine.store().conversations().await.map_err(|error| error.to_string())?;
        find_place(typed, &conversations, &self.names).map_err(|error| error.to_string())
    }

    async fn choose(&mut self, name: &str) -> Result<(), Closed> {
        match self.place(name).await {
            Ok(Place::Room(room)) => self.handle_act(Act::Turn { room }).await,
            Ok(Place::Person(peer)) => {
                self.room = None;
                self.turn(Some(Current { peer, is_chosen: true })).await?;
                let message = format!("what you type goes to {} now", self.names.shown(peer));
                self.say(News::Info(message)).await
            }
            Err(error) => self.say(News::Error(error)).await,
        }
    }

    async fn rename(&mut self, peer: &str, name: &str) -> Result<(), Closed> {
        let peer = match self.names.find(peer) {
            Ok(peer) => peer,
            Err(error) => return self.say(News::Error(error.to_string())).await,
        };
        if let Err(error) = self.engine.rename(peer, name).await {
            return self.fail(&error).await;
        }
        let shown = |name: String| format!("{} is called {name} from now on", peer.short());
        self.handle_renamed(peer).await?;
        self.say(News::Info(shown(self.names.shown(peer)))).await
    }

    /// Somebody goes by another name here, by the user's will.
    pub(super) async fn handle_renamed(&mut self, peer: PeerId) -> Result<(), Closed> {
        let people = self.people().await?.unwrap_or_default();
        if let Some(person) = people.iter().find(|person| person.contact.peer == peer) {
            self.names.set(peer, &person.contact.name());
        }
        self.show_roster(people).await?;
        self.update_prompt();
        Ok(())
    }
}
