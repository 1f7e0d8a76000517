//! The standard scene: a public server, and homes behind chains of NATs with a client in each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::access::Access;
use super::app::{App, wait_for_port};
use super::link::Link;
use super::netns::{self, Netns};
use super::network::{HostId, NatId, Network, UdpRule};
use super::pcap::Pcap;
use super::proxy::Proxy;
use super::router::Router;
use homes::{
    PROXY_IP, SERVER_IP, SERVER_IP6, add_home, client_args, client_name, lone, server_args, set_delay, settle,
};

mod homes;

/// Port of the server.
pub const SERVER_PORT: u16 = 5_000;
/// One way between a home and its proxy.
const PROXY_DELAY: Duration = Duration::from_millis(1);
/// Most homes of a scene; their addresses are numbered.
const MAX_HOMES: usize = 100;
/// How long the server may take to bind its port.
const SERVER_PATIENCE: Duration = Duration::from_secs(10);

/// What a scene is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How each home reaches the internet.
    pub homes: Vec<Access>,
    /// Round trip between a home and the server (S).
    pub server_rtt: Duration,
    /// Round trip between two homes (R).
    pub peer_rtt: Duration,
    /// Seed of losses and NATs.
    pub seed: u64,
    /// Where `rendezvous` and `client` are.
    pub bin_dir: PathBuf,
    /// Where to write a capture at the server.
    pub pcap: Option<PathBuf>,
}

impl Plan {
    /// Homes 80 ms from each other and 50 ms from the server.
    #[must_use]
    pub fn standard(homes: Vec<Access>, bin_dir: &Path) -> Self {
        Self {
            homes,
            server_rtt: Duration::from_millis(50),
            peer_rtt: Duration::from_millis(80),
            seed: 1,
            bin_dir: bin_dir.to_owned(),
            pcap: None,
        }
    }
}

/// One end of the scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server.
    Server,
    /// A home, by its place in the plan.
    Home(usize),
}

/// Where a program lives: its namespace and its place in the network.
#[derive(Debug)]
pub struct Place {
    /// Its namespace.
    pub netns: Arc<Netns>,
    /// Its host in the network.
    pub host: HostId,
    /// Its own address.
    pub ip: IpAddr,
    /// Its router, as the machine knows it.
    pub gateway: Option<IpAddr>,
    /// The NATs in front of it, from the home outwards.
    pub nats: Vec<NatId>,
}

/// A running scene. Dropping it ends the programs, the router, and the namespaces, in that order.
#[derive(Debug)]
pub struct Scene {
    /// The server's program.
    pub server: App,
    /// The clients' programs, one a home.
    pub clients: Vec<App>,
    /// Before the router: it says good-bye through it.
    _proxy: Option<Proxy>,
    router: Router,
    server_place: Place,
    homes: Vec<Place>,
    client_binary: PathBuf,
    dir: TempDir,
}

impl Scene {
    /// Builds the namespaces, starts the router, and starts nothing else.
    ///
    /// # Errors
    /// When the lab cannot run here.
    pub fn build(plan: &Plan) -> Result<Self> {
        ensure!(plan.homes.len() <= MAX_HOMES, "a scene has at most {MAX_HOMES} homes");
        netns::sweep();
        let mut network = Network::new(plan.peer_rtt / 2, plan.seed);
        let core = network.core();
        let has_v6 = plan.homes.iter().any(|home| home.families.has_v6());
        let server_addrs: Vec<_> =
            [SERVER_IP, SERVER_IP6].into_iter().take(1 + usize::from(has_v6)).map(lone).collect();
        let (server_place, tun) = settle(&mut network, core, "server", &server_addrs, Vec::new())?;
        let mut tuns = vec![(server_place.host, tun)];
        let mut proxied = None;
        if plan.homes.iter().any(|home| home.is_proxied) {
            let (place, tun) = settle(&mut network, core, "proxy", &[lone(PROXY_IP)], Vec::new())?;
            set_delay(&mut network, place.host, server_place.host, plan.server_rtt / 2);
            tuns.push((place.host, tun));
            proxied = Some(place);
        }
        let mut homes: Vec<Place> = Vec::new();
        let mut shared = BTreeMap::new();
        for (index, access) in plan.homes.iter().enumerate() {
            let (home, tun) = add_home(&mut network, &mut shared, index, access)?;
            set_delay(&mut network, home.host, server_place.host, plan.server_rtt / 2);
            if let Some(proxy) = &proxied {
                set_delay(&mut network, home.host, proxy.host, PROXY_DELAY);
            }
            tuns.push((home.host, tun));
            homes.push(home);
        }
        if let Some(path) = &plan.pcap {
            let pcap = Pcap::create(path, wall_time()).context("cannot write the capture")?;
            network.tap().capture_at(server_place.host, pcap);
        }
        let router = Router::start(network, tuns)?;
        let proxy = proxied.map(|place| Proxy::start(place.netns, PROXY_IP)).transpose()?;
        let dir = tempfile::Builder::new().prefix("hobnob-lab-").tempdir()?;
        let app = |name: &str, binary: &str, args: Vec<String>, place: &Place| {
            let home = dir.path().join(name);
            App::new(name, plan.bin_dir.join(binary), args, &home, Arc::clone(&place.netns), router.clock())
        };
        let server_args = server_args(&dir.path().join("server"), has_v6);
        let server = app("server", "rendezvous", server_args, &server_place);
        let clients = homes.iter().zip(&plan.homes).enumerate().map(|(index, (home, access))| {
            let name = client_name(index);
            let args = client_args(&name, &dir.path().join(&name).join("data"), access);
            app(&name, "client", args, home)
        });
        let clients = clients.collect();
        let client_binary = plan.bin_dir.join("client");
        Ok(Self { server, clients, _proxy: proxy, router, server_place, homes, client_binary, dir })
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_server(&mut self) -> Result<()> {
        self.server.start()?;
        wait_for_port(&mut self.server, SERVER_PORT, SERVER_PATIENCE)
    }

    /// Where clients find the server.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        SocketAddr::new(SERVER_IP, SERVER_PORT)
    }

    /// The same for one home, which may have nothing but IPv6.
    #[must_use]
    pub fn server_addr_of(&self, home: usize) -> SocketAddr {
        let ip = if self.homes[home].ip.is_ipv6() { SERVER_IP6 } else { SERVER_IP };
        SocketAddr::new(ip, SERVER_PORT)
    }

    /// What `client history --json` prints about a home's store, while its client runs or not.
    ///
    /// # Errors
    /// When it fails.
    pub fn history(&self, home: usize) -> Result<String> {
        let name = self.clients[home].name();
        let data = self.dir.path().join(name).join("data");
        let mut command = Command::new(&self.client_binary);
        command.args(["history", "--json", "--data-dir"]).arg(data).current_dir(self.dir.path());
        self.homes[home].netns.confine(&mut command);
        let output = command.output().context("cannot run `client history`")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`client history` of {name} failed: {stderr}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The router, for looks and disturbances beyond the ones here.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Where an end of the scene is.
    #[must_use]
    pub fn place(&self, end: End) -> &Place {
        match end {
            End::Server => &self.server_place,
            End::Home(index) => &self.homes[index],
        }
    }

    /// Whether packets to this address are tries to reach a peer: not the server, a proxy, a home's own router, or
    /// everybody on a wire.
    #[must_use]
    pub fn is_peer(&self, to: IpAddr) -> bool {
        let is_router = self.homes.iter().any(|home| home.gateway == Some(to));
        ![SERVER_IP, SERVER_IP6, PROXY_IP].contains(&to) && !is_router && !to.is_multicast()
    }

    /// The files of the scene's programs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// All NATs of a home forget their mappings and hand out new ones.
    ///
    /// # Errors
    /// When the router has ended.
    pub fn rebind(&self, home: usize) -> Result<()> {
        let nats = self.homes[home].nats.clone();
        self.router.with(move |network, _| nats.into_iter().for_each(|nat| network.rebind(nat)))
    }

    /// Says which UDP passes the innermost NAT of a home from now on.
    ///
    /// # Errors
    /// When the home has no NAT.
    pub fn set_udp(&self, home: usize, rule: UdpRule) -> Result<()> {
        let nat = *self.homes[home].nats.first().context("a public host has no NAT to block")?;
        self.router.with(move |network, _| network.set_udp(nat, rule))
    }

    /// The outermost NAT of a home gets another public address.
    ///
    /// # Errors
    /// When the home has no NAT.
    pub fn renumber(&self, home: usize, ip: IpAddr) -> Result<()> {
        let nat = *self.homes[home].nats.last().context("a public host has no NAT to renumber")?;
        self.router.with(move |network, _| network.set_outer_ips(nat, vec![ip]))
    }

    /// Changes the link between two ends, both ways.
    ///
    /// # Errors
    /// When the router has ended.
    pub fn change_link(&self, a: End, b: End, change: impl Fn(Link) -> Link + Send + 'static) -> Result<()> {
        let (a, b) = (self.place(a).host, self.place(b).host);
        self.router.with(move |network, _| {
            for (from, to) in [(a, b), (b, a)] {
                let link = change(network.link(from, to));
                network.set_link(from, to, link);
            }
        })
    }

    /// Nothing passes between two ends from now on, or everything again.
    ///
    /// # Errors
    /// When the router has ended.
    pub fn cut(&self, a: End, b: End, cut: bool) -> Result<()> {
        self.change_link(a, b, move |link| Link { cut, ..link })
    }

    /// The ends of all programs' output and what the router counted, for a report of failure.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut parts = vec![self.server.last_words()];
        parts.extend(self.clients.iter().map(App::last_words));
        let counts = self.router.with(|network, _| network.counts().clone());
        parts.push(match counts {
            Ok(counts) => format!("--- router: {counts:?}"),
            Err(error) => format!("--- router: {error}"),
        });
        parts.join("\n")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&self.explain());
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failing test must show what the programs said")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "captures carry wall time; this is where the lab reads it")]
fn wall_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
