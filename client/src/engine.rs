//! One engine under all front ends: methods in, [`Event`]s out.
//!
//! It joins the store, the network and one session per connected peer. Front ends know nothing below it; it knows
//! nothing of terminals, pages and formats.

mod attitude;
mod choice;
mod contacts;
mod conversations;
pub mod echo;
mod event;
mod introductions;
mod invites;
mod learned;
mod names;
pub mod query;
mod run;
mod safety;
mod session;
pub mod settings;
mod signals;
mod whois;
pub mod why;
pub mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use common::code::{Code, ParseCodeError};
use common::control::InstanceId;
use common::identity::{Identity, PeerId};
use common::names::NameError;
use quinn::AsyncUdpSocket;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;

use crate::log::{Content, ConversationId};
use crate::net::{self, NameFailure, Net, PathChange, ServerTarget, Surroundings, TcpUse, Tunnels};
use crate::store::{Contact, MessageRow, Options, Regard, Store, StoreError};
use learned::Learned;
use settings::SettingError;

pub use attitude::Attitude;
pub use choice::{Choice, Visibility};
pub use conversations::{ConversationInfo, Draft, Kind, Member, check_text};
use echo::Wish;
pub use echo::{PingError, Pong};
pub use event::{Event, LinkNews};
pub use invites::{
    Goal, LINK_LIFETIME, Link, LinkError, LinkSecret, MAX_LINK_LEN, MAX_LINK_LIFETIME, MAX_LINK_USES,
    ParseLinkError, Terms, last_server, make_link, revoke_link,
};
pub use names::{FoundName, Pinning};
pub use safety::{is_safety_number, safety_code, safety_number};
pub use whois::Profile;
pub use why::Why;

/// Events that wait for a front end. One that does not read holds the engine up, never loses an event.
const QUEUE_LEN: usize = 1024;
/// Notes on typing that wait for a connection; older ones are dropped.
const TYPING_LEN: usize = 8;

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
    /// A link of somebody's to be followed; its server is `server`.
    pub join: Option<Link>,
    /// Ways to the server besides UDP; `None` for UDP alone.
    pub tunnels: Option<Tunnels>,
    /// The sockets, see [`net::links::bind`].
    pub links: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Makes more sockets, see [`net::links::bind_extra`].
    pub bind_extra: net::BindExtra,
    /// What lies around this machine.
    pub surroundings: Surroundings,
    /// Whether TCP is used between peers.
    pub tcp: TcpUse,
    /// Reads the wall clock, in milliseconds since 1970, see [`net::unix_ms`].
    pub wall_clock: fn() -> u64,
    /// Feeds random choices that are not secrets' own.
    pub seed: u64,
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
    /// What was typed is no code.
    #[error(transparent)]
    Code(#[from] ParseCodeError),
    /// What was typed is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server says nothing of names.
    #[error(transparent)]
    Names(#[from] NameFailure),
    /// A link cannot be made or followed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A text has nothing in it.
    #[error("the message is empty")]
    Empty,
    /// There is no such setting or value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// One cannot decide so about oneself.
    #[error("that is you")]
    Yourself,
    /// It would show this user to strangers.
    #[error("you are invisible; /visible ends that")]
    Invisible,
    /// Somebody else wrote it, or it is no text.
    #[error("only own texts can be changed")]
    NotYours,
}

/// A contact, and how they are connected.
#[derive(Debug, Clone)]
pub struct Person {
    /// What is remembered of them.
    pub contact: Contact,
    /// Whether the server says that they are online.
    pub online: bool,
    /// When the user compared their key, in Unix milliseconds; `None` if never.
    pub verified_ms: Option<u64>,
    /// Their connection, if there is one.
    pub connected: Option<Connected>,
    /// How this user wants what they say to be treated.
    pub regard: Regard,
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
#[derive(Debug, Clone, Default)]
struct Live {
    online: bool,
    /// The words of a complete connection.
    words: Option<String>,
    /// Since when packets have taken the path that they take, in Unix time in milliseconds.
    since_ms: Option<u64>,
    /// Why they were not reached the last time.
    trouble: Option<String>,
    /// Where to ask for a round trip over it.
    pings: Option<mpsc::Sender<Wish>>,
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
    typing: broadcast::Sender<ConversationId>,
    server: Option<ServerTarget>,
    /// Whether the server answers.
    registered: watch::Receiver<bool>,
    /// Rung when there is a new link to follow.
    knocks: Arc<Notify>,
    attitude: Arc<watch::Sender<Attitude>>,
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
        invites::follow_if_any(&store, config.join.as_ref(), (config.wall_clock)()).await?;
        let server = known_server(&store, config.server).await?;
        let network = config.surroundings.network;
        let learned = Learned::of(&store).await?;
        store.drop_ended((config.wall_clock)()).await?;
        let attitude = Attitude::of(&store).await?;
        let door = run::door(&store, &attitude).await?;
        let attitude = Arc::new(watch::Sender::new(attitude));
        let mut tasks = JoinSet::new();
        let net_config = net::Config {
            identity: config.identity.clone(),
            instance: InstanceId(rand::random()),
            server: server.clone(),
            tunnels: config.tunnels,
            routes: server.as_ref().map(|server| learned.routes(&server.address)).unwrap_or_default(),
            links: config.links,
            bind_extra: config.bind_extra,
            surroundings: config.surroundings,
            tcp: config.tcp,
            door: door.clone(),
            holds: learned.holds().to_vec(),
            seed: config.seed,
        };
        let (net, net_events) = Net::start(net_config, &mut tasks)?;
        let (events, event_queue) = mpsc::channel(QUEUE_LEN);
        let (live_sender, live) = watch::channel(LivePeers::new());
        let typing = broadcast::Sender::new(TYPING_LEN);
        let knocks = Arc::new(Notify::new());
        let (registration, registered) = watch::channel(false);
        let context = run::Context {
            identity: config.identity.clone(),
            store: store.clone(),
            net: net.clone(),
            events: events.clone(),
            name: common::text::one_line(&config.name, common::text::MAX_NAME),
            wall_clock: config.wall_clock,
            typing: typing.clone(),
            attitude: Arc::clone(&attitude),
        };
        let begin = run::Begin {
            server: server.clone(),
            meet: config.meet,
            door,
            learned,
            network,
            registered: registration,
            knocks: Arc::clone(&knocks),
        };
        tasks.spawn(run::run(context, net_events, live_sender, begin));
        let engine = Self {
            identity: config.identity,
            store,
            net,
            events,
            live,
            wall_clock: config.wall_clock,
            typing,
            server,
            registered,
            knocks,
            attitude,
            tasks: Arc::new(Mutex::new(tasks)),
        };
        Ok((engine, event_queue))
    }

    /// Our own key.
    #[must_use]
    pub const fn me(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Whether the server answers.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// What is kept durably; front ends only read it.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Writes `text` to `peer`. It is durable when this returns, and is sent when the two are connected.
    ///
    /// # Errors
    /// [`EngineError`]; nothing was written then.
    pub async fn send(&self, peer: PeerId, text: &str) -> Result<MessageRow, EngineError> {
        check_text(text)?;
        self.write_to(peer, Content::text(text)).await
    }

    /// Writes to `peer`, be it for the first time.
    ///
    /// # Errors
    /// See [`Engine::send`].
    pub async fn write_to(&self, peer: PeerId, content: Content) -> Result<MessageRow, EngineError> {
        self.compose(self.direct(peer), &[peer], content).await
    }

    /// Everybody who was met, those met last first.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn people(&self) -> Result<Vec<Person>, EngineError> {
        let contacts = self.store.contacts().await?;
        let verified = self.store.verified().await?;
        let live = self.live.borrow().clone();
        let stances = self.attitude.borrow().stances.clone();
        let person = |contact: Contact| {
            let known = live.get(&contact.peer).cloned().unwrap_or_default();
            let path = self.net.path(contact.peer);
            let connected = known.words.map(|words| Connected { words, path });
            let verified_ms = verified.get(&contact.peer).copied();
            let regard = stances.regard(contact.peer.as_bytes());
            Person { online: known.online || connected.is_some(), connected, verified_ms, contact, regard }
        };
        Ok(contacts.into_iter().map(person).collect())
    }

    /// Waits in the lobby for somebody new.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read, or this user is invisible.
    pub async fn meet(&self) -> Result<(), EngineError> {
        self.must_be_visible()?;
        let known = self.store.contacts().await?.into_iter().map(|contact| contact.peer).collect();
        self.net.lobby(true, known).await;
        self.tell(Event::Waiting).await;
        Ok(())
    }

    /// Offers to meet whoever is told the code that comes as [`Event::Code`] (`docs/protocol.md` §8).
    pub async fn offer_code(&self) {
        match self.must_be_visible() {
            Ok(()) => self.net.offer_code().await,
            Err(error) => self.tell(Event::Error { message: error.to_string() }).await,
        }
    }

    /// Meets the one who offers `code`, as people type it.
    ///
    /// # Errors
    /// [`EngineError::Code`] if it is none; a slip that shows in the text does not use the code up.
    /// [`EngineError::Invisible`].
    pub async fn claim_code(&self, code: &str) -> Result<(), EngineError> {
        self.must_be_visible()?;
        let code: Code = code.parse()?;
        self.net.claim_code(code).await;
        Ok(())
    }

    /// Who is in the local network now, as far as they say so; [`Engine::connect`] connects to any of them.
    #[must_use]
    pub fn nearby(&self) -> Vec<PeerId> {
        self.net.nearby()
    }

    /// How packets for `peer` travel, and why no better way.
    pub async fn why(&self, peer: PeerId) -> Why {
        let live = self.live.borrow().get(&peer).cloned().unwrap_or_default();
        let insight = self.net.insight(peer).await.filter(|_| live.words.is_some());
        Why { peer, insight, since_ms: live.since_ms, online: live.online, trouble: live.trouble }
    }

    /// Whether there is a proven connection to `peer`.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.live.borrow().get(&peer).is_some_and(|live| live.pings.is_some())
    }

    /// Asks `peer` for an answer, over whatever path packets take, and waits for it up to three seconds.
    ///
    /// # Errors
    /// [`PingError`].
    pub async fn ping(&self, peer: PeerId) -> Result<Pong, PingError> {
        let pings = self.live.borrow().get(&peer).and_then(|live| live.pings.clone());
        let rtt = echo::ask(&pings.ok_or(PingError::NotConnected)?).await?;
        Ok(Pong { rtt, path: self.net.path(peer) })
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
        self.store.rename(peer, &name).await?;
        self.tell(Event::Renamed { peer }).await;
        Ok(())
    }

    /// Decides something about others, durably; the network follows at once.
    ///
    /// # Errors
    /// [`EngineError`]; nothing has changed then.
    pub async fn choose(&self, choice: Choice) -> Result<(), EngineError> {
        if choice.person() == Some(self.me()) {
            return Err(EngineError::Yourself);
        }
        choice.keep(&self.store, (self.wall_clock)()).await?;
        self.attitude.send_replace(Attitude::of(&self.store).await?);
        self.tell(Event::Chosen(choice)).await;
        Ok(())
    }

    /// Tells the front end without waiting for it: it may be the one that asks.
    async fn tell(&self, event: Event) {
        if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
            let events = self.events.clone();
            self.tasks.lock().await.spawn(async move { drop(events.send(event).await) });
        }
    }

    /// What this user has decided about others, as it is and as it becomes.
    #[must_use]
    pub fn attitude(&self) -> watch::Receiver<Attitude> {
        self.attitude.subscribe()
    }

    fn must_be_visible(&self) -> Result<(), EngineError> {
        if self.attitude.borrow().is_invisible() { Err(EngineError::Invisible) } else { Ok(()) }
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
async fn known_server(
    store: &Store,
    target: Option<ServerTarget>,
) -> Result<Option<ServerTarget>, EngineError> {
    let Some(target) = target else { return Ok(None) };
    let key = match target.key {
        Some(key) => Some(key),
        None => store.pin(&target.address).await?,
    };
    Ok(Some(ServerTarget { key, ..target }))
}
