//! Finds out what NAT this machine is behind, once for each network: asks the server's ports how packets look from
//! there, first from the main socket, and then, if that shows that mappings differ, from a few new ones; if it does not,
//! it looks whether the NAT remembers whom it has refused.
//!
//! Drain `poll_transmit`, `poll_released` and `poll_nat`, then read `poll_timeout`, after every input.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::memory::{Memory, REQUESTS};
use super::nat::{self, Class, Nat, Sample};
use super::witness::Witnesses;
use super::{Local, TransactionId, Transmit};
use crate::control::MAX_PROBES;
use crate::stun::binding;

/// New sockets that are looked at. With the first answers they are ten samples or so: enough to tell a block of ports
/// from all of them, and its size from twice that.
const NEW_SOCKETS: usize = 8;
/// When a request is repeated, counted from the first one.
const REPEATS_MS: [u64; 3] = [200, 500, 1100];
/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_millis(2000);

/// The machine. One for all peers.
#[derive(Debug)]
pub struct Prober {
    tag: u32,
    rng: StdRng,
    next_local: u32,
    servers: Vec<SocketAddr>,
    round: Option<Round>,
    memory: Option<Memory>,
    /// What was judged last.
    judged: Nat,
    /// Where the server sees the main socket.
    observed: Option<SocketAddr>,
    witnesses: Witnesses,
    nat: Option<Nat>,
    transmits: VecDeque<Transmit>,
    released: VecDeque<Local>,
}

/// How the main socket is connected to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The socket's own port; 0 if that is not known.
    pub local_port: u16,
    /// The server's address.
    pub server: SocketAddr,
    /// Where the server sees the socket.
    pub observed: SocketAddr,
}

#[derive(Debug)]
struct Round {
    local_port: u16,
    asked: Vec<Asked>,
    began: Instant,
    repeats: usize,
    has_new_sockets: bool,
}

/// One question; in the order in which they were sent.
#[derive(Debug)]
struct Asked {
    id: TransactionId,
    local: Local,
    to: SocketAddr,
    mapped: Option<SocketAddr>,
}

impl Prober {
    /// A new prober. `tag` becomes the first four bytes of all its transaction ids, and must differ from every agent's.
    #[must_use]
    pub fn new(tag: u32) -> Self {
        Self {
            tag,
            rng: StdRng::seed_from_u64(0),
            next_local: Local::MAIN.0,
            servers: Vec::new(),
            round: None,
            memory: None,
            judged: Nat::default(),
            observed: None,
            witnesses: Witnesses::default(),
            nat: None,
            transmits: VecDeque::new(),
            released: VecDeque::new(),
        }
    }

    /// Begins anew at `place`, whose server answers STUN at `probes` too, of which at most [`MAX_PROBES`] are used.
    /// `seed` feeds the transaction ids.
    pub fn start(&mut self, now: Instant, seed: u64, place: Place, probes: &[SocketAddr]) {
        self.end();
        self.forget_memory();
        self.rng = StdRng::seed_from_u64(seed);
        let Place { local_port, server, observed } = place;
        if self.observed.replace(observed) != Some(observed) {
            self.witnesses.forget();
        }
        self.servers = probes.iter().copied().filter(|probe| probe.is_ipv4() == server.is_ipv4()).collect();
        self.servers.truncate(MAX_PROBES);
        let known = Asked { id: [0; 12], local: Local::MAIN, to: server, mapped: Some(observed) };
        let round = Round { local_port, asked: vec![known], began: now, repeats: 0, has_new_sockets: false };
        self.round = Some(round);
        for server in self.servers.clone() {
            self.ask(Local::MAIN, server);
        }
    }

    /// Where STUN is answered.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    fn id(&mut self) -> TransactionId {
        let mut id: TransactionId = self.rng.random();
        id[..4].copy_from_slice(&self.tag.to_be_bytes());
        id
    }

    fn new_socket(&mut self) -> Local {
        self.next_local += 1;
        Local(self.next_local)
    }

    fn ask(&mut self, local: Local, to: SocketAddr) {
        let id = self.id();
        self.transmits.push_back(Transmit { local, to, bytes: binding::request(id).to_vec() });
        if let Some(round) = &mut self.round {
            round.asked.push(Asked { id, local, to, mapped: None });
        }
    }

    /// A peer at the public address `remote` says that it sees the main socket at `mapped`.
    pub fn handle_witness(&mut self, remote: SocketAddr, mapped: SocketAddr) {
        self.witnesses.handle(remote, mapped);
        self.weigh();
    }

    /// Takes in a STUN response that came to `local`.
    pub fn handle_response(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        if let Some(memory) = &mut self.memory {
            memory.handle_response(now, local, from, datagram);
            return self.settle_memory();
        }
        let Some(round) = &mut self.round else { return };
        let mut open = round.asked.iter_mut().filter(|asked| asked.mapped.is_none());
        let answer = open.find_map(|asked| {
            let is_its = asked.local == local && asked.to == from;
            let mapped = binding::parse_response(datagram, asked.id).filter(|_| is_its)?;
            Some((asked, mapped))
        });
        let Some((asked, mapped)) = answer else { return };
        asked.mapped = Some(mapped);
        if round.asked.iter().all(|asked| asked.mapped.is_some()) {
            self.judge(now);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(memory) = &mut self.memory {
            memory.handle_timeout(now);
            return self.settle_memory();
        }
        let Some(round) = &mut self.round else { return };
        if now >= round.began + PATIENCE {
            return self.judge(now);
        }
        if round.next_repeat().is_some_and(|at| at <= now) {
            round.repeats += 1;
            for asked in round.asked.iter().filter(|asked| asked.mapped.is_none()) {
                let bytes = binding::request(asked.id).to_vec();
                self.transmits.push_back(Transmit { local: asked.local, to: asked.to, bytes });
            }
        }
    }

    /// All answers are there, or will not come.
    fn judge(&mut self, now: Instant) {
        let Some(round) = &mut self.round else { return };
        let nat = nat::classify(&round.samples());
        if nat.wants_ports() && !round.has_new_sockets && !self.servers.is_empty() {
            round.has_new_sockets = true;
            (round.began, round.repeats) = (now, 0);
            // What was not answered so far does not answer.
            round.asked.retain(|asked| asked.mapped.is_some());
            for n in 0..NEW_SOCKETS {
                let local = self.new_socket();
                self.ask(local, self.servers[n % self.servers.len()]);
            }
            return;
        }
        (self.judged, self.nat) = (nat, Some(nat));
        self.end();
        self.weigh();
        if nat.may_be_easy() {
            self.start_memory(now);
        }
    }

    /// Adds what peers have said where the server could not tell: whether other addresses see the same.
    fn weigh(&mut self) {
        let Some(observed) = self.observed.filter(|_| self.round.is_none()) else { return };
        // A port of its own for one who came too early says nothing of the others.
        let is_open = matches!(self.judged.class(), Class::Doubtful(_)) && !self.judged.remembers_refused;
        let said_to_be_hard = is_open && self.witnesses.see_others(observed);
        if said_to_be_hard != self.judged.said_to_be_hard {
            self.judged.said_to_be_hard = said_to_be_hard;
            self.nat = Some(self.judged);
        }
    }

    /// Looks whether the NAT remembers whom it refuses, with two ports of one server.
    fn start_memory(&mut self, now: Instant) {
        let mut servers = self.servers.iter().copied();
        let Some(first) = servers.next() else { return };
        let Some(second) = servers.find(|server| server.ip() == first.ip()) else { return };
        let sockets = [self.new_socket(), self.new_socket()];
        let ids: [TransactionId; REQUESTS] = std::array::from_fn(|_| self.id());
        self.memory = Some(Memory::start(now, sockets, [first, second], ids));
    }

    fn settle_memory(&mut self) {
        if let Some(remembers) = self.memory.as_ref().and_then(Memory::verdict) {
            if remembers {
                self.judged = self.judged.remembering(true);
                self.nat = Some(self.judged);
            }
            self.forget_memory();
        }
    }

    fn forget_memory(&mut self) {
        self.released.extend(self.memory.take().iter().flat_map(Memory::sockets));
    }

    fn end(&mut self) {
        let asked = self.round.take().map(|round| round.asked).unwrap_or_default();
        self.released.extend(asked.iter().map(|asked| asked.local).filter(|local| *local != Local::MAIN));
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front().or_else(|| self.memory.as_mut()?.poll_transmit())
    }

    /// The next socket that is not needed any more.
    pub fn poll_released(&mut self) -> Option<Local> {
        self.released.pop_front()
    }

    /// What was found, once; and once more if peers tell more, or the NAT turns out to remember whom it refuses.
    pub fn poll_nat(&mut self) -> Option<Nat> {
        self.nat.take()
    }

    /// When [`Prober::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(memory) = &self.memory {
            return memory.poll_timeout();
        }
        let round = self.round.as_ref()?;
        let end = round.began + PATIENCE;
        Some(round.next_repeat().map_or(end, |at| at.min(end)))
    }
}

impl Round {
    fn next_repeat(&self) -> Option<Instant> {
        REPEATS_MS.get(self.repeats).map(|ms| self.began + Duration::from_millis(*ms))
    }

    fn samples(&self) -> Vec<Sample> {
        let sample = |asked: &Asked| {
            let local_port = if asked.local == Local::MAIN { self.local_port } else { 0 };
            asked.mapped.map(|mapped| Sample { local_port, socket: asked.local.0, to: asked.to, mapped })
        };
        self.asked.iter().filter_map(sample).collect()
    }
}
