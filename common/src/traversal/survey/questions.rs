//! STUN requests that wait for their answers, and are repeated meanwhile.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::stun::binding::TransactionId;
use crate::stun::discovery::{self, Answered, Origin};
use crate::traversal::{Local, Transmit};

/// When a request is repeated, counted from the first one.
const REPEATS_MS: [u64; 3] = [200, 500, 1100];
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(2000);

/// One request.
#[derive(Debug)]
pub(super) struct Question {
    /// Where the answer is to come to.
    pub(super) local: Local,
    /// Where the request leaves from.
    sender: Local,
    pub(super) to: SocketAddr,
    /// From where it is to be answered.
    pub(super) origin: Origin,
    /// What was answered, from where it should have been, and how long after the last repetition before it.
    pub(super) answer: Option<(Answered, Duration)>,
    /// It is answered, but from where it was sent to, as if nothing special had been asked for.
    pub(super) was_ignored: bool,
    /// The request itself came to another of our sockets.
    pub(super) came_back: bool,
    id: TransactionId,
    bytes: Vec<u8>,
    began: Instant,
    sent: Instant,
    repeats: usize,
    is_closed: bool,
}

impl Question {
    /// The endpoint that the answer names.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        match self.answer {
            Some((Answered::Seen { mapped, .. }, _)) => Some(mapped),
            Some((Answered::Refused(_), _)) | None => None,
        }
    }

    fn is_open(&self) -> bool {
        self.answer.is_none() && !self.was_ignored && !self.is_closed
    }

    fn is_over(&self, now: Instant) -> bool {
        !self.is_open() || self.began + PATIENCE <= now
    }

    fn next(&self) -> Instant {
        let end = self.began + PATIENCE;
        REPEATS_MS.get(self.repeats).map_or(end, |ms| self.began + Duration::from_millis(*ms))
    }
}

/// All that are asked at the same time, in the order in which they were sent.
#[derive(Debug)]
pub(super) struct Questions {
    rng: StdRng,
    asked: Vec<Question>,
    transmits: VecDeque<Transmit>,
}

impl Questions {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), asked: Vec::new(), transmits: VecDeque::new() }
    }

    /// Asks `to` from `local`, to be answered from `origin`.
    pub(super) fn ask(&mut self, now: Instant, local: Local, to: SocketAddr, origin: Origin) {
        self.send(now, [local, local], to, (origin, None));
    }

    /// Has `to` send its answer to a request of `sender` to `local`, which is seen at `port` from outside.
    pub(super) fn call(&mut self, now: Instant, [sender, local]: [Local; 2], to: SocketAddr, port: u16) {
        self.send(now, [sender, local], to, (Origin::Asked, Some(port)));
    }

    fn send(
        &mut self,
        now: Instant,
        [sender, local]: [Local; 2],
        to: SocketAddr,
        (origin, port): (Origin, Option<u16>),
    ) {
        let id: TransactionId = self.rng.random();
        let bytes = discovery::request(id, origin, port);
        self.transmits.push_back(Transmit { local: sender, to, bytes: bytes.clone() });
        self.asked.push(Question {
            local,
            sender,
            to,
            origin,
            answer: None,
            was_ignored: false,
            came_back: false,
            id,
            bytes,
            began: now,
            sent: now,
            repeats: 0,
            is_closed: false,
        });
    }

    /// A STUN message that is no request came to `local`.
    pub(super) fn handle_response(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        let mut open = self.asked.iter_mut().filter(|question| question.is_open());
        let answer = open.find_map(|question| {
            let is_its = question.local == local || question.sender == local;
            let answer = discovery::parse(datagram, question.id).filter(|_| is_its)?;
            Some((question, answer))
        });
        let Some((question, answer)) = answer else { return };
        let is_refusal = matches!(answer, Answered::Refused(_)) && from == question.to;
        let is_from_there = (from == question.to) == (question.origin == Origin::Asked);
        if is_refusal || (is_from_there && local == question.local) {
            question.answer = Some((answer, now.saturating_duration_since(question.sent)));
        } else if from == question.to {
            question.was_ignored = true;
        }
    }

    /// One of our own requests came to `local`.
    pub(super) fn handle_request(&mut self, local: Local, id: TransactionId) {
        let mut sent = self.asked.iter_mut().filter(|question| question.local != local);
        if let Some(question) = sent.find(|question| question.id == id) {
            question.came_back = true;
        }
    }

    /// Whether a request of one of `locals` came back.
    pub(super) fn has_come_back(&self, locals: &[Local]) -> bool {
        self.asked.iter().any(|question| question.came_back && locals.contains(&question.local))
    }

    /// What `locals` ask needs no answer any more.
    pub(super) fn close(&mut self, locals: &[Local]) {
        for question in self.asked.iter_mut().filter(|question| locals.contains(&question.local)) {
            question.is_closed = true;
        }
    }

    /// Repeats what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for question in self.asked.iter_mut().filter(|question| question.is_open()) {
            if question.repeats < REPEATS_MS.len() && question.next() <= now {
                question.repeats += 1;
                question.sent = now;
                let Question { sender, to, bytes, .. } = question;
                self.transmits.push_back(Transmit { local: *sender, to: *to, bytes: bytes.clone() });
            }
        }
    }

    /// Whether nothing is waited for any more.
    pub(super) fn are_over(&self, now: Instant) -> bool {
        self.asked.iter().all(|question| question.is_over(now))
    }

    /// Those for which nothing is waited for any more; they are forgotten here.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<Question> {
        self.asked.extract_if(.., |question| question.is_over(now)).collect()
    }

    /// All questions with what became of them; there are none after that.
    pub(super) fn take(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.asked)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.asked.iter().filter(|question| question.is_open()).map(Question::next).min()
    }
}
