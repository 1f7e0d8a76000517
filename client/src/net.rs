//! Connections to peers, wherever they are: one QUIC connection each, over whatever path works.
//!
//! [`Net::start`] brings up the endpoint and its one task, the driver. Commands go in through [`Net`], [`Event`]s come
//! out of a channel. Nothing here knows of conversations, contacts or messages.

mod clock;
mod congestion;
mod driver;
mod handshake;
pub mod links;
mod mux;
mod peers;
mod server;
mod socket;
mod tuning;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::control::InstanceId;
use common::identity::{Identity, PeerId};
use common::stun::check::Side;
use common::tls;
use common::words;
use quinn::{AsyncUdpSocket, Connection, Endpoint, TokioRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use clock::unix_ms;
pub use mux::{PathChange, Via};
pub use server::{ParseServerError, ServerError, ServerTarget};
use socket::MuxSocket;

/// Protocol between peers, as TLS ALPN. Another major version is another name.
pub const ALPN: &[u8] = b"hobnob/1";
/// Commands and events that wait.
const QUEUE_LEN: usize = 256;
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
    /// The sockets: one per address family, see [`links::bind`].
    pub links: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Lists this machine's addresses, for peers on the same network; see [`links::interface_addrs`].
    pub interfaces: fn() -> Vec<IpAddr>,
    /// Feeds all random choices that are not secrets' own.
    pub seed: u64,
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
        /// Its address.
        address: SocketAddr,
        /// Where it sees us.
        observed: SocketAddr,
    },
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
    /// The server paired us with a newcomer.
    Paired(PeerId),
    /// A watched peer came or went.
    Presence {
        /// Who.
        peer: PeerId,
        /// Whether it is online.
        online: bool,
    },
}

enum Command {
    Watch(Vec<PeerId>),
    Lobby { waiting: bool, except: Vec<PeerId> },
    Dial(PeerId),
    Seek(PeerId),
    Candidates { peer: PeerId, addrs: Vec<SocketAddr> },
    Disconnect(PeerId),
    Shutdown(oneshot::Sender<()>),
}

/// A handle to the network.
#[derive(Debug, Clone)]
pub struct Net {
    commands: mpsc::Sender<Command>,
    socket: Arc<MuxSocket>,
    interfaces: fn() -> Vec<IpAddr>,
}

impl Net {
    /// Brings the network up. The task that runs it lives in `tasks`.
    ///
    /// # Errors
    /// If the endpoint cannot be made on the given sockets.
    pub fn start(config: Config, tasks: &mut JoinSet<()>) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let socket = MuxSocket::new(config.links.clone());
        let endpoint = Endpoint::new_with_abstract_socket(
            tuning::endpoint(config.seed),
            Some(handshake::placeholder(&config.identity)),
            Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )?;
        let (commands, command_queue) = mpsc::channel(QUEUE_LEN);
        let (events, event_queue) = mpsc::channel(QUEUE_LEN);
        let net = Self { commands, socket: Arc::clone(&socket), interfaces: config.interfaces };
        tasks.spawn(driver::run(config, endpoint, socket, command_queue, events));
        Ok((net, event_queue))
    }

    async fn command(&self, command: Command) {
        // The driver ends only when the program does.
        let _ = self.commands.send(command).await;
    }

    /// Shows this client online to `peers`, wants to know when they are, and connects to those that are.
    pub async fn watch(&self, peers: Vec<PeerId>) {
        self.command(Command::Watch(peers)).await;
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

    /// Ends the connection to `peer`.
    pub async fn disconnect(&self, peer: PeerId) {
        self.command(Command::Disconnect(peer)).await;
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

    /// Addresses of this machine at which a peer on the same network may reach our sockets.
    #[must_use]
    pub fn local_candidates(&self) -> Vec<SocketAddr> {
        let locals = self.socket.local_addrs();
        let port_for =
            |ip: &IpAddr| locals.iter().find(|local| local.is_ipv4() == ip.is_ipv4()).map(SocketAddr::port);
        (self.interfaces)().into_iter().filter_map(|ip| Some(SocketAddr::new(ip, port_for(&ip)?))).collect()
    }
}

/// The words that both ends of a connection read to each other; `None` before its handshake is complete.
#[must_use]
pub fn words_of(connection: &Connection) -> Option<[&'static str; words::COUNT]> {
    let mut secret = [0; words::SECRET_LEN];
    connection.export_keying_material(&mut secret, tls::EXPORTER_WORDS, b"").ok()?;
    Some(words::from_secret(&secret))
}
