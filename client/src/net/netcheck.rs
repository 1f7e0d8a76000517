//! What this network lets pass and what it does to UDP, asked once, for a person.
//!
//! Everything is asked from sockets of its own and under a key that is thrown away, so that it disturbs no client that
//! runs beside it.

mod asking;
mod report;
mod routers;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::address::canonical;
use common::control::{Admit, InstanceId, Register, Welcome, close};
use common::identity::Identity;
use common::traversal::survey::lifetime::{LONGEST, Lifetime, Measure};
use common::traversal::survey::{Filtering, Findings, First, MAX_SERVERS, SOCKETS, Survey};
use common::traversal::{Tier, may_check, tier};
use quinn::{AsyncUdpSocket, Endpoint, TokioRuntime, VarInt};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::portmap::Router;
use super::server::{self, Errand, FromServer, ServerError, ServerLink, ServerTarget, Way};
use super::socket::{BindExtra, MuxSocket};
use super::tunnel::Tunnels;
use super::{clock, stun, tuning};
use asking::Sockets;
pub use report::{Ipv6, Kind, MappingProtocol, Registered, Report, ServerReport, WayReport};

/// How long registering may take; a person waits.
const REGISTER_TIME: Duration = Duration::from_secs(6);
/// How long the ways over UDP wait for it. The server bounds what it sends to an address by what came from there, and two
/// handshakes at once would get in each other's way.
const HEAD_START: Duration = Duration::from_secs(1);

/// What is asked, and from where.
#[derive(Debug)]
pub struct Config {
    /// The rendezvous, if it is to be asked.
    pub server: Option<ServerTarget>,
    /// Further STUN servers, as `HOST:PORT`; at most [`stun::MAX_SERVERS`] are asked.
    pub stun: Vec<String>,
    /// Ways to the server besides UDP; `None` for UDP alone.
    pub tunnels: Option<Tunnels>,
    /// Sockets to the server, one for each address family, see [`super::links::bind`].
    pub links: Vec<Arc<dyn AsyncUdpSocket>>,
    /// Makes more sockets, see [`super::links::bind_extra`].
    pub bind_extra: BindExtra,
    /// Lists this machine's addresses.
    pub interfaces: fn() -> Vec<IpAddr>,
    /// Names the router, if it is to be asked for ports.
    pub router: fn() -> Option<Router>,
    /// Whether the lifetime of mappings is measured, which takes minutes.
    pub lifetime: MeasureLifetime,
    /// Feeds random choices.
    pub seed: u64,
}

/// See [`Config::lifetime`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureLifetime {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Asks all that there is to ask.
///
/// # Errors
/// If the machine has no socket to ask from. What the network does not let pass is no error, but what the report says.
pub async fn check(config: Config) -> io::Result<Report> {
    let caller = config.server.as_ref().map(|target| Caller::new(&config, target)).transpose()?;
    let through_tunnels = async {
        match &caller {
            Some(caller) => server::ways_through_tunnels(&caller.errand()).await,
            None => Vec::new(),
        }
    };
    let over_udp = async {
        let called = match &caller {
            Some(caller) => Some(caller.call().await),
            None => None,
        };
        let named = named(&config.stun).await;
        let (servers, first) = servers(&config, called.as_ref(), &named);
        let firewall = firewall(&config, called.as_ref());
        let (udp, firewall) = tokio::join!(survey(&config, &servers, first), firewall);
        let udp = udp?;
        let silent = silent(&named, &udp);
        let lifetime = match (config.lifetime, udp.seen.first()) {
            (MeasureLifetime::Yes, Some(seen)) => Some(lifetime(&config, seen.server).await),
            (MeasureLifetime::Yes | MeasureLifetime::No, _) => None,
        };
        Ok::<_, io::Error>((called, udp, firewall, silent, lifetime))
    };
    let protocols = async {
        match (config.router)() {
            Some(router) => routers::ask(router).await,
            None => Vec::new(),
        }
    };
    let (tunnels, over_udp, port_mapping) = tokio::join!(through_tunnels, over_udp, protocols);
    let (called, udp, filtering, silent, lifetime) = over_udp?;
    let server = config.server.as_ref().zip(called).map(|(target, called)| ServerReport {
        address: target.address.clone(),
        outcome: called.outcome,
        ways: called.ways.into_iter().chain(tunnels).map(WayReport::from).collect(),
    });
    let own = (config.interfaces)();
    let ipv6 = Ipv6 { address: own.iter().copied().find(is_global_v6), filtering };
    Ok(Report { server, udp, silent, own, lifetime, ipv6, port_mapping })
}

/// Goes to the server as somebody whom nobody knows.
struct Caller<'a> {
    config: &'a Config,
    target: &'a ServerTarget,
    identity: Identity,
    socket: Arc<MuxSocket>,
    endpoint: Endpoint,
    inbox: mpsc::Sender<FromServer>,
    /// What the server says is not read: nothing but its greeting counts.
    _unread: mpsc::Receiver<FromServer>,
}

/// What came of that.
struct Called {
    outcome: Result<Registered, ServerError>,
    /// Those over UDP.
    ways: Vec<Way>,
    /// Where it answers STUN besides.
    probes: Vec<SocketAddr>,
}

impl<'a> Caller<'a> {
    fn new(config: &'a Config, target: &'a ServerTarget) -> io::Result<Self> {
        let socket = MuxSocket::new(config.links.clone(), config.bind_extra.clone());
        let endpoint = Endpoint::new_with_abstract_socket(
            tuning::endpoint(config.seed),
            None,
            Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )?;
        let (inbox, unread) = mpsc::channel(1);
        let identity = Identity::from_seed(rand::random());
        Ok(Self { config, target, identity, socket, endpoint, inbox, _unread: unread })
    }

    fn errand(&self) -> Errand {
        Errand {
            endpoint: self.endpoint.clone(),
            socket: Arc::clone(&self.socket),
            identity: self.identity.clone(),
            target: self.target.clone(),
            register: Register {
                instance: InstanceId(rand::random()),
                features: Vec::new(),
                // Nobody is to find it.
                admit: Admit { only: true, peers: Vec::new() },
            },
            tunnels: self.config.tunnels.clone(),
            inbox: self.inbox.clone(),
        }
    }

    /// Registers in whatever way is the first, as a client does, and tries UDP by itself.
    async fn call(&self) -> Called {
        let (began, registered) = (clock::now(), Notify::new());
        let registering = async {
            let link = timeout(REGISTER_TIME, server::connect(self.errand())).await;
            let link = link.unwrap_or_else(|_| Err(server::unreachable(&self.errand())));
            registered.notify_one();
            (link, clock::now().saturating_duration_since(began))
        };
        let errand = self.errand();
        let trying = async {
            // In either case it is their turn.
            let _ = timeout(HEAD_START, registered.notified()).await;
            server::ways_over_udp(&errand).await
        };
        let (ways, (link, after)) = tokio::join!(trying, registering);
        let probes = link.as_ref().map(|link| probes(link, &ways)).unwrap_or_default();
        let outcome = link.map(|link| {
            link.connection.close(VarInt::from_u32(close::BYE), b"");
            Registered { key: link.key, route: link.route, after }
        });
        Called { outcome, ways, probes }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(close::BYE), b"");
    }
}

/// Where the server answers STUN beside its main endpoint, as a client sees it.
fn probes(link: &ServerLink, ways: &[Way]) -> Vec<SocketAddr> {
    let Welcome { probes, .. } = &link.welcome;
    let mains = answering(ways);
    let place = |probe: &SocketAddr| {
        let probe = canonical(*probe);
        let main = mains.iter().find(|main| main.is_ipv4() == probe.is_ipv4())?;
        let ip = if probe.ip().is_unspecified() { main.ip() } else { probe.ip() };
        Some(SocketAddr::new(ip, probe.port())).filter(|probe| may_check(*probe, main.ip().is_loopback()))
    };
    probes.iter().filter_map(place).collect()
}

/// The addresses of the server that answered over UDP.
fn answering(ways: &[Way]) -> Vec<SocketAddr> {
    ways.iter().filter(|way| way.outcome.is_ok()).filter_map(|way| way.address).collect()
}

/// A STUN server of the user's choice.
struct Named {
    name: String,
    /// None if the name does not resolve.
    addresses: Vec<SocketAddr>,
}

async fn named(names: &[String]) -> Vec<Named> {
    let mut all = Vec::new();
    for name in names.iter().take(stun::MAX_SERVERS) {
        all.push(Named { name: name.clone(), addresses: stun::resolve(name).await });
    }
    all
}

/// Those that did not answer, by the names that the user gave them.
fn silent(named: &[Named], udp: &Findings) -> Vec<String> {
    let has_answered = |addr: &SocketAddr| udp.seen.iter().any(|seen| seen.server == *addr);
    let silent = named.iter().filter(|named| !named.addresses.iter().any(has_answered));
    silent.map(|named| named.name.clone()).collect()
}

/// Whom the survey asks: the rendezvous where it answered over UDP, its other ports, and the user's servers; of the family
/// of the first of them, with IPv4, which has NATs, before IPv6.
fn servers(config: &Config, called: Option<&Called>, named: &[Named]) -> (Vec<SocketAddr>, First) {
    let mut mains: Vec<_> = called.iter().flat_map(|called| answering(&called.ways)).collect();
    mains.sort_by_key(SocketAddr::is_ipv6);
    let main = mains.first().copied();
    let probes = called.iter().flat_map(|called| &called.probes).copied();
    let mut all: Vec<_> = main.into_iter().chain(probes).collect();
    all.extend(named.iter().flat_map(|named| &named.addresses));
    let has_family = |is_v4: bool| {
        config.links.iter().any(|link| link.local_addr().is_ok_and(|local| local.is_ipv4() == is_v4))
    };
    let is_v4 = has_family(true) && (all.iter().any(SocketAddr::is_ipv4) || !has_family(false));
    all.retain(|addr| addr.is_ipv4() == is_v4);
    if let Some(outside) = all.iter().copied().find(|addr| tier(*addr) == Tier::Public) {
        // A rendezvous in the network itself sees nothing of its NAT.
        all.retain(|addr| stun::are_comparable(*addr, outside));
    }
    all.truncate(MAX_SERVERS);
    let is_rendezvous = main.is_some() && all.first() == main.as_ref();
    (all, if is_rendezvous { First::Rendezvous } else { First::Any })
}

/// Whom the firewall lets in over IPv6, if the server is reached so: it has no NAT, and most have a filter.
async fn firewall(config: &Config, called: Option<&Called>) -> Filtering {
    let mains = called.iter().flat_map(|called| answering(&called.ways));
    let Some(main) = mains.into_iter().find(SocketAddr::is_ipv6) else { return Filtering::Unknown };
    let probes = called.iter().flat_map(|called| &called.probes).copied().filter(SocketAddr::is_ipv6);
    let servers: Vec<_> = std::iter::once(main).chain(probes).take(MAX_SERVERS).collect();
    // A machine without the sockets for it has nothing to tell.
    survey(config, &servers, First::Rendezvous).await.map_or(Filtering::Unknown, |found| found.filtering)
}

async fn survey(config: &Config, servers: &[SocketAddr], first: First) -> io::Result<Findings> {
    let Some(to) = servers.first() else { return Ok(Findings::default()) };
    let mut sockets = Sockets::new(config.bind_extra.clone(), *to);
    let ports = (0..SOCKETS).map(|n| sockets.open(n)).collect::<io::Result<_>>()?;
    let mut survey = Survey::new(clock::now(), config.seed, servers, first, ports);
    sockets.run(&mut survey).await;
    Ok(survey.findings().cloned().unwrap_or_default())
}

async fn lifetime(config: &Config, server: SocketAddr) -> Lifetime {
    let mut sockets = Sockets::new(config.bind_extra.clone(), server);
    let mut measure = Measure::new(clock::now(), config.seed, server);
    // It ends by itself; should it not, nobody is to wait for ever.
    let _ = timeout(LONGEST * 3, sockets.run(&mut measure)).await;
    measure.found().unwrap_or(Lifetime::Unknown)
}

fn is_global_v6(ip: &IpAddr) -> bool {
    // RFC 4291 §2.4, RFC 4193: link-local and unique local addresses lead nowhere outside.
    matches!(ip, IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unique_local())
}
