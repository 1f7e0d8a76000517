//! Finds out at once, for a person who asks, what the network does to UDP: how the NAT maps (RFC 5780 §4.3), whom it
//! lets in (§4.4), how it chooses ports, whether packets between two of its mappings come back inside.
//!
//! Unlike the [`Prober`](super::prober::Prober) it has sockets of its own, asks all there is to ask, and takes up to eight
//! seconds. Drain `poll_transmit`, read `poll_timeout`, and look at `findings`, after every input.

mod filtering;
pub mod lifetime;
mod questions;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::address::may_check;
use super::nat::{self, Nat, Sample};
use super::{Local, Transmit};
use crate::stun::discovery::{self, Answered, Origin};

pub use filtering::Filtering;
use questions::{Question, Questions};

/// Sockets that the survey uses, [`Local`] 0 to one less.
pub const SOCKETS: u32 = 1 + NEW_SOCKETS;
/// Sockets that have asked nothing before; eight tell a block of ports from all of them.
const NEW_SOCKETS: u32 = 9;
/// Servers that are asked.
pub const MAX_SERVERS: usize = 16;
/// The socket to which answers are sent from elsewhere.
const FILTERED: Local = Local(NEW_SOCKETS);
/// The two that send to each other from outside.
const FACING: [Local; 2] = [Local(1), Local(2)];

/// What a machine that asks over UDP takes and gives; see there when to drain it.
pub trait Asks {
    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// A datagram came to `local`.
    fn handle_datagram(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]);
    /// Lets time pass.
    fn handle_timeout(&mut self, now: Instant);
    /// When `handle_timeout` wants to be called; `None` when all is done.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Which servers answered the first socket; empty if UDP does not pass, or all are down.
    pub seen: Vec<Seen>,
    /// How the NAT maps and chooses ports.
    pub nat: Nat,
    /// Whom it lets in.
    pub filtering: Filtering,
    /// Whether two sockets behind it reach each other at the endpoints that a server sees; `None` if that was not tried.
    pub hairpin: Option<bool>,
}

/// One server's answer to the first socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The server.
    pub server: SocketAddr,
    /// Where it saw the socket.
    pub mapped: SocketAddr,
    /// How long the answer took.
    pub rtt: Duration,
}

/// What is known beforehand of the first server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It is a rendezvous: it answers from another port when asked to, or says that it cannot.
    Rendezvous,
    /// Nothing.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first socket asks everybody.
    Servers,
    /// New sockets ask one server.
    Ports,
    /// Answers from elsewhere, and packets to our own outside.
    Doors,
    Done,
}

/// The machine.
#[derive(Debug)]
pub struct Survey {
    local_ports: Vec<u16>,
    stage: Stage,
    questions: Questions,
    samples: Vec<Sample>,
    /// The server that answers from elsewhere, best the rendezvous: its silence means something.
    main: Option<Main>,
    findings: Findings,
}

#[derive(Debug, Clone, Copy)]
struct Main {
    server: SocketAddr,
    /// Its alternate address.
    other: Option<SocketAddr>,
    /// Whether it answers from another port when asked to, or says that it cannot.
    is_known: bool,
}

impl Survey {
    /// A survey that asks `servers`, all of one address family, at most [`MAX_SERVERS`]. `local_ports` are those of the [`SOCKETS`] sockets; `seed` feeds transaction ids.
    #[must_use]
    pub fn new(now: Instant, seed: u64, servers: &[SocketAddr], first: First, local_ports: Vec<u16>) -> Self {
        let mut questions = Questions::new(seed);
        for server in servers.iter().take(MAX_SERVERS) {
            questions.ask(now, Local::MAIN, *server, Origin::Asked);
        }
        let main = servers.first().filter(|_| first == First::Rendezvous);
        let main = main.map(|server| Main { server: *server, other: None, is_known: true });
        let mut survey = Self {
            local_ports,
            stage: Stage::Servers,
            questions,
            samples: Vec::new(),
            main,
            findings: Findings::default(),
        };
        survey.settle(now);
        survey
    }

    /// What was found, once all is done.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        (self.stage == Stage::Done).then_some(&self.findings)
    }

    /// Goes on to the next stage when all of this one is answered, or will not be.
    fn settle(&mut self, now: Instant) {
        while self.stage != Stage::Done && self.questions.are_over(now) {
            let asked = self.questions.take();
            match self.stage {
                Stage::Servers => self.handle_servers(now, &asked),
                Stage::Ports => self.handle_ports(now, &asked),
                Stage::Doors => self.handle_doors(&asked),
                Stage::Done => {}
            }
        }
    }

    fn handle_servers(&mut self, now: Instant, asked: &[Question]) {
        self.sample(asked);
        let is_new = self.findings.seen.is_empty();
        for question in asked {
            let Some((Answered::Seen { mapped, other }, rtt)) = question.answer else { continue };
            let server = question.to;
            self.findings.seen.push(Seen { server, mapped, rtt });
            let other = other.filter(|other| may_check(*other, server.ip().is_loopback()));
            match &mut self.main {
                Some(main) if main.server == server => main.other = other,
                // Any server with an alternate address is as good.
                Some(main) if main.other.is_none() && other.is_some() => {
                    *main = Main { server, other, is_known: true };
                }
                Some(_) => {}
                None => self.main = Some(Main { server, other, is_known: other.is_some() }),
            }
        }
        let seen = |server: SocketAddr| self.findings.seen.iter().any(|seen| seen.server == server);
        let others = self.main.and_then(|main| main.other).filter(|other| is_new && !seen(*other));
        if let Some(other) = others {
            // RFC 5780 §4.3: the mapping towards another address is what tells most.
            return self.questions.ask(now, Local::MAIN, other, Origin::Asked);
        }
        // The server that was to answer from elsewhere may be the one that is down.
        if let Some(main) = &mut self.main
            && !self.findings.seen.iter().any(|seen| seen.server == main.server)
            && let Some(first) = self.findings.seen.first()
        {
            *main = Main { server: first.server, other: None, is_known: false };
        }
        let Some(main) = self.main.filter(|_| !self.findings.seen.is_empty()) else {
            self.stage = Stage::Done;
            return;
        };
        for local in 1..SOCKETS {
            self.questions.ask(now, Local(local), main.server, Origin::Asked);
        }
        self.stage = Stage::Ports;
    }

    fn handle_ports(&mut self, now: Instant, asked: &[Question]) {
        self.sample(asked);
        self.findings.nat = nat::classify(&self.samples);
        let Some(main) = self.main else { return };
        self.stage = Stage::Doors;
        if asked.iter().any(|question| question.local == FILTERED && question.answer.is_some()) {
            if main.other.is_some() {
                self.questions.ask(now, FILTERED, main.server, Origin::Other);
            }
            self.questions.ask(now, FILTERED, main.server, Origin::OtherPort);
        }
        let outside = FACING.map(|local| {
            let question = asked.iter().find(|question| question.local == local)?;
            let mapped = question.mapped()?;
            may_check(mapped, main.server.ip().is_loopback()).then_some(mapped)
        });
        if let [Some(first), Some(second)] = outside {
            // Each sends to the other's, so that a filter has seen both.
            self.questions.ask(now, FACING[0], second, Origin::Asked);
            self.questions.ask(now, FACING[1], first, Origin::Asked);
        }
    }

    fn handle_doors(&mut self, asked: &[Question]) {
        let facing = |question: &&Question| FACING.contains(&question.local);
        let facing: Vec<_> = asked.iter().filter(facing).collect();
        self.findings.hairpin =
            (!facing.is_empty()).then(|| facing.iter().any(|question| question.came_back));
        let filtered: Vec<_> = asked.iter().filter(|question| question.local == FILTERED).collect();
        if let Some(main) = self.main {
            self.findings.filtering = filtering::judge(&filtered, main.is_known);
        }
        self.stage = Stage::Done;
    }

    fn sample(&mut self, asked: &[Question]) {
        let sample = |question: &Question| {
            let place = usize::try_from(question.local.0).ok()?;
            let local_port = self.local_ports.get(place).copied().unwrap_or(0);
            let mapped = question.mapped()?;
            Some(Sample { local_port, socket: question.local.0, to: question.to, mapped })
        };
        let samples: Vec<_> = asked.iter().filter_map(sample).collect();
        self.samples.extend(samples);
    }
}

impl Asks for Survey {
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.questions.poll_transmit()
    }

    fn handle_datagram(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        if let Some(id) = discovery::request_id(datagram) {
            self.questions.handle_request(local, id);
        } else {
            self.questions.handle_response(now, local, from, datagram);
        }
        if self.stage == Stage::Doors && self.questions.has_come_back(&FACING) {
            self.questions.close(&FACING);
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.questions.handle_timeout(now);
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.questions.poll_timeout()
    }
}
