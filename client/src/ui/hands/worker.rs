//! Carries requests out: with the engine of the running client, or on the store alone.

use common::identity::{Identity, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::import;
use super::request::{Reply, Request};
use crate::engine::{Connected, Engine, EngineError, Person, Visibility, check_text};
use crate::log::{Content, ConversationId, MessageId};
use crate::net::unix_ms;
use crate::store::{Contact, MessageRow, Store, StoreError};
use crate::ui::meeting::{self, Wish};
use crate::ui::names::Names;
use crate::ui::news::News;
use crate::ui::ping::{self, Pinged, Plan};
use crate::ui::plain::Place;
use crate::ui::rooms;
use crate::ui::show::{self, Colour};
use crate::ui::{Exit, json, talking};

/// Messages that are counted as not delivered; more are told as so many.
const MAX_COUNTED: usize = 100_000;

/// What is said when a connection is needed.
const NOBODY_RUNS: &str =
    "no client runs; start one, or name the server before the command: client --server HOST:PORT ...";

/// Who carries requests out.
#[derive(Debug, Clone)]
pub(in crate::ui) enum Worker {
    /// The running client.
    Running {
        engine: Box<Engine>,
        /// Its server, as `HOST:PORT#KEY` or `HOST:PORT`.
        server: String,
    },
    /// This process, while no client runs: what is written waits for one.
    Alone { store: Store, identity: Identity },
}

impl Worker {
    /// Does what is asked; an error becomes a reply.
    pub(in crate::ui) async fn perform(&self, request: Request) -> Reply {
        let done = match request {
            Request::Send { to, text } => self.send(&to, &text).await,
            Request::Rename { peer, name } => self.rename(&peer, &name).await,
            Request::Contacts => self.contacts().await,
            Request::Import { owner, entries } => {
                import::import(self.store(), &owner, entries).await.map_err(failed)
            }
            Request::Wish { wish } => self.grant(wish).await,
            Request::Status => self.status().await,
            Request::Nearby => self.nearby().await,
            Request::Why { peer } => self.why(&peer).await,
            // Has many replies, see `serve`.
            Request::Ping { .. } => Err(Reply::failed(Exit::Failed, &NOBODY_RUNS)),
            Request::Meeting(wish) => self.meeting(wish).await,
            Request::Talking(wish) => self.talk(wish).await,
        };
        done.unwrap_or_else(|reply| reply)
    }

    async fn nearby(&self) -> Result<Reply, Reply> {
        let Self::Running { engine, .. } = self else {
            return Err(Reply::failed(Exit::Failed, &NOBODY_RUNS));
        };
        let names = self.names().await?;
        let news = News::Nearby(engine.nearby().into_iter().map(|peer| (peer, names.knows(peer))).collect());
        let text = show::lines(&news, &names, Colour::Off).unwrap_or_default();
        Ok(Reply::good(text, json::line(&news, unix_ms())))
    }

    async fn why(&self, peer: &str) -> Result<Reply, Reply> {
        let names = self.names().await?;
        let peer = find(&names, peer)?;
        let Self::Running { engine, .. } = self else {
            return Err(Reply::failed(Exit::Failed, &NOBODY_RUNS));
        };
        let news = News::Why(Box::new(engine.why(peer).await));
        let text = show::lines(&news, &names, Colour::Off).unwrap_or_default();
        Ok(Reply::good(text, json::line(&news, unix_ms())))
    }

    /// Begins to ping.
    pub(super) async fn ping(
        &self,
        peer: &str,
        plan: Plan,
        tasks: &mut JoinSet<()>,
    ) -> Result<mpsc::Receiver<Pinged>, Reply> {
        let Self::Running { engine, .. } = self else {
            return Err(Reply::failed(Exit::Failed, &NOBODY_RUNS));
        };
        let peer = find(&self.names().await?, peer)?;
        let results = ping::start(engine.as_ref().clone(), peer, plan, tasks);
        results.map_err(|error| Reply::failed(Exit::Failed, &error))
    }

    pub(in crate::ui) fn store(&self) -> &Store {
        match self {
            Self::Running { engine, .. } => engine.store(),
            Self::Alone { store, .. } => store,
        }
    }

    async fn send(&self, to: &str, text: &str) -> Result<Reply, Reply> {
        let names = self.names().await?;
        let conversations = self.store().conversations().await.map_err(failed)?;
        check_text(text).map_err(failed)?;
        let content = Content::text(text);
        let place = rooms::find_place(to, &conversations, &names);
        let (message, shown) = match place.map_err(|error| Reply::failed(Exit::Unclear, &error))? {
            Place::Room(room) => {
                let title = conversations.iter().find(|it| it.id == room).map(rooms::title);
                (self.write(room, content).await, title.unwrap_or_default())
            }
            Place::Person(peer) => (self.write_to(peer, content).await, names.shown(peer)),
        };
        let message = Box::new(message.map_err(failed)?);
        let events = json::line(&News::Message { message, is_typed: true }, unix_ms());
        let shown = common::text::one_line(&shown, common::text::MAX_NAME);
        Ok(Reply::good(format!("to {shown}: {}", self.when_sent()), events))
    }

    const fn when_sent(&self) -> &'static str {
        match self {
            Self::Running { .. } => "written; it goes out at once, or as soon as there is a connection",
            Self::Alone { .. } => "written; it goes out when a client runs and there is a connection",
        }
    }

    /// Writes to everybody in a conversation that is known here.
    pub(in crate::ui) async fn write(
        &self,
        conversation: ConversationId,
        content: Content,
    ) -> Result<MessageRow, EngineError> {
        match self {
            Self::Running { engine, .. } => engine.write(conversation, content).await,
            Self::Alone { store, identity } => {
                let known = store.conversation(conversation).await?;
                let other: Vec<_> = known.and_then(|known| known.other(store.me())).into_iter().collect();
                Ok(store.compose(identity, conversation, &other, content, unix_ms(), rand::random()).await?)
            }
        }
    }

    /// Writes to somebody, be it for the first time.
    async fn write_to(&self, peer: PeerId, content: Content) -> Result<MessageRow, EngineError> {
        match self {
            Self::Running { engine, .. } => engine.write_to(peer, content).await,
            Self::Alone { store, .. } if peer == store.me() => Err(StoreError::NotMember(peer).into()),
            Self::Alone { store, identity } => {
                let conversation = ConversationId::direct(store.me(), peer);
                Ok(store.compose(identity, conversation, &[peer], content, unix_ms(), rand::random()).await?)
            }
        }
    }

    pub(in crate::ui) async fn cancel(&self, id: MessageId) -> Result<(), EngineError> {
        match self {
            Self::Running { engine, .. } => engine.cancel(id).await,
            Self::Alone { store, .. } => Ok(store.cancel(id).await?),
        }
    }

    async fn talk(&self, wish: talking::Wish) -> Result<Reply, Reply> {
        let done = talking::perform(self, wish).await;
        let news = done.map_err(|fatal| Reply::failed(fatal.exit, &fatal.message))?;
        let text = match &news {
            News::Talking(outcome) => talking::lines(outcome, &self.names().await?),
            _ => self.when_sent().to_owned(),
        };
        Ok(Reply::good(text, json::line(&news, unix_ms())))
    }

    async fn rename(&self, peer: &str, name: &str) -> Result<Reply, Reply> {
        let peer = find(&self.names().await?, peer)?;
        let name = common::text::one_line(name, common::text::MAX_NAME);
        match self {
            Self::Running { engine, .. } => engine.rename(peer, &name).await,
            Self::Alone { store, .. } => store.rename(peer, &name).await.map_err(EngineError::from),
        }
        .map_err(failed)?;
        let text = format!("{} is called {} from now on", peer.short(), self.names().await?.shown(peer));
        let events = json::line(&News::Info(text.clone()), unix_ms());
        Ok(Reply::good(text, events))
    }

    async fn contacts(&self) -> Result<Reply, Reply> {
        let people = self.people().await.map_err(failed)?;
        let news = News::Peers { people, current: None };
        let text = show::lines(&news, &self.names().await?, Colour::Off).unwrap_or_default();
        Ok(Reply::good(text, json::line(&news, unix_ms())))
    }

    async fn meeting(&self, wish: Wish) -> Result<Reply, Reply> {
        let done = meeting::perform(self, wish).await;
        let outcome = done.map_err(|fatal| Reply::failed(fatal.exit, &fatal.message))?;
        let text = meeting::lines(&outcome, &self.names().await?, unix_ms());
        Ok(Reply::good(text, json::line(&News::Meeting(outcome), unix_ms())))
    }

    async fn status(&self) -> Result<Reply, Reply> {
        let people = self.people().await.map_err(failed)?;
        let unsent = self.store().unsent(MAX_COUNTED).await.map_err(failed)?.len();
        let (server, registered) = match self {
            Self::Running { server, engine } => (Some(server.as_str()), engine.is_registered()),
            Self::Alone { .. } => (None, false),
        };
        let connected = people.iter().filter(|person| person.connected.is_some()).count();
        let me = self.store().me();
        let running = match server {
            None => "no client runs".to_owned(),
            Some(server) if registered => format!("running, server {server}"),
            Some(server) => format!("running, server {server} does not answer"),
        };
        let visible = Visibility::of(self.store()).await.map_err(failed)? == Visibility::Visible;
        let hidden = if visible { "" } else { "\ninvisible" };
        let text = format!(
            "key {me}\n{running}\n{} known, {connected} connected\n{unsent} not delivered yet{hidden}",
            people.len()
        );
        let status = json::Event::Status {
            peer: me,
            running: server.is_some(),
            server,
            registered,
            contacts: people.len(),
            connected,
            unsent,
            visible,
        };
        Ok(Reply::good(text, json::write(status, unix_ms())))
    }

    /// Everybody who is known here.
    pub(in crate::ui) async fn people(&self) -> Result<Vec<Person>, EngineError> {
        match self {
            Self::Running { engine, .. } => engine.people().await,
            Self::Alone { store, .. } => {
                let (verified, stances) = (store.verified().await?, store.stances().await?);
                let alone = |contact: Contact| {
                    let verified_ms = verified.get(&contact.peer).copied();
                    let regard = stances.regard(contact.peer.as_bytes());
                    Person { verified_ms, contact, online: false, connected: None::<Connected>, regard }
                };
                Ok(store.contacts().await?.into_iter().map(alone).collect())
            }
        }
    }

    pub(super) async fn names(&self) -> Result<Names, Reply> {
        Names::of(self.store()).await.map_err(failed)
    }
}

pub(super) fn failed(error: impl Into<EngineError>) -> Reply {
    Reply::failed(Exit::Failed, &error.into())
}

/// Somebody who is known here, or anybody by the whole key.
fn find(names: &Names, text: &str) -> Result<PeerId, Reply> {
    text.parse().or_else(|_| names.find(text)).map_err(|error| Reply::failed(Exit::Unclear, &error))
}
