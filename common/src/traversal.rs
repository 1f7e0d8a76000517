//! Finding, measuring and leaving direct paths to one peer (`docs/protocol.md` §5; after RFC 8445, without its
//! nomination: each side chooses the path of the packets that it sends).
//!
//! An [`Agent`] is fed with candidates, keys and STUN datagrams, and says which [`Route`] packets should take. It
//! sends checks to candidates on a schedule, learns addresses from authenticated requests (peer-reflexive
//! candidates), keeps the path in use under measurement, and falls back to the relay when that path stops
//! answering. It owns no socket, no clock and no relay.
//!
//! What plain checks cannot get through, [`method`]s against hard NATs may: they use more sockets, each with a mapping
//! of its own, and talk to the other side's agent by [`Signal`]s over the peers' connection.
//!
//! Drain `poll_transmit` and `poll_event`, then read `poll_timeout`, after every input.

mod address;
mod allowance;
mod birthday;
pub mod canary;
pub mod cause;
mod guess;
pub mod hold;
mod incoming;
mod meet;
mod memory;
pub mod method;
pub mod nat;
mod path;
mod predict;
pub mod prober;
mod punch;
mod renewal;
mod rotation;
mod route;
pub mod signal;
pub mod survey;
pub mod tcp;
mod together;
mod tools;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stun::binding;
use crate::stun::check::{self, Key, KeyName, Side, Size, TransactionId};
pub use address::{may_check, tier};
pub use allowance::Allowance;
pub use birthday::MAX_MAPPINGS;
use cause::Access;
use nat::Nat;
pub use path::Tier;
use path::{Due, Path};
pub use punch::Outlook;
use punch::Punch;
pub use rotation::Rotation;
pub use route::Route;
pub use signal::Signal;
use tools::Output;
pub use tools::{PUNCH_BURST, PUNCH_INTERVAL};

/// Addresses of one peer that are tried at the same time. A new one replaces the oldest that never answered.
pub const MAX_PATHS: usize = 72;
/// Check keys that are valid at the same time: one for each introduction and one from the handshake.
const MAX_KEYS: usize = 6;
/// Checks to addresses that have not answered, of one peer and all its addresses together: this many at once ...
pub const UNPROVEN_BURST: u32 = 256;
/// ... and after those one in this time. The peer and the server name the addresses, and may name anybody's.
pub const UNPROVEN_INTERVAL: Duration = Duration::from_millis(500);
/// Requests of one peer that are answered within a second; the rest are dropped.
const MAX_ANSWERS_PER_SECOND: u32 = 200;

/// A pair is idle when nothing was sent for this long. It then keeps one path and nothing beside.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// A packet up to this size is one of QUIC's own, a ping or an acknowledgement: nobody waits for it ...
const QUIET_LEN: usize = 48;
/// ... unless there are more than these in a row, as in a transfer.
const MAX_QUIET: u8 = 3;
/// The dialling side sends heartbeats so much earlier that the other's need not be sent: it answers.
const LEAD: Duration = Duration::from_secs(1);
/// A path that died when it had been silent for a while may have died of that, if the peer is heard within this time.
const SUSPICION: Duration = Duration::from_secs(30);
/// The shortest silence that a NAT may be said to have forgotten a mapping for.
const MIN_SILENCE: Duration = Duration::from_secs(5);

/// One of our sockets, as one agent names it: the main one, which all agents share, or one that it alone uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local(pub u32);

impl Local {
    /// The socket that peers and the server know.
    pub const MAIN: Self = Self(0);
}

/// A direct way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// Our socket.
    pub local: Local,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From this socket. One that was not named before is to be opened, on a port of the system's choice.
    pub local: Local,
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// News from the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Packets should take another route from now on.
    Routed(Route),
    /// An authenticated request from this address came in: the peer can reach us from there.
    Heard(SocketAddr),
    /// A path answered: packets pass in both directions.
    Answered(SocketAddr),
    /// The peer at `remote` sees our main socket at `mapped`, for the first time or differently from before.
    Seen {
        /// Its public address.
        remote: SocketAddr,
        /// Ours, as it says.
        mapped: SocketAddr,
    },
    /// This is to be carried to the peer's agent, if there is a connection.
    Signal(Signal),
    /// This socket is not needed any more.
    Released(Local),
    /// Our NAT has forgotten a mapping over which nothing was sent for so long.
    Forgotten(Duration),
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
    /// When data was sent last, and when anything was.
    last_sent: Option<Instant>,
    last_packet: Option<Instant>,
    /// Packets that may still be sent before they count as data.
    quiet: u8,
    hold: Duration,
    /// A path that had been silent for so long died at this time.
    suspicion: Option<(Instant, Duration)>,
    rotation: Option<Rotation>,
    next_renewal: Option<Instant>,
    renewals: u32,
    /// The number of the newest wish for a path.
    favours: u32,
    answers: (Option<Instant>, u32),
    unproven: Allowance,
    punch: Punch,
    /// Plain checks that were sent, and answers to any.
    checks: u32,
    answered: u32,
    /// Sockets of this agent that are open, since when.
    sockets: BTreeMap<Local, Instant>,
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
            last_packet: None,
            quiet: MAX_QUIET,
            hold: hold::UNKNOWN,
            suspicion: None,
            rotation: None,
            next_renewal: None,
            renewals: 0,
            favours: 0,
            answers: (None, 0),
            unproven: Allowance::new(UNPROVEN_BURST, UNPROVEN_INTERVAL),
            punch: Punch::new(tag, seed),
            checks: 0,
            answered: 0,
            sockets: BTreeMap::new(),
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

    /// How long our NAT may be left without a packet of ours, as far as it is known: heartbeats keep to that.
    pub fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
        let hold = self.own_hold();
        for path in &mut self.paths {
            path.set_hold(hold);
        }
    }

    /// Whether this is the accepting side. Where both would do the same, it waits for the other; and while nothing is said
    /// it keeps to the path that the other keeps.
    fn follows(&self) -> bool {
        self.keys.front().is_some_and(|key| key.side == Side::Acceptor)
    }

    fn own_hold(&self) -> Duration {
        if self.follows() { self.hold } else { self.hold.saturating_sub(LEAD).max(LEAD) }
    }

    /// Makes requests with the key `name` from now on; the peer must have it by now.
    pub fn send_with(&mut self, name: KeyName) {
        if self.keys.iter().any(|key| key.name == name) {
            self.sending = Some(name);
        }
    }

    /// The key with which requests are made.
    #[must_use]
    pub const fn sends_with(&self) -> Option<KeyName> {
        self.sending
    }

    /// Names of the keys under which requests are accepted.
    pub fn key_names(&self) -> impl Iterator<Item = KeyName> + '_ {
        self.keys.iter().map(|key| key.name)
    }

    /// Tries `addr`, at once and then on a schedule. An address that is being tried already, or works, is left
    /// as it is; one that is resting after a failure is tried again.
    pub fn add_candidate(&mut self, now: Instant, addr: SocketAddr) {
        let way = Way { local: Local::MAIN, remote: addr };
        match self.paths.iter_mut().find(|path| path.way == way) {
            Some(path) => path.wake(now),
            None => self.insert(now, way),
        }
        self.handle_timeout(now);
    }

    /// The server introduced the peer, whom it sees at `endpoint`. Tries it as [`Agent::add_candidate`] does, and it is
    /// what methods against hard NATs aim at.
    pub fn introduce(&mut self, now: Instant, endpoint: SocketAddr) {
        self.punch.set_target(now, endpoint);
        self.add_candidate(now, endpoint);
    }

    /// What our own NAT is, and addresses of servers that answer STUN Binding requests.
    pub fn set_nat(&mut self, now: Instant, nat: Nat, servers: &[SocketAddr]) {
        self.punch.set_nat(now, nat, servers);
        self.handle_timeout(now);
    }

    /// What gets out of our network.
    pub fn set_access(&mut self, now: Instant, access: Access) {
        self.punch.set_access(access);
        self.handle_timeout(now);
    }

    /// The connection to the peer stands: [`Event::Signal`]s reach its agent from now on, in about `one_way`.
    pub fn handle_connected(&mut self, now: Instant, one_way: Duration) {
        self.punch.handle_connected(one_way);
        self.handle_timeout(now);
    }

    /// The peer's agent says something.
    pub fn handle_signal(&mut self, now: Instant, signal: &Signal) {
        if let (Signal::Aim(aim), true, Some(way)) = (signal, self.has_udp(), self.route.direct()) {
            self.punch.handle_renewal(now, (way.local, way.remote), aim);
        }
        self.punch.handle_signal(now, signal, !self.has_udp());
        self.handle_timeout(now);
    }

    /// How many mappings this agent wants to make in our NAT, if it waits for its turn to make many; at most one of all
    /// agents should have it.
    #[must_use]
    pub fn wants_turn(&self) -> Option<u32> {
        self.punch.wants_turn()
    }

    /// Whether it has it.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.punch.has_turn()
    }

    /// Gives it to the agent.
    pub fn grant_turn(&mut self, now: Instant) {
        self.punch.grant_turn(now);
        self.handle_timeout(now);
    }

    /// What is known and done to reach the peer.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        let is_probing = self.paths.iter().any(Path::is_new);
        let outlook = self.punch.outlook();
        Outlook {
            checks: self.checks,
            answered: self.answered,
            is_trying: outlook.is_trying || is_probing,
            ..outlook
        }
    }

    fn insert(&mut self, now: Instant, way: Way) {
        if self.paths.len() == MAX_PATHS {
            // A path that answered once is worth more than news; without one to spare, news is dropped.
            let never = self.paths.iter().position(|path| !path.has_answered());
            let dead = || self.paths.iter().position(|path| path.favour < self.favours && !path.is_alive());
            let Some(spare) = never.or_else(dead) else { return };
            self.paths.remove(spare);
        }
        self.paths.push(Path::new(now, way, self.own_hold()));
    }

    /// The path over `addr` is gone for good: a TCP connection has ended.
    pub fn remove_path(&mut self, now: Instant, addr: SocketAddr) {
        self.paths.retain(|path| path.way.remote != addr);
        self.reroute(now);
    }

    /// The network under this machine has changed: all paths are in doubt and tried afresh.
    pub fn handle_network_change(&mut self, now: Instant) {
        for path in &mut self.paths {
            path.doubt(now);
        }
        self.handle_timeout(now);
    }

    /// Packets of `len` bytes together are about to be sent to the peer. The path in use is measured while it carries
    /// data, so that its death shows within a round trip.
    pub fn handle_sent(&mut self, now: Instant, len: usize) {
        let way = self.route.direct();
        if let Some(path) = self.paths.iter_mut().find(|path| Some(path.way) == way) {
            path.handle_sent(now);
        }
        let last = self.last_packet.replace(now);
        if last.is_none_or(|last| now.saturating_duration_since(last) > path::BUSY_FOR) {
            self.quiet = MAX_QUIET;
        }
        if len <= QUIET_LEN && self.quiet > 0 {
            self.quiet -= 1;
            return;
        }
        self.quiet = 0;
        self.last_sent = Some(now);
        self.hurry(now);
    }

    /// A packet of the peer came over the relay: either there is no direct path yet, or the peer has lost it.
    pub fn handle_relayed(&mut self, now: Instant) {
        self.confirm_suspicion(now);
        self.hurry(now);
    }

    /// The peer is there: what killed the path over which it was not heard may have been our NAT's forgetfulness.
    fn confirm_suspicion(&mut self, now: Instant) {
        if let Some((died, silence)) = self.suspicion.take()
            && now.saturating_duration_since(died) < SUSPICION
        {
            self.events.push_back(Event::Forgotten(silence));
        }
    }

    /// Whether nothing was sent for long.
    fn is_idle(&self, now: Instant) -> bool {
        self.last_sent.is_none_or(|last| now.saturating_duration_since(last) >= IDLE_AFTER)
    }

    fn hurry(&mut self, now: Instant) {
        let Some(way) = self.route.direct() else { return };
        if let Some(path) = self.paths.iter_mut().find(|path| path.way == way) {
            path.hurry(now);
            if path.timeout() <= now {
                self.handle_timeout(now);
            }
        }
    }

    /// Lets time pass: sends the checks that are due and notes those that were missed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(key) = self.keys.iter().find(|key| Some(key.name) == self.sending) else { return };
        let (current, is_idle) = (self.route.direct(), self.is_idle(now));
        for path in &mut self.paths {
            let was_alive = path.is_alive();
            path.handle_timeout(now);
            let is_current = current == Some(path.way);
            if was_alive && !path.is_alive() && is_current && path.silence() >= MIN_SILENCE {
                self.suspicion = Some((now, path.silence()));
            }
            if is_idle && matches!(self.route, Route::Direct(_)) && !is_current && path.has_answered() {
                path.rest(now);
            }
            let last_sent = self.last_sent.filter(|_| is_current);
            let due = path.take_due(now, last_sent);
            if let Some(Due::Beat) = due {
                path.handle_beat(now);
                let Way { local, remote } = path.way;
                self.transmits.push_back(Transmit {
                    local,
                    to: remote,
                    bytes: check::indication(self.rng.random()),
                });
            }
            if let Some(Due::Check(size)) = due {
                if !path.has_answered() && !path.is_called_for() && !self.unproven.take(now) {
                    path.defer(now + UNPROVEN_INTERVAL);
                    continue;
                }
                let mut id: TransactionId = self.rng.random();
                id[..4].copy_from_slice(&self.tag.to_be_bytes());
                path.handle_check(now, id, key.name, last_sent);
                self.checks = self.checks.saturating_add(1);
                let Way { local, remote } = path.way;
                let is_wished = path.is_ours && path.favour == self.favours && size == Size::Bare;
                let bytes =
                    if is_wished { check::nomination(key, id) } else { check::request(key, id, size) };
                self.transmits.push_back(Transmit { local, to: remote, bytes });
            }
        }
        self.reroute(now);
        self.paths.retain(|path| !path.is_hopeless(self.favours));
        if self.renewal_due().is_some_and(|due| due <= now) {
            self.renew(now);
        }
        self.punch.handle_renewal_timeout(now);
        self.punch.handle_timeout(now, !self.has_udp());
        self.carry_out(now);
    }

    /// The main socket's mapping has changed: paths over it are in doubt.
    pub fn handle_main_moved(&mut self, now: Instant) {
        for path in self.paths.iter_mut().filter(|path| path.way.local == Local::MAIN) {
            path.doubt(now);
        }
        self.handle_timeout(now);
    }

    /// Does what the methods against hard NATs want, and lets go of sockets that nobody needs.
    fn carry_out(&mut self, now: Instant) {
        while let Some(output) = self.punch.poll_output() {
            let (local, to, bytes) = match output {
                Output::Signal(signal) => {
                    self.events.push_back(Event::Signal(signal));
                    continue;
                }
                Output::Stun { local, to, id } => (local, to, binding::request(id).to_vec()),
                Output::Check { local, to, id } => {
                    let key = self.keys.iter().find(|key| Some(key.name) == self.sending);
                    let Some(key) = key else { continue };
                    (local, to, check::request(key, id, Size::Bare))
                }
            };
            if local != Local::MAIN {
                self.sockets.entry(local).or_insert(now);
            }
            self.transmits.push_back(Transmit { local, to, bytes });
        }
        let Self { sockets, paths, punch, events, .. } = self;
        sockets.retain(|local, _| {
            let is_needed = punch.owns(*local) || paths.iter().any(|path| path.way.local == *local);
            if !is_needed {
                events.push_back(Event::Released(*local));
            }
            is_needed
        });
    }

    /// The route for packets to the peer now.
    #[must_use]
    pub const fn route(&self) -> Route {
        self.route
    }

    /// The measured round-trip time on `way`, if checks were answered there.
    #[must_use]
    pub fn rtt(&self, way: Way) -> Option<Duration> {
        self.paths.iter().find(|path| path.way == way)?.rtt()
    }

    /// The addresses that have answered or are being tried.
    pub fn remotes(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.paths.iter().map(|path| path.way.remote)
    }

    /// The addresses at which the peer has answered our main socket over UDP, the one in use first.
    #[must_use]
    pub fn answered_at(&self) -> Vec<SocketAddr> {
        let is_one = |path: &&Path| {
            path.has_answered() && path.way.local == Local::MAIN && tier(path.way.remote) != Tier::Tcp
        };
        let mut found: Vec<_> = self.paths.iter().filter(is_one).map(|path| path.way.remote).collect();
        found.sort_by_key(|remote| self.route.direct().is_none_or(|way| way.remote != *remote));
        found
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
        let punch = self.punch.timeout().filter(|_| !self.has_udp());
        let renewal = self.punch.renewal_timeout().into_iter().chain(self.renewal_due());
        self.paths.iter().map(Path::timeout).chain(punch).chain(renewal).min()
    }
}

#[cfg(test)]
mod tests;
