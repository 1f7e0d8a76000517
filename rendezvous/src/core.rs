//! The server's decisions, without sockets, tasks or clocks.
//!
//! A driver feeds [`Core`] with `handle_*(now, …)` and must then drain [`Core::poll_output`]; it calls
//! [`Core::handle_timeout`] at [`Core::poll_timeout`]. Effects are values ([`Output`]). What a client sends can end
//! its own connection and nothing else.

mod admission;
mod bucket;
mod codes;
mod door;
mod early;
mod lobby;
mod names;
mod presence;
mod sessions;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::address::canonical;
use common::control::{
    CheckKey, Connect, End, Failed, FailedReason, InstanceId, Introduce, Lobby as LobbyFrame, MAX_PROBES,
    Mapped, NAMES_FEATURE, Names, Observed, Presence, Register, SessionId, ToClient, ToServer, Watch,
    Welcome, close,
};
use common::frame;
use common::identity::PeerId;
use common::relay;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

pub use admission::{Arrival, Source, Verdict};
pub use bucket::{Bucket, Rate};
pub use early::{LIFETIME as EARLY_LIFETIME, MAX_PER_CONNECTION as MAX_EARLY};
pub use names::{IDLE_DAYS as NAME_IDLE_DAYS, MAX_PER_KEY as MAX_NAMES_PER_KEY, NameChange, NameRow};
pub use sessions::MAX_PER_PAIR;

use crate::limits::Limits;
use admission::Admission;
use early::Early;
use lobby::{Lobby, Pair};
use sessions::Sessions;

/// How long a connection may take from its first packet to its registration.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Control bytes that one connection may send: enough for the largest frame each time a frame is due, in a burst
/// of several. It also bounds frames of unknown types, which are skipped uncounted.
const CONTROL_BYTES: Rate = Rate { per_second: 64 * 1024, burst: 256 * 1024 };

/// Names one connection to the server, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write a frame to the control stream of a connection.
    Send(ConnId, ToClient),
    /// Send a datagram to a connection, or drop it if it does not take it at once.
    Datagram(ConnId, Bytes),
    /// Close a connection, with an error code of [`common::control::close`] and a reason for people.
    Close(ConnId, u32, String),
    /// Keep changes of names; once they are kept, or are not, [`Core::handle_saved`] wants to know.
    Save {
        /// What to keep.
        changes: Vec<NameChange>,
        /// Who is told then.
        answer: Option<(ConnId, Names)>,
    },
}

/// What the server did and holds. Counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CoreStats {
    /// Connections, those in their handshake included.
    pub connections: usize,
    /// Handshakes under way.
    pub half_open: usize,
    /// Peers registered now.
    pub registered: usize,
    /// Newcomers waiting in the lobby now.
    pub lobby: usize,
    /// Newcomers who wait for a place in the lobby, since it is full.
    pub lobby_outside: usize,
    /// Introductions open now.
    pub sessions: usize,
    /// Connections turned away.
    pub refused: u64,
    /// Newcomers sent back to prove their address.
    pub retried: u64,
    /// Connections closed because of what the client did.
    pub misbehaved: u64,
    /// Registrations.
    pub registrations: u64,
    /// Introductions made, the lobby's included.
    pub introductions: u64,
    /// Pairs made in the lobby.
    pub paired: u64,
    /// Packets relayed.
    pub relayed: u64,
    /// Bytes of them.
    pub relayed_bytes: u64,
    /// Packets dropped because the sender was over its budget.
    pub dropped_budget: u64,
    /// Packets dropped because no session of the sender claimed them.
    pub dropped_unknown: u64,
}

/// The state of the server. See the module for how to drive it.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    rng: StdRng,
    next_conn: u64,
    conns: HashMap<ConnId, Conn>,
    by_peer: HashMap<PeerId, ConnId>,
    admission: Admission,
    sessions: Sessions,
    early: Early,
    lobby: Lobby,
    presence: presence::Presence,
    codes: codes::Codes,
    names: names::Names,
    /// What every `Welcome` tells.
    probes: Vec<SocketAddr>,
    /// When connections must have registered, the soonest first, since all may take equally long.
    deadlines: VecDeque<(Instant, ConnId)>,
    out: VecDeque<Output>,
    stats: CoreStats,
}

#[derive(Debug)]
struct Conn {
    source: Source,
    /// The UDP endpoint that its packets come from; `None` while they come through a tunnel.
    observed: Option<SocketAddr>,
    /// An endpoint of its router that leads to it, as it says.
    mapped: Option<SocketAddr>,
    /// `None` during the handshake.
    link: Option<Box<Link>>,
}

/// What exists of a connection after its handshake.
#[derive(Debug)]
struct Link {
    peer: PeerId,
    /// `None` until it registers.
    instance: Option<InstanceId>,
    /// Bytes of a frame that is not complete; at most one frame's worth and what one read brings.
    inbox: BytesMut,
    frames: Bucket,
    bytes: Bucket,
    relay: Bucket,
    door: door::Door,
}

impl Conn {
    /// Where others may reach it: never at an address that is not seen to be its own, for checks would go there.
    fn endpoints(&self) -> Vec<SocketAddr> {
        let Some(observed) = self.observed else { return Vec::new() };
        let is_its_own =
            |mapped: &SocketAddr| mapped.ip() == observed.ip() && *mapped != observed && mapped.port() != 0;
        std::iter::once(observed).chain(self.mapped.filter(is_its_own)).collect()
    }
}

/// A client broke the protocol: the reason that it is told.
struct Broken(String);

impl Core {
    /// A server that nobody has found yet. `seed` must be secret and new for each run: keys are drawn from it.
    #[must_use]
    pub fn new(limits: Limits, seed: [u8; 32]) -> Self {
        Self {
            limits,
            rng: StdRng::from_seed(seed),
            next_conn: 0,
            conns: HashMap::new(),
            by_peer: HashMap::new(),
            admission: Admission::default(),
            sessions: Sessions::default(),
            early: Early::default(),
            lobby: Lobby::default(),
            presence: presence::Presence::default(),
            codes: codes::Codes::default(),
            names: names::Names::default(),
            probes: Vec::new(),
            deadlines: VecDeque::new(),
            out: VecDeque::new(),
            stats: CoreStats::default(),
        }
    }

    /// Tells clients that register from now on of endpoints that answer STUN alone, at most [`MAX_PROBES`].
    pub fn set_probes(&mut self, probes: Vec<SocketAddr>) {
        self.probes = probes;
        self.probes.truncate(MAX_PROBES);
    }

    /// Somebody wants to open a connection. If it is accepted, it has a name from now on, and
    /// [`Core::handle_closed`] must follow some day.
    pub fn handle_arrival(&mut self, now: Instant, arrival: Arrival) -> (Verdict, ConnId) {
        let conn = ConnId(self.next_conn);
        let verdict = self.admission.admit(arrival, &self.limits);
        match verdict {
            Verdict::Accept => {
                self.next_conn += 1;
                let (source, observed) = (Source::of(arrival.from), arrival.endpoint.map(canonical));
                self.conns.insert(conn, Conn { source, observed, mapped: None, link: None });
                self.deadlines.push_back((now + REGISTER_TIMEOUT, conn));
            }
            Verdict::Retry => self.stats.retried += 1,
            Verdict::Refuse => self.stats.refused += 1,
        }
        (verdict, conn)
    }

    /// The handshake of a connection is complete and has proved the key `peer`.
    pub fn handle_connected(&mut self, now: Instant, conn: ConnId, peer: PeerId) {
        let Some(entry) = self.conns.get_mut(&conn).filter(|entry| entry.link.is_none()) else { return };
        self.admission.handshake_over();
        entry.link = Some(Box::new(Link {
            peer,
            instance: None,
            inbox: BytesMut::new(),
            frames: Bucket::full(now, frame_rate(&self.limits)),
            bytes: Bucket::full(now, CONTROL_BYTES),
            relay: Bucket::full(now, relay_rate(&self.limits)),
            door: door::Door::default(),
        }));
    }

    /// A connection comes from `addr` now, or through a tunnel. Cheap; to be called whenever the driver looks.
    pub fn handle_observed(&mut self, _now: Instant, conn: ConnId, addr: Option<SocketAddr>) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let addr = addr.map(canonical);
        if entry.observed == addr {
            return;
        }
        entry.observed = addr;
        if entry.link.as_ref().is_some_and(|link| link.instance.is_some()) {
            self.send(conn, Observed { addr });
        }
    }

    /// Bytes came on the control stream of a connection.
    pub fn handle_stream(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        if let Err(Broken(reason)) = self.read(now, conn, bytes) {
            self.stats.misbehaved += 1;
            self.close(conn, close::PROTOCOL, reason);
        }
    }

    fn read(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> Result<(), Broken> {
        let Some(link) = self.link_mut(conn) else { return Ok(()) };
        if !link.bytes.take(now, CONTROL_BYTES, len(bytes)) {
            return Err(Broken("too many bytes on the control stream in a short time".to_owned()));
        }
        link.inbox.extend_from_slice(bytes);
        let rate = frame_rate(&self.limits);
        loop {
            // Gone when a frame led to the end of the connection.
            let Some(link) = self.link_mut(conn) else { return Ok(()) };
            let frame = frame::take(&mut link.inbox).map_err(|error| Broken(error.to_string()))?;
            let Some(frame) = frame else {
                if link.inbox.is_empty() {
                    link.inbox = BytesMut::new();
                }
                return Ok(());
            };
            if !link.frames.take(now, rate, 1) {
                return Err(Broken("too many frames in a short time".to_owned()));
            }
            self.handle_frame(now, conn, frame)?;
        }
    }

    fn handle_frame(&mut self, now: Instant, conn: ConnId, frame: ToServer) -> Result<(), Broken> {
        let Some(link) = self.link_mut(conn) else { return Ok(()) };
        let (peer, registered) = (link.peer, link.instance.is_some());
        match frame {
            ToServer::Register(_) if registered => Err(Broken("a second Register".to_owned())),
            ToServer::Register(register) => self.register(conn, peer, register),
            _ if !registered => Err(Broken("the first frame has to be Register".to_owned())),
            ToServer::Connect(connect) => {
                self.connect(now, conn, &connect);
                Ok(())
            }
            ToServer::End(end) => {
                if let Some(other) = self.sessions.end(end.session, conn) {
                    self.send(other, end);
                    self.retry_lobby([conn, other]);
                }
                Ok(())
            }
            ToServer::Lobby(frame) => {
                self.lobby_frame(conn, peer, frame);
                Ok(())
            }
            ToServer::Watch(watch) => self.watch(peer, watch),
            ToServer::Admit(admit) => self.admit(conn, admit),
            ToServer::Moved(_) => Ok(()),
            ToServer::Mapped(Mapped { addr }) => {
                if let Some(entry) = self.conns.get_mut(&conn) {
                    entry.mapped = addr.map(canonical);
                }
                Ok(())
            }
            ToServer::TakeName(_) | ToServer::DropName(_) | ToServer::FindName(_) => {
                self.name_frame(now, conn, peer, &frame);
                Ok(())
            }
            ToServer::Offer(_) | ToServer::Claim(_) | ToServer::Reply(_) => {
                self.code_frame(now, conn, peer, frame)
            }
        }
    }

    fn register(&mut self, conn: ConnId, peer: PeerId, register: Register) -> Result<(), Broken> {
        let door = door::Door::new(register.admit)?;
        if let Some(older) = self.by_peer.insert(peer, conn) {
            self.drop_client(older);
            self.forget(older);
            let reason = "a newer connection has registered this key".to_owned();
            self.out.push_back(Output::Close(older, close::REPLACED, reason));
        }
        if let Some(link) = self.link_mut(conn) {
            link.instance = Some(register.instance);
            link.door = door;
        }
        self.presence.register(peer, register.instance);
        self.stats.registrations += 1;
        self.visit_names(peer);
        let observed = self.conns[&conn].observed;
        let probes = self.probes.clone();
        let features = if self.limits.max_names > 0 { vec![NAMES_FEATURE.to_owned()] } else { Vec::new() };
        self.send(conn, Welcome { observed, probes, features });
        Ok(())
    }

    fn connect(&mut self, now: Instant, conn: ConnId, connect: &Connect) {
        let session = connect.session;
        let asker = self.link_mut(conn).map(|link| link.peer);
        let is_there =
            |asked: &&ConnId| asker.is_some_and(|asker| door::lets_in(&self.conns, **asked, asker));
        let opened = match self.by_peer.get(&connect.peer).filter(is_there) {
            None => Err(FailedReason::Offline),
            Some(&asked) => {
                self.sessions.open(session, conn, asked, self.limits.max_sessions).map(|ended| (asked, ended))
            }
        };
        let early = self.early.release(conn, session);
        match opened {
            Err(reason) => {
                self.stats.dropped_unknown += u64::try_from(early.len()).unwrap_or(u64::MAX);
                self.send(conn, Failed { session, reason });
            }
            Ok((asked, ended)) => {
                self.tell_displaced(ended, [conn, asked]);
                self.introduce(session, conn, asked, false);
                for frame in early {
                    self.relay(now, conn, session, frame);
                }
                if ended.is_some() {
                    self.retry_lobby([conn, asked]);
                }
            }
        }
    }

    /// Tells both ends of a session that had to end for a newer one of the same two.
    fn tell_displaced(&mut self, ended: Option<SessionId>, ends: [ConnId; 2]) {
        let Some(session) = ended else { return };
        for conn in ends {
            self.send(conn, End { session });
        }
    }

    /// Tells two connections of each other. `dialler` opens the peers' connection.
    fn introduce(&mut self, session: SessionId, dialler: ConnId, other: ConnId, lobby: bool) {
        let mut key = [0; 16];
        self.rng.fill_bytes(&mut key);
        for (to, about, dial) in [(dialler, other, true), (other, dialler, false)] {
            let entry = &self.conns[&about];
            let Some(link) = &entry.link else { continue };
            let Some(instance) = link.instance else { continue };
            let (peer, endpoints) = (link.peer, entry.endpoints());
            let key = CheckKey(key);
            self.send(to, Introduce { session, peer, instance, endpoints, key, dial, lobby });
        }
        self.stats.introductions += 1;
    }

    fn lobby_frame(&mut self, conn: ConnId, peer: PeerId, frame: LobbyFrame) {
        if frame.waiting {
            let (sessions, limits, conns) = (&self.sessions, &self.limits, &self.conns);
            let may = |pair: &Pair| {
                sessions.has_room(pair.later, pair.earlier, limits.max_sessions)
                    && door::may_meet(conns, pair)
            };
            if let Some(pair) = self.lobby.enter(conn, peer, frame.except, limits.max_lobby, may) {
                self.pair(&pair);
            }
        } else {
            self.lobby.leave(conn);
        }
        self.admit_to_lobby();
    }

    /// Gives the places that got free to those who wait for one.
    fn admit_to_lobby(&mut self) {
        loop {
            let (sessions, limits, conns) = (&self.sessions, &self.limits, &self.conns);
            let may = |pair: &Pair| {
                sessions.has_room(pair.later, pair.earlier, limits.max_sessions)
                    && door::may_meet(conns, pair)
            };
            let Some(pair) = self.lobby.admit(limits.max_lobby, may) else { return };
            self.pair(&pair);
        }
    }

    /// Looks again for partners of those who wait in the lobby and of whom a session has ended.
    fn retry_lobby(&mut self, conns: impl IntoIterator<Item = ConnId>) {
        for conn in conns {
            let (sessions, max, conns) = (&self.sessions, self.limits.max_sessions, &self.conns);
            let may =
                |pair: &Pair| sessions.has_room(pair.later, pair.earlier, max) && door::may_meet(conns, pair);
            if let Some(pair) = self.lobby.retry(conn, may) {
                self.pair(&pair);
            }
        }
        self.admit_to_lobby();
    }

    fn pair(&mut self, &Pair { later, earlier }: &Pair) {
        let session = self.unused_session();
        // The lobby pairs only those who have room for one more session, so this does not fail.
        if let Ok(ended) = self.sessions.open(session, later, earlier, self.limits.max_sessions) {
            self.tell_displaced(ended, [later, earlier]);
            self.stats.paired += 1;
            self.introduce(session, later, earlier, true);
        }
    }

    fn unused_session(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.rng.next_u64());
            if !self.sessions.contains(id) {
                return id;
            }
        }
    }

    fn send_all(&mut self, frames: Vec<(ConnId, ToClient)>) {
        for (conn, frame) in frames {
            self.send(conn, frame);
        }
    }

    fn watch(&mut self, peer: PeerId, watch: Watch) -> Result<(), Broken> {
        let news = self
            .presence
            .watch(peer, watch.peers)
            .map_err(|presence::TooMany| Broken("a Watch of too many peers".to_owned()))?;
        self.tell(news);
        Ok(())
    }

    fn tell(&mut self, news: Vec<presence::News>) {
        for presence::News { to, about, online, standing } in news {
            if let Some(&conn) = self.by_peer.get(&to) {
                self.send(conn, Presence { peer: about, online, standing });
            }
        }
    }

    /// A datagram came from a connection.
    pub fn handle_datagram(&mut self, now: Instant, conn: ConnId, datagram: Bytes) {
        let Some(session) = relay::session(&datagram) else {
            self.stats.dropped_unknown += 1;
            return;
        };
        if self.sessions.contains(session) {
            self.relay(now, conn, session, datagram);
        } else if self.link_mut(conn).is_none() || !self.early.hold(now, conn, session, &datagram) {
            self.stats.dropped_unknown += 1;
        }
    }

    fn relay(&mut self, now: Instant, from: ConnId, session: SessionId, datagram: Bytes) {
        let (Some(to), rate) = (self.sessions.other(session, from), relay_rate(&self.limits)) else {
            self.stats.dropped_unknown += 1;
            return;
        };
        let Some(link) = self.link_mut(from) else { return };
        if !link.relay.take(now, rate, len(&datagram)) {
            self.stats.dropped_budget += 1;
            return;
        }
        self.stats.relayed += 1;
        self.stats.relayed_bytes += len(&datagram);
        self.out.push_back(Output::Datagram(to, datagram));
    }

    /// A connection is gone, or its handshake failed. Does nothing if the core closed it itself.
    pub fn handle_closed(&mut self, _now: Instant, conn: ConnId) {
        self.remove(conn);
    }

    fn remove(&mut self, conn: ConnId) {
        let Some(peer) = self.link_mut(conn).map(|link| link.peer) else {
            self.forget(conn);
            return;
        };
        if self.by_peer.get(&peer) == Some(&conn) {
            self.by_peer.remove(&peer);
            self.drop_client(conn);
            let news = self.presence.gone(peer);
            self.tell(news);
        }
        self.forget(conn);
    }

    /// Takes a registered connection out of what it takes part in, but for presence.
    fn drop_client(&mut self, conn: ConnId) {
        self.lobby.leave(conn);
        let ended = self.codes.forget(conn);
        self.send_all(ended);
        let ended = self.sessions.end_all(conn);
        for &(session, other) in &ended {
            self.send(other, End { session });
        }
        self.retry_lobby(ended.into_iter().map(|(_, other)| other));
    }

    fn forget(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.remove(&conn) else { return };
        if entry.link.is_none() {
            self.admission.handshake_over();
        }
        self.admission.gone(entry.source);
        self.early.forget(conn);
    }

    fn close(&mut self, conn: ConnId, code: u32, reason: String) {
        self.remove(conn);
        self.out.push_back(Output::Close(conn, code, reason));
    }

    /// When [`Core::handle_timeout`] is next worth calling.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        [deadline, self.early.poll_timeout(), self.codes.poll_timeout()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stats.dropped_unknown += u64::try_from(self.early.expire(now)).unwrap_or(u64::MAX);
        let expired = self.codes.expire(now);
        self.send_all(expired);
        while let Some((_, conn)) = self.deadlines.pop_front_if(|(at, _)| *at <= now) {
            let Some(entry) = self.conns.get(&conn) else { continue };
            if entry.link.as_ref().is_none_or(|link| link.instance.is_none()) {
                self.stats.misbehaved += 1;
                self.close(conn, close::PROTOCOL, "no Register in time".to_owned());
            }
        }
    }

    /// The next thing to do; to be called until there is none, after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What the server did and holds.
    #[must_use]
    pub fn stats(&self) -> CoreStats {
        let (connections, half_open) = self.admission.counts();
        let (lobby, lobby_outside) = self.lobby.counts();
        CoreStats {
            connections,
            half_open,
            registered: self.by_peer.len(),
            lobby,
            lobby_outside,
            sessions: self.sessions.len(),
            ..self.stats
        }
    }

    fn link_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.conns.get_mut(&conn)?.link.as_deref_mut()
    }

    fn send(&mut self, conn: ConnId, message: impl Into<ToClient>) {
        self.out.push_back(Output::Send(conn, message.into()));
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn frame_rate(limits: &Limits) -> Rate {
    Rate { per_second: limits.frames_per_second, burst: limits.frame_burst }
}

fn relay_rate(limits: &Limits) -> Rate {
    Rate { per_second: limits.relay_bytes_per_second, burst: limits.relay_burst }
}

#[cfg(test)]
mod tests;
