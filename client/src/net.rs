//! Connections to peers, wherever they are: one QUIC connection each, over whatever path works.
//!
//! [`Net::start`] brings up the endpoint and its one task, the driver. Commands go in through [`Net`], [`Event`]s come
//! out of a channel. Nothing here knows of conversations, contacts or messages.

mod carriers;
mod change;
mod clock;
mod congestion;
mod door;
mod driver;
mod handshake;
mod insight;
pub mod lan;
pub mod last_seen;
pub mod links;
mod mux;
pub mod netcheck;
mod news;
mod peers;
pub mod portmap;
mod server;
mod socket;
pub mod stun;
mod tcp;
mod tuning;
mod tunnel;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::code::{self, Code, Secret};
use common::control::{InstanceId, NamedPeer};
use common::identity::{Identity, PeerId};
use common::stun::check::Side;
use common::tls;
use common::traversal::hold::Hold;
use common::traversal::nat::Nat;
use common::traversal::tcp::Offer;
use common::traversal::{Outlook, Signal};
use common::words;
use quinn::{AsyncUdpSocket, Connection, Endpoint, TokioRuntime};
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::networks;

pub use change::Changes;
pub(crate) use clock::now;
pub use clock::unix_ms;
pub use door::{Door, OpenTo};
use driver::NameReply;
pub use driver::{Acquaintance, NameAsk, NameFailure};
pub use insight::Insight;
pub use lan::{Lan, Neighbour};
pub use mux::{PathChange, Via};
pub use portmap::PortMapping;
pub use server::{ParseServerError, ServerError, ServerTarget, Tried};
use socket::MuxSocket;
pub use socket::{Bind, BindExtra};
pub use tcp::TcpUse;
pub use tunnel::{Carrier, ParseProxyError, Proxy, Route, Tunnels};

/// Protocol between peers, as TLS ALPN. Another major version is another name.
pub const ALPN: &[u8] = b"hobnob/1";
/// Commands and events that wait.
const QUEUE_LEN: usize = 256;
/// How long the server may take to answer a question about names.
const NAME_TIME: Duration = Duration::from_secs(10);
/// How long leaving may take.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// QUIC application error codes with which peers close a connection (`docs/protocol.md` §6.4).
pub mod close {
    /// The peer leaves in good order.
    pub const BYE: u32 = 1;
    /// A newer connection between the two has taken over.
    pub const REPLACED: u32 = 2;
    /// The other side broke the protocol.
    pub const PROTOCOL: u32 = 3;
    /// The closing side had trouble of its own and cannot go on, though the other did nothing wrong.
    pub const TROUBLE: u32 = 4;
}

/// What [`Net::start`] needs.
#[derive(Debug)]
pub struct Config {
    /// Who we are.
    pub identity: Identity,
    /// This run.
    pub instance: InstanceId,
    /// The rendezvous; `None` for none.
    pub server: Option<ServerTarget>,
    /// Ways to the server besides UDP; `None` for UDP alone.
    pub tunnels: Option<Tunnels>,
    /// The routes that worked last, as text, by the names of networks ([`Surroundings::network`]).
    pub routes: BTreeMap<Option<String>, String>,
    /// The sockets: one per address family, see [`links::bind`].
    pub links: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Makes more sockets, see [`links::bind_extra`].
    pub bind_extra: BindExtra,
    /// What lies around this machine.
    pub surroundings: Surroundings,
    /// Whether TCP is used between peers.
    pub tcp: TcpUse,
    /// Whom this client has to do with from the first packet on.
    pub door: Door,
    /// What earlier runs have learned, see [`Event::Holds`].
    pub holds: Vec<(IpAddr, Hold)>,
    /// Feeds all random choices that are not secrets' own.
    pub seed: u64,
}

/// How a client learns of what lies around its machine. By default it learns nothing.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Lists this machine's addresses, for peers on the same network.
    pub interfaces: fn() -> Vec<IpAddr>,
    /// Tells when the network changes.
    pub changes: Changes,
    /// Whence a port of the router that leads here.
    pub port_mapping: PortMapping,
    /// STUN servers that are asked besides the rendezvous, as `HOST:PORT`; at most [`stun::MAX_SERVERS`] are.
    pub stun: Vec<String>,
    /// How peers in the same network are found.
    pub lan: Lan,
    /// A name for the network that this machine is on now; it is not told to anybody.
    pub network: fn() -> Option<String>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            interfaces: Vec::new,
            changes: Changes::Never,
            port_mapping: PortMapping::Off,
            stun: Vec::new(),
            lan: Lan::Off,
            network: || None,
        }
    }
}

impl Surroundings {
    /// What this machine's system tells.
    #[must_use]
    pub fn system() -> Self {
        Self {
            interfaces: links::interface_addrs,
            changes: Changes::System,
            port_mapping: PortMapping::Asked(links::router),
            stun: Vec::new(),
            lan: Lan::System,
            network: networks::current,
        }
    }
}

/// A connection to a peer.
#[derive(Debug, Clone)]
pub struct Link {
    /// Whom the other end proved to be.
    pub peer: PeerId,
    /// The connection. It stays the same whatever path it takes.
    pub connection: Connection,
    /// Which end we are.
    pub side: Side,
    /// How far the handshake is.
    pub handshake: watch::Receiver<Handshake>,
    /// What the peer is to be told of our side of connecting over TCP; the newest is all that counts.
    pub tcp_offers: watch::Receiver<Option<Offer>>,
    /// Notify it to have the connection closed because of trouble at this end, and made again after a while.
    pub trouble: Arc<Notify>,
    /// What is to be carried to the peer, see [`Net::handle_signal`].
    pub signals: Arc<Mutex<mpsc::Receiver<Signal>>>,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// Data flows before the handshake has ended (0-RTT): only what may be repeated.
    Early,
    /// The other side is proven to be there now.
    Complete,
    /// The handshake ended well but without the early data: streams must be opened anew.
    EarlyRejected,
}

/// News from the network.
#[derive(Debug)]
pub enum Event {
    /// Registered with the server.
    ServerUp {
        /// Its key, to be pinned.
        key: PeerId,
        /// How it is reached.
        route: Route,
        /// The UDP endpoint at which it sees us, if UDP is the way.
        observed: Option<SocketAddr>,
    },
    /// The connection to the server goes another way; it is the same connection.
    ServerRerouted(Route),
    /// How long the NATs of networks hold a silent mapping, by the networks' public addresses, the newest last: all that is
    /// known now.
    Holds(Vec<(IpAddr, Hold)>),
    /// No connection to the server.
    ServerDown {
        /// Why.
        error: ServerError,
        /// When it is tried again; `None` for never.
        retry: Option<Duration>,
    },
    /// A peer is connected.
    Connected(Link),
    /// A peer's connection has ended.
    Closed {
        /// Whose.
        peer: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// A peer's packets take another path.
    Path(PathChange),
    /// A peer cannot be connected now.
    Unreachable {
        /// Who.
        peer: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// A peer is looked for, and there is no server to ask.
    Alone {
        /// Who.
        peer: PeerId,
        /// Whether the user waits for it.
        is_wanted: bool,
    },
    /// The server paired us with a newcomer.
    Paired(PeerId),
    /// What became of codes that this side offered or claimed.
    Code(code::News),
    /// A peer came into the local network or left it.
    Nearby {
        /// Who.
        peer: PeerId,
        /// Whether it is there.
        is_here: bool,
    },
    /// A watched peer came or went.
    Presence {
        /// Who.
        peer: PeerId,
        /// Whether it is online.
        online: bool,
    },
}

enum Command {
    Watch { wanted: Vec<PeerId>, seen: Vec<PeerId> },
    Door(Door),
    Lobby { waiting: bool, except: Vec<PeerId> },
    Dial(PeerId),
    Seek(PeerId),
    Candidates { peer: PeerId, addrs: Vec<SocketAddr> },
    LastSeen(PeerId, Vec<SocketAddr>),
    TcpOffer { peer: PeerId, offer: Offer },
    Disconnect(PeerId),
    Insight(PeerId, oneshot::Sender<Option<Insight>>),
    OfferCode(Secret),
    ClaimCode(Code),
    Name(NameAsk, NameReply),
    Acquaint(Acquaintance),
    Shutdown(oneshot::Sender<()>),
}

/// Where the driver tells what it knows.
struct Publishers {
    events: mpsc::Sender<Event>,
    candidates: watch::Sender<Vec<SocketAddr>>,
    observed: watch::Sender<Option<SocketAddr>>,
    near: watch::Sender<Vec<PeerId>>,
}

/// A handle to the network.
#[derive(Debug, Clone)]
pub struct Net {
    commands: mpsc::Sender<Command>,
    socket: Arc<MuxSocket>,
    candidates: watch::Receiver<Vec<SocketAddr>>,
    observed: watch::Receiver<Option<SocketAddr>>,
    near: watch::Receiver<Vec<PeerId>>,
}

impl Net {
    /// Brings the network up. The task that runs it lives in `tasks`.
    ///
    /// # Errors
    /// If the endpoint cannot be made on the given sockets.
    pub fn start(config: Config, tasks: &mut JoinSet<()>) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let socket = MuxSocket::new(config.links.clone(), config.bind_extra.clone());
        socket.with_mux(|mux| mux.set_holds(config.holds.clone()));
        let endpoint = Endpoint::new_with_abstract_socket(
            tuning::endpoint(config.seed),
            Some(handshake::placeholder(&config.identity)),
            Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )?;
        let (commands, command_queue) = mpsc::channel(QUEUE_LEN);
        let (events, event_queue) = mpsc::channel(QUEUE_LEN);
        let (publisher, candidates) = watch::channel(Vec::new());
        let (observer, observed) = watch::channel(None);
        let (near_publisher, near) = watch::channel(Vec::new());
        let net = Self { commands, socket: Arc::clone(&socket), candidates, observed, near };
        tasks.spawn(driver::run(
            config,
            endpoint,
            socket,
            command_queue,
            Publishers { events, candidates: publisher, observed: observer, near: near_publisher },
        ));
        Ok((net, event_queue))
    }

    async fn command(&self, command: Command) {
        // The driver ends only when the program does.
        let _ = self.commands.send(command).await;
    }

    /// Shows this client online to all of these, wants to know when they are, and connects to those in `wanted` that are.
    pub async fn watch(&self, wanted: Vec<PeerId>, seen: Vec<PeerId>) {
        self.command(Command::Watch { wanted, seen }).await;
    }

    /// Says whom this client has to do with from now on, and who may find it. Connections to all others end.
    pub async fn set_door(&self, door: Door) {
        self.command(Command::Door(door)).await;
    }

    /// Waits in the lobby, or stops to; peers in `except` are not wanted there.
    pub async fn lobby(&self, waiting: bool, except: Vec<PeerId>) {
        self.command(Command::Lobby { waiting, except }).await;
    }

    /// Connects to `peer`, unless connected.
    pub async fn dial(&self, peer: PeerId) {
        self.command(Command::Dial(peer)).await;
    }

    /// Looks once whether `peer` is there although it does not show itself, and connects to it then; says nothing if it
    /// is not.
    pub async fn seek(&self, peer: PeerId) {
        self.command(Command::Seek(peer)).await;
    }

    /// The peer says that it may be reached at `addrs`.
    pub async fn add_candidates(&self, peer: PeerId, addrs: Vec<SocketAddr>) {
        self.command(Command::Candidates { peer, addrs }).await;
    }

    /// `peer` was seen at these addresses, later than everybody of whom this was said before: it is looked for there while there
    /// is no server to ask.
    pub async fn set_last_seen(&self, peer: PeerId, endpoints: Vec<SocketAddr>) {
        self.command(Command::LastSeen(peer, endpoints)).await;
    }

    /// The addresses at which `peer` has answered over UDP since it was connected, the one in use first.
    #[must_use]
    pub fn answered_at(&self, peer: PeerId) -> Vec<SocketAddr> {
        self.socket.with_mux(|mux| mux.answered_at(peer))
    }

    /// The peer tells of its side of connecting over TCP.
    pub async fn handle_tcp_offer(&self, peer: PeerId, offer: Offer) {
        self.command(Command::TcpOffer { peer, offer }).await;
    }

    /// Ends the connection to `peer`.
    pub async fn disconnect(&self, peer: PeerId) {
        self.command(Command::Disconnect(peer)).await;
    }

    /// Offers to meet whoever is told the code that follows as [`Event::Code`].
    pub async fn offer_code(&self) {
        self.command(Command::OfferCode(Secret::random(&mut rand::rng()))).await;
    }

    /// Meets the one who offers `code`.
    pub async fn claim_code(&self, code: Code) {
        self.command(Command::ClaimCode(code)).await;
    }

    /// Asks the server about names.
    ///
    /// # Errors
    /// [`NameFailure`] says why there is no answer.
    pub async fn ask_name(&self, ask: NameAsk) -> Result<Vec<NamedPeer>, NameFailure> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Name(ask, reply)).await;
        match tokio::time::timeout(NAME_TIME, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NameFailure::NoServer),
            Err(_) => Err(NameFailure::Silent),
        }
    }

    /// A contact has introduced a peer.
    pub async fn acquaint(&self, known: Acquaintance) {
        self.command(Command::Acquaint(known)).await;
    }

    /// The UDP endpoint at which the server saw this client last, on the network that it is in.
    #[must_use]
    pub fn observed(&self) -> Option<SocketAddr> {
        *self.observed.borrow()
    }

    /// Takes leave of everybody and ends, within two seconds.
    pub async fn shutdown(&self) {
        let (done, wait) = oneshot::channel();
        self.command(Command::Shutdown(done)).await;
        let _ = tokio::time::timeout(SHUTDOWN_TIME, wait).await;
    }

    /// How packets for `peer` travel now; `None` if it is not connected.
    #[must_use]
    pub fn path(&self, peer: PeerId) -> Option<PathChange> {
        self.socket.with_mux(|mux| mux.path_of(peer))
    }

    /// The peer's [`Link::signals`] has said this: what its side of the traversal wants of ours.
    pub fn handle_signal(&self, peer: PeerId, signal: &Signal) {
        let now = now();
        self.socket.with_mux(|mux| mux.handle_signal(now, peer, signal));
    }

    /// What NAT this machine is behind, as far as it is known.
    #[must_use]
    pub fn nat(&self) -> Nat {
        self.socket.with_mux(|mux| mux.nat())
    }

    /// What is known and done to reach `peer` directly; `None` if it is not connected.
    #[must_use]
    pub fn outlook(&self, peer: PeerId) -> Option<Outlook> {
        self.socket.with_mux(|mux| mux.outlook(peer))
    }

    /// Who is in the local network now, as far as they say so.
    #[must_use]
    pub fn nearby(&self) -> Vec<PeerId> {
        self.near.borrow().clone()
    }

    /// Why packets for `peer` travel as they do; `None` if it is not connected.
    pub async fn insight(&self, peer: PeerId) -> Option<Insight> {
        let (reply, insight) = oneshot::channel();
        self.command(Command::Insight(peer, reply)).await;
        insight.await.ok()?
    }

    /// Addresses other than those that the server sees at which peers may reach our sockets, as they are and as they
    /// become.
    #[must_use]
    pub fn candidates(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.candidates.clone()
    }
}

/// The words that both ends of a connection read to each other; `None` before its handshake is complete.
#[must_use]
pub fn words_of(connection: &Connection) -> Option<[&'static str; words::COUNT]> {
    let mut secret = [0; words::SECRET_LEN];
    connection.export_keying_material(&mut secret, tls::EXPORTER_WORDS, b"").ok()?;
    Some(words::from_secret(&secret))
}
