//! What holds for every profile under any traffic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One thing that happens to a NAT.
#[derive(Debug, Clone, Copy)]
enum Step {
    Out { host: u8, port: u8, remote: u8, tcp: Option<TcpFlags> },
    In { remote: u8, external_port: u16, tcp: Option<TcpFlags> },
    Answer { nth: usize, remote: u8 },
    Wait { secs: u64 },
    Rebind,
}

fn flags() -> impl Strategy<Value = Option<TcpFlags>> {
    prop_oneof![
        4 => Just(None),
        2 => Just(Some(TcpFlags::SYN)),
        1 => Just(Some(TcpFlags::ACK)),
        1 => Just(Some(TcpFlags::FIN)),
        1 => Just(Some(TcpFlags::RST)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4u8, 0..6u8, 0..6u8, flags())
            .prop_map(|(host, port, remote, tcp)| Step::Out { host, port, remote, tcp }),
        2 => (0..6u8, any::<u16>(), flags())
            .prop_map(|(remote, external_port, tcp)| Step::In { remote, external_port, tcp }),
        6 => (any::<usize>(), 0..6u8).prop_map(|(nth, remote)| Step::Answer { nth, remote }),
        2 => (0..200u64).prop_map(|secs| Step::Wait { secs }),
        1 => Just(Step::Rebind),
    ]
}

fn profiles() -> impl Strategy<Value = Profile> {
    let all = Profile::all();
    let tight = Profile { max_mappings: 5, max_sessions: 7, ..Profile::full_cone() };
    let parity = Profile { allocation: Allocation::Parity, ..Profile::eim_adf() };
    let small_block = Profile::symmetric_block(4);
    proptest::sample::select([all, vec![tight, parity, small_block]].concat())
}

fn remote(n: u8) -> SocketAddr {
    // Three addresses with two ports each, so that the address and the port matter separately.
    SocketAddr::from(([203, 0, 113, 1 + n / 2], 1000 + u16::from(n % 2)))
}

fn proto(tcp: Option<TcpFlags>) -> Proto {
    tcp.map_or(Proto::Udp, Proto::Tcp)
}

/// A NAT under test with what an observer on both sides remembers.
struct World {
    nat: Nat,
    now: Duration,
    /// Every translation seen: what external endpoint stood for which internal one, in order.
    sent: Vec<(Proto, SocketAddr, SocketAddr)>,
    /// To whom each external endpoint has sent since the last rebind.
    owners: BTreeMap<(Transport, SocketAddr), SocketAddr>,
    remotes: BTreeSet<(Transport, SocketAddr, SocketAddr)>,
}

impl World {
    fn new(profile: Profile, seed: u64) -> Self {
        let public = vec![ip("198.51.100.1"), ip("198.51.100.2")];
        Self {
            nat: Nat::new(profile, public, seed),
            now: Duration::ZERO,
            sent: Vec::new(),
            owners: BTreeMap::new(),
            remotes: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Out { host, port, remote: r, tcp } => {
                let internal = SocketAddr::from(([192, 168, 1, host], 5000 + u16::from(port)));
                self.send(Flow { proto: proto(tcp), src: internal, dst: remote(r) });
            }
            Step::In { remote: r, external_port, tcp } => {
                let external = SocketAddr::from(([198, 51, 100, 1], external_port));
                self.receive(Flow { proto: proto(tcp), src: remote(r), dst: external });
            }
            Step::Answer { nth, remote: r } => {
                if let Some((proto, _, external)) = self.sent.get(nth % self.sent.len().max(1)).copied() {
                    self.receive(Flow { proto, src: remote(r), dst: external });
                }
            }
            Step::Wait { secs } => self.now += Duration::from_secs(secs),
            Step::Rebind => {
                self.nat.rebind();
                self.owners.clear();
                self.remotes.clear();
            }
        }
        self.check_table();
    }

    fn send(&mut self, flow: Flow) {
        if let Verdict::Forward(out) = self.nat.outbound(self.now, flow) {
            let transport = flow.proto.transport();
            assert_eq!(out.dst, flow.dst);
            self.sent.push((flow.proto, flow.src, out.src));
            self.owners.insert((transport, out.src), flow.src);
            self.remotes.insert((transport, out.src, out.dst));
            let live = (transport, flow.src, out.src);
            assert!(self.nat.live_mappings().any(|mapping| mapping == live), "{live:?} is in the table");
        }
    }

    /// What was mapped comes back to who mapped it, and nobody else gets in than the filter allows.
    fn receive(&mut self, flow: Flow) {
        if let Verdict::Forward(inside) = self.nat.inbound(self.now, flow) {
            let transport = flow.proto.transport();
            assert_eq!(inside.src, flow.src);
            assert_eq!(Some(&inside.dst), self.owners.get(&(transport, flow.dst)));
            let mut sent_to = self.remotes.iter().filter(|(t, e, _)| (*t, *e) == (transport, flow.dst));
            assert!(match self.nat.profile().filtering {
                Behavior::EndpointIndependent => true,
                Behavior::AddressDependent => sent_to.any(|(.., to)| to.ip() == flow.src.ip()),
                Behavior::AddressAndPortDependent => sent_to.any(|(.., to)| *to == flow.src),
            });
        }
    }

    fn check_table(&self) {
        let profile = self.nat.profile();
        let mappings: Vec<_> = self.nat.live_mappings().collect();
        let externals: BTreeSet<_> = mappings.iter().map(|(t, _, external)| (*t, *external)).collect();
        assert_eq!(externals.len(), mappings.len(), "no two live mappings share an external endpoint");
        assert!(mappings.len() <= profile.max_mappings);
        if profile.mapping == Behavior::EndpointIndependent && profile.unsolicited != Unsolicited::KeepState {
            let internals: BTreeSet<_> = mappings.iter().map(|(t, internal, _)| (*t, *internal)).collect();
            assert_eq!(internals.len(), mappings.len(), "endpoint-independent: one mapping per endpoint");
        }
    }
}

proptest! {
    #[test]
    fn any_traffic_keeps_the_table_sound(
        profile in profiles(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(profile, seed);
        for step in steps {
            world.step(step);
        }
    }

    /// An answer sent at once to what just left always arrives, whatever kind of NAT it is.
    #[test]
    fn an_answer_reaches_who_asked(profile in profiles(), seed in any::<u64>(), hosts in 1..4u8) {
        let mut nat = Nat::new(profile, vec![ip("198.51.100.1")], seed);
        for host in 0..hosts {
            let asked = Flow::udp(SocketAddr::from(([192, 168, 1, host], 5000)), remote(host));
            if let Verdict::Forward(out) = nat.outbound(Duration::ZERO, asked) {
                let answer = nat.inbound(Duration::ZERO, Flow::udp(out.dst, out.src));
                prop_assert_eq!(answer, Verdict::Forward(Flow::udp(asked.dst, asked.src)));
            } else {
                prop_assert!(!profile.udp);
            }
        }
    }
}
