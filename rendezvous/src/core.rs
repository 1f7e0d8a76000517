//! The server's decisions, without sockets, tasks or clocks.
//!
//! A driver feeds [`Core`] with `handle_*(now, …)` and must then drain [`Core::poll_output`]; it calls
//! [`Core::handle_timeout`] at [`Core::poll_timeout`]. Effects are values ([`Output`]). What a client sends can end
//! its own connection and nothing else.

mod admission;
mod bucket;
mod codes;
mod connections;
mod door;
mod early;
mod frames;
mod introductions;
mod lobby;
mod names;
mod presence;
mod sessions;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use common::control::{MAX_PROBES, Names, Presence, SessionId, ToClient, Watch, close};
use common::identity::PeerId;
use common::relay;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

pub use admission::{Arrival, Source, Verdict};
pub use bucket::{Bucket, Rate};
pub use connections::REGISTER_TIMEOUT;
pub use early::{LIFETIME as EARLY_LIFETIME, MAX_PER_CONNECTION as MAX_EARLY};
pub use names::{IDLE_DAYS as NAME_IDLE_DAYS, MAX_PER_KEY as MAX_NAMES_PER_KEY, NameChange, NameRow};
pub use sessions::MAX_PER_PAIR;

use crate::limits::Limits;
use admission::Admission;
use connections::{Conn, Link};
use early::Early;
use frames::Broken;
use lobby::Lobby;
use sessions::Sessions;

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

fn relay_rate(limits: &Limits) -> Rate {
    Rate { per_second: limits.relay_bytes_per_second, burst: limits.relay_burst }
}

#[cfg(test)]
mod tests;
