//! A counter against an endpoint that everybody can use: one new socket asks a STUN server, sends a check, and asks
//! another one, all in the same breath. The check's mapping lies between the two answers: there is hardly ever a port
//! in between that other flows took, so that one packet of the other side finds it.
//!
//! If that fails, the other side sends to the next few ports first, and the check follows ([`Order`]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::signal::{Aim, MAX_AIMED, Signal};
use super::tools::{Order, Tools, advance};
use super::{Local, TransactionId};

/// How long the second answer is waited for once the first is there.
const STRAGGLER: Duration = Duration::from_millis(60);
/// Without an answer by then the try is given up for another.
const SAMPLED_BY: Duration = Duration::from_millis(500);
/// How long a try takes at most.
const TRY_FOR: Duration = Duration::from_millis(1200);
/// First wait before the check is repeated, for it may have been lost; doubled each time.
const REPEAT: Duration = Duration::from_millis(200);
/// Ports above the first answer that are named when the second is missing.
const BLIND: u16 = 6;
/// How long after it was told the other side has sent: the way through the server, and its NAT.
const SIGNAL_TIME: Duration = Duration::from_millis(300);

/// One try.
#[derive(Debug)]
pub(super) struct Predict {
    order: Order,
    local: Local,
    target: SocketAddr,
    step: u16,
    began: Instant,
    before: Asked,
    after: Option<Asked>,
    /// When the other side is told at the latest.
    tell_by: Option<Instant>,
    told: bool,
    next: Instant,
    wait: Duration,
}

#[derive(Debug)]
struct Asked {
    id: TransactionId,
    port: Option<u16>,
}

impl Predict {
    /// Begins; `servers` answer STUN. Without any there is nothing to do.
    pub(super) fn start(
        now: Instant,
        tools: &mut Tools,
        target: SocketAddr,
        step: u16,
        order: Order,
        servers: &[SocketAddr],
    ) -> Option<Self> {
        let first = *servers.first()?;
        let local = tools.open();
        let before = Asked { id: tools.stun(now, local, first), port: None };
        let mut after = None;
        if order == Order::HardFirst {
            tools.check(now, local, target);
            after = servers.get(1).map(|second| Asked { id: tools.stun(now, local, *second), port: None });
        }
        Some(Self {
            order,
            local,
            target,
            step,
            began: now,
            before,
            after,
            tell_by: None,
            told: false,
            next: now + REPEAT,
            wait: REPEAT,
        })
    }

    /// A STUN server saw the socket at `port`.
    pub(super) fn handle_sample(&mut self, now: Instant, tools: &mut Tools, id: TransactionId, port: u16) {
        let asked = [Some(&mut self.before), self.after.as_mut()];
        let Some(asked) = asked.into_iter().flatten().find(|asked| asked.id == id) else { return };
        asked.port = Some(port);
        self.tell_by.get_or_insert(now + STRAGGLER);
        let complete = self.before.port.is_some() && self.after.as_ref().is_none_or(|a| a.port.is_some());
        if complete && !self.told {
            self.tell(tools);
            if self.order == Order::EasyFirst {
                self.next = now + SIGNAL_TIME;
            }
        }
    }

    fn tell(&mut self, tools: &mut Tools) {
        self.told = true;
        let after = self.after.as_ref().and_then(|after| after.port);
        let ports = match (self.before.port, after) {
            (Some(before), Some(after)) if before != after => between(before, after, self.step),
            (Some(before), _) if self.order == Order::EasyFirst => {
                (1..=MAX_AIMED).map(|n| advance_by(before, self.step, n)).collect()
            }
            (Some(before), _) => (1..=BLIND).map(|n| advance(before, self.step, n)).collect(),
            (None, Some(after)) => {
                (1..=BLIND).map(|n| after.saturating_sub(self.step.saturating_mul(n))).collect()
            }
            (None, None) => return,
        };
        tools.signal(Signal::Aim(Aim { ports, range: None }));
    }

    /// Returns whether the try goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if !self.told && self.tell_by.is_some_and(|at| at <= now) {
            self.tell(tools);
        }
        if self.next <= now && (self.told || self.order == Order::HardFirst) {
            tools.check(now, self.local, self.target);
            self.wait *= 2;
            self.next = now + self.wait;
        }
        now < self.deadline()
    }

    fn deadline(&self) -> Instant {
        self.began + if self.tell_by.is_some() { TRY_FOR } else { SAMPLED_BY }
    }

    pub(super) fn timeout(&self) -> Instant {
        let tell = self.tell_by.filter(|_| !self.told);
        let check = Some(self.next).filter(|_| self.told || self.order == Order::HardFirst);
        [tell, check].into_iter().flatten().fold(self.deadline(), Instant::min)
    }

    pub(super) fn owns(&self, local: Local) -> bool {
        self.local == local
    }
}

/// The ports between two that a counter gave out, or the next ones if there are none or too many.
pub(super) fn between(before: u16, after: u16, step: u16) -> Vec<u16> {
    let count = (1..=MAX_AIMED).take_while(|n| advance_by(before, step, *n) != after).count();
    let count = if count == 0 || count == MAX_AIMED { usize::from(BLIND) } else { count };
    (1..=count).map(|n| advance_by(before, step, n)).collect()
}

fn advance_by(port: u16, step: u16, count: usize) -> u16 {
    advance(port, step, u16::try_from(count).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_in_between_is_named() {
        assert_eq!(between(5_000, 5_002, 1), [5_001]);
        assert_eq!(between(5_000, 5_008, 2), [5_002, 5_004, 5_006]);
        assert_eq!(between(65_535, 1_025, 1), [1_024]);
        assert_eq!(between(5_000, 4_000, 1).len(), usize::from(BLIND), "not what it seemed");
    }
}
