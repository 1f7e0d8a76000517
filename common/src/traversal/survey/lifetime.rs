//! How long a mapping lives that nothing uses (RFC 5780 §4.6): a socket is left alone for a while after it was seen, and
//! then a second socket has the server send something to where the first one was seen.
//!
//! The standard searches by halving, one wait after the other. Here several sockets wait at the same time, each for
//! another while, so that two or three rounds do; the first that is found dead ends its round. Takes about two
//! lifetimes, and at most [`LONGEST`] if that many seconds are survived.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Asks;
use super::questions::{Question, Questions};
use crate::stun::discovery::{Answered, Origin};
use crate::traversal::{Local, Transmit};

/// The waits of the first round, in seconds: around what routers are known to have.
const FIRST_S: [u64; 11] = [10, 20, 30, 45, 60, 90, 120, 150, 180, 240, 300];
/// A mapping that survives this is as good as one that stays.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Waits of later rounds.
const LATER: u32 = 6;
/// Rounds in all.
const MAX_ROUNDS: u32 = 3;
/// Exact enough: heartbeats keep more than this away from the end.
const EXACT: Duration = Duration::from_secs(2);
/// The socket that has the others sent to.
const ASKER: Local = Local::MAIN;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It is between the two: the mapping was there after the first and gone after the second, if there is one.
    Between(Duration, Option<Duration>),
    /// The server sends nothing to another port (RESPONSE-PORT), or answers no more.
    Unknown,
}

/// The machine. Its sockets are [`Local`] 0 and others, each used once.
#[derive(Debug)]
pub struct Measure {
    server: SocketAddr,
    questions: Questions,
    waits: Vec<Wait>,
    next_local: u32,
    rounds: u32,
    alive: Duration,
    dead: Option<Duration>,
    found: Option<Lifetime>,
}

/// A socket that is left alone.
#[derive(Debug)]
struct Wait {
    local: Local,
    length: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It asks where it is seen.
    Opening,
    /// It was seen at this port and waits until then.
    Waiting(u16, Instant),
    /// Something is being sent to it.
    Called,
}

impl Measure {
    /// Measures with the help of `server`; `seed` feeds transaction ids.
    #[must_use]
    pub fn new(now: Instant, seed: u64, server: SocketAddr) -> Self {
        let mut measure = Self {
            server,
            questions: Questions::new(seed),
            waits: Vec::new(),
            next_local: ASKER.0,
            rounds: 0,
            alive: Duration::ZERO,
            dead: None,
            found: None,
        };
        measure.begin(now, FIRST_S.map(Duration::from_secs).to_vec());
        measure
    }

    /// What was found, once all is done.
    #[must_use]
    pub const fn found(&self) -> Option<Lifetime> {
        self.found
    }

    /// What is known so far: survived, and not survived.
    #[must_use]
    pub const fn so_far(&self) -> (Duration, Option<Duration>) {
        (self.alive, self.dead)
    }

    fn begin(&mut self, now: Instant, lengths: Vec<Duration>) {
        self.rounds += 1;
        self.waits.clear();
        self.questions.take();
        for length in lengths {
            self.next_local += 1;
            let local = Local(self.next_local);
            self.questions.ask(now, local, self.server, Origin::Asked);
            self.waits.push(Wait { local, length, state: State::Opening });
        }
    }

    /// Sends to those whose time has come, and looks at what became of it.
    fn settle(&mut self, now: Instant) {
        if self.found.is_some() {
            return;
        }
        for wait in &mut self.waits {
            if let State::Waiting(port, until) = wait.state
                && until <= now
            {
                wait.state = State::Called;
                // The answer comes to the socket that waits, the other one shows that the server is there.
                self.questions.call(now, [ASKER, wait.local], self.server, port);
                self.questions.ask(now, ASKER, self.server, Origin::Asked);
            }
        }
        for question in self.questions.take_over(now) {
            if self.found.is_none() {
                self.handle_fate(now, &question);
            }
        }
        if self.found.is_none() {
            self.go_on(now);
        }
    }

    fn handle_fate(&mut self, now: Instant, question: &Question) {
        if question.local == ASKER && question.answer.is_none() {
            // Nothing passes at all any more.
            return self.found = Some(Lifetime::Unknown);
        }
        let Some(wait) = self.waits.iter_mut().find(|wait| wait.local == question.local) else { return };
        match (wait.state, question.answer) {
            (State::Opening, Some((Answered::Seen { mapped, .. }, _))) => {
                wait.state = State::Waiting(mapped.port(), now + wait.length);
            }
            (State::Called, Some((Answered::Seen { .. }, _))) => self.alive = self.alive.max(wait.length),
            (State::Called, None) if !question.was_ignored => {
                let length = wait.length;
                self.dead = Some(self.dead.map_or(length, |dead| dead.min(length)));
            }
            (_, Some((Answered::Refused(_), _)) | None) => {
                return self.found = Some(Lifetime::Unknown);
            }
            (State::Waiting(..), Some(_)) => {}
        }
        let local = question.local;
        self.waits.retain(|wait| wait.local != local || wait.state != State::Called);
    }

    fn go_on(&mut self, now: Instant) {
        let is_settled = self.dead.is_some_and(|dead| self.waits.iter().all(|wait| wait.length >= dead));
        if !is_settled && !self.waits.is_empty() {
            return;
        }
        let Some(dead) = self.dead else { return self.end() };
        let gap = dead.saturating_sub(self.alive);
        if self.rounds == MAX_ROUNDS || gap <= EXACT {
            return self.end();
        }
        let lengths = (1..=LATER).map(|n| self.alive + gap * n / (LATER + 1)).collect();
        self.begin(now, lengths);
    }

    fn end(&mut self) {
        self.waits.clear();
        self.questions.take();
        self.found = Some(Lifetime::Between(self.alive, self.dead));
    }
}

impl Asks for Measure {
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.questions.poll_transmit()
    }

    fn handle_datagram(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        self.questions.handle_response(now, local, from, datagram);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.questions.handle_timeout(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.found.is_some() {
            return None;
        }
        let waiting = self.waits.iter().filter_map(|wait| match wait.state {
            State::Waiting(_, until) => Some(until),
            State::Opening | State::Called => None,
        });
        waiting.chain(self.questions.poll_timeout()).min()
    }
}
