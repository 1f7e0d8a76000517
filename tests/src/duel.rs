//! Two traversal agents behind two NATs of the model, in virtual time and without sockets, so that a thousand tries of
//! a pair take seconds. What the agents are told, and when, is what real clients tell them: the distances are those of
//! the simulated [`world`](crate::world).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::stun::check::{KEY_LEN, Key, KeyName, Side};
use common::stun::discovery::{self, Origins};
use common::traversal::nat::Nat as NatKind;
use common::traversal::prober::{Place, Prober};
use common::traversal::{Agent, Event, Local, Outlook, Route, Signal, Transmit};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::nat::{Flow, Nat, Profile, Verdict};
use crate::world::{PEER_RTT, SERVER_RTT};

/// The server's main port, and those that answer STUN alone.
const SERVER: SocketAddr = addr([203, 0, 113, 1], 5000);
const PROBES: [SocketAddr; 3] =
    [addr([203, 0, 113, 1], 5001), addr([203, 0, 113, 1], 5002), addr([203, 0, 113, 2], 5001)];
/// Where other people's flows go.
const ELSEWHERE: [u8; 4] = [192, 0, 2, 200];
/// The port of main sockets.
const MAIN_PORT: u16 = 40_000;
/// The ports of others begin after this one.
const EXTRA_PORTS: u16 = 50_000;
/// How long before the dial the two are there.
const BEFORE: Duration = Duration::from_secs(5);

const fn addr(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])), port)
}

/// What stands in front of one side.
#[derive(Debug, Clone, Copy)]
pub struct Front {
    /// Its NAT; `None` for a public address.
    pub profile: Option<Profile>,
    /// Other flows through it: new ones in a second, at random times.
    pub flows_per_second: f64,
    /// Other flows that are there from the beginning.
    pub flows: u16,
    /// Whether the server has a second address to tell NATs that look at addresses.
    pub second_address: bool,
}

impl Front {
    /// A NAT that nobody else uses.
    #[must_use]
    pub const fn quiet(profile: Profile) -> Self {
        Self { profile: Some(profile), flows_per_second: 0.0, flows: 0, second_address: true }
    }

    /// One through which others open twenty flows a second.
    #[must_use]
    pub const fn noisy(profile: Profile) -> Self {
        Self { flows_per_second: 20.0, ..Self::quiet(profile) }
    }

    /// A public address.
    #[must_use]
    pub const fn public() -> Self {
        Self { profile: None, flows_per_second: 0.0, flows: 0, second_address: true }
    }
}

/// What the way between the two, and to the server, does to packets.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// The share of packets that is lost, between 0 and 1.
    pub loss: f64,
    /// How many packets are lost in a row, on average.
    pub burst: f64,
    /// Round trip between the two.
    pub peer_rtt: Duration,
    /// Round trip to the server.
    pub server_rtt: Duration,
    /// So much later than the first hears the second that the two are introduced.
    pub skew: Duration,
}

impl Weather {
    /// The distances of the simulated world, with single packets lost.
    #[must_use]
    pub const fn lossy(loss: f64) -> Self {
        Self { loss, burst: 1.0, peer_rtt: PEER_RTT, server_rtt: SERVER_RTT, skew: Duration::ZERO }
    }
}

/// How a duel ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// From the dial until both sides' packets went directly, if they came to that.
    pub direct: Option<Duration>,
    /// Checks beyond the plain ones, of both sides.
    pub packets: u32,
    /// Mappings that the two machines had in their NATs at most, beyond the main sockets' with the server.
    pub entries: [usize; 2],
    /// Sockets that are still open at the end, beside the main ones.
    pub open_sockets: usize,
    /// Other people's flows that were lost of those that were there from the beginning.
    pub lost_flows: usize,
    /// What both sides make of it.
    pub outlooks: [Outlook; 2],
}

enum Arrival {
    Datagram { seat: usize, local: Local, from: SocketAddr, bytes: Vec<u8> },
    AtNat { seat: usize, flow: Flow, bytes: Vec<u8> },
    AtServer { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Signal { seat: usize, signal: Signal },
    OtherFlow { seat: usize },
    Introduction { seat: usize },
    Connected { seat: usize },
}

struct Seat {
    agent: Agent,
    prober: Prober,
    nat: Option<Nat>,
    front: Front,
    ip: IpAddr,
    public: IpAddr,
    observed: SocketAddr,
    kind: NatKind,
    ports: BTreeMap<(bool, Local), u16>,
    other_port: u16,
    entries: usize,
}

/// The machine that plays it out.
struct Duel {
    start: Instant,
    now: Duration,
    seats: [Seat; 2],
    queue: BTreeMap<(Duration, u64), Arrival>,
    count: u64,
    rng: StdRng,
    weather: Weather,
    /// Whether packets of each side are being lost now.
    is_bad: [bool; 2],
}

/// Lets the first side dial the second and looks for `patience` whether they come to a direct path. One packet in so
/// many is lost as `loss` says, between 0 and 1.
#[must_use]
pub fn duel(fronts: [Front; 2], seed: u64, loss: f64, patience: Duration) -> Outcome {
    duel_in(fronts, seed, Weather::lossy(loss), patience)
}

/// Like [`duel`], in any weather.
#[must_use]
pub fn duel_in(fronts: [Front; 2], seed: u64, weather: Weather, patience: Duration) -> Outcome {
    let mut duel = Duel::new(fronts, seed, weather);
    duel.settle_in();
    let dial = duel.now;
    duel.dial();
    duel.run_until(dial + patience, |duel| duel.is_direct());
    let direct = duel.is_direct().then(|| duel.now - dial);
    // What was under way settles.
    duel.run_until(duel.now + 2 * weather.peer_rtt, |_| false);
    duel.outcome(direct)
}

impl Duel {
    fn new(fronts: [Front; 2], seed: u64, weather: Weather) -> Self {
        let seat = |n: u8, front: Front, side: Side| {
            let public: IpAddr = [198, 51, 100, n].into();
            let ip = if front.profile.is_some() { [192, 168, n, 10].into() } else { public };
            let mut agent = Agent::new(u32::from(n), seed.wrapping_mul(7).wrapping_add(u64::from(n)));
            agent.add_key(Key::new(KeyName(1), side, &[1; KEY_LEN]));
            Seat {
                agent,
                prober: Prober::new(0),
                nat: front.profile.map(|profile| {
                    Nat::new(profile, vec![public], seed.wrapping_mul(31).wrapping_add(u64::from(n)))
                }),
                front,
                ip,
                public,
                observed: SERVER,
                kind: NatKind::default(),
                ports: BTreeMap::new(),
                other_port: 1024,
                entries: 0,
            }
        };
        Self {
            start: origin(),
            now: Duration::ZERO,
            seats: [seat(1, fronts[0], Side::Dialer), seat(2, fronts[1], Side::Acceptor)],
            queue: BTreeMap::new(),
            count: 0,
            rng: StdRng::seed_from_u64(seed),
            weather,
            is_bad: [false; 2],
        }
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn at(&mut self, when: Duration, arrival: Arrival) {
        self.count += 1;
        self.queue.insert((when, self.count), arrival);
    }

    /// Both register with the server and find out what NAT they are behind, while others use it too.
    fn settle_in(&mut self) {
        for n in 0..2 {
            for _ in 0..self.seats[n].front.flows {
                self.other_flow(n);
            }
            self.at(Duration::ZERO, Arrival::OtherFlow { seat: n });
            let now = self.instant();
            let seat = &mut self.seats[n];
            let flow = Flow::udp(SocketAddr::new(seat.ip, MAIN_PORT), SERVER);
            seat.observed = match seat.nat.as_mut().map(|nat| nat.outbound(Duration::ZERO, flow)) {
                None => flow.src,
                Some(Verdict::Forward(flow)) => flow.src,
                Some(other) => panic!("the server is not reached: {other:?}"),
            };
            let place = Place { local_port: MAIN_PORT, server: SERVER, observed: seat.observed };
            let probes = if seat.front.second_address { &PROBES[..] } else { &PROBES[..2] };
            seat.prober.start(now, n as u64 + 1, place, probes);
        }
        self.run_until(BEFORE, |_| false);
    }

    /// The server introduces both; their connection over the relay follows.
    fn dial(&mut self) {
        for seat in 0..2 {
            let skew = if seat == 0 { Duration::ZERO } else { self.weather.skew };
            self.at(self.now + self.weather.server_rtt + skew, Arrival::Introduction { seat });
            // A round trip over the relay later the dialling side is connected, half of one later the other.
            let connected = if seat == 0 { 3 * self.weather.server_rtt } else { 4 * self.weather.server_rtt };
            self.at(self.now + connected, Arrival::Connected { seat });
        }
    }

    fn is_direct(&self) -> bool {
        self.seats.iter().all(|seat| matches!(seat.agent.route(), Route::Direct(_)))
    }

    fn run_until(&mut self, end: Duration, done: impl Fn(&Self) -> bool) {
        self.drain();
        while !done(self) {
            let timers =
                self.seats.iter().flat_map(|seat| [seat.agent.poll_timeout(), seat.prober.poll_timeout()]);
            let timer = timers.flatten().min().map(|at| at.saturating_duration_since(self.start));
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let next = [timer, arrival].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now);
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let arrival = entry.remove();
                self.arrive(arrival);
            }
            let now = self.instant();
            for seat in &mut self.seats {
                seat.prober.handle_timeout(now);
                if seat.agent.wants_turn().is_some() {
                    seat.agent.grant_turn(now);
                }
                seat.agent.handle_timeout(now);
            }
            self.drain();
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.instant();
        match arrival {
            Arrival::Datagram { seat, local, from, bytes } => {
                self.seats[seat].agent.handle_datagram(now, local, from, &bytes);
                self.seats[seat].prober.handle_response(now, local, from, &bytes);
            }
            Arrival::AtNat { seat, flow, bytes } => self.enter(seat, flow, bytes),
            Arrival::AtServer { from, to, bytes } => {
                let mut answer = [0; discovery::MAX_RESPONSE_LEN];
                let origins = Origins { asked: to, other_port: None, other_ip: None, other: None };
                let Some(response) = discovery::respond(&bytes, from, &origins, &mut answer) else { return };
                let seat = usize::from(from.ip() != self.seats[0].public);
                let flow = Flow::udp(to, response.to);
                let bytes = answer[..response.len].to_vec();
                self.at(self.now + self.weather.server_rtt / 2, Arrival::AtNat { seat, flow, bytes });
            }
            Arrival::Signal { seat, signal } => self.seats[seat].agent.handle_signal(now, &signal),
            Arrival::OtherFlow { seat } => {
                let rate = self.seats[seat].front.flows_per_second;
                if rate > 0.0 {
                    let wait = -self.rng.random::<f64>().max(1e-12).ln() / rate;
                    self.at(self.now + Duration::from_secs_f64(wait), Arrival::OtherFlow { seat });
                    self.other_flow(seat);
                }
            }
            Arrival::Introduction { seat } => {
                let endpoint = self.seats[1 - seat].observed;
                let Seat { agent, prober, kind, .. } = &mut self.seats[seat];
                agent.set_nat(now, *kind, prober.servers());
                agent.introduce(now, endpoint);
            }
            Arrival::Connected { seat } => {
                // What a side measures is a little more than it is.
                let one_way = self.weather.server_rtt.mul_f64(1.1) + Duration::from_millis(1);
                self.seats[seat].agent.handle_connected(now, one_way);
            }
        }
    }

    /// Somebody else behind the same NAT opens a flow.
    fn other_flow(&mut self, seat: usize) {
        let now = self.now;
        let Seat { nat, other_port, ip, .. } = &mut self.seats[seat];
        *other_port += 1;
        if let (Some(nat), IpAddr::V4(ip)) = (nat, ip) {
            let [a, b, c, _] = ip.octets();
            let src = addr([a, b, c, 77], *other_port);
            nat.outbound(now, Flow::udp(src, addr(ELSEWHERE, 443)));
        }
    }

    /// A packet has come to the address of a seat.
    fn enter(&mut self, seat: usize, flow: Flow, bytes: Vec<u8>) {
        let now = self.now;
        let target = &mut self.seats[seat];
        let dst = match target.nat.as_mut().map(|nat| nat.inbound(now, flow)) {
            None => flow.dst,
            Some(Verdict::Forward(flow)) => flow.dst,
            Some(_) => return,
        };
        let socket = target.ports.iter().find(|(_, port)| **port == dst.port()).map(|((_, local), _)| *local);
        let local = if dst.port() == MAIN_PORT { Some(Local::MAIN) } else { socket };
        if let Some(local) = local {
            self.arrive(Arrival::Datagram { seat, local, from: flow.src, bytes });
        }
    }

    fn drain(&mut self) {
        for n in 0..2 {
            while let Some(transmit) = self.seats[n].prober.poll_transmit() {
                self.send(n, true, transmit);
            }
            while let Some(local) = self.seats[n].prober.poll_released() {
                self.seats[n].ports.remove(&(true, local));
            }
            if let Some(kind) = self.seats[n].prober.poll_nat() {
                self.seats[n].kind = kind;
            }
            while let Some(transmit) = self.seats[n].agent.poll_transmit() {
                self.send(n, false, transmit);
            }
            while let Some(event) = self.seats[n].agent.poll_event() {
                match event {
                    Event::Signal(signal) => {
                        self.at(self.now + self.weather.server_rtt, Arrival::Signal { seat: 1 - n, signal });
                    }
                    Event::Released(local) => {
                        self.seats[n].ports.remove(&(false, local));
                    }
                    Event::Seen { remote, mapped } => self.seats[n].prober.handle_witness(remote, mapped),
                    Event::Routed(_) | Event::Heard(_) | Event::Answered(_) | Event::Forgotten(_) => {}
                }
            }
        }
    }

    fn send(&mut self, n: usize, is_prober: bool, transmit: Transmit) {
        let now = self.now;
        let seat = &mut self.seats[n];
        let port = if transmit.local == Local::MAIN {
            MAIN_PORT
        } else {
            let next = EXTRA_PORTS + u16::try_from(self.count % 15_000).unwrap_or(0);
            let free = (next..).find(|port| !seat.ports.values().any(|used| used == port));
            *seat.ports.entry((is_prober, transmit.local)).or_insert(free.expect("a free port"))
        };
        self.count += 1;
        let flow = Flow::udp(SocketAddr::new(seat.ip, port), transmit.to);
        let flow = match seat.nat.as_mut().map(|nat| nat.outbound(now, flow)) {
            None => flow,
            Some(Verdict::Forward(flow)) => flow,
            Some(_) => return,
        };
        if let Some(nat) = &seat.nat {
            let ours = nat.live_mappings().filter(|(_, inside, _)| inside.ip() == seat.ip).count();
            seat.entries = seat.entries.max(ours);
        }
        if self.is_lost(n) {
            return;
        }
        let bytes = transmit.bytes;
        if transmit.to == SERVER || PROBES.contains(&transmit.to) {
            let arrival = Arrival::AtServer { from: flow.src, to: flow.dst, bytes };
            return self.at(now + self.weather.server_rtt / 2, arrival);
        }
        if let Some(seat) = self.seats.iter().position(|seat| seat.public == flow.dst.ip()) {
            self.at(now + self.weather.peer_rtt / 2, Arrival::AtNat { seat, flow, bytes });
        }
    }

    /// Whether the next packet of this side is lost, after Gilbert: bad times begin and end at random.
    fn is_lost(&mut self, n: usize) -> bool {
        let Weather { loss, burst, .. } = self.weather;
        let draw: f64 = self.rng.random();
        if burst <= 1.0 {
            return draw < loss;
        }
        let turns = if self.is_bad[n] { 1.0 / burst } else { loss / (burst * (1.0 - loss)) };
        self.is_bad[n] ^= draw < turns;
        self.is_bad[n]
    }

    fn outcome(&self, direct: Option<Duration>) -> Outcome {
        let lost = |seat: &Seat| {
            let others =
                seat.nat.iter().flat_map(Nat::live_mappings).filter(|(_, inside, _)| inside.ip() != seat.ip);
            usize::from(seat.front.flows).saturating_sub(others.count())
        };
        Outcome {
            direct,
            packets: self.seats.iter().map(|seat| seat.agent.outlook().packets).sum(),
            entries: [self.seats[0].entries, self.seats[1].entries],
            open_sockets: self.seats.iter().map(|seat| seat.ports.len()).sum(),
            lost_flows: self.seats.iter().map(lost).sum(),
            outlooks: [self.seats[0].agent.outlook(), self.seats[1].agent.outlook()],
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn origin() -> Instant {
    Instant::now()
}
