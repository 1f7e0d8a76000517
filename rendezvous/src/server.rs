//! The driver: quinn endpoints, one task per connection, and the hub that owns the core.
//!
//! All tasks belong to the [`Server`] and end with it.

mod alternates;
mod bind;
pub(crate) mod clock;
mod connection;
mod hub;
pub(crate) mod names;
mod probe;
mod session;
mod socket;
mod transport;
mod unvalidated;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::identity::{Identity, PeerId};
use quinn::{AsyncUdpSocket, Endpoint, TokioRuntime};
use rusqlite::Connection;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

pub use hub::SocketsLost;
pub use names::{FILE_NAME as NAMES_FILE, NamesError};

use crate::core::{Core, CoreStats, Rate};
use crate::key::{self, KeyError};
use crate::limits::Limits;
use crate::tunnel::listener::{self, Host};
use crate::tunnel::socket::TunnelSocket;
use crate::tunnel::{self, Inlet, Tunnels};
use alternates::{Alternates, Placed};
use bind::Bound;
use hub::{Hub, HubCounters, Shared};
use socket::{SharedLimiter, SocketCounters, StunSocket};
use unvalidated::Unvalidated;

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on, UDP and TCP on one port number; port 0 lets the system choose.
    pub binds: Vec<SocketAddr>,
    /// Further TCP addresses.
    pub bind_tcp: Vec<SocketAddr>,
    /// Second addresses for STUN (RFC 5780), one for each of `binds` at most: another IP address of the same family, and
    /// another port.
    pub alt_binds: Vec<SocketAddr>,
    /// Where its key comes from.
    pub identity: IdentitySource,
    /// What it grants.
    pub limits: Limits,
}

/// Where a server's key comes from.
#[derive(Debug, Clone)]
pub enum IdentitySource {
    /// The key file in this directory; made if there is none. Names are kept there, too.
    DataDir(PathBuf),
    /// This key; names last as long as the server.
    Given(Identity),
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// Another program has the UDP port.
    #[error("another program uses UDP port {} on {} already; stop it, or choose another port with --bind", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// Another program has the TCP port.
    #[error("another program uses TCP port {} on {} already; stop it, or choose another port with --bind or --bind-tcp", .0.port(), .0.ip())]
    InUseTcp(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A second address without a first one.
    #[error(
        "{0} has no partner: --alt-bind wants a --bind of the same family, both with an IP address of their own \
         instead of all addresses, and with different ports"
    )]
    Alternate(SocketAddr),
    /// A socket that was handed in does not work.
    #[error("the socket does not work: {0}")]
    Socket(io::Error),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The names cannot be used.
    #[error("the names in {path} cannot be used: {source}; --max-names=0 does without names")]
    Names {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NamesError,
    },
}

/// What the server did and holds. Counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// What the protocol core counts.
    #[serde(flatten)]
    pub core: CoreStats,
    /// Relayed packets dropped because the receiver's queue was full, or they did not fit its path.
    pub dropped_full: u64,
    /// Endpoints that have ended because their socket failed; the server ends with the last.
    pub endpoints_lost: u64,
    /// STUN requests answered.
    pub stun_answered: u64,
    /// STUN messages that were no request to answer.
    pub stun_ignored: u64,
    /// STUN requests not answered for their number, or because the socket was full.
    pub stun_dropped: u64,
    /// Datagrams that were neither STUN nor QUIC.
    pub alien: u64,
    /// Tunnels over TCP that are open now.
    pub tunnels: usize,
    /// TCP connections turned away for their number.
    pub tunnels_refused: u64,
    /// Packets dropped because the queue of their tunnel was full.
    pub tunnel_dropped: u64,
}

/// A running server. Dropping it ends it at once; [`Server::shutdown`] lets the clients know.
#[derive(Debug)]
pub struct Server {
    peer_id: PeerId,
    local_addrs: Vec<SocketAddr>,
    stop: oneshot::Sender<()>,
    hub: JoinSet<Result<(), SocketsLost>>,
    /// Ports for STUN alone, and for TCP.
    _listeners: JoinSet<()>,
    tcp_addrs: Vec<SocketAddr>,
    tunnels: Arc<Tunnels>,
    stats: watch::Receiver<CoreStats>,
    hub_counters: Arc<HubCounters>,
    socket_counters: Arc<SocketCounters>,
}

impl Server {
    /// Starts a server on the addresses of `config`, within the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], a sentence for the person at the terminal.
    #[expect(clippy::unused_async, reason = "starting needs a runtime, and may come to wait for something")]
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let (identity, names) = match config.identity {
            IdentitySource::Given(identity) => (identity, None),
            IdentitySource::DataDir(dir) => {
                (key::load_or_create(&dir, rand::random())?, Some(dir.join(names::FILE_NAME)))
            }
        };
        let bound = bind::all(&config.binds, &config.bind_tcp, &config.alt_binds)?;
        Self::start(&identity, config.limits, bound, names)
    }

    /// Looks whether the second addresses of `config` can be had: each beside one of the first, and an address of this
    /// machine. Returns those that somebody uses already, which may be the server itself; nothing stays bound.
    ///
    /// # Errors
    /// [`StartError`], a sentence for the person at the terminal.
    pub fn check_alternates(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
        bind::check(&config.binds, &config.alt_binds)
    }

    /// Starts a server on sockets that exist, real or simulated, within the current tokio runtime. It has no TCP.
    ///
    /// # Errors
    /// [`StartError`] if there is no socket, or one does not work.
    pub fn with_sockets(
        identity: &Identity,
        limits: Limits,
        sockets: Vec<Arc<dyn AsyncUdpSocket>>,
    ) -> Result<Self, StartError> {
        Self::with_probes(identity, limits, sockets, Vec::new())
    }

    /// Like [`Server::with_sockets`], with more sockets, `probes`, that answer STUN alone. Clients are told of those that
    /// are on a port of their own; if the addresses are as RFC 5780 wants them, all answer for each other.
    ///
    /// # Errors
    /// [`StartError`] if there is no socket in `sockets`, or one does not work.
    pub fn with_probes(
        identity: &Identity,
        limits: Limits,
        sockets: Vec<Arc<dyn AsyncUdpSocket>>,
        probes: Vec<Arc<dyn AsyncUdpSocket>>,
    ) -> Result<Self, StartError> {
        Self::start(identity, limits, Bound { sockets, probes, listeners: Vec::new() }, None)
    }

    fn start(
        identity: &Identity,
        limits: Limits,
        bound: Bound,
        names: Option<PathBuf>,
    ) -> Result<Self, StartError> {
        let Bound { sockets, probes, listeners } = bound;
        if sockets.is_empty() {
            return Err(StartError::NoAddress);
        }
        let socket_counters = Arc::new(SocketCounters::default());
        let rate = Rate { per_second: limits.stun_per_second, burst: limits.stun_burst };
        let limiter = SharedLimiter::new(rate);
        let unvalidated = Arc::new(Unvalidated::default());
        let (mains, beside) = (placed(sockets)?, placed(probes)?);
        let wrap = |Placed { addr, socket }| {
            let alternates = Alternates::of(addr, &mains, &beside);
            let counters = Arc::clone(&socket_counters);
            StunSocket::new(socket, alternates, Arc::clone(&limiter), counters, Arc::clone(&unvalidated))
        };
        let tunnels = Arc::new(Tunnels::default());
        let mut inlets = Vec::new();
        let with_tunnels = |socket| {
            let (inlet, outlet) = tunnel::channel();
            inlets.push(inlet);
            TunnelSocket::new(Arc::new(wrap(socket)), Arc::clone(&tunnels), outlet)
        };
        let endpoints: Vec<_> = mains
            .iter()
            .cloned()
            .map(with_tunnels)
            .map(|socket| endpoint(identity, socket))
            .collect::<io::Result<_>>()
            .map_err(StartError::Socket)?;
        let local_addrs = hub::local_addrs(&endpoints).map_err(StartError::Socket)?;
        let mut listening = JoinSet::new();
        let listen = listen(listeners, &tunnels, &limits, &local_addrs, &inlets, &mut listening);
        let tcp_addrs = listen.map_err(StartError::Socket)?;
        let (stats_in, stats) = watch::channel(CoreStats::default());
        let hub_counters = Arc::new(HubCounters::default());
        let keeps_names = limits.max_names > 0;
        let mut core = Core::new(limits, rand::random());
        core.set_probes(told(&mains, &beside));
        let database = load_names(&mut core, names.filter(|_| keeps_names))?;
        for probe in beside.iter().cloned() {
            probe::serve(&mut listening, wrap(probe));
        }
        let (stop, stopped) = oneshot::channel();
        let mut hub = JoinSet::new();
        let shared =
            Shared { counters: Arc::clone(&hub_counters), unvalidated, tunnels: Arc::clone(&tunnels) };
        hub.spawn(Hub::new(core, endpoints, stats_in, shared, database).run(stopped));
        Ok(Self {
            peer_id: identity.peer_id(),
            local_addrs,
            stop,
            hub,
            _listeners: listening,
            tcp_addrs,
            tunnels,
            stats,
            hub_counters,
            socket_counters,
        })
    }

    /// The UDP addresses that it listens on, with the real ports.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The TCP addresses: those of the same port numbers first.
    #[must_use]
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addrs
    }

    /// Its key.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// What it did and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let sockets = &self.socket_counters;
        Stats {
            core: *self.stats.borrow(),
            dropped_full: self.hub_counters.dropped_full.load(Ordering::Relaxed),
            endpoints_lost: self.hub_counters.endpoints_lost.load(Ordering::Relaxed),
            stun_answered: sockets.stun_answered.load(Ordering::Relaxed),
            stun_ignored: sockets.stun_ignored.load(Ordering::Relaxed),
            stun_dropped: sockets.stun_dropped.load(Ordering::Relaxed),
            alien: sockets.alien.load(Ordering::Relaxed),
            tunnels: self.tunnels.count(),
            tunnels_refused: self.tunnels.refused.load(Ordering::Relaxed),
            tunnel_dropped: self.tunnels.dropped.load(Ordering::Relaxed),
        }
    }

    /// Waits until the server ends by itself, which only broken sockets bring about.
    pub async fn failed(&mut self) -> SocketsLost {
        self.hub.join_next().await;
        SocketsLost
    }

    /// Tells all clients that the server goes, waits a moment until they have heard it, and ends.
    pub async fn shutdown(mut self) {
        // If the hub has ended already, there is nothing to tell it.
        let _ = self.stop.send(());
        self.hub.join_next().await;
    }
}

fn placed(sockets: Vec<Arc<dyn AsyncUdpSocket>>) -> Result<Vec<Placed>, StartError> {
    let place = |socket: Arc<dyn AsyncUdpSocket>| Ok(Placed { addr: socket.local_addr()?, socket });
    sockets.into_iter().map(place).collect::<io::Result<_>>().map_err(StartError::Socket)
}

/// The probes that clients are told of. One that has another's port shows nothing that its neighbour does not.
fn told(mains: &[Placed], probes: &[Placed]) -> Vec<SocketAddr> {
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for addr in probes.iter().map(|probe| probe.addr) {
        if !mains.iter().any(|main| main.addr.port() == addr.port()) {
            addrs.push(addr);
        }
    }
    addrs
}

/// Hands the names that were kept to the core; returns the database in which they are kept on.
fn load_names(core: &mut Core, path: Option<PathBuf>) -> Result<Option<Connection>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let (conn, rows) = names::open(&path).map_err(|source| StartError::Names { path, source })?;
    core.set_names(rows);
    Ok(Some(conn))
}

/// Serves TCP in `tasks`. Connections leave their packets at the endpoint of their address family, since a client goes on
/// over UDP at the same address once it can. Returns where the listeners are.
fn listen(
    listeners: Vec<TcpListener>,
    tunnels: &Arc<Tunnels>,
    limits: &Limits,
    endpoints: &[SocketAddr],
    inlets: &[Inlet],
    tasks: &mut JoinSet<()>,
) -> io::Result<Vec<SocketAddr>> {
    let host = Host::new(Arc::clone(tunnels), limits)?;
    let mut addrs = Vec::new();
    for listener in listeners {
        let addr = listener.local_addr()?;
        addrs.push(addr);
        let place = endpoints.iter().position(|endpoint| endpoint.is_ipv4() == addr.is_ipv4());
        tasks.spawn(listener::run(listener, inlets[place.unwrap_or(0)].clone(), Arc::clone(&host)));
    }
    Ok(addrs)
}

fn endpoint(identity: &Identity, socket: TunnelSocket) -> io::Result<Endpoint> {
    Endpoint::new_with_abstract_socket(
        transport::endpoint_config(),
        Some(transport::quic_config(identity)),
        Arc::new(socket),
        Arc::new(TokioRuntime),
    )
}
