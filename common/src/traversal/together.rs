//! NATs that keep a socket's port and that remember whom they have refused, as Linux connection tracking does where it answers
//! strangers: whoever is a little too early spoils the pair of endpoints for both. Both open new sockets, tell each other their
//! ports, and send at the same moment, from each socket to the one that stands in the same place of the other's list. How long
//! the way over the relay takes is known roughly, so that each pair has another guess ([`OFFSETS_MS`]): the packets of one that
//! is right to within the direct way's time cross each other.
//!
//! If one NAT alone remembers, it is enough that its side is early.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::signal::{Aim, Signal};
use super::tools::Tools;
use super::{Local, TransactionId};

/// Mappings that one round makes: a socket for each of [`OFFSETS_MS`].
pub(super) const MAPPINGS: u32 = 15;
/// By how much the side with the smaller endpoint sends later than the other, for each pair of sockets; the other sends later
/// where it is negative. Close together near zero, for peers who are near; the further apart two peers are, the less it matters.
const OFFSETS_MS: [i16; MAPPINGS as usize] = [0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6, 9, -9, 14, -14];
/// The offsets are those of a way over the relay that takes at most this long. Of a longer one less is known, and they are longer
/// in proportion.
const USUAL_WAY: Duration = Duration::from_millis(50);
/// How long the STUN server's and the other side's answers are waited for.
pub(super) const EXCHANGE: Duration = Duration::from_millis(1500);
/// How long all answers of the STUN server are waited for once the first is there.
const STRAGGLERS: Duration = Duration::from_millis(100);
/// When the STUN server is asked again, for an answer may be lost.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// When the checks of a pair are sent: more than one, for it may be lost.
const CHECKS_MS: [u64; 4] = [0, 80, 240, 560];
/// How long a round goes on after the moment that was agreed on.
const LISTEN: Duration = Duration::from_millis(900);

/// One round.
#[derive(Debug)]
pub(super) struct Together {
    server: SocketAddr,
    /// Where the server sees the other side's main socket.
    peer: SocketAddr,
    /// One way over the relay, roughly.
    one_way: Duration,
    sockets: Vec<Socket>,
    ask_again: Instant,
    /// When the ports are told at the latest.
    tell_by: Option<Instant>,
    /// When the ports were told; the sockets are those whose port was.
    told: Option<Instant>,
    /// The other side's, and when they were heard.
    theirs: Option<(Instant, Vec<u16>)>,
    pairs: Vec<Pair>,
    until: Instant,
}

#[derive(Debug)]
struct Socket {
    local: Local,
    id: TransactionId,
    mapped: Option<SocketAddr>,
}

#[derive(Debug)]
struct Pair {
    local: Local,
    target: SocketAddr,
    began: Instant,
    sent: usize,
}

impl Pair {
    /// When its next check is sent.
    fn next(&self) -> Option<Instant> {
        CHECKS_MS.get(self.sent).map(|ms| self.began + Duration::from_millis(*ms))
    }
}

impl Together {
    /// Begins a round with the peer whom the server sees at `peer`. `server` answers STUN; packets take `one_way` over the relay.
    pub(super) fn start(
        now: Instant,
        tools: &mut Tools,
        peer: SocketAddr,
        server: SocketAddr,
        one_way: Duration,
    ) -> Self {
        let mut open = || {
            let local = tools.open();
            Socket { local, id: tools.stun(now, local, server), mapped: None }
        };
        Self {
            server,
            peer,
            one_way,
            sockets: OFFSETS_MS.iter().map(|_| open()).collect(),
            ask_again: now + ASK_AGAIN,
            tell_by: None,
            told: None,
            theirs: None,
            pairs: Vec::new(),
            until: now + EXCHANGE,
        }
    }

    /// The STUN server saw one of our sockets at `mapped`.
    pub(super) fn handle_sample(
        &mut self,
        now: Instant,
        tools: &mut Tools,
        id: TransactionId,
        mapped: SocketAddr,
    ) {
        let Some(socket) = self.sockets.iter_mut().find(|socket| socket.id == id) else { return };
        socket.mapped = Some(mapped);
        self.tell_by.get_or_insert(now + STRAGGLERS);
        if self.sockets.iter().all(|socket| socket.mapped.is_some()) {
            self.tell(now, tools);
        }
    }

    fn tell(&mut self, now: Instant, tools: &mut Tools) {
        if self.told.is_some() {
            return;
        }
        self.sockets.retain(|socket| socket.mapped.is_some());
        let ports = self.sockets.iter().filter_map(|socket| socket.mapped).map(|mapped| mapped.port());
        tools.signal(Signal::Aim(Aim { ports: ports.collect(), range: None }));
        self.told = Some(now);
        self.agree(now);
    }

    /// The other side has told its ports, which were heard at `heard`. Returns whether they belong to this round.
    pub(super) fn handle_ports(&mut self, now: Instant, heard: Instant, ports: &[u16]) -> bool {
        let is_new = self.theirs.is_none();
        if is_new {
            self.theirs = Some((heard, ports.to_vec()));
            self.agree(now);
        }
        is_new
    }

    /// Sets the moment once both have told their ports: when the later word has arrived.
    fn agree(&mut self, now: Instant) {
        let (Some(told), Some((heard, ports))) = (self.told, &self.theirs) else { return };
        let moment = (told + self.one_way).max(*heard).max(now);
        let ours = self.sockets.first().and_then(|socket| socket.mapped);
        let theirs = ports.first().map(|port| SocketAddr::new(self.peer.ip(), *port));
        let sign = if ours < theirs { 1 } else { -1 };
        let scale = (self.one_way.as_secs_f64() / USUAL_WAY.as_secs_f64()).max(1.0);
        let pairs = self.sockets.iter().zip(ports).zip(OFFSETS_MS).filter(|((_, port), _)| **port != 0);
        let pair = |((socket, port), offset): ((&Socket, &u16), i16)| {
            let later = Duration::from_millis((sign * offset).max(0).unsigned_abs().into()).mul_f64(scale);
            let target = SocketAddr::new(self.peer.ip(), *port);
            Pair { local: socket.local, target, began: moment + later, sent: 0 }
        };
        self.pairs = pairs.map(pair).collect();
        self.until = moment + LISTEN;
    }

    /// The other side was heard on one of the sockets, and may have been heard by it on another: nothing more is sent, and all stay
    /// open until a path has proved itself.
    pub(super) fn handle_hit(&mut self) {
        self.pairs.clear();
    }

    /// Returns whether the round goes on.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) -> bool {
        if self.told.is_none() && self.ask_again <= now {
            self.ask_again = now + ASK_AGAIN;
            for socket in self.sockets.iter().filter(|socket| socket.mapped.is_none()) {
                // From the same socket, whose mapping stays, so that either answer says the same.
                tools.stun_again(now, socket.local, self.server, socket.id);
            }
        }
        if self.tell_by.is_some_and(|at| at <= now) {
            self.tell(now, tools);
        }
        for pair in self.pairs.iter_mut().filter(|pair| pair.next().is_some_and(|at| at <= now)) {
            pair.sent += 1;
            tools.check(now, pair.local, pair.target);
        }
        now < self.until
    }

    pub(super) fn timeout(&self) -> Instant {
        let waiting =
            [Some(self.ask_again), self.tell_by].into_iter().flatten().filter(|_| self.told.is_none());
        let checks = self.pairs.iter().filter_map(Pair::next);
        waiting.chain(checks).fold(self.until, Instant::min)
    }

    pub(super) fn owns(&self, local: Local) -> bool {
        self.sockets.iter().any(|socket| socket.local == local)
    }
}

#[cfg(test)]
mod tests;
