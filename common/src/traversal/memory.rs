//! Whether a NAT remembers whom it has refused, as Linux connection tracking does: it then takes another port towards them
//! (`docs/protocol.md` §3.1).
//!
//! One socket asks a port of the server where it is seen. Another socket has a second port of the server send an answer
//! there (RESPONSE-PORT, RFC 5780 §7.5), which is a stranger's packet to the NAT. Then the first socket asks the second
//! port: if that sees it elsewhere, the stranger's packet was remembered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Local, TransactionId, Transmit};
use crate::stun::binding;
use crate::stun::discovery::{self, Origin};

/// When the requests of a step are repeated, counted from the first ones.
const REPEATS_MS: [u64; 3] = [200, 500, 1100];
/// How long the answer of a step is waited for.
const PATIENCE: Duration = Duration::from_millis(2000);
/// Requests of one test.
pub(super) const REQUESTS: usize = 4;

/// Where the test has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The first socket asks the first port.
    Outside,
    /// The second port sends to what was seen there, and answers the second socket after that.
    Stranger { outside: SocketAddr },
    /// The first socket asks the second port.
    Again { outside: SocketAddr },
    /// It is known, or nobody answers.
    Done { remembers: bool },
}

/// The test. One for each network.
#[derive(Debug)]
pub(super) struct Memory {
    sockets: [Local; 2],
    servers: [SocketAddr; 2],
    ids: [TransactionId; REQUESTS],
    step: Step,
    began: Instant,
    repeats: usize,
    transmits: VecDeque<Transmit>,
}

impl Memory {
    /// Begins with two new `sockets` and two ports of one server.
    pub(super) fn start(
        now: Instant,
        sockets: [Local; 2],
        servers: [SocketAddr; 2],
        ids: [TransactionId; REQUESTS],
    ) -> Self {
        let step = Step::Outside;
        let mut memory =
            Self { sockets, servers, ids, step, began: now, repeats: 0, transmits: VecDeque::new() };
        memory.ask();
        memory
    }

    fn enter(&mut self, now: Instant, step: Step) {
        (self.step, self.began, self.repeats) = (step, now, 0);
        self.ask();
    }

    /// Sends the requests of this step.
    fn ask(&mut self) {
        let ([first, second], [near, strange]) = (self.sockets, self.servers);
        let plain = |id: TransactionId| binding::request(id).to_vec();
        let mut send = |local, to, bytes| self.transmits.push_back(Transmit { local, to, bytes });
        match self.step {
            Step::Outside => send(first, near, plain(self.ids[0])),
            Step::Stranger { outside } => {
                let call = discovery::request(self.ids[1], Origin::Asked, Some(outside.port()));
                // Twice, for a lost packet would look like a NAT that forgets.
                send(second, strange, call.clone());
                send(second, strange, call);
                // Its answer comes after the stranger's packets.
                send(second, strange, plain(self.ids[2]));
            }
            Step::Again { .. } => send(first, strange, plain(self.ids[3])),
            Step::Done { .. } => {}
        }
    }

    /// Takes in a STUN response that came to `local`.
    pub(super) fn handle_response(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        let ([first, second], [near, strange]) = (self.sockets, self.servers);
        let (asked, number) = match self.step {
            Step::Outside => ((first, near), 0),
            Step::Stranger { .. } => ((second, strange), 2),
            Step::Again { .. } => ((first, strange), 3),
            Step::Done { .. } => return,
        };
        let answer = binding::parse_response(datagram, self.ids[number]);
        let Some(seen) = answer.filter(|_| (local, from) == asked) else { return };
        let next = match self.step {
            Step::Outside => Step::Stranger { outside: seen },
            Step::Stranger { outside } => Step::Again { outside },
            Step::Again { outside } => Step::Done { remembers: seen != outside },
            done @ Step::Done { .. } => done,
        };
        self.enter(now, next);
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.began + PATIENCE {
            self.step = Step::Done { remembers: false };
        } else if self.next_repeat().is_some_and(|at| at <= now) {
            self.repeats += 1;
            self.ask();
        }
    }

    fn next_repeat(&self) -> Option<Instant> {
        REPEATS_MS.get(self.repeats).map(|ms| self.began + Duration::from_millis(*ms))
    }

    /// What was found, once there is nothing more to be found.
    pub(super) const fn verdict(&self) -> Option<bool> {
        if let Step::Done { remembers } = self.step { Some(remembers) } else { None }
    }

    pub(super) const fn sockets(&self) -> [Local; 2] {
        self.sockets
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let end = self.began + PATIENCE;
        self.verdict().is_none().then(|| self.next_repeat().map_or(end, |at| at.min(end)))
    }
}
