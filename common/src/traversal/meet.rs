//! Counters on both sides: each learns where the other's counter stands, and sends a check from each of a few dozen new
//! sockets to the port that the other's will give out as its [`AHEAD`]th from there. However many ports other flows
//! take in between, as long as they are fewer than that: one socket on each side has just that port, and its check
//! goes to the one on the other side.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::signal::{Counter, Signal};
use super::tools::{Tools, advance};
use super::{Local, TransactionId};

/// Which port from the counter's place on is aimed at: other flows may take one less than that before the sockets are
/// opened. Twenty flows a second take six in the time that the exchange needs.
const AHEAD: u16 = 20;
/// Sockets that are opened: enough to reach the port if other flows take none, and a few more.
const SOCKETS: u16 = AHEAD + 4;
/// How long the STUN server's and the other side's answers are waited for.
const EXCHANGE: Duration = Duration::from_millis(1500);
/// When the checks are repeated, counted from the first ones: those that came before the other side's mappings were
/// there are lost.
const REPEATS_MS: [u64; 4] = [60, 160, 320, 640];
/// When the STUN server is asked again, for an answer may be lost.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How long a round goes on after the first checks.
const LISTEN: Duration = Duration::from_millis(1000);

/// One round.
#[derive(Debug)]
pub(super) struct Meet {
    round: u32,
    /// The step of the other side's counter.
    step: u16,
    peer: IpAddr,
    sample: Sample,
    mine: Option<u16>,
    theirs: Option<u16>,
    burst: Option<Burst>,
    until: Instant,
}

/// A look at our own counter.
#[derive(Debug)]
struct Sample {
    local: Local,
    server: SocketAddr,
    id: TransactionId,
    again: Instant,
}

#[derive(Debug)]
struct Burst {
    sockets: Vec<Local>,
    target: SocketAddr,
    began: Instant,
    repeats: usize,
}

impl Meet {
    /// Begins round number `round` with a peer at `peer` whose counter has this step. `server` answers STUN.
    pub(super) fn start(
        now: Instant,
        tools: &mut Tools,
        round: u32,
        peer: IpAddr,
        step: u16,
        server: SocketAddr,
    ) -> Self {
        let local = tools.open();
        let id = tools.stun(now, local, server);
        let sample = Sample { local, server, id, again: now + ASK_AGAIN };
        let until = now + EXCHANGE;
        Self { round, step, peer, sample, mine: None, theirs: None, burst: None, until }
    }

    pub(super) const fn round(&self) -> u32 {
        self.round
    }

    /// A STUN server saw our newest socket at `port`.
    pub(super) fn handle_sample(&mut self, now: Instant, tools: &mut Tools, id: TransactionId, port: u16) {
        if self.sample.id != id || self.mine.is_some() {
            return;
        }
        self.mine = Some(port);
        tools.signal(Signal::Counter(Counter { round: self.round, port }));
        self.open(now, tools);
    }

    /// The other side's counter stood at `port` in this round.
    pub(super) fn handle_counter(&mut self, now: Instant, tools: &mut Tools, port: u16) {
        self.theirs.get_or_insert(port);
        self.open(now, tools);
    }

    /// Opens the sockets once both counters are known. Ours is needed by the other side alone; but what it says must
    /// not be older than our sockets by more than the exchange takes.
    fn open(&mut self, now: Instant, tools: &mut Tools) {
        let (Some(_), Some(theirs), None) = (self.mine, self.theirs, &self.burst) else { return };
        let target = SocketAddr::new(self.peer, advance(theirs, self.step, AHEAD));
        let sockets: Vec<_> = (0..SOCKETS).map(|_| tools.open()).collect();
        for local in &sockets {
            tools.check(now, *local, target);
        }
        self.burst = Some(Burst { sockets, target, began: now, repeats: 0 });
        self.until = now + LISTEN;
    }

    /// Returns whether the round goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if let Some(burst) = &mut self.burst
            && burst.next_repeat().is_some_and(|at| at <= now)
        {
            burst.repeats += 1;
            for local in &burst.sockets {
                tools.check(now, *local, burst.target);
            }
        }
        if self.mine.is_none() && self.sample.again <= now {
            self.sample.again = now + ASK_AGAIN;
            // From the same socket, whose mapping stays, so that either answer says the same.
            tools.stun_again(now, self.sample.local, self.sample.server, self.sample.id);
        }
        now < self.until
    }

    pub(super) fn timeout(&self) -> Instant {
        let repeat = self.burst.as_ref().and_then(Burst::next_repeat);
        let again = self.mine.is_none().then_some(self.sample.again);
        [repeat, again].into_iter().flatten().fold(self.until, Instant::min)
    }

    pub(super) fn owns(&self, local: Local) -> bool {
        let in_burst = self.burst.as_ref().is_some_and(|burst| burst.sockets.contains(&local));
        // The sample's own socket has done its part with the answer.
        in_burst || (self.mine.is_none() && self.sample.local == local)
    }
}

impl Burst {
    fn next_repeat(&self) -> Option<Instant> {
        REPEATS_MS.get(self.repeats).map(|ms| self.began + Duration::from_millis(*ms))
    }
}
