//! The task that owns the network: it waits, decides with [`Peers`], and carries out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::code::{Meetings, Outcome};
use common::control::{
    self, Admit, Connect, End, Failed, FailedReason, InstanceId, Introduce, Lobby, Observed, Presence,
    Register, SessionId, ToClient, Watch,
};
use common::identity::PeerId;
use common::stun::check::Side;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use super::door::Door;
use super::handshake::{self, Credentials, Progress, Reporter, Step};
use super::last_seen::LastSeen;
use super::mux::{Introduction, Via};
use super::news::News;
use super::peers::{self, Attempt, Current, Peer, Peers};
use super::server::{self, FromServer, ServerError, ServerLink};
use super::socket::MuxSocket;
use super::{
    Command, Config, Event, Handshake, Link, Publishers, TcpUse, change, clock, close, lan, stun, tcp, tuning,
};

/// Reports of tasks that wait.
const QUEUE_LEN: usize = 64;
/// Longest first wait before the server is tried again; doubled with each failure.
const RECONNECT: Duration = Duration::from_secs(1);
/// The longest such wait.
const MAX_RECONNECT: Duration = Duration::from_secs(30);
/// Round trip over the relay that is assumed before anything was measured.
const ASSUMED_RTT: Duration = Duration::from_millis(200);
/// Introductions of connected peers that the server is asked for within a second; each takes up to two frames, of which
/// it allows 20.
const ASKS_PER_SECOND: usize = 8;
/// How long the peer that the lobby found may take to connect. Then another is looked for.
const PAIRING_TIME: Duration = Duration::from_secs(20);
/// How long closing waits for the other sides to hear of it.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// The connection to the server, as far as it is.
#[derive(Debug)]
enum Server {
    /// There is none to connect to, or no hope.
    None,
    /// Waits for this moment.
    Waiting(Instant),
    /// A task is at it.
    Connecting,
    /// Registered.
    Up(ServerLink),
}

/// What ended a wait.
enum Wake {
    Command(Option<Command>),
    FromServer(Box<FromServer>),
    ServerResult(Box<Result<ServerLink, ServerError>>),
    Progress(Progress),
    Closed(PeerId, u64, Ending),
    Incoming(Box<Option<Incoming>>),
    Network,
    Mapped,
    Stun,
    Nearby,
    Socket,
    Timer,
}

/// Queues on which tasks report to the driver.
struct Inboxes {
    server: mpsc::Receiver<FromServer>,
    results: mpsc::Receiver<Result<ServerLink, ServerError>>,
    progress: mpsc::Receiver<Progress>,
    closed: mpsc::Receiver<(PeerId, u64, Ending)>,
}

/// The other ends of [`Inboxes`].
#[derive(Clone)]
struct Outboxes {
    server: mpsc::Sender<FromServer>,
    results: mpsc::Sender<Result<ServerLink, ServerError>>,
    progress: mpsc::Sender<Progress>,
    closed: mpsc::Sender<(PeerId, u64, Ending)>,
}

fn boxes() -> (Outboxes, Inboxes) {
    let (server, from_server) = mpsc::channel(QUEUE_LEN);
    let (results, from_results) = mpsc::channel(QUEUE_LEN);
    let (progress, from_progress) = mpsc::channel(QUEUE_LEN);
    let (closed, from_closed) = mpsc::channel(QUEUE_LEN);
    (
        Outboxes { server, results, progress, closed },
        Inboxes { server: from_server, results: from_results, progress: from_progress, closed: from_closed },
    )
}

/// Runs the network until it is told to end or nobody is left to tell it.
pub(crate) async fn run(
    config: Config,
    endpoint: Endpoint,
    socket: Arc<MuxSocket>,
    mut commands: mpsc::Receiver<Command>,
    publishers: Publishers,
) {
    let (outboxes, mut inboxes) = boxes();
    let now = clock::now();
    let mut tasks = JoinSet::new();
    let mut changes = config.surroundings.changes.clone().listen(&mut tasks);
    let port = socket.local_addrs().iter().find(|local| local.is_ipv4()).map_or(0, SocketAddr::port);
    let me = (config.identity.peer_id(), config.instance);
    let lan = config.surroundings.lan.clone().keep(me, port, config.surroundings.interfaces, &mut tasks);
    let mapping = config.surroundings.port_mapping.clone().keep(port, changes.clone(), &mut tasks);
    let stun = stun::follow(config.surroundings.stun.clone(), changes.clone(), &mut tasks);
    let mut driver = Driver {
        credentials: Credentials::new(&config.identity),
        server: if config.server.is_some() { Server::Waiting(now) } else { Server::None },
        rng: StdRng::seed_from_u64(config.seed),
        endpoint: endpoint.clone(),
        socket: Arc::clone(&socket),
        peers: Peers::default(),
        wanted: Vec::new(),
        seen: Vec::new(),
        last_seen: LastSeen::new(now),
        door: config.door.clone(),
        told: Admit::default(),
        lobby: None,
        server_failures: 0,
        registered_at: None,
        attempts: 0,
        next_asks: now,
        meetings: Meetings::new(config.identity.peer_id()),
        relayed_rtt: ASSUMED_RTT,
        server_doubt: None,
        candidates: publishers.candidates,
        observed: publishers.observed,
        names: names::Asks::default(),
        near: publishers.near,
        mapping,
        lan,
        stun,
        config,
        outboxes,
        news: Arc::default(),
        tasks,
    };
    let news = Arc::clone(&driver.news);
    driver.tasks.spawn(async move { news.forward(publishers.events).await });
    driver.lan.announce(driver.door.may_announce());
    driver.publish_candidates();
    let mut mapped = driver.mapping.mapped.clone();
    let mut found = driver.stun.clone();
    let mut near = driver.lan.near.clone();
    near.mark_changed();
    loop {
        driver.handle_timeout(clock::now());
        let timeout = [socket.arm(), driver.timeout()].into_iter().flatten().min();
        let wake = tokio::select! {
            command = commands.recv() => Wake::Command(command),
            Some(report) = inboxes.server.recv() => Wake::FromServer(Box::new(report)),
            Some(result) = inboxes.results.recv() => Wake::ServerResult(Box::new(result)),
            Some(progress) = inboxes.progress.recv() => Wake::Progress(progress),
            Some((peer, attempt, ending)) = inboxes.closed.recv() => Wake::Closed(peer, attempt, ending),
            incoming = endpoint.accept() => Wake::Incoming(Box::new(incoming)),
            () = change::next(&mut changes) => Wake::Network,
            Some(wake) = surroundings(&mut mapped, &mut found, &mut near) => wake,
            () = socket.changed.notified() => Wake::Socket,
            () = wait_until(timeout) => Wake::Timer,
        };
        if !driver.handle(wake).await {
            return;
        }
    }
}

/// Waits until `moment`; for ever without one.
async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for news of what lies around this machine; `None` if there will be none.
async fn surroundings(
    mapped: &mut watch::Receiver<Option<SocketAddr>>,
    found: &mut watch::Receiver<Vec<SocketAddr>>,
    near: &mut watch::Receiver<Vec<lan::Neighbour>>,
) -> Option<Wake> {
    tokio::select! {
        biased;
        Ok(()) = mapped.changed() => Some(Wake::Mapped),
        Ok(()) = found.changed() => Some(Wake::Stun),
        Ok(()) = near.changed() => Some(Wake::Nearby),
        else => None,
    }
}

/// Somebody new is wanted.
struct LobbyWish {
    except: Vec<PeerId>,
    /// Whom the server has paired us with, and until when they may connect.
    paired: Option<(PeerId, Instant)>,
}

struct Driver {
    config: Config,
    credentials: Credentials,
    endpoint: Endpoint,
    socket: Arc<MuxSocket>,
    peers: Peers,
    server: Server,
    /// Connections to the server in a row that failed or did not hold.
    server_failures: u32,
    registered_at: Option<Instant>,
    /// The connection to the server may not have survived a change of the network.
    server_doubt: Option<ServerDoubt>,
    candidates: watch::Sender<Vec<SocketAddr>>,
    observed: watch::Sender<Option<SocketAddr>>,
    names: names::Asks,
    near: watch::Sender<Vec<PeerId>>,
    mapping: Keeper,
    lan: lan::Keeper,
    /// The user's STUN servers.
    stun: watch::Receiver<Vec<SocketAddr>>,
    /// Who is connected to when they are online.
    wanted: Vec<PeerId>,
    /// Others whose coming and going is told.
    seen: Vec<PeerId>,
    last_seen: LastSeen,
    door: Door,
    /// What the server was told of it.
    told: Admit,
    lobby: Option<LobbyWish>,
    attempts: u64,
    /// When the server may be asked for introductions of connected peers again.
    next_asks: Instant,
    relayed_rtt: Duration,
    meetings: Meetings,
    rng: StdRng,
    outboxes: Outboxes,
    news: Arc<News>,
    tasks: JoinSet<()>,
}

impl Driver {
    /// Returns whether to go on.
    async fn handle(&mut self, wake: Wake) -> bool {
        let now = clock::now();
        match wake {
            Wake::Command(None) => {
                self.close_all().await;
                return false;
            }
            Wake::Command(Some(Command::Shutdown(done))) => {
                self.close_all().await;
                let _ = done.send(());
                return false;
            }
            Wake::Command(Some(command)) => self.handle_command(now, command),
            Wake::FromServer(report) => match *report {
                FromServer::Rerouted(route, address) => self.handle_rerouted(now, route, address),
                FromServer::Frame(frame) => self.handle_frame(now, frame),
                FromServer::Down(error) => self.handle_server_down(now, error),
            },
            Wake::ServerResult(result) => match *result {
                Ok(link) => self.handle_server_up(now, link),
                Err(error) => self.handle_server_down(now, error),
            },
            Wake::Progress(progress) => self.handle_progress(now, progress),
            Wake::Closed(peer, attempt, ending) => self.handle_closed(now, peer, attempt, &ending),
            Wake::Incoming(incoming) => match *incoming {
                Some(incoming) => self.handle_incoming(now, incoming),
                // The endpoint is gone, and with it everything.
                None => return false,
            },
            Wake::Mapped => self.handle_mapped(),
            Wake::Stun => self.probe(now),
            Wake::Nearby => self.handle_nearby(now),
            Wake::Network => self.handle_network_change(now),
            Wake::Socket | Wake::Timer => {}
        }
        true
    }

    fn emit(&self, event: Event) {
        self.news.push(event);
    }

    fn timeout(&self) -> Option<Instant> {
        let server = if let Server::Waiting(at) = self.server { Some(at) } else { None };
        let asks = self.peers.reintroduction().map(|at| at.max(self.next_asks));
        [
            server,
            asks,
            self.peers.timeout(),
            self.last_seen_timeout(),
            self.lobby_deadline(),
            self.server_doubt.as_ref().map(|doubt| doubt.until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.socket.handle_timeout();
        while let Some(change) = self.socket.with_mux(super::mux::Mux::poll_change) {
            let is_in_doubt = self.socket.with_mux(|mux| mux.is_in_doubt(change.peer));
            if let Some(peer) = self.peers.get(change.peer) {
                peer.handle_via(now, change.via);
                if let (true, Server::Up(link)) = (is_in_doubt || change.via == Via::Relay, &self.server) {
                    // What takes UDP from the peer may take it from the server, which is to stand in.
                    link.doubt();
                }
                if change.via == Via::Relay
                    && (peer.online.is_none() || !matches!(self.server, Server::Up(_)))
                {
                    peer.suspect_absence(now);
                }
            }
            self.handle_near_path(now, change);
            self.handle_recalled_path(now, change);
            self.emit(Event::Path(change));
        }
        while let Some(id) = self.socket.with_mux(super::mux::Mux::poll_call) {
            self.handle_call(now, id);
        }
        while let Some((id, signal)) = self.socket.with_mux(super::mux::Mux::poll_signal) {
            if let Some(current) = self.peers.get(id).and_then(|peer| peer.current.as_ref()) {
                let _ = current.signals.try_send(signal);
            }
        }
        while let Some(id) = self.socket.with_mux(super::mux::Mux::poll_learned) {
            if let Some(tcp) = self.peers.get(id).and_then(|peer| peer.current.as_ref()?.tcp.as_ref()) {
                tcp.look();
            }
        }
        if let Some(holds) = self.socket.with_mux(super::mux::Mux::take_holds) {
            self.emit(Event::Holds(holds));
        }
        if let Server::Waiting(at) = self.server
            && at <= now
        {
            self.connect_to_server();
        }
        self.settle_server_doubt(now);
        self.introduce_again(now);
        self.close_absent(now);
        self.leave_absent_partner(now);
        self.look_where_last_seen(now);
        let due: Vec<_> =
            self.peers.iter_mut().filter_map(|(id, peer)| peer.take_redial(now).then_some(id)).collect();
        for peer in due {
            self.dial(now, peer);
        }
        for (id, mut peer) in self.peers.sweep(now) {
            self.socket.with_mux(|mux| mux.remove_peer(id));
            end(&self.server, peer.take_sessions());
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn introduce_again(&mut self, now: Instant) {
        let Server::Up(link) = &self.server else {
            // There is nobody to ask; once there is, all peers are introduced anew. Nothing waits for that: a timer
            // that is due and cannot be served would ring without end.
            return self.peers.iter_mut().for_each(|(_, peer)| peer.reintroduce_at = None);
        };
        if now < self.next_asks {
            return;
        }
        let due = self
            .peers
            .iter_mut()
            .filter_map(|(id, peer)| peer.take_reintroduction(now).then_some((id, peer)));
        let mut count = 0;
        for (id, peer) in due.take(ASKS_PER_SECOND) {
            ask(link, &mut self.rng, &self.socket, id, peer);
            count += 1;
        }
        if count > 0 {
            self.next_asks = now + Duration::from_secs(1);
        }
    }

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Watch { wanted, seen } => self.set_watched(now, wanted, seen),
            Command::Door(door) => self.set_door(now, door),
            Command::Lobby { waiting, except } => {
                self.lobby = waiting.then_some(LobbyWish { except, paired: None });
                self.tell_door();
                self.send_lobby();
            }
            Command::Dial(peer) => self.dial(now, peer),
            Command::Seek(peer) => self.seek(now, peer),
            Command::Candidates { peer, addrs } => self.add_candidates(now, peer, &addrs),
            Command::TcpOffer { peer, offer } => {
                let current = self.peers.get(peer).and_then(|peer| peer.current.as_ref());
                if let Some(tcp) = current.and_then(|current| current.tcp.as_ref()) {
                    tcp.handle_offer(offer);
                }
            }
            Command::LastSeen(peer, endpoints) => self.last_seen.set(peer, endpoints),
            Command::Disconnect(peer) => {
                self.leave(peer);
                if let Some(current) = self.peers.get(peer).and_then(|peer| peer.current.as_ref()) {
                    current.connection.close(VarInt::from_u32(close::BYE), b"");
                }
            }
            Command::Insight(peer, reply) => {
                // Whoever asked may have had enough.
                let _ = reply.send(self.insight(peer));
            }
            Command::Name(ask, reply) => self.ask_name(ask, reply),
            Command::Acquaint(known) => self.acquaint(now, &known),
            Command::OfferCode(secret) => self.start_code(|meetings| meetings.offer(secret)),
            Command::ClaimCode(code) => self.start_code(|meetings| meetings.claim(&code)),
            Command::Shutdown(_) => {}
        }
    }

    /// Who is shown that we are online, and the other way round.
    fn watched(&self) -> impl Iterator<Item = PeerId> {
        self.wanted.iter().chain(&self.seen).copied()
    }

    fn send_watch(&self) {
        if let Server::Up(link) = &self.server {
            // More than the server takes: the ones that come first matter most.
            let peers = self.watched().take(control::MAX_WATCHED).collect();
            link.send(Watch { peers });
        }
    }

    fn lobby_deadline(&self) -> Option<Instant> {
        self.lobby.as_ref()?.paired.map(|(_, until)| until)
    }

    /// Goes back to the lobby if whom it found has not connected in time.
    fn leave_absent_partner(&mut self, now: Instant) {
        let Some(wish) = &mut self.lobby else { return };
        if let Some((peer, _)) = wish.paired.take_if(|(_, until)| *until <= now) {
            wish.except.insert(0, peer);
            self.send_lobby();
        }
    }

    fn send_lobby(&self) {
        if let Server::Up(link) = &self.server {
            let except = self.door.shut_to.iter().chain(self.lobby.iter().flat_map(|wish| &wish.except));
            let except = except.take(control::MAX_WATCHED).copied().collect();
            link.send(Lobby { waiting: self.lobby.is_some(), except });
        }
    }
}

/// Tells the server that introductions are not needed any more.
fn end(server: &Server, sessions: impl IntoIterator<Item = SessionId>) {
    if let Server::Up(link) = server {
        for session in sessions {
            link.send(End { session });
        }
    }
}

/// Asks the server for an introduction to `id`, whose relayed packets may follow at once.
fn ask(link: &ServerLink, rng: &mut StdRng, socket: &MuxSocket, id: PeerId, peer: &mut Peer) {
    let session = SessionId(rng.random());
    if let Some(old) = peer.add_session(session) {
        link.send(End { session: old });
        socket.with_mux(|mux| mux.remove_session(old));
    }
    socket.with_mux(|mux| mux.add_session(id, session));
    link.send(Connect { session, peer: id });
}

mod acquaint;
mod connections;
mod control_link;
mod door;
mod ending;
mod insight;
mod last_seen;
mod names;
mod nearby;
mod roaming;

pub use acquaint::Acquaintance;
pub(crate) use names::NameReply;
pub use names::{NameAsk, NameFailure};

use ending::Ending;
use roaming::ServerDoubt;

use super::portmap::Keeper;
