//! The simulated world: real clients with their databases and a real server, on tokio's paused clock, over a
//! [`SimNet`].
//!
//! All homes are [`PEER_RTT`] from each other and [`SERVER_RTT`] from the server, unless a test says otherwise.
//! Everything that goes wrong can be replayed from the seed, as far as the order of tasks is the same.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::engine::{self, Engine, Event};
use client::net::{BindExtra, Changes, PortMapping, ServerTarget, Surroundings, TcpUse, Via};
use client::store;
use common::identity::{Identity, PeerId};
use quinn::AsyncUdpSocket;
use rendezvous::{Limits, Server};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::nat::Profile;
use crate::simnet::{HostId, Link, NatId, Segment, SimNet, SiteId};

/// Round trip between two homes.
pub const PEER_RTT: Duration = Duration::from_millis(80);
/// Round trip between a home and the server.
pub const SERVER_RTT: Duration = Duration::from_millis(50);
/// The server's address, and another one on which it answers STUN alone.
const SERVER_IP: [u8; 4] = [203, 0, 113, 1];
const SERVER_ALT_IP: [u8; 4] = [203, 0, 113, 2];
/// Port of the server.
const SERVER_PORT: u16 = 5000;
/// Port of clients, before NATs have their way with it.
const CLIENT_PORT: u16 = 40_000;
/// A file system in memory. The clock is virtual, so only the waiting for a disk would be real; and what a power cut
/// leaves of a file is not what these tests are about.
const MEMORY: &str = "/dev/shm";
/// What the clocks on the walls show when a world begins: a day in 2026, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_780_000_000_000;
/// How wrong the clocks on some walls are: ten years.
const WRONG_MS: u64 = 10 * 365 * 24 * 3_600_000;
/// How long anything may take in virtual time before a test counts it as stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands between a client and the core.
#[derive(Debug, Clone)]
pub enum Access {
    /// Nothing: a public address.
    Public,
    /// One NAT.
    Nat(Profile),
    /// A home NAT behind a carrier's.
    DoubleNat(Profile, Profile),
}

impl Access {
    /// The six kinds of which every pair must go direct.
    #[must_use]
    pub fn easy() -> [(&'static str, Self); 6] {
        [
            ("public", Self::Public),
            ("full cone", Self::Nat(Profile::full_cone())),
            ("EIM/ADF", Self::Nat(Profile::eim_adf())),
            ("EIM/APDF preserving", Self::Nat(Profile::eim_apdf_preserving())),
            ("EIM/APDF random", Self::Nat(Profile::eim_apdf_random())),
            ("EIM behind carrier", Self::DoubleNat(Profile::eim_apdf_preserving(), Profile::cgnat())),
        ]
    }
}

/// A machine with its access.
#[derive(Debug, Clone)]
pub struct Home {
    /// The machine.
    pub host: HostId,
    /// Its NATs, from the machine outwards.
    pub nats: Vec<NatId>,
    /// Its place on the core.
    pub site: SiteId,
    /// The clock on its wall.
    pub wall_clock: fn() -> u64,
    /// Whether its router gives it a port when asked.
    pub maps_ports: bool,
    segment: Segment,
    number: u8,
    dir: PathBuf,
    seed: u64,
}

impl Home {
    /// The key of whoever lives here.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.identity().peer_id()
    }

    /// Whose keys its client has.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::from_seed(std::array::from_fn(|i| self.seed.to_le_bytes()[i % 8]))
    }
}

/// What the server answers STUN from.
#[derive(Debug, Clone, Copy)]
enum Addresses {
    /// One address.
    One,
    /// Two, of which one has a port for STUN alone.
    Two,
    /// Two, as RFC 5780 wants them.
    Square,
}

/// The network, the server, and a directory for the clients' data.
#[derive(Debug)]
pub struct World {
    /// The network.
    pub net: SimNet,
    /// The server's machine.
    pub server_host: HostId,
    /// The server's place on the core.
    pub server_site: SiteId,
    server: Option<Server>,
    server_identity: Identity,
    server_addr: SocketAddr,
    addresses: Addresses,
    homes: u8,
    seed: u64,
    /// Clients started and addresses changed so far: each gets a number of its own.
    counter: AtomicU64,
    dir: TempDir,
}

impl World {
    /// A network with a running server. Tokio's clock must be paused.
    ///
    /// # Panics
    /// If the machine has no room for a temporary directory; as in all of this module, what cannot happen on a
    /// working test machine is a panic.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        BEGINNING.set(Some(now()));
        let net = SimNet::new(seed);
        net.set_default_link(Link::new(PEER_RTT / 2));
        let server_site = net.site();
        let ip: IpAddr = SERVER_IP.into();
        let server_host = net.host(Segment::Core(server_site), ip);
        net.add_address(server_host, Segment::Core(server_site), SERVER_ALT_IP.into());
        let mut world = Self {
            net,
            server_host,
            server_site,
            server: None,
            server_identity: Identity::from_seed([99; 32]),
            server_addr: SocketAddr::new(ip, SERVER_PORT),
            addresses: Addresses::Two,
            homes: 0,
            seed,
            counter: AtomicU64::new(0),
            dir: temp_dir(),
        };
        world.start_server();
        world
    }

    /// Starts the server again after [`World::kill_server`].
    ///
    /// # Panics
    /// If it is running.
    pub fn start_server(&mut self) {
        assert!(self.server.is_none(), "one server at a time");
        let probe = |ip: [u8; 4], port: u16| -> Arc<dyn AsyncUdpSocket> {
            self.net.bind_at(self.server_host, (ip, port).into()).expect("the server has this address")
        };
        let mut probes = vec![probe(SERVER_IP, 5001), probe(SERVER_IP, 5002)];
        let socket = match self.addresses {
            Addresses::Square => {
                probes.extend([probe(SERVER_ALT_IP, 5001), probe(SERVER_ALT_IP, SERVER_PORT)]);
                probe(SERVER_IP, SERVER_PORT)
            }
            Addresses::Two => {
                probes.push(probe(SERVER_ALT_IP, 5001));
                self.net.bind(self.server_host, SERVER_PORT)
            }
            Addresses::One => self.net.bind(self.server_host, SERVER_PORT),
        };
        let server = Server::with_probes(&self.server_identity, Limits::default(), vec![socket], probes);
        self.server = Some(server.expect("a simulated socket works"));
    }

    /// The server is another one from now on, whose addresses are as RFC 5780 wants them.
    pub fn start_square_server(&mut self) {
        self.restart_server(Addresses::Square);
    }

    /// The server is another one from now on, which has one address alone.
    pub fn start_single_server(&mut self) {
        self.restart_server(Addresses::One);
    }

    fn restart_server(&mut self, addresses: Addresses) {
        self.kill_server();
        self.addresses = addresses;
        self.start_server();
    }

    /// Ends the server without a word, as a power cut does.
    pub fn kill_server(&mut self) {
        self.net.kill(self.server_host);
        self.server = None;
    }

    /// The server's key.
    #[must_use]
    pub const fn server_key(&self) -> PeerId {
        self.server_identity.peer_id()
    }

    /// The server's identity, for whoever takes its place.
    #[must_use]
    pub const fn server_identity(&self) -> &Identity {
        &self.server_identity
    }

    /// The server's address.
    #[must_use]
    pub const fn server_addr(&self) -> SocketAddr {
        self.server_addr
    }

    /// What the server counted.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn server_stats(&self) -> rendezvous::Stats {
        self.server.as_ref().expect("the server is running").stats()
    }

    /// A new machine with the given access.
    ///
    /// # Panics
    /// With more than 200 homes.
    pub fn home(&mut self, access: &Access) -> Home {
        self.homes += 1;
        assert!(self.homes < 200, "addresses are numbered with one byte");
        let n = self.homes;
        let site = self.net.site();
        self.net.set_link(site, self.server_site, Link::new(SERVER_RTT / 2));
        self.net.set_link(self.server_site, site, Link::new(SERVER_RTT / 2));
        let public: IpAddr = [198, 51, 100, n].into();
        let inside: IpAddr = [192, 168, n, 10].into();
        let (segment, ip, nats) = match access {
            Access::Public => (Segment::Core(site), public, Vec::new()),
            Access::Nat(profile) => {
                let nat = self.net.nat(Segment::Core(site), *profile, &[public]);
                (Segment::Behind(nat), inside, vec![nat])
            }
            Access::DoubleNat(home, carrier) => {
                let outer = self.net.nat(Segment::Core(site), *carrier, &[public]);
                let between: IpAddr = [100, 64, n, 2].into();
                let inner = self.net.nat(Segment::Behind(outer), *home, &[between]);
                (Segment::Behind(inner), inside, vec![inner, outer])
            }
        };
        let host = self.net.host(segment, ip);
        let seed = self.seed.wrapping_mul(251).wrapping_add(u64::from(n));
        let dir = self.dir.path().join(n.to_string());
        Home { host, nats, site, wall_clock, maps_ports: false, segment, number: n, dir, seed }
    }

    /// The machine gets another address in its own network, as from another DHCP server.
    pub fn move_host(&self, home: &Home) {
        let count = self.count();
        let ip: IpAddr = match home.segment {
            Segment::Core(_) => public_ip(home.number, count),
            Segment::Behind(_) => [192, 168, home.number, 11 + count].into(),
        };
        self.net.set_addresses(home.host, &[(home.segment, ip)]);
    }

    /// The port of the home's own router that leads to its machine, if the router gives one.
    fn map(&self, home: &Home) -> Option<SocketAddr> {
        let own = *home.nats.first().filter(|_| home.maps_ports)?;
        let internal = SocketAddr::new(*self.net.addresses(home.host).first()?, CLIENT_PORT);
        self.net.with_nat(own, |nat| nat.map(internal))
    }

    /// Two homes behind one NAT of a carrier, each with its own router.
    pub fn neighbours(&mut self, router: &Profile, carrier: &Profile) -> [Home; 2] {
        let first = self.home(&Access::DoubleNat(*router, *carrier));
        let mut second = self.home(&Access::Public);
        let n = second.number;
        let nat = self.net.nat(Segment::Behind(first.nats[1]), *router, &[[100, 64, n, 2].into()]);
        second.segment = Segment::Behind(nat);
        self.net.set_addresses(second.host, &[(second.segment, [192, 168, n, 10].into())]);
        second.nats = vec![nat, first.nats[1]];
        [first, second]
    }

    /// The machine leaves its network for that of `other`, as a telephone changes from one Wi-Fi to the next.
    pub fn move_into(&self, home: &Home, other: &Home) {
        let ip: IpAddr = match other.segment {
            Segment::Core(_) => public_ip(other.number, self.count()),
            Segment::Behind(_) => [192, 168, other.number, 11 + self.count()].into(),
        };
        self.net.set_addresses(home.host, &[(other.segment, ip)]);
    }

    /// The home is seen from another public address from now on.
    pub fn move_home(&self, home: &Home) {
        match home.nats.last() {
            Some(outermost) => self.net.set_public_ips(*outermost, &[public_ip(home.number, self.count())]),
            None => self.move_host(home),
        }
    }

    fn count(&self) -> u8 {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        u8::try_from(count % 150).expect("less than 150")
    }

    /// Starts a client on `home`, with the data that the last one left there.
    ///
    /// # Panics
    /// If the store cannot be opened.
    pub async fn client(&self, home: &Home) -> Client {
        self.client_with(home, store::Options::default()).await
    }

    /// Like [`World::client`], with options for its store.
    ///
    /// # Panics
    /// If the store cannot be opened.
    pub async fn client_with(&self, home: &Home, options: store::Options) -> Client {
        self.client_of(home, options, None).await
    }

    /// Like [`World::client`], for somebody who follows a link.
    ///
    /// # Panics
    /// If the store cannot be opened.
    pub async fn guest(&self, home: &Home, link: engine::Link) -> Client {
        self.client_of(home, store::Options::default(), Some(link)).await
    }

    async fn client_of(&self, home: &Home, options: store::Options, join: Option<engine::Link>) -> Client {
        std::fs::create_dir_all(&home.dir).expect("the temporary directory has room");
        let socket = self.net.bind(home.host, CLIENT_PORT);
        let (network, news) = watch::channel(());
        let (mapping, mapped) = watch::channel(self.map(home));
        let config = engine::Config {
            identity: home.identity(),
            database: home.dir.join("hobnob.db"),
            store: options,
            name: format!("home{}", home.seed),
            server: Some(ServerTarget {
                address: self.server_addr.to_string(),
                key: Some(self.server_key()),
            }),
            meet: false,
            join,
            tunnels: None,
            links: vec![socket],
            bind_extra: self.bind_extra(home),
            surroundings: Surroundings {
                changes: Changes::Told(news),
                port_mapping: PortMapping::Told(mapped),
                ..Surroundings::default()
            },
            tcp: TcpUse::Never,
            wall_clock: home.wall_clock,
            // Another run draws other numbers, as in life.
            seed: home.seed ^ (self.counter.fetch_add(1, Ordering::Relaxed) << 32),
        };
        let (engine, events) = Engine::start(config).await.expect("a client starts");
        Client { engine, events, network, _mapping: mapping, net: self.net.clone(), host: home.host }
    }

    /// Makes more sockets on the machine of `home`.
    #[must_use]
    pub fn bind_extra(&self, home: &Home) -> BindExtra {
        let (net, host) = (self.net.clone(), home.host);
        BindExtra(Arc::new(move |_| Ok(net.bind(host, 0))))
    }

    /// The database of `home`.
    #[must_use]
    pub fn database(&self, home: &Home) -> PathBuf {
        Path::new(&home.dir).join("hobnob.db")
    }
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// Its engine.
    pub engine: Engine,
    /// What it says.
    pub events: mpsc::Receiver<Event>,
    /// Tells it that its network has changed, as the kernel does of whatever the machine itself can see.
    pub network: watch::Sender<()>,
    _mapping: watch::Sender<Option<SocketAddr>>,
    net: SimNet,
    host: HostId,
}

impl Client {
    /// Its key.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.engine.me()
    }

    /// Waits until `found` picks something out of an event; the events before it are dropped.
    ///
    /// # Panics
    /// If nothing is picked for two virtual minutes.
    pub async fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the engine runs");
                if let Some(value) = found(&event) {
                    return value;
                }
            }
        };
        let result = timeout(PATIENCE, wait).await;
        result.unwrap_or_else(|_| panic!("{} waited in vain for {what}", self.engine.me().short()))
    }

    /// Waits for a connected peer; returns the words.
    pub async fn wait_connected(&mut self) -> (PeerId, String) {
        self.wait("a connection", |event| match event {
            Event::Connected { peer, words, .. } => Some((*peer, words.clone())),
            _ => None,
        })
        .await
    }

    /// Waits until packets to some peer go directly.
    pub async fn wait_direct(&mut self) -> SocketAddr {
        self.wait("a direct path", |event| match event {
            Event::Path(change) if change.via != Via::Relay => change.remote,
            _ => None,
        })
        .await
    }

    /// Waits for the next message of somebody else; returns its text.
    pub async fn wait_text(&mut self) -> String {
        self.wait("a message", |event| match event {
            Event::Message { message, .. } if !message.own => Some(text_of(message)),
            _ => None,
        })
        .await
    }

    /// Ends the client without a word: the process is gone, what was committed stays.
    ///
    /// The store is closed, since its file is opened again within the same process; nothing is written by that.
    pub async fn kill(self) {
        self.net.kill(self.host);
        self.engine.abort().await;
    }
}

/// The text of a message; empty if it is of another kind.
#[must_use]
pub fn text_of(message: &store::MessageRow) -> String {
    message.content.as_text().unwrap_or_default().to_owned()
}

thread_local! {
    /// When the newest world of this thread began.
    static BEGINNING: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A wall clock that is right: it goes with the virtual time of the thread's world.
#[must_use]
pub fn wall_clock() -> u64 {
    let passed = BEGINNING.get().map_or(Duration::ZERO, |beginning| now() - beginning);
    EPOCH_MS + u64::try_from(passed.as_millis()).unwrap_or(0)
}

/// A wall clock that is ten years fast.
#[must_use]
pub fn fast_wall_clock() -> u64 {
    wall_clock() + WRONG_MS
}

/// A wall clock that is ten years slow.
#[must_use]
pub fn slow_wall_clock() -> u64 {
    wall_clock() - WRONG_MS
}

fn public_ip(home: u8, count: u8) -> IpAddr {
    [198, 51, 101 + count, home].into()
}

fn temp_dir() -> TempDir {
    let dir = if Path::new(MEMORY).is_dir() { TempDir::new_in(MEMORY) } else { TempDir::new() };
    dir.expect("a temporary directory")
}

/// Virtual time since the runtime's clock was paused or the test began.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests measure on tokio's paused clock")]
pub fn now() -> Instant {
    Instant::now()
}
