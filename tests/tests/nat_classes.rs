//! What a client makes of each kind of NAT that the model has, asked through the model (`docs/protocol.md` §3.1).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::stun::discovery::{self, Origins};
use common::traversal::nat::{Allocation, Class, Mapping, Nat as Kind, PortRange};
use common::traversal::prober::{Place, Prober};
use common::traversal::{Local, Transmit};
use proptest::prelude::*;
use tests::nat::{Allocation as Rule, Behavior, Flow, Nat, Profile, Verdict};

const MAIN_PORT: u16 = 40_000;

fn addr(ip: [u8; 4], port: u16) -> SocketAddr {
    (ip, port).into()
}

/// As [`probe_with`], and nobody else sees the socket.
fn probe(profile: Profile, seed: u64, addresses: u8, busy: usize, loses: bool) -> Kind {
    probe_with(profile, seed, (addresses, 0), busy, loses)
}

/// Runs a prober behind a NAT, with a server that has so many addresses, and so many peers who tell where they see the
/// main socket. Before every `busy`th of its packets somebody else opens a flow. The first answer to each question is
/// lost if `loses` says so.
fn probe_with(profile: Profile, seed: u64, (addresses, peers): (u8, u8), busy: usize, loses: bool) -> Kind {
    let start = origin();
    let mut nat = Nat::new(profile, vec![[198, 51, 100, 1].into()], seed);
    let mut other_port = 1024;
    let mut count = 0;
    let mut seen = |nat: &mut Nat, now: Duration, port: u16, to: SocketAddr| {
        count += 1;
        if count % busy == 0 {
            other_port += 1;
            nat.outbound(now, Flow::udp(addr([192, 168, 1, 77], other_port), addr([192, 0, 2, 9], 443)));
        }
        match nat.outbound(now, Flow::udp(addr([192, 168, 1, 10], port), to)) {
            Verdict::Forward(flow) => flow.src,
            other => panic!("{other:?}"),
        }
    };
    let server = addr([203, 0, 113, 1], 5000);
    let mut probes = vec![addr([203, 0, 113, 1], 5001), addr([203, 0, 113, 1], 5002)];
    probes.extend((2..=addresses).map(|n| addr([203, 0, 113, n], 5001)));
    let mut prober = Prober::new(0);
    let observed = seen(&mut nat, Duration::ZERO, MAIN_PORT, server);
    prober.start(start, seed, Place { local_port: MAIN_PORT, server, observed }, &probes);
    let mut now = start;
    let mut asked = std::collections::BTreeSet::new();
    let mut kind = None;
    loop {
        while let Some(Transmit { local, to, bytes }) = prober.poll_transmit() {
            let port = if local == Local::MAIN {
                MAIN_PORT
            } else {
                50_000 + u16::try_from(local.0).expect("a few sockets")
            };
            let from = seen(&mut nat, now - start, port, to);
            let mut answer = [0; discovery::MAX_RESPONSE_LEN];
            let origins = Origins { asked: to, other_port: None, other_ip: None, other: None };
            let response =
                discovery::respond(&bytes, from, &origins, &mut answer).expect("a Binding request");
            let is_first = asked.insert((local, to));
            if loses && is_first {
                continue;
            }
            if response.to == from {
                prober.handle_response(now, local, to, &answer[..response.len]);
            } else {
                nat.inbound(now - start, Flow::udp(to, response.to));
            }
        }
        kind = prober.poll_nat().or(kind);
        if prober.poll_timeout().is_none() {
            let released: Vec<_> = std::iter::from_fn(|| prober.poll_released()).collect();
            let opened = asked.iter().filter(|(local, _)| *local != Local::MAIN);
            assert!(opened.clone().all(|(local, _)| released.contains(local)), "all sockets are closed");
            for n in 0..peers {
                let remote = addr([192, 0, 2, n], 4000);
                let mapped = seen(&mut nat, now - start, MAIN_PORT, remote);
                prober.handle_witness(remote, mapped);
            }
            return prober.poll_nat().or(kind).expect("an end with a judgement");
        }
        now = prober.poll_timeout().expect("an end");
        prober.handle_timeout(now);
    }
}

/// What a NAT of this kind is to a client whose server has so many addresses.
fn expected(profile: Profile, addresses: u8) -> Mapping {
    match profile.mapping {
        Behavior::AddressAndPortDependent => Mapping::PortDependent,
        Behavior::AddressDependent if addresses > 1 => Mapping::AddressDependent,
        Behavior::EndpointIndependent if addresses > 1 => Mapping::Independent,
        Behavior::AddressDependent | Behavior::EndpointIndependent => Mapping::OneAddress,
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn origin() -> Instant {
    Instant::now()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_kind_is_recognised(seed: u64, addresses in 1u8..3, busy in 4usize..20, loses: bool) {
        for profile in Profile::all().into_iter().filter(|profile| profile.udp) {
            let kind = probe(profile, seed, addresses, busy, loses);
            prop_assert_eq!(kind.mapping, expected(profile, addresses), "{}", profile.name);
            prop_assert_eq!(kind.remembers_refused, profile == Profile::linux(), "{}", profile.name);
            match (profile.allocation, kind.class()) {
                (Rule::Preserving, class) => prop_assert_eq!(class, Class::Easy, "{}", profile.name),
                (_, Class::Easy) => prop_assert_eq!(profile.mapping, Behavior::EndpointIndependent),
                (Rule::Sequential { step }, _) => {
                    prop_assert_eq!(kind.allocation, Allocation::Sequential { step }, "{}", profile.name);
                }
                (Rule::Block { size }, _) => {
                    let Allocation::Random(range) = kind.allocation else { panic!("{kind:?}") };
                    prop_assert!(range.is_block() && range.size() <= 2 * u32::from(size), "{:?}", range);
                }
                (Rule::Random | Rule::Parity, _) => {
                    prop_assert_eq!(kind.allocation, Allocation::Random(PortRange::ALL), "{}", profile.name);
                }
            }
        }
    }

    /// Two peers tell what a server with one address cannot; what it has shown they do not change.
    #[test]
    fn peers_are_witnesses(seed: u64, busy in 4usize..20) {
        for profile in Profile::all().into_iter().filter(|profile| profile.udp) {
            let [alone, one, two] = [0, 1, 2].map(|peers| probe_with(profile, seed, (1, peers), busy, false));
            prop_assert_eq!(alone, one, "{}: one is not enough", profile.name);
            let is_doubtful = matches!(alone.class(), Class::Doubtful(_));
            let is_hard = is_doubtful && expected(profile, 2) == Mapping::AddressDependent;
            prop_assert_eq!(two, Kind { said_to_be_hard: is_hard, ..alone }, "{}", profile.name);
        }
    }

    #[test]
    fn the_step_of_a_counter_is_recognised(seed: u64, step in 1u16..8) {
        let base = Profile::symmetric_sequential();
        let profile = Profile { allocation: Rule::Sequential { step }, ..base };
        prop_assert_eq!(probe(profile, seed, 2, 5, false).allocation, Allocation::Sequential { step });
    }
}

/// A block that is all but always recognised as what it is; otherwise as one that lies within twice its size.
#[test]
fn most_blocks_are_recognised_exactly() {
    let exact = (0..1000).filter(|seed| {
        let kind = probe(Profile::symmetric_block(2048), *seed, 2, 10, false);
        matches!(kind.allocation, Allocation::Random(range) if range.size() == 2048)
    });
    assert!(exact.count() >= 960);
}
