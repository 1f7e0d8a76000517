//! What the driver remembers of each peer, and the rules on who dials and when.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use common::control::{InstanceId, SessionId};
use common::identity::PeerId;
use common::stun::check::Side;
use common::traversal::Signal;
use quinn::Connection;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::lan::Neighbour;
use super::mux::Via;
use super::{Handshake, tcp};

/// Peers that are connected or being connected at the same time.
pub(crate) const MAX_PEERS: usize = 256;
/// Who was there first leaves the dialling to who came later, and steps in after this long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Wait before a lost or failed connection is dialled again; doubled with each failure.
const REDIAL: Duration = Duration::from_millis(500);
/// The longest such wait.
const MAX_REDIAL: Duration = Duration::from_secs(60);
/// Before the first redial after trouble, doubled each time.
const TROUBLE: Duration = Duration::from_secs(1);
/// Failures in a row after which a peer is dialled only if the server says that it is online. Until then it may be
/// there without showing itself to us: it does so only once it knows us.
const MAX_BLIND_REDIALS: u32 = 8;
/// A peer that was introduced but never connects is forgotten after this long.
const EXPECT: Duration = Duration::from_secs(30);
/// Least time between looks for a peer that does not show itself: writing to it many times is one wish.
const SEEK_PAUSE: Duration = Duration::from_secs(5);
/// Least time between introductions that look for a new direct path; doubled while none is found.
const REINTRODUCE: Duration = Duration::from_secs(2);
/// The longest such time.
const MAX_REINTRODUCE: Duration = Duration::from_secs(60);
/// A connected peer that has no direct path, and that the server does not see either, is gone if nothing of it comes
/// over the relay for this long.
const ABSENCE: Duration = Duration::from_secs(60);
/// Introductions of one peer that are kept open.
const MAX_SESSIONS: usize = 2;

/// The connection in use.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) connection: Connection,
    pub(crate) attempt: u64,
    pub(crate) side: Side,
    /// Which run of a neighbour it was made with.
    pub(crate) run: Option<InstanceId>,
    pub(crate) handshake: watch::Sender<Handshake>,
    /// What the traversal agents say to each other; what finds no room is lost, and said again or not needed.
    pub(crate) signals: mpsc::Sender<Signal>,
    /// Looks for a way over TCP; `None` where that is not wanted.
    pub(crate) tcp: Option<tcp::Handle>,
}

/// A connection being made. Its task ends with it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) side: Side,
    task: Option<AbortHandle>,
}

impl Attempt {
    pub(crate) fn new(number: u64, side: Side, task: AbortHandle) -> Self {
        Self { number, side, task: Some(task) }
    }

    /// It is no longer awaited, but goes on.
    fn release(mut self) {
        self.task = None;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) current: Option<Current>,
    /// The attempt under way, if any.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) online: Option<InstanceId>,
    /// Introductions that we asked for, oldest first.
    sessions: VecDeque<SessionId>,
    failures: u32,
    /// Connections that ended by trouble, one after the other.
    troubles: u32,
    pub(crate) redial_at: Option<Instant>,
    expires_at: Option<Instant>,
    /// The attempt under way is a look whether the peer is there: nothing follows if it is not.
    pub(crate) is_sought: bool,
    /// When it may be looked for again.
    seek_at: Option<Instant>,
    reintroductions: u32,
    pub(crate) reintroduce_at: Option<Instant>,
    last_reintroduced: Option<Instant>,
    /// The peer is taken for gone then, unless more datagrams than these have come of it.
    absence: Option<(Instant, u64)>,
    /// What it says of itself in the local network.
    pub(crate) near: Option<Neighbour>,
    /// It is dialled as soon as there is a direct path.
    pub(crate) awaits_path: bool,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            current: None,
            attempt: None,
            instance: None,
            online: None,
            sessions: VecDeque::new(),
            failures: 0,
            troubles: 0,
            redial_at: None,
            expires_at: Some(now + EXPECT),
            is_sought: false,
            seek_at: None,
            reintroductions: 0,
            reintroduce_at: None,
            last_reintroduced: None,
            absence: None,
            near: None,
            awaits_path: false,
        }
    }

    /// Notes an introduction that we asked for; returns one that is not needed any more.
    pub(crate) fn add_session(&mut self, session: SessionId) -> Option<SessionId> {
        self.sessions.push_back(session);
        if self.sessions.len() > MAX_SESSIONS { self.sessions.pop_front() } else { None }
    }

    /// Whether the introduction is one that we asked for.
    pub(crate) fn asked_for(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// Introductions that are of no use any more.
    pub(crate) fn take_sessions(&mut self) -> VecDeque<SessionId> {
        std::mem::take(&mut self.sessions)
    }

    /// All introductions ended with the connection to the server.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    /// The server says that the peer is or is not online. `standing`: as an answer to our own question, so that
    /// we are the one who came later.
    pub(crate) fn handle_presence(&mut self, now: Instant, online: Option<InstanceId>, standing: bool) {
        let is_known = online.is_some() && self.online == online;
        if is_known && (self.attempt.is_some() || self.redial_at.is_some()) {
            return;
        }
        self.online = online;
        self.failures = 0;
        let Some(instance) = online else {
            self.redial_at = None;
            return;
        };
        if self.current.is_some() && self.instance == Some(instance) {
            return;
        }
        self.redial_at = Some(if standing { now } else { now + PATIENCE });
    }

    /// Another attempt is awaited from now on. One that was under way ends, unless its early connection is in use, which
    /// has to learn how its handshake ends.
    pub(crate) fn start_attempt(&mut self, attempt: Attempt) {
        if let Some(overtaken) = self.attempt.replace(attempt)
            && self.current.as_ref().is_some_and(|current| current.attempt == overtaken.number)
        {
            overtaken.release();
        }
    }

    /// Takes out the early connection of an attempt that has come to nothing.
    pub(crate) fn take_early(&mut self, attempt: u64) -> Option<Current> {
        self.current.take_if(|current| current.attempt == attempt)
    }

    /// A connection is there.
    pub(crate) fn handle_connected(&mut self) {
        self.is_sought = false;
        self.awaits_path = false;
        self.failures = 0;
        self.redial_at = None;
        self.expires_at = None;
    }

    /// The connection has ended by some trouble at one of its ends, which takes its time to be over.
    pub(crate) fn handle_trouble(&mut self, now: Instant) {
        let wait = (TROUBLE * 2u32.saturating_pow(self.troubles.min(10))).min(MAX_REDIAL);
        self.troubles += 1;
        self.expires_at = Some(now + EXPECT);
        if self.online.is_some() || self.troubles <= MAX_BLIND_REDIALS {
            self.redial_at = Some(now + wait);
        }
    }

    /// The connection has ended without a farewell, or an attempt has failed.
    pub(crate) fn handle_failure(&mut self, now: Instant, side: Side) {
        self.troubles = 0;
        let wait = (REDIAL * 2u32.saturating_pow(self.failures.min(10))).min(MAX_REDIAL);
        self.failures += 1;
        let wait = if side == Side::Dialer { wait } else { wait + PATIENCE };
        self.expires_at = Some(now + EXPECT);
        if self.online.is_some() || self.failures <= MAX_BLIND_REDIALS {
            self.redial_at = Some(now + wait);
        }
    }

    /// The connection has ended in good order: whoever left will come back by itself.
    pub(crate) fn handle_farewell(&mut self, now: Instant) {
        self.troubles = 0;
        self.redial_at = None;
        self.online = None;
        self.expires_at = Some(now + EXPECT);
    }

    /// The direct path was lost or our address has changed: the server should introduce us again.
    pub(crate) fn want_reintroduction(&mut self, now: Instant) {
        let wait = (REINTRODUCE * 2u32.saturating_pow(self.reintroductions.min(10))).min(MAX_REINTRODUCE);
        let earliest = self.last_reintroduced.map_or(now, |last| (last + wait).max(now));
        self.reintroduce_at = Some(self.reintroduce_at.map_or(earliest, |at| at.min(earliest)));
    }

    /// Packets take another way.
    pub(crate) fn handle_via(&mut self, now: Instant, via: Via) {
        match via {
            Via::Relay => self.want_reintroduction(now),
            Via::Udp | Via::Lan | Via::Tcp => self.handle_direct(),
        }
        if let Some(tcp) = self.current.as_ref().and_then(|current| current.tcp.as_ref()) {
            tcp.set_via(via);
        }
    }

    /// Our address has changed: the next introduction waits for nothing that went before.
    pub(crate) fn handle_network_change(&mut self, now: Instant) {
        self.reintroductions = 0;
        self.reintroduce_at = Some(now);
    }

    /// There may be no way to the peer any more.
    pub(crate) fn suspect_absence(&mut self, now: Instant) {
        if let Some(current) = &self.current
            && self.absence.is_none()
        {
            self.absence = Some((now + ABSENCE, current.connection.stats().udp_rx.datagrams));
        }
    }

    /// Whether the peer was suspected to be gone for long, and nothing has come of it since.
    pub(crate) fn take_absence(&mut self, now: Instant) -> bool {
        let Some((_, before)) = self.absence.take_if(|(until, _)| *until <= now) else { return false };
        self.current.as_ref().is_some_and(|current| current.connection.stats().udp_rx.datagrams == before)
    }

    /// A direct path works again.
    fn handle_direct(&mut self) {
        self.absence = None;
        self.reintroductions = 0;
        self.reintroduce_at = None;
    }

    /// Whether it is time to ask for another introduction; if so the next one is further away.
    pub(crate) fn take_reintroduction(&mut self, now: Instant) -> bool {
        if !self.wants_introductions() || self.reintroduce_at.is_none_or(|at| at > now) {
            return false;
        }
        self.last_reintroduced = Some(now);
        self.reintroductions += 1;
        self.reintroduce_at = None;
        true
    }

    /// It is about to connect.
    pub(crate) fn expect(&mut self, now: Instant) {
        self.expires_at = Some(now + EXPECT);
    }

    /// Whether it is being dialled.
    pub(crate) fn is_dialled(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.side == Side::Dialer)
    }

    /// Whether a server's introduction is of use although it was introduced before.
    pub(crate) fn wants_introductions(&self) -> bool {
        self.current.is_some() || self.is_dialled()
    }

    /// Whether it is neither connected nor being connected nor to be connected.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.current.is_none() && self.attempt.is_none() && self.redial_at.is_none()
    }

    /// Whether the peer may be looked for now; if so, the next time is further away.
    pub(crate) fn take_seek(&mut self, now: Instant) -> bool {
        let is_time = self.seek_at.is_none_or(|at| at <= now);
        if is_time {
            self.seek_at = Some(now + SEEK_PAUSE);
        }
        is_time
    }

    /// Whether it is time to dial.
    pub(crate) fn take_redial(&mut self, now: Instant) -> bool {
        if self.attempt.is_some() || self.redial_at.is_none_or(|at| at > now) {
            return false;
        }
        self.redial_at = None;
        true
    }

    /// Whether nothing keeps this entry.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        self.current.is_none()
            && self.attempt.is_none()
            && self.redial_at.is_none()
            && self.online.is_none()
            && self.near.is_none()
            && self.expires_at.is_none_or(|at| at <= now)
    }

    fn timeout(&self) -> Option<Instant> {
        let redial = self.redial_at.filter(|_| self.attempt.is_none());
        let expiry = self.expires_at.filter(|_| {
            self.current.is_none()
                && self.attempt.is_none()
                && redial.is_none()
                && self.online.is_none()
                && self.near.is_none()
        });
        let absence = self.absence.map(|(until, _)| until);
        [redial, expiry, absence].into_iter().flatten().min()
    }
}

/// Who gives way when two dial each other at the same time: the dial of the smaller key stands.
pub(crate) fn our_dial_stands(us: PeerId, peer: PeerId) -> bool {
    us < peer
}

/// All peers, in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<PeerId, Peer>);

impl Peers {
    pub(crate) fn get(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.0.get_mut(&peer)
    }

    /// Whether `peer` is neither connected nor being connected.
    pub(crate) fn is_unconnected(&self, peer: PeerId) -> bool {
        self.0.get(&peer).is_none_or(|peer| peer.current.is_none() && peer.attempt.is_none())
    }

    /// The entry of `peer`, made if there is room.
    pub(crate) fn entry(&mut self, now: Instant, peer: PeerId) -> Option<&mut Peer> {
        if self.0.len() >= MAX_PEERS && !self.0.contains_key(&peer) {
            return None;
        }
        Some(self.0.entry(peer).or_insert_with(|| Peer::new(now)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PeerId, &mut Peer)> {
        self.0.iter_mut().map(|(id, peer)| (*id, peer))
    }

    /// Removes entries that nothing keeps, and returns them.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<(PeerId, Peer)> {
        self.0.extract_if(.., |_, peer| peer.is_forgotten(now)).collect()
    }

    /// When a peer is to be introduced again.
    pub(crate) fn reintroduction(&self) -> Option<Instant> {
        self.0.values().filter(|peer| peer.wants_introductions()).filter_map(|peer| peer.reintroduce_at).min()
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(Peer::timeout).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn who_came_later_dials_and_the_other_steps_in() {
        let now = start();
        let (mut later, mut earlier) = (Peer::new(now), Peer::new(now));
        later.handle_presence(now, Some(InstanceId(1)), true);
        earlier.handle_presence(now, Some(InstanceId(2)), false);
        assert!(later.take_redial(now));
        assert!(!earlier.take_redial(now));
        assert!(earlier.take_redial(now + PATIENCE));
    }

    #[test]
    fn failures_are_retried_ever_more_slowly_while_the_peer_is_online() {
        let mut now = start();
        let mut peer = Peer::new(now);
        peer.handle_presence(now, Some(InstanceId(1)), true);
        let mut waits = Vec::new();
        for _ in 0..10 {
            peer.handle_failure(now, Side::Dialer);
            waits.push(peer.timeout().unwrap() - now);
            now = peer.timeout().unwrap();
            assert!(peer.take_redial(now));
        }
        assert!(waits.is_sorted() && waits[0] == REDIAL && waits[9] == MAX_REDIAL, "{waits:?}");
        peer.handle_presence(now, None, false);
        for _ in 0..=MAX_BLIND_REDIALS {
            peer.handle_failure(now, Side::Dialer);
            peer.take_redial(now + MAX_REDIAL);
        }
        assert!(!peer.take_redial(now + MAX_REDIAL * 2));
        assert!(peer.is_forgotten(now + EXPECT));
    }
}
