//! TCP between peers where UDP does not pass: when it is tried, and how both come to connect at the same time
//! (`docs/protocol.md` §5.5; RFC 5382 REQ-2 on simultaneous open).
//!
//! A [`TcpPunch`] plays rounds. In each both sides open a fresh port, learn how it looks from outside, tell each other,
//! and connect to each other's endpoints in the same moment, so that each SYN finds the hole that the other made. It
//! owns no socket and no clock; it says what to do as [`Action`]s. What a connection carries then is a path like any
//! other: the [`Agent`](super::Agent) checks it, measures it and ranks it behind UDP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::allowance::Allowance;
use super::cause::Prospect;
use crate::address::STREAMS;

/// Endpoints of one [`Offer`] that are connected to.
pub const MAX_ADDRS: usize = 12;
/// How long UDP is given before TCP is tried beside it, at least ...
const PATIENCE: Duration = Duration::from_millis(600);
/// ... and in round trips of the connection that exists: UDP needs about two.
const PATIENCE_ROUND_TRIPS: u32 = 3;
/// What UDP is given to come back where it worked before.
const LOST_PATIENCE: Duration = Duration::from_millis(100);
/// How long after the loss of a TCP path the next round begins: the other side may have closed one of two.
const GRACE: Duration = Duration::from_millis(200);
/// How long opening a port, and waiting for the other's offer, may take.
const OFFER_TIME: Duration = Duration::from_secs(3);
/// The same where nothing but an open port could be reached, which takes a round trip.
const SHORT_CONNECT_TIME: Duration = Duration::from_millis(300);
/// How long connecting may take: a lost SYN is sent again after a second (RFC 6298 §2), and crosses once more.
const CONNECT_TIME: Duration = Duration::from_millis(1_600);
/// Between rounds that failed. A NAT that has answered with a reset has forgotten the hole; a fresh port knows nothing
/// of that, so the first ones follow soon. After the last nothing follows until the paths change.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(20)];
/// Rounds that the peer and the paths together can bring about at once ...
const ROUND_BURST: u32 = 8;
/// ... and after those one in this time.
const ROUND_INTERVAL: Duration = Duration::from_secs(30);
/// How long a TCP path stays when a UDP path is in use again: UDP may have come back for a moment only.
const LINGER: Duration = Duration::from_secs(10);
/// Distances between the ports of two mappings that are taken for those of a NAT that counts.
const MAX_STEP: u16 = 4;
/// Ports that are predicted for a NAT that counts, so that a few connections of others may come between.
const PREDICTED: u16 = 6;

/// Names one TCP connection to a peer within this process. A path's identity is an address; that of a TCP path is
/// [`StreamId::addr`], since many connections may go to the same endpoint one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl StreamId {
    /// The address that stands for the path.
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        STREAMS.addr(self.0)
    }

    /// The path that `addr` stands for; `None` for addresses of machines.
    #[must_use]
    pub fn of(addr: SocketAddr) -> Option<Self> {
        STREAMS.tag(addr).map(Self)
    }
}

/// "I listen here, and connect from here as soon as you know": one side of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Number of the round. The higher one counts.
    pub round: u32,
    /// Where the sender's port may be reached, likeliest first; at most [`MAX_ADDRS`] are looked at.
    pub addrs: Vec<SocketAddr>,
}

/// What a server saw of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Port that it was made from.
    pub local_port: u16,
    /// Endpoint that the server saw.
    pub public: SocketAddr,
}

impl Observation {
    /// Whether the NAT, if there is one, kept the port.
    #[must_use]
    pub const fn is_preserved(&self) -> bool {
        self.local_port == self.public.port()
    }
}

/// The endpoints that the next connections from the port of `first` may have, likeliest first. `second` is of a
/// connection from another port, made after `first`.
///
/// If the NAT gives ports out in order, the next ones are guessed; they come before the one that was seen, so that
/// two such NATs use up their ports in step. Whether mappings depend on the remote endpoint need not be known: the
/// endpoint that was seen is right if they do not.
#[must_use]
pub fn likely_endpoints(first: Observation, second: Option<Observation>) -> Vec<SocketAddr> {
    let mut likely = Vec::new();
    if let Some(second) = second.filter(|second| second.public.ip() == first.public.ip())
        && !first.is_preserved()
        && let step = second.public.port().wrapping_sub(first.public.port())
        && (1..=MAX_STEP).contains(&step)
    {
        let ports = (1..=PREDICTED).filter_map(|n| second.public.port().checked_add(n * step));
        likely.extend(ports.map(|port| SocketAddr::new(second.public.ip(), port)));
    }
    likely.push(first.public);
    likely
}

/// How packets for the peer travel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Through the server.
    Relay,
    /// Over a TCP path.
    Tcp,
    /// Over UDP.
    Udp,
}

/// How far TCP has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpState {
    /// UDP works, or TCP is not wanted.
    #[default]
    NotNeeded,
    /// UDP has its chance, or the next round comes later.
    Waiting,
    /// A round is being played.
    Trying,
    /// It carries packets.
    Connected,
    /// Nothing more is tried until something changes.
    GivenUp,
}

/// What is known of TCP to a peer, for people who ask why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpOutlook {
    /// How far it is.
    pub state: TcpState,
    /// Rounds that failed since packets travelled otherwise.
    pub failed: usize,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a fresh port, listen on it, learn how it looks from outside, and report it to [`TcpPunch::handle_prepared`].
    Prepare(u32),
    /// Tell the peer.
    Tell(Offer),
    /// Connect from the port to all of these now, in this order, and again if refused, until told to close.
    Connect(Vec<SocketAddr>),
    /// Close the port, and all connections of it over which the peer has not proved itself.
    Close,
    /// Close all TCP connections to the peer.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// There is nothing to do.
    Idle,
    /// Another round begins at this time.
    Waiting(Instant),
    /// Our port is being opened; the other's offer may have come already.
    Preparing { until: Instant, theirs: Option<Vec<SocketAddr>> },
    /// Ours was told; theirs is waited for.
    Told { at: Instant },
    /// Both know both.
    Armed { start: Instant, theirs: Vec<SocketAddr> },
    /// Connections are being made.
    Connecting { until: Instant },
    /// UDP works: TCP ends at this time.
    Lingering(Instant),
}

/// The machine; one for each connected peer. Drain [`TcpPunch::poll_action`], then read [`TcpPunch::poll_timeout`], after
/// every input.
#[derive(Debug)]
pub struct TcpPunch {
    state: State,
    /// The number of the newest round.
    round: u32,
    /// Rounds in a row that have failed.
    failed: usize,
    reach: Reach,
    prospect: Prospect,
    /// Whether packets have gone over UDP.
    had_udp: bool,
    rtt: Duration,
    budget: Allowance,
    rng: StdRng,
    actions: VecDeque<Action>,
}

impl TcpPunch {
    /// A machine that has not been told anything yet. `rtt`: round trip of the connection to the peer; `seed` feeds the
    /// jitter.
    #[must_use]
    pub fn new(rtt: Duration, seed: u64) -> Self {
        Self {
            state: State::Idle,
            round: 0,
            failed: 0,
            reach: Reach::Udp,
            prospect: Prospect::Fair,
            had_udp: false,
            rtt,
            budget: Allowance::new(ROUND_BURST, ROUND_INTERVAL),
            rng: StdRng::seed_from_u64(seed),
            actions: VecDeque::new(),
        }
    }

    /// A newer measurement of the round trip over the path in use.
    pub const fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// Packets travel this way from now on.
    pub fn handle_reach(&mut self, now: Instant, reach: Reach) {
        let before = std::mem::replace(&mut self.reach, reach);
        self.had_udp |= reach == Reach::Udp;
        if before == reach {
            return;
        }
        self.failed = 0;
        match reach {
            Reach::Relay if !self.is_in_round() => {
                // UDP had its chance while TCP worked.
                let patience = match before {
                    Reach::Tcp => GRACE,
                    Reach::Udp if self.had_udp => LOST_PATIENCE,
                    Reach::Udp | Reach::Relay => PATIENCE.max(self.rtt * PATIENCE_ROUND_TRIPS),
                };
                self.state = State::Waiting(now + patience);
            }
            Reach::Relay => {}
            Reach::Tcp => {
                self.end_round();
                self.state = State::Idle;
            }
            Reach::Udp => {
                self.end_round();
                self.state = State::Lingering(now + LINGER);
            }
        }
    }

    /// What is to be hoped for has changed: with little hope one short round has to do.
    pub fn set_prospect(&mut self, now: Instant, prospect: Prospect) {
        if std::mem::replace(&mut self.prospect, prospect) == prospect || self.reach != Reach::Relay {
            return;
        }
        match (prospect, &self.state) {
            (Prospect::Poor, State::Waiting(_)) if self.failed > 0 => self.state = State::Idle,
            (Prospect::Fair, State::Idle) => {
                self.failed = 0;
                self.state = State::Waiting(now);
            }
            _ => {}
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn outlook(&self) -> TcpOutlook {
        let state = match (self.reach, &self.state) {
            (Reach::Udp, _) => TcpState::NotNeeded,
            (Reach::Tcp, _) => TcpState::Connected,
            (Reach::Relay, State::Idle | State::Lingering(_)) => TcpState::GivenUp,
            (Reach::Relay, State::Waiting(_)) => TcpState::Waiting,
            (Reach::Relay, _) => TcpState::Trying,
        };
        TcpOutlook { state, failed: self.failed }
    }

    /// No hope for UDP: the next round need not wait for it.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Waiting(at) = &mut self.state {
            *at = now.min(*at);
        }
    }

    /// The peer has told of its side of a round.
    pub fn handle_offer(&mut self, now: Instant, offer: Offer) {
        let Offer { round, mut addrs } = offer;
        addrs.truncate(MAX_ADDRS);
        if round > self.round {
            return self.begin(now, round, Some(addrs));
        }
        if round < self.round {
            return;
        }
        match &mut self.state {
            State::Preparing { theirs, .. } => *theirs = Some(addrs),
            // When it has ours, half a round trip after that was sent, it starts; so do we.
            State::Told { at } => {
                self.state = State::Armed { start: now.max(*at + self.rtt / 2), theirs: addrs };
            }
            _ => {}
        }
    }

    /// The port of `round` is open, and may be reached at `addrs`.
    pub fn handle_prepared(&mut self, now: Instant, round: u32, mut addrs: Vec<SocketAddr>) {
        let State::Preparing { theirs, .. } = &mut self.state else { return };
        if round != self.round {
            return;
        }
        let theirs = theirs.take();
        addrs.truncate(MAX_ADDRS);
        self.actions.push_back(Action::Tell(Offer { round, addrs }));
        self.state = match theirs {
            // The peer starts as soon as it has ours.
            Some(theirs) => State::Armed { start: now + self.rtt / 2, theirs },
            None => State::Told { at: now },
        };
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Waiting(_) => self.begin(now, self.round.saturating_add(1), None),
            State::Armed { theirs, .. } => {
                self.actions.push_back(Action::Connect(theirs));
                let time = match self.prospect {
                    Prospect::Fair => CONNECT_TIME,
                    Prospect::Poor => SHORT_CONNECT_TIME,
                };
                self.state = State::Connecting { until: now + time + self.rtt };
            }
            State::Preparing { .. } | State::Told { .. } | State::Connecting { .. } => self.fail(now),
            State::Lingering(_) => self.actions.push_back(Action::Leave),
        }
    }

    fn begin(&mut self, now: Instant, round: u32, theirs: Option<Vec<SocketAddr>>) {
        if !self.budget.take(now) {
            // What the peer wants has to wait for its next wish; what we want waits for the budget.
            if theirs.is_none() {
                self.state = State::Waiting(now + ROUND_INTERVAL);
            }
            return;
        }
        self.end_round();
        self.round = round;
        self.state = State::Preparing { until: now + OFFER_TIME, theirs };
        self.actions.push_back(Action::Prepare(round));
    }

    fn fail(&mut self, now: Instant) {
        self.actions.push_back(Action::Close);
        let goes_on = self.reach == Reach::Relay && self.prospect == Prospect::Fair;
        let pause = PAUSES.get(self.failed).filter(|_| goes_on);
        self.failed += 1;
        if let Some(pause) = pause {
            // Two NATs that are unlucky together must not stay so.
            self.state = State::Waiting(now + pause.mul_f64(self.rng.random_range(0.75..1.25)));
        }
    }

    const fn is_in_round(&self) -> bool {
        !matches!(self.state, State::Idle | State::Waiting(_) | State::Lingering(_))
    }

    fn end_round(&mut self) {
        if self.is_in_round() {
            self.actions.push_back(Action::Close);
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`TcpPunch::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Waiting(at) | State::Lingering(at) => Some(*at),
            State::Preparing { until, .. } | State::Connecting { until } => Some(*until),
            State::Told { at } => Some(*at + OFFER_TIME),
            State::Armed { start, .. } => Some(*start),
        }
    }
}

#[cfg(test)]
mod tests;
