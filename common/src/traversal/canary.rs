//! How long our NAT holds a mapping over which nothing is sent, measured where it does no harm: on sockets that are good
//! for nothing else (after RFC 5780 §4.6).
//!
//! A row of sockets asks a STUN server once each and falls silent, each for another time. Then the main socket asks the
//! server to answer to the port that one of them had (RESPONSE-PORT, RFC 5780 §7.5). If that comes in, the mapping was
//! there all the time, and the NAT still let the server in. The first of the row waits for nothing: without its answer
//! the server cannot do this, or the NAT has several addresses, and nothing is learned.
//!
//! Drain `poll_transmit`, `poll_released` and `poll_news`, then read `poll_timeout`, after every input.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Local, TransactionId, Transmit};
use crate::stun::binding;
use crate::stun::discovery::{self, Origin};

/// For how long the sockets of a row are silent. The last one is about what paths need.
const SILENCES_SECS: [u64; 8] = [0, 8, 14, 20, 28, 43, 58, 112];
/// When a question is repeated, counted from the first one, and when it is given up.
const REPEATS_MS: [u64; 3] = [250, 700, 1_500];
/// Between two rows.
const REPEAT: Duration = Duration::from_secs(3600);

/// What a row has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A new row begins.
    Began,
    /// A mapping was there after this silence.
    Survived(Duration),
    /// A mapping was gone after this silence.
    Forgotten(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server was asked how the socket looks from there.
    Asked,
    /// It looks like this port, and is silent.
    Silent(u16),
    /// The server was asked to send something to the port.
    Called(u16),
}

#[derive(Debug)]
struct Canary {
    local: Local,
    silence: Duration,
    state: State,
    id: TransactionId,
    /// When the state began, and the questions that were repeated since.
    since: Instant,
    repeats: usize,
}

impl Canary {
    fn due(&self) -> Instant {
        match self.state {
            State::Silent(_) => self.since + self.silence,
            State::Asked | State::Called(_) => self.since + Duration::from_millis(REPEATS_MS[self.repeats]),
        }
    }
}

/// The machine. One for all peers.
#[derive(Debug)]
pub struct Canaries {
    tag: u32,
    rng: StdRng,
    next_local: u32,
    server: Option<SocketAddr>,
    row: Vec<Canary>,
    next_row: Option<Instant>,
    transmits: VecDeque<Transmit>,
    released: VecDeque<Local>,
    news: VecDeque<News>,
}

impl Canaries {
    /// A machine at rest. `tag` becomes the first four bytes of all its transaction ids, and must differ from every
    /// agent's.
    #[must_use]
    pub fn new(tag: u32) -> Self {
        Self {
            tag,
            rng: StdRng::seed_from_u64(0),
            next_local: Local::MAIN.0,
            server: None,
            row: Vec::new(),
            next_row: None,
            transmits: VecDeque::new(),
            released: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Begins a row at `server`, which answers STUN there; another one follows every hour. `seed` feeds the
    /// transaction ids.
    pub fn start(&mut self, now: Instant, seed: u64, server: SocketAddr) {
        self.rng = StdRng::seed_from_u64(seed);
        self.server = Some(server);
        self.begin(now);
    }

    /// Ends the row, and begins no other.
    pub fn stop(&mut self) {
        self.server = None;
        self.next_row = None;
        self.release(|_| true);
    }

    fn begin(&mut self, now: Instant) {
        self.release(|_| true);
        self.next_row = Some(now + REPEAT);
        self.news.push_back(News::Began);
        for secs in SILENCES_SECS {
            self.next_local += 1;
            let (local, id) = (Local(self.next_local), self.id());
            let silence = Duration::from_secs(secs);
            self.row.push(Canary { local, silence, state: State::Asked, id, since: now, repeats: 0 });
            self.send(local, binding::request(id).to_vec());
        }
    }

    fn id(&mut self) -> TransactionId {
        let mut id: TransactionId = self.rng.random();
        id[..4].copy_from_slice(&self.tag.to_be_bytes());
        id
    }

    fn send(&mut self, local: Local, bytes: Vec<u8>) {
        self.transmits.extend(self.server.map(|to| Transmit { local, to, bytes }));
    }

    fn release(&mut self, which: impl Fn(&Canary) -> bool) {
        for canary in self.row.extract_if(.., |canary| which(canary)) {
            self.released.push_back(canary.local);
        }
    }

    /// Takes in a STUN response that came to `local`.
    pub fn handle_response(&mut self, now: Instant, local: Local, from: SocketAddr, datagram: &[u8]) {
        if Some(from) != self.server {
            return;
        }
        let Some(canary) = self.row.iter_mut().find(|canary| canary.local == local) else { return };
        let Some(mapped) = binding::parse_response(datagram, canary.id) else { return };
        match canary.state {
            State::Asked => {
                canary.state = State::Silent(mapped.port());
                canary.since = now;
                self.handle_timeout(now);
            }
            State::Silent(_) => {}
            State::Called(_) => {
                if !canary.silence.is_zero() {
                    self.news.push_back(News::Survived(canary.silence));
                }
                self.release(|canary| canary.local == local);
            }
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_row.is_some_and(|at| at <= now) && self.server.is_some() {
            self.begin(now);
        }
        let due: Vec<_> =
            self.row.iter().filter(|canary| canary.due() <= now).map(|canary| canary.local).collect();
        for local in due {
            let id = self.id();
            let Some(canary) = self.row.iter_mut().find(|canary| canary.local == local) else { continue };
            match canary.state {
                State::Silent(port) => {
                    (canary.state, canary.since, canary.repeats, canary.id) =
                        (State::Called(port), now, 0, id);
                    self.send(Local::MAIN, discovery::request(id, Origin::Asked, Some(port)));
                }
                State::Asked | State::Called(_) if canary.repeats + 1 < REPEATS_MS.len() => {
                    canary.repeats += 1;
                    let (state, id) = (canary.state, canary.id);
                    match state {
                        State::Called(port) => {
                            self.send(Local::MAIN, discovery::request(id, Origin::Asked, Some(port)));
                        }
                        _ => self.send(local, binding::request(id).to_vec()),
                    }
                }
                State::Asked => self.release(|canary| canary.local == local),
                State::Called(_) => {
                    let silence = canary.silence;
                    if !silence.is_zero() {
                        self.news.push_back(News::Forgotten(silence));
                    }
                    // Nor will those that wait for longer be there, or be answered.
                    self.release(|canary| canary.silence >= silence);
                }
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next socket that is not needed any more.
    pub fn poll_released(&mut self) -> Option<Local> {
        self.released.pop_front()
    }

    /// The next thing that was found out.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// When [`Canaries::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.row.iter().map(Canary::due).chain(self.next_row).min()
    }
}
