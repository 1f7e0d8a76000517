//! The side whose endpoint everybody can use: it sends checks to the ports that the other side named, or to random
//! ones of a range, never the same twice.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::Local;
use super::birthday::mappings_for;
use super::nat::PortRange;
use super::signal::{Aim, MAX_AIMED};
use super::tools::Tools;

/// Guesses in one step: 700 a second, of about 130 bytes each ...
const PER_STEP: u32 = 7;
/// ... and 400 within a block, where so few are needed that those count that are under way when one has hit.
const PER_STEP_IN_BLOCK: u32 = 4;
/// Time between two steps.
const STEP: Duration = Duration::from_millis(10);
/// How many mappings are to be met on average before a try is given up: one in 3,000 tries meets none of them.
const EXPECTED_HITS: u32 = 8;
/// How often named ports are tried, for a check may be lost.
const ROUNDS: u32 = 3;
/// Between two such rounds.
const ROUND: Duration = Duration::from_millis(150);

/// One try.
#[derive(Debug)]
pub(super) struct Guess {
    local: Local,
    ip: IpAddr,
    named: Vec<u16>,
    rounds_left: u32,
    pool: Vec<u16>,
    per_step: u32,
    left: u32,
    next: Instant,
}

impl Guess {
    /// Begins to do what the other side, which is at `ip`, has asked for, from the socket `local`.
    pub(super) fn start(now: Instant, local: Local, ip: IpAddr, aim: &Aim) -> Self {
        let mut named: Vec<_> = aim.ports.iter().copied().filter(|port| *port != 0).collect();
        named.truncate(MAX_AIMED);
        let pool: Vec<u16> =
            aim.range.map_or_else(Vec::new, |range| (range.first.max(1)..=range.last).collect());
        let (per_step, left) = aim.range.map_or((0, 0), |range| (per_step(range), guesses_for(range)));
        Self { local, ip, named, rounds_left: ROUNDS, pool, per_step, left, next: now }
    }

    /// Whether this takes many packets.
    pub(super) const fn is_heavy(&self) -> bool {
        self.per_step > 0
    }

    /// Returns whether there is more to try.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if self.next > now {
            return true;
        }
        if self.rounds_left > 0 && !self.named.is_empty() {
            self.rounds_left -= 1;
            for port in &self.named {
                tools.check(now, self.local, SocketAddr::new(self.ip, *port));
            }
            self.next = now + ROUND;
            return true;
        }
        let count = self.per_step.min(self.left);
        self.left -= count;
        for _ in 0..count {
            if self.pool.is_empty() {
                return false;
            }
            let port = self.pool.swap_remove(tools.rng.random_range(0..self.pool.len()));
            tools.check(now, self.local, SocketAddr::new(self.ip, port));
        }
        self.next = now + STEP;
        count > 0
    }

    pub(super) const fn timeout(&self) -> Instant {
        self.next
    }
}

/// Guesses of one try: 2,150 among all ports, 182 in a block of 2,048.
fn guesses_for(range: PortRange) -> u32 {
    (EXPECTED_HITS * range.size() / mappings_for(range)).min(range.size())
}

/// How long they take.
pub(super) fn time_for(range: PortRange) -> Duration {
    STEP * guesses_for(range).div_ceil(per_step(range))
}

fn per_step(range: PortRange) -> u32 {
    if range.is_block() { PER_STEP_IN_BLOCK } else { PER_STEP }
}
