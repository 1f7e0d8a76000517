//! Random ports against an endpoint that everybody can use, the hard side: so many mappings towards the other side's
//! endpoint that its guesses ([`Guess`](super::guess::Guess)) soon hit one. With n mappings in a range of b ports, k
//! guesses all miss with probability (1 - n/b)^k.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Local;
use super::guess;
use super::nat::PortRange;
use super::signal::{Aim, Signal};
use super::tools::{Order, Tools};

/// Mappings that one try makes at most. With the few that finding out what NAT it is has made, they stay below 256: a
/// table of 1,024 entries that is half full of others' flows bears it.
pub const MAX_MAPPINGS: u32 = 240;
/// The fewest.
const MIN_MAPPINGS: u32 = 16;
/// Mappings made in one step ...
const PER_STEP: u32 = 32;
/// ... and the time between two steps.
const STEP: Duration = Duration::from_millis(10);
/// How long the other side's wish and the last guess may be on their way.
const GRACE: Duration = Duration::from_millis(1500);
/// How long the wish alone may be.
const SIGNAL_TIME: Duration = Duration::from_millis(300);

/// One try.
#[derive(Debug)]
pub(super) struct Birthday {
    target: SocketAddr,
    sockets: Vec<Local>,
    wanted: u32,
    next: Instant,
    until: Instant,
}

impl Birthday {
    /// Begins; the other side is told to guess within `range`.
    pub(super) fn start(
        now: Instant,
        tools: &mut Tools,
        target: SocketAddr,
        range: PortRange,
        order: Order,
    ) -> Self {
        tools.signal(Signal::Aim(Aim { ports: Vec::new(), range: Some(range) }));
        let guessed = now + guess::time_for(range);
        let next = match order {
            Order::HardFirst => now,
            Order::EasyFirst => guessed + SIGNAL_TIME,
        };
        Self { target, sockets: Vec::new(), wanted: mappings_for(range), next, until: guessed + GRACE }
    }

    /// Returns whether the try goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if self.next <= now && !self.is_open() {
            for _ in 0..PER_STEP.min(self.wanted - self.opened()) {
                let local = tools.open();
                tools.check(now, local, self.target);
                self.sockets.push(local);
            }
            self.next = now + STEP;
        }
        now < self.until
    }

    fn opened(&self) -> u32 {
        u32::try_from(self.sockets.len()).unwrap_or(u32::MAX)
    }

    fn is_open(&self) -> bool {
        self.opened() >= self.wanted
    }

    pub(super) fn timeout(&self) -> Instant {
        if self.is_open() { self.until } else { self.next }
    }

    pub(super) fn owns(&self, local: Local) -> bool {
        self.sockets.binary_search(&local).is_ok()
    }
}

/// The number of mappings that costs the fewest packets on both sides together is about twice the square root of the
/// range, for one miss in a hundred.
pub(super) fn mappings_for(range: PortRange) -> u32 {
    (2 * range.size().isqrt()).clamp(MIN_MAPPINGS, MAX_MAPPINGS)
}
