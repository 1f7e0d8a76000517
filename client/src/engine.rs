//! One engine under all front ends: methods in, [`Event`]s out.
//!
//! It joins the store, the network and one session per connected peer. Front ends know nothing below it; it knows
//! nothing of terminals, pages and formats.

mod contacts;
mod run;
mod session;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::control::InstanceId;
use common::identity::{Identity, PeerId};
use quinn::AsyncUdpSocket;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use crate::log::{Content, ConversationId, MAX_TEXT_LEN, MessageId};
use crate::net::{self, Net, PathChange, ServerError, ServerTarget};
use crate::store::{Contact, HistoryRow, MessageRow, Options, Selection, State, Store, StoreError};

/// Events that wait for a front end. One that does not read holds the engine up, never loses an event.
const QUEUE_LEN: usize = 1024;

/// What [`Engine::start`] needs.
#[derive(Debug)]
pub struct Config {
    /// Who we are.
    pub identity: Identity,
    /// The database file.
    pub database: PathBuf,
    /// How the store is opened.
    pub store: Options,
    /// The name that peers see.
    pub name: String,
    /// The rendezvous; `None` for none.
    pub server: Option<ServerTarget>,
    /// Waits in the lobby although there are contacts.
    pub meet: bool,
    /// The sockets, see [`net::links::bind`].
    pub links: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Lists this machine's addresses, see [`net::links::interface_addrs`].
    pub interfaces: fn() -> Vec<IpAddr>,
    /// Reads the wall clock, in milliseconds since 1970, see [`net::unix_ms`].
    pub wall_clock: fn() -> u64,
    /// Feeds random choices that are not secrets' own.
    pub seed: u64,
}

/// What front ends learn.
#[derive(Debug)]
pub enum Event {
    /// Registered with the server.
    ServerUp {
        /// Its key.
        key: PeerId,
        /// Its address.
        address: SocketAddr,
        /// Where it sees this machine.
        observed: SocketAddr,
    },
    /// No connection to the server.
    ServerDown {
        /// Why.
        error: ServerError,
        /// When it is tried again; `None` for never.
        retry: Option<Duration>,
    },
    /// Waiting in the lobby for a newcomer.
    Waiting,
    /// The server has paired us with a newcomer, who is being connected.
    Paired {
        /// Who it says they are.
        peer: PeerId,
    },
    /// A peer is connected and proven.
    Connected {
        /// Who.
        peer: PeerId,
        /// The name they go by.
        name: String,
        /// Words that both people see and compare.
        words: String,
        /// Whether they were not known before.
        is_new: bool,
    },
    /// A peer's packets take another path.
    Path(PathChange),
    /// A message became part of a conversation; it is stored durably. Own messages are reported too.
    Message {
        /// The message.
        message: MessageRow,
        /// The name of its author.
        author: String,
    },
    /// A message got further towards a recipient.
    State {
        /// The message.
        id: MessageId,
        /// The recipient.
        peer: PeerId,
        /// How far.
        state: State,
    },
    /// A peer's connection has ended.
    Disconnected {
        /// Whose.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A peer cannot be connected now; what is written meanwhile waits.
    Unreachable {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A contact came online or went.
    Presence {
        /// Who.
        peer: PeerId,
        /// Whether they are online.
        online: bool,
    },
    /// Something went wrong that the user should know.
    Error {
        /// What, in a sentence.
        message: String,
    },
}

/// Why the engine cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be brought up.
    #[error("the network cannot be used: {0}")]
    Network(#[from] std::io::Error),
    /// A text is too long.
    #[error("the message has {len} bytes; {max} are allowed")]
    TooLong {
        /// Its length in bytes of UTF-8.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A text has nothing in it.
    #[error("the message is empty")]
    Empty,
}

/// A contact, and how they are connected.
#[derive(Debug, Clone)]
pub struct Person {
    /// What is remembered of them.
    pub contact: Contact,
    /// Whether the server says that they are online.
    pub online: bool,
    /// Their connection, if there is one.
    pub connected: Option<Connected>,
}

/// A live connection, as front ends show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Words to compare.
    pub words: String,
    /// The path in use now.
    pub path: Option<PathChange>,
}

/// What the engine's task knows of peers now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Live {
    online: bool,
    /// The words of a complete connection.
    words: Option<String>,
}

type LivePeers = BTreeMap<PeerId, Live>;

/// A handle on a running engine.
#[derive(Debug, Clone)]
pub struct Engine {
    identity: Identity,
    store: Store,
    net: Net,
    events: mpsc::Sender<Event>,
    live: watch::Receiver<LivePeers>,
    wall_clock: fn() -> u64,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Engine {
    /// Opens the store and brings up the network.
    ///
    /// # Errors
    /// [`EngineError`] if either cannot be used.
    pub async fn start(config: Config) -> Result<(Self, mpsc::Receiver<Event>), EngineError> {
        let me = config.identity.peer_id();
        let store = Store::open_with(&config.database, me, config.store.clone()).await?;
        let server = match config.server {
            Some(target) => Some(known_server(&store, target).await?),
            None => None,
        };
        let mut tasks = JoinSet::new();
        let net_config = net::Config {
            identity: config.identity.clone(),
            instance: InstanceId(rand::random()),
            server: server.clone(),
            links: config.links,
            interfaces: config.interfaces,
            seed: config.seed,
        };
        let (net, net_events) = Net::start(net_config, &mut tasks)?;
        let (events, event_queue) = mpsc::channel(QUEUE_LEN);
        let (live_sender, live) = watch::channel(LivePeers::new());
        let context = run::Context {
            store: store.clone(),
            net: net.clone(),
            events: events.clone(),
            name: common::text::one_line(&config.name, common::text::MAX_NAME),
            wall_clock: config.wall_clock,
        };
        tasks.spawn(run::run(context, net_events, live_sender, server, config.meet));
        let engine = Self {
            identity: config.identity,
            store,
            net,
            events,
            live,
            wall_clock: config.wall_clock,
            tasks: Arc::new(Mutex::new(tasks)),
        };
        Ok((engine, event_queue))
    }

    /// Our own key.
    #[must_use]
    pub const fn me(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Writes `text` to `peer`. It is durable when this returns, and is sent when the two are connected.
    ///
    /// # Errors
    /// [`EngineError`]; nothing was written then.
    pub async fn send(&self, peer: PeerId, text: &str) -> Result<MessageRow, EngineError> {
        if text.is_empty() {
            return Err(EngineError::Empty);
        }
        if text.len() > MAX_TEXT_LEN {
            return Err(EngineError::TooLong { len: text.len(), max: MAX_TEXT_LEN });
        }
        let conversation = ConversationId::direct(self.me(), peer);
        let content = Content::Text(text.to_owned());
        let nonce = rand::random();
        let now = (self.wall_clock)();
        let row = self.store.compose(&self.identity, conversation, &[peer], content, now, nonce).await?;
        let is_connected = self.live.borrow().get(&peer).is_some_and(|live| live.words.is_some());
        if !is_connected {
            self.net.seek(peer).await;
        }
        Ok(row)
    }

    /// Everybody who was met, those met last first.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn people(&self) -> Result<Vec<Person>, EngineError> {
        let contacts = self.store.contacts().await?;
        let live = self.live.borrow().clone();
        let person = |contact: Contact| {
            let known = live.get(&contact.peer).cloned().unwrap_or_default();
            let path = self.net.path(contact.peer);
            let connected = known.words.map(|words| Connected { words, path });
            Person { online: known.online || connected.is_some(), connected, contact }
        };
        Ok(contacts.into_iter().map(person).collect())
    }

    /// The newest `limit` lines of the conversation with `peer`, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn history(&self, peer: PeerId, limit: usize) -> Result<Vec<HistoryRow>, EngineError> {
        let conversation = ConversationId::direct(self.me(), peer);
        Ok(self.store.history(Selection { conversation, before: None, limit }).await?)
    }

    /// Waits in the lobby for somebody new.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn meet(&self) -> Result<(), EngineError> {
        let known = self.store.contacts().await?.into_iter().map(|contact| contact.peer).collect();
        self.net.lobby(true, known).await;
        let _ = self.events.send(Event::Waiting).await;
        Ok(())
    }

    /// Connects to `peer` by key.
    pub async fn connect(&self, peer: PeerId) {
        self.net.dial(peer).await;
    }

    /// Takes leave of `peer`; either of the two may connect again.
    pub async fn disconnect(&self, peer: PeerId) {
        self.net.disconnect(peer).await;
    }

    /// Gives `peer` a name of this user's own; an empty one takes it away.
    ///
    /// # Errors
    /// [`EngineError`] if `peer` is no contact or the store cannot be written.
    pub async fn rename(&self, peer: PeerId, name: &str) -> Result<(), EngineError> {
        let name = common::text::one_line(name, common::text::MAX_NAME);
        Ok(self.store.rename(peer, &name).await?)
    }

    /// Ends all tasks without taking leave of anybody, as if the process had been killed; what was committed stays.
    pub async fn abort(&self) {
        self.tasks.lock().await.shutdown().await;
        self.store.close().await;
    }

    /// Takes leave of everybody, finishes what is being written, and ends all tasks.
    pub async fn shutdown(&self) {
        self.net.shutdown().await;
        self.tasks.lock().await.shutdown().await;
        self.store.close().await;
    }
}

/// The server with the key that was seen there before, unless the user named one.
async fn known_server(store: &Store, target: ServerTarget) -> Result<ServerTarget, EngineError> {
    let key = match target.key {
        Some(key) => Some(key),
        None => store.pin(&target.address).await?,
    };
    Ok(ServerTarget { key, ..target })
}
