//! A new mapping for a path that works, made before the one that it has comes to its end: some NATs end a mapping at a
//! certain age however busy it is.
//!
//! From a new socket two STUN servers are asked and, between that, a check is sent to where the peer is. The port that the
//! servers saw, or those between, are named to the peer over the path that still works, and it sends checks there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::nat::{Choice, Class};
use super::predict::between;
use super::signal::{Aim, Signal};
use super::tools::Tools;
use super::{Local, TransactionId};

/// When the check is sent again, and after which the try has failed.
const REPEATS_MS: [u64; 4] = [150, 350, 700, 1_500];

/// One try.
#[derive(Debug)]
pub(super) struct Renewal {
    local: Local,
    target: SocketAddr,
    asked: Vec<(TransactionId, Option<u16>)>,
    began: Instant,
    repeats: usize,
    is_told: bool,
}

impl Renewal {
    /// Begins a try to get to `target` from a new socket; `servers` answer STUN.
    pub(super) fn start(
        now: Instant,
        tools: &mut Tools,
        target: SocketAddr,
        servers: &[SocketAddr],
    ) -> Option<Self> {
        let (first, second) = (*servers.first()?, servers.get(1).copied());
        let local = tools.open();
        let mut asked = vec![(tools.stun(now, local, first), None)];
        tools.check(now, local, target);
        asked.extend(second.map(|second| (tools.stun(now, local, second), None)));
        Some(Self { local, target, asked, began: now, repeats: 0, is_told: false })
    }

    /// A STUN server saw the socket at `port`, behind a NAT of this class.
    pub(super) fn handle_sample(&mut self, tools: &mut Tools, class: Class, id: TransactionId, port: u16) {
        let Some(asked) = self.asked.iter_mut().find(|(asked, _)| *asked == id) else { return };
        asked.1 = Some(port);
        let seen: Vec<_> = self.asked.iter().filter_map(|(_, port)| *port).collect();
        if self.is_told || seen.len() < self.asked.len() {
            return;
        }
        self.is_told = true;
        let ports = match (&seen[..], class) {
            (
                [first, second],
                Class::Hard(Choice::Counter(step)) | Class::Doubtful(Choice::Counter(step)),
            ) if first != second => between(*first, *second, step),
            ([first, second], _) if first != second => return,
            _ => vec![seen[0]],
        };
        tools.signal(Signal::Aim(Aim { ports, range: None }));
    }

    /// Returns whether the try goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if self.timeout() <= now {
            self.repeats += 1;
            if self.repeats == REPEATS_MS.len() {
                return false;
            }
            tools.check(now, self.local, self.target);
        }
        true
    }

    pub(super) fn timeout(&self) -> Instant {
        self.began + Duration::from_millis(REPEATS_MS[self.repeats.min(REPEATS_MS.len() - 1)])
    }

    pub(super) const fn local(&self) -> Local {
        self.local
    }
}
