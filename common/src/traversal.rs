//! Finding, measuring and leaving direct paths to one peer (`docs/protocol.md` §5; after RFC 8445, without its
//! nomination: each side chooses the path of the packets that it sends).
//!
//! An [`Agent`] is fed with candidates, keys and STUN datagrams, and says which [`Route`] packets should take. It
//! sends checks to candidates on a schedule, learns addresses from authenticated requests (peer-reflexive
//! candidates), keeps the path in use under measurement, and falls back to the relay when that path stops
//! answering. It owns no socket, no clock and no relay.
//!
//! Drain `poll_transmit` and `poll_event`, then read `poll_timeout`, after every input.

mod path;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stun::check::{self, Claim, Key, KeyName, TransactionId};
pub use path::Tier;
use path::{Miss, Path};

/// Addresses of one peer that are tried at the same time. A new one replaces the oldest that never answered.
pub const MAX_PATHS: usize = 16;
/// Check keys that are valid at the same time: one for each introduction and one from the handshake.
const MAX_KEYS: usize = 6;
/// Checks to addresses that have not answered, of one peer and all its addresses together: this many at once ...
pub const UNPROVEN_BURST: u32 = 256;
/// ... and after those one in this time. The peer and the server name the addresses, and may name anybody's.
pub const UNPROVEN_INTERVAL: Duration = Duration::from_millis(500);
/// Requests of one peer that are answered within a second; the rest are dropped.
const MAX_ANSWERS_PER_SECOND: u32 = 200;

/// A datagram to send from the socket that peers use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// How packets for the peer should travel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the server.
    Relay,
    /// Directly.
    Direct(SocketAddr),
    /// Directly and through the server: the direct path has missed an answer.
    Both(SocketAddr),
}

impl Route {
    /// The address of the direct path in use, if any.
    #[must_use]
    pub const fn direct(self) -> Option<SocketAddr> {
        match self {
            Self::Relay => None,
            Self::Direct(addr) | Self::Both(addr) => Some(addr),
        }
    }
}

/// News from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Packets should take another route from now on.
    Routed(Route),
    /// An authenticated request from this address came in: the peer can reach us from there.
    Heard(SocketAddr),
    /// A path answered: packets pass in both directions.
    Answered(SocketAddr),
}

/// The machine. One for each peer.
#[derive(Debug)]
pub struct Agent {
    tag: u32,
    rng: StdRng,
    keys: VecDeque<Key>,
    sending: Option<KeyName>,
    paths: Vec<Path>,
    route: Route,
    last_sent: Option<Instant>,
    answers: (Option<Instant>, u32),
    unproven: Unproven,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Agent {
    /// A new agent. `tag` becomes the first four bytes of all its transaction ids, so that a socket with many
    /// agents finds the one that a response belongs to; `seed` feeds the rest of them.
    #[must_use]
    pub fn new(tag: u32, seed: u64) -> Self {
        Self {
            tag,
            rng: StdRng::seed_from_u64(seed),
            keys: VecDeque::new(),
            sending: None,
            paths: Vec::new(),
            route: Route::Relay,
            last_sent: None,
            answers: (None, 0),
            unproven: Unproven { left: UNPROVEN_BURST, refilled: None },
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The tag in a transaction id.
    #[must_use]
    pub fn tag_of(id: TransactionId) -> u32 {
        u32::from_be_bytes([id[0], id[1], id[2], id[3]])
    }

    /// Accepts requests under `key` from now on, and makes them with it too if there is no key yet.
    pub fn add_key(&mut self, key: Key) {
        self.sending.get_or_insert(key.name);
        if self.keys.len() == MAX_KEYS {
            let oldest = self.keys.iter().position(|key| Some(key.name) != self.sending).unwrap_or(0);
            self.keys.remove(oldest);
        }
        self.keys.push_back(key);
    }

    /// Makes requests with the key `name` from now on; the peer must have it by now.
    pub fn send_with(&mut self, name: KeyName) {
        if self.keys.iter().any(|key| key.name == name) {
            self.sending = Some(name);
        }
    }

    /// Names of the keys under which requests are accepted.
    pub fn key_names(&self) -> impl Iterator<Item = KeyName> + '_ {
        self.keys.iter().map(|key| key.name)
    }

    /// Tries `addr`, at once and then on a schedule. An address that is being tried already, or works, is left
    /// as it is; one that is resting after a failure is tried again.
    pub fn add_candidate(&mut self, now: Instant, addr: SocketAddr) {
        match self.paths.iter_mut().find(|path| path.remote == addr) {
            Some(path) => path.wake(now),
            None => self.insert(Path::new(now, addr)),
        }
        self.handle_timeout(now);
    }

    fn insert(&mut self, path: Path) {
        if self.paths.len() == MAX_PATHS {
            // A path that answered once is worth more than news; without one to spare, news is dropped.
            let Some(spare) = self.paths.iter().position(|path| !path.has_answered()) else { return };
            self.paths.remove(spare);
        }
        self.paths.push(path);
    }

    /// The network under this machine has changed: all paths are in doubt and tried afresh.
    pub fn handle_network_change(&mut self, now: Instant) {
        for path in &mut self.paths {
            path.doubt(now);
        }
        self.handle_timeout(now);
    }

    /// A packet for the peer is about to be sent. The path in use is measured while it carries data, so that its
    /// death shows within a round trip.
    pub fn handle_sent(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.hurry(now);
    }

    /// A packet of the peer came over the relay: either there is no direct path yet, or the peer has lost it.
    pub fn handle_relayed(&mut self, now: Instant) {
        self.hurry(now);
    }

    fn hurry(&mut self, now: Instant) {
        let Some(addr) = self.route.direct() else { return };
        if let Some(path) = self.paths.iter_mut().find(|path| path.remote == addr) {
            path.hurry(now);
            if path.timeout() <= now {
                self.handle_timeout(now);
            }
        }
    }

    /// Takes in a STUN datagram. Returns whether it was a valid check of this peer.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        let valid = match check::claim(datagram) {
            Some(Claim::Request(name, id)) => self.handle_request(now, from, name, id, datagram),
            Some(Claim::Response(id)) => self.handle_response(now, from, id, datagram),
            None => false,
        };
        if valid {
            self.reroute();
            self.rest_others(now);
        }
        valid
    }

    fn handle_request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: KeyName,
        id: TransactionId,
        datagram: &[u8],
    ) -> bool {
        if !self.answers_left(now) {
            return false;
        }
        let Some(key) = self.keys.iter().find(|key| key.name == name) else { return false };
        if !check::verify_request(key, datagram) {
            return false;
        }
        self.transmits.push_back(Transmit { to: from, bytes: check::response(key, id, from) });
        self.events.push_back(Event::Heard(from));
        // RFC 8445 §7.3.1.3–4: an unknown source is a peer-reflexive candidate, and gets a triggered check.
        match self.paths.iter_mut().find(|path| path.remote == from) {
            Some(path) => path.trigger(now),
            None => self.insert(Path::new(now, from)),
        }
        self.handle_timeout(now);
        true
    }

    fn answers_left(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.answers;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        *count <= MAX_ANSWERS_PER_SECOND
    }

    fn handle_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: TransactionId,
        datagram: &[u8],
    ) -> bool {
        // RFC 8445 §7.2.5.2.1: the answer must come from where the request went.
        let Some(path) = self.paths.iter_mut().find(|path| path.remote == from) else { return false };
        let Some(name) = path.key_of(id) else { return false };
        let Some(key) = self.keys.iter().find(|key| key.name == name) else { return false };
        if check::verify_response(key, datagram).is_none() {
            return false;
        }
        let last_sent = self.last_sent.filter(|_| self.route.direct() == Some(from));
        path.handle_answer(now, id, last_sent);
        self.events.push_back(Event::Answered(from));
        true
    }

    /// Lets time pass: sends the checks that are due and notes those that were missed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(key) = self.keys.iter().find(|key| Some(key.name) == self.sending) else { return };
        for path in &mut self.paths {
            path.handle_timeout(now);
            let last_sent = self.last_sent.filter(|_| self.route.direct() == Some(path.remote));
            if let Some(size) = path.take_due(now) {
                if !path.has_answered() && !self.unproven.take(now) {
                    path.defer(now + UNPROVEN_INTERVAL);
                    continue;
                }
                let mut id: TransactionId = self.rng.random();
                id[..4].copy_from_slice(&self.tag.to_be_bytes());
                path.handle_check(now, id, key.name, last_sent);
                self.transmits.push_back(Transmit { to: path.remote, bytes: check::request(key, id, size) });
            }
        }
        self.reroute();
        self.paths.retain(|path| !path.is_hopeless());
    }

    /// Chooses the route anew: the best path by tier and round trip, with hysteresis; the relay beside a path
    /// that has missed an answer; the relay alone when nothing answers.
    fn reroute(&mut self) {
        let current = self.route.direct();
        let sound = |path: &&Path| path.miss() == Miss::None && path.is_proven();
        let active = self.paths.iter().find(|path| Some(path.remote) == current && path.is_alive());
        let best = self.paths.iter().filter(sound).min_by_key(|path| path.rank());
        let route = match (active, best) {
            (Some(active), Some(best)) if best.beats(active) => Route::Direct(best.remote),
            (Some(active), _) if active.miss() == Miss::None => Route::Direct(active.remote),
            (Some(active), _) => Route::Both(active.remote),
            (None, Some(best)) => Route::Direct(best.remote),
            (None, None) => Route::Relay,
        };
        if route != self.route {
            self.route = route;
            self.events.push_back(Event::Routed(route));
        }
    }

    /// Keeps the path in use and one spare under measurement; the others rest.
    fn rest_others(&mut self, now: Instant) {
        let Route::Direct(current) = self.route else { return };
        let mut others: Vec<_> =
            self.paths.iter_mut().filter(|path| path.is_alive() && path.remote != current).collect();
        others.sort_by_key(|path| path.rank());
        for path in others.into_iter().skip(1) {
            path.rest(now);
        }
    }

    /// The route for packets to the peer now.
    #[must_use]
    pub const fn route(&self) -> Route {
        self.route
    }

    /// The measured round-trip time to `addr`, if checks to it were answered.
    #[must_use]
    pub fn rtt(&self, addr: SocketAddr) -> Option<Duration> {
        self.paths.iter().find(|path| path.remote == addr)?.rtt()
    }

    /// The addresses that have answered or are being tried.
    pub fn remotes(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.paths.iter().map(|path| path.remote)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Agent::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sending?;
        self.paths.iter().map(Path::timeout).min()
    }
}

/// Budget of checks to addresses that have not answered.
#[derive(Debug)]
struct Unproven {
    left: u32,
    refilled: Option<Instant>,
}

impl Unproven {
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let steps = now.saturating_duration_since(since).as_millis() / UNPROVEN_INTERVAL.as_millis();
        if let Some(steps) = u32::try_from(steps).ok().filter(|steps| *steps > 0) {
            self.left = self.left.saturating_add(steps).min(UNPROVEN_BURST);
            self.refilled = Some(since + UNPROVEN_INTERVAL * steps);
        }
        let is_allowed = self.left > 0;
        self.left -= u32::from(is_allowed);
        is_allowed
    }
}

/// The network on which an address lies, judged by the address alone.
#[must_use]
pub fn tier(addr: SocketAddr) -> Tier {
    let local = match addr.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    };
    if local { Tier::Lan } else { Tier::Public }
}

/// Whether a peer or a server may make this machine send checks to `addr` at all: never to several machines at
/// once, and to loopback only if the server itself is reached there.
#[must_use]
pub fn may_check(addr: SocketAddr, server_is_loopback: bool) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !broadcast
        && (server_is_loopback || !ip.is_loopback())
}

#[cfg(test)]
mod tests;
