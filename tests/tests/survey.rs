//! What a survey makes of every kind of NAT that the model has, asked through the model (`docs/protocol.md` §3.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::stun::discovery::{self, Origin, Origins};
use common::traversal::nat::{Allocation, Mapping, PortRange};
use common::traversal::survey::lifetime::{LONGEST, Lifetime, Measure};
use common::traversal::survey::{Asks, Filtering, Findings, First, SOCKETS, Survey};
use common::traversal::{Local, Transmit};
use tests::nat::{Allocation as Rule, Behavior, Flow, Nat, Profile, Verdict};

const FIRST_PORT: u16 = 40_000;

fn addr(ip: [u8; 4], port: u16) -> SocketAddr {
    (ip, port).into()
}

/// Where a server is: the main endpoint, two ports beside it, and if it has a second address the rest of RFC 5780 §6.1.
fn main_addr() -> SocketAddr {
    addr([203, 0, 113, 1], 5000)
}

fn origins(asked: SocketAddr, addresses: u8) -> Origins {
    let SocketAddr::V4(v4) = asked else { panic!("IPv4 alone") };
    let [a, b, c, last] = v4.ip().octets();
    let other_ip = [a, b, c, 3 - last];
    let port = if asked.port() == 5000 { 5001 } else { 5000 };
    let second = |addr| (addresses > 1).then_some(addr);
    Origins {
        asked,
        other_port: Some(SocketAddr::new(asked.ip(), port)),
        other_ip: second(addr(other_ip, asked.port())),
        other: second(addr(other_ip, port)),
    }
}

/// A machine behind a NAT, and a server that loses every `loss`th packet.
struct Scene {
    nat: Nat,
    addresses: u8,
    answers: bool,
    loss: usize,
    count: usize,
}

impl Scene {
    fn new(profile: Profile, seed: u64, addresses: u8, loss: usize) -> Self {
        let nat = Nat::new(profile, vec![[198, 51, 100, 1].into()], seed);
        Self { nat, addresses, answers: true, loss, count: 0 }
    }

    /// What comes back to which socket at once, and from where.
    fn send(&mut self, now: Duration, transmit: &Transmit) -> Option<(Local, SocketAddr, Vec<u8>)> {
        let local = |inside: SocketAddr| Local(u32::from(inside.port() - FIRST_PORT));
        let port = FIRST_PORT + u16::try_from(transmit.local.0).expect("a few sockets");
        let flow = Flow::udp(addr([192, 168, 1, 10], port), transmit.to);
        let out = match self.nat.outbound(now, flow) {
            Verdict::Forward(out) => out,
            Verdict::Hairpin(flow) => return Some((local(flow.dst), flow.src, transmit.bytes.clone())),
            Verdict::Drop(_) | Verdict::Reject(_) => return None,
        };
        self.count += 1;
        let is_server = [1, 2].contains(&out.dst.port().abs_diff(4999));
        if !self.answers || !is_server || self.count.is_multiple_of(self.loss) {
            return None;
        }
        let origins = origins(out.dst, self.addresses);
        let mut answer = [0; discovery::MAX_RESPONSE_LEN];
        let response = discovery::respond(&transmit.bytes, out.src, &origins, &mut answer)?;
        let from = match response.from {
            Origin::Asked => Some(out.dst),
            Origin::OtherPort => origins.other_port,
            Origin::OtherIp => origins.other_ip,
            Origin::Other => origins.other,
        };
        match self.nat.inbound(now, Flow::udp(from.expect("an endpoint"), response.to)) {
            Verdict::Forward(flow) => Some((local(flow.dst), flow.src, answer[..response.len].to_vec())),
            Verdict::Drop(_) | Verdict::Reject(_) | Verdict::Hairpin(_) => None,
        }
    }

    /// Runs a machine to its end; returns how long that took and how many packets.
    fn run(&mut self, start: Instant, machine: &mut impl Asks) -> (Duration, usize) {
        let (mut now, mut packets) = (start, 0);
        loop {
            while let Some(transmit) = machine.poll_transmit() {
                packets += 1;
                if let Some((local, from, bytes)) = self.send(now - start, &transmit) {
                    machine.handle_datagram(now, local, from, &bytes);
                }
            }
            let Some(at) = machine.poll_timeout() else { return (now - start, packets) };
            now = now.max(at);
            machine.handle_timeout(now);
        }
    }
}

fn survey(profile: Profile, seed: u64, addresses: u8, loss: usize) -> Findings {
    let start = origin();
    let mut servers = vec![main_addr(), addr([203, 0, 113, 1], 5001)];
    servers.extend((addresses > 1).then_some(addr([203, 0, 113, 2], 5001)));
    let ports = (0..SOCKETS).map(|n| FIRST_PORT + u16::try_from(n).expect("a few sockets")).collect();
    let mut survey = Survey::new(start, seed, &servers, First::Rendezvous, ports);
    let (took, packets) = Scene::new(profile, seed, addresses, loss).run(start, &mut survey);
    assert!(took <= Duration::from_secs(8) && packets <= 100, "{took:?}, {packets} packets");
    survey.findings().expect("an end").clone()
}

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn origin() -> Instant {
    Instant::now()
}

fn mapping_of(profile: Profile, addresses: u8) -> Mapping {
    match profile.mapping {
        Behavior::AddressAndPortDependent => Mapping::PortDependent,
        Behavior::AddressDependent if addresses > 1 => Mapping::AddressDependent,
        Behavior::EndpointIndependent if addresses > 1 => Mapping::Independent,
        Behavior::AddressDependent | Behavior::EndpointIndependent => Mapping::OneAddress,
    }
}

fn filtering_of(profile: Profile, addresses: u8) -> Filtering {
    match profile.filtering {
        Behavior::AddressAndPortDependent => Filtering::PortDependent,
        _ if addresses == 1 => Filtering::NotPortDependent,
        Behavior::AddressDependent => Filtering::AddressDependent,
        Behavior::EndpointIndependent => Filtering::Independent,
    }
}

/// With whatever luck the NAT has in drawing ports, and every fourth or seventh packet lost.
#[test]
fn every_kind_is_named() {
    for seed in 0..60u8 {
        let (addresses, loss) = (if seed % 2 == 0 { 1 } else { 2 }, [4, 7, 1_000][usize::from(seed % 3)]);
        for profile in Profile::all().into_iter().filter(|profile| profile.udp) {
            let found = survey(profile, seed.into(), addresses, loss);
            let name = format!("{} with seed {seed}: {found:?}", profile.name);
            assert_eq!(found.nat.mapping, mapping_of(profile, addresses), "{name}");
            assert_eq!(found.filtering, filtering_of(profile, addresses), "{name}");
            assert_eq!(found.hairpin, Some(profile.hairpin), "{name}");
            assert!(allocates_so(profile.allocation, found.nat.allocation), "{name}");
        }
    }
}

fn allocates_so(rule: Rule, found: Allocation) -> bool {
    match (rule, found) {
        (Rule::Preserving, Allocation::Preserving) => true,
        (Rule::Sequential { step }, Allocation::Sequential { step: found }) => step == found,
        (Rule::Block { size }, Allocation::Random(range)) => {
            range.is_block() && range.size() <= 2 * u32::from(size)
        }
        (Rule::Random | Rule::Parity, Allocation::Random(range)) => range == PortRange::ALL,
        _ => false,
    }
}

#[test]
fn where_udp_is_blocked_nothing_is_found_and_nothing_is_made_up() {
    for profile in Profile::all().into_iter().filter(|profile| !profile.udp) {
        assert_eq!(survey(profile, 1, 2, 1_000), Findings::default());
    }
}

/// RFC 5780 §4.6.
#[test]
fn lifetimes_are_measured_from_both_sides() {
    for (seconds, profile) in [
        (5, Profile::full_cone()),
        (30, Profile::linux()),
        (67, Profile::symmetric_random()),
        (120, Profile::cgnat()),
        (299, Profile::eim_adf()),
    ] {
        let lifetime = Duration::from_secs(seconds);
        let mut scene = Scene::new(Profile { udp_lifetime: lifetime, ..profile }, 1, 1, 1_000);
        let start = origin();
        let mut measure = Measure::new(start, 1, main_addr());
        let (took, packets) = scene.run(start, &mut measure);
        let Some(Lifetime::Between(alive, Some(dead))) = measure.found() else { panic!("{measure:?}") };
        assert!(alive <= lifetime && lifetime <= dead, "{seconds} s: {alive:?} {dead:?}");
        assert!(dead - alive <= Duration::from_secs(2), "{seconds} s: {alive:?} {dead:?}");
        assert!(took <= 4 * lifetime + Duration::from_secs(40) && packets <= 150, "{took:?}, {packets}");
    }
}

#[test]
fn what_outlives_the_measurement_is_said_to() {
    let profile = Profile { udp_lifetime: LONGEST * 2, ..Profile::full_cone() };
    let start = origin();
    let mut measure = Measure::new(start, 1, main_addr());
    Scene::new(profile, 1, 1, 1_000).run(start, &mut measure);
    assert_eq!(measure.found(), Some(Lifetime::Between(LONGEST, None)));
}

#[test]
fn a_server_that_goes_away_leaves_the_lifetime_unknown() {
    let start = origin();
    let mut measure = Measure::new(start, 1, main_addr());
    let mut scene = Scene::new(Profile::full_cone(), 1, 1, 1_000);
    scene.answers = false;
    scene.run(start, &mut measure);
    assert_eq!(measure.found(), Some(Lifetime::Unknown));
}
