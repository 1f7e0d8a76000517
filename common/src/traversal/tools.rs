//! What the methods against hard NATs share: sockets, packets, and the budget for them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::allowance::Allowance;
use super::nat::FIRST_PORT;
use super::signal::Signal;
use super::{Local, TransactionId};

/// Small checks to addresses of one peer that have not answered, of all methods together: this many at once ...
pub const PUNCH_BURST: u32 = 4_096;
/// ... and after those one in this time.
pub const PUNCH_INTERVAL: Duration = Duration::from_millis(125);

/// Who sends first when a hard NAT meets an endpoint that everybody can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The hard side: its mappings are there when the other side's checks come. The fastest.
    HardFirst,
    /// The other side: its NAT expects the hard side's checks. Slower, and the way to get through to a NAT that
    /// remembers whom it refused, as Linux connection tracking does, and then takes another port towards them.
    EasyFirst,
}

/// Something that a method wants done.
#[derive(Debug)]
pub(super) enum Output {
    /// A check without padding, under a key that the agent has.
    Check { local: Local, to: SocketAddr, id: TransactionId },
    /// A Binding request to a STUN server.
    Stun { local: Local, to: SocketAddr, id: TransactionId },
    /// Something for the other side.
    Signal(Signal),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tools {
    tag: u32,
    pub(super) rng: StdRng,
    next_local: u32,
    allowance: Allowance,
    /// Checks sent in all.
    pub(super) packets: u32,
    pub(super) out: VecDeque<Output>,
}

impl Tools {
    pub(super) fn new(tag: u32, seed: u64) -> Self {
        Self {
            tag,
            rng: StdRng::seed_from_u64(seed),
            next_local: Local::MAIN.0,
            allowance: Allowance::new(PUNCH_BURST, PUNCH_INTERVAL),
            packets: 0,
            out: VecDeque::new(),
        }
    }

    /// A socket that was not used before; it is opened when something is sent from it.
    pub(super) fn open(&mut self) -> Local {
        self.next_local += 1;
        Local(self.next_local)
    }

    /// A transaction id of this agent.
    pub(super) fn id(&mut self) -> TransactionId {
        let mut id: TransactionId = self.rng.random();
        id[..4].copy_from_slice(&self.tag.to_be_bytes());
        id
    }

    /// Sends a check, unless the budget is used up.
    pub(super) fn check(&mut self, now: Instant, local: Local, to: SocketAddr) {
        if self.allowance.take(now) {
            let id = self.id();
            self.packets += 1;
            self.out.push_back(Output::Check { local, to, id });
        }
    }

    /// Asks a STUN server how the packet looks from there, unless the budget is used up.
    pub(super) fn stun(&mut self, now: Instant, local: Local, to: SocketAddr) -> TransactionId {
        let id = self.id();
        self.stun_again(now, local, to, id);
        id
    }

    /// Repeats a request, so that an answer to either counts.
    pub(super) fn stun_again(&mut self, now: Instant, local: Local, to: SocketAddr, id: TransactionId) {
        if self.allowance.take(now) {
            self.out.push_back(Output::Stun { local, to, id });
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.out.push_back(Output::Signal(signal));
    }
}

/// The port that a counter at `port` gives out after `count` more steps. Counters begin anew at [`FIRST_PORT`].
pub(super) fn advance(port: u16, step: u16, count: u16) -> u16 {
    let width = u32::from(u16::MAX - FIRST_PORT) + 1;
    let from = u32::from(port.saturating_sub(FIRST_PORT));
    let place = (from + u32::from(step) * u32::from(count)) % width;
    FIRST_PORT + u16::try_from(place).expect("less than the number of ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_begin_anew_above_the_well_known_ports() {
        assert_eq!(advance(5_000, 2, 3), 5_006);
        assert_eq!(advance(65_534, 1, 3), 1_025);
    }
}
