//! The network in virtual time.

use etherparse::PacketBuilder;

use super::*;

const PEERS: Duration = Duration::from_millis(40);
const SERVER: Duration = Duration::from_millis(25);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn udp(src: &str, dst: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst): (std::net::SocketAddrV4, std::net::SocketAddrV4) =
        (src.parse().unwrap(), dst.parse().unwrap());
    let mut out = Vec::new();
    PacketBuilder::ipv4(src.ip().octets(), dst.ip().octets(), ttl)
        .udp(src.port(), dst.port())
        .write(&mut out, payload)
        .unwrap();
    out
}

/// Lets everything arrive and returns when, where to, and the packets.
fn run(net: &mut Network) -> Vec<(Duration, HostId, Packet)> {
    let mut got = Vec::new();
    while let Some(at) = net.poll_timeout() {
        net.handle_timeout(at);
        while let Some((host, bytes)) = net.poll_transmit() {
            got.push((at, host, Packet::parse(&bytes).unwrap()));
        }
    }
    got
}

struct World {
    net: Network,
    server: HostId,
    alice: HostId,
    bob: HostId,
    nats: Vec<NatId>,
}

/// A server, Alice behind one NAT, Bob behind two.
fn world() -> World {
    let profile = || Profile::by_name("eim_apdf_preserving").unwrap();
    let mut net = Network::new(PEERS, 1);
    let core = net.core();
    let server = net.add_host(core, vec![ip("203.0.113.1")]);
    let (a, lan) = net.add_nat(core, profile(), vec![ip("198.51.100.1")], Duration::ZERO);
    let alice = net.add_host(lan, vec![ip("192.168.1.2")]);
    let (carrier, wan) = net.add_nat(core, profile(), vec![ip("198.51.100.2")], Duration::ZERO);
    let (b, lan) = net.add_nat(wan, profile(), vec![ip("100.64.0.2")], Duration::ZERO);
    let bob = net.add_host(lan, vec![ip("192.168.2.2")]);
    for peer in [alice, bob] {
        net.set_link(peer, server, Link::delayed(SERVER));
        net.set_link(server, peer, Link::delayed(SERVER));
    }
    World { net, server, alice, bob, nats: vec![a, carrier, b] }
}

#[test]
fn a_request_and_its_answer_cross_a_nat_in_one_round_trip() {
    let World { mut net, server, alice, .. } = world();
    net.handle_packet(Duration::ZERO, alice, &udp("192.168.1.2:4000", "203.0.113.1:5000", 64, b"hi"));
    let got = run(&mut net);
    assert_eq!(got.len(), 1);
    let (at, to, packet) = &got[0];
    assert_eq!((*at, *to), (SERVER, server));
    assert_eq!(packet.src().to_string(), "198.51.100.1:4000");

    net.handle_packet(SERVER, server, &udp("203.0.113.1:5000", "198.51.100.1:4000", 64, b"ho"));
    let got = run(&mut net);
    let (at, to, packet) = &got[0];
    assert_eq!((*at, *to), (SERVER * 2, alice));
    assert_eq!(packet.dst().to_string(), "192.168.1.2:4000");
}

#[test]
fn punching_needs_both_sides_and_takes_one_way() {
    let World { mut net, alice, bob, .. } = world();
    let to_bob = udp("192.168.1.2:4000", "198.51.100.2:4000", 64, b"@punch");
    let to_alice = udp("192.168.2.2:4000", "198.51.100.1:4000", 64, b"@punch");
    net.handle_packet(Duration::ZERO, alice, &to_bob);
    assert!(run(&mut net).is_empty(), "Bob's NAT has not been opened");
    let later = Duration::from_secs(1);
    net.handle_packet(later, bob, &to_alice);
    // Bob opened his NAT after this one was sent and before it arrives.
    net.handle_packet(later - Duration::from_millis(10), alice, &to_bob);
    let got = run(&mut net);
    let ends: Vec<_> = got.iter().map(|(at, to, _)| (*at, *to)).collect();
    assert_eq!(ends, [(later + Duration::from_millis(30), bob), (later + PEERS, alice)]);
}

#[test]
fn the_tap_sees_public_addresses() {
    let World { mut net, server, bob, .. } = world();
    net.handle_packet(Duration::ZERO, bob, &udp("192.168.2.2:4000", "203.0.113.1:5000", 64, b"hi"));
    run(&mut net);
    let seen = net.tap().recent()[0];
    assert_eq!((seen.from, seen.to), (bob, server));
    let (src, dst) = seen.core.unwrap();
    assert_eq!((src.to_string(), dst.to_string()), ("198.51.100.2:4000".into(), "203.0.113.1:5000".into()));
}

#[test]
fn a_short_hop_limit_opens_the_own_nat_only() {
    let World { mut net, server, alice, .. } = world();
    net.handle_packet(Duration::ZERO, alice, &udp("192.168.1.2:4000", "203.0.113.1:5000", 3, b"hi"));
    assert!(run(&mut net).is_empty());
    assert_eq!(net.counts().dropped["hop limit"], 1);
    net.handle_packet(Duration::ZERO, server, &udp("203.0.113.1:5000", "198.51.100.1:4000", 64, b"ho"));
    assert_eq!(run(&mut net).len(), 1);
}

#[test]
fn disturbances_disturb() {
    let World { mut net, server, alice, nats, .. } = world();
    let out = udp("192.168.1.2:4000", "203.0.113.1:5000", 64, b"hi");
    net.set_udp(nats[0], UdpRule::Nothing);
    net.handle_packet(Duration::ZERO, alice, &out);
    assert!(run(&mut net).is_empty());
    net.set_udp(nats[0], UdpRule::Only(ip("203.0.113.2")));
    net.handle_packet(Duration::ZERO, alice, &out);
    assert!(run(&mut net).is_empty());
    net.set_udp(nats[0], UdpRule::Only(ip("203.0.113.1")));
    net.handle_packet(Duration::ZERO, alice, &out);
    assert_eq!(run(&mut net).len(), 1);

    let link = net.link(alice, server);
    net.set_link(alice, server, Link { cut: true, ..link });
    net.handle_packet(Duration::ZERO, alice, &out);
    assert!(run(&mut net).is_empty());
    net.set_link(alice, server, link);

    net.rebind(nats[0]);
    net.set_outer_ips(nats[0], vec![ip("198.51.100.77")]);
    net.handle_packet(Duration::ZERO, alice, &out);
    assert_eq!(run(&mut net)[0].2.src().ip(), ip("198.51.100.77"));
    assert_eq!(net.counts().dropped["cut"], 1);
    assert_eq!(net.counts().dropped["UDP blocked"], 2);
}

#[test]
fn strays_are_counted() {
    let World { mut net, alice, .. } = world();
    net.handle_packet(Duration::ZERO, alice, b"junk");
    net.handle_packet(Duration::ZERO, alice, &udp("10.9.9.9:1", "203.0.113.1:5000", 64, b"hi"));
    net.handle_packet(Duration::ZERO, alice, &udp("192.168.1.2:1", "10.1.1.1:5000", 64, b"hi"));
    let dropped = &net.counts().dropped;
    assert_eq!((dropped["malformed"], dropped["foreign source"], dropped["no route"]), (1, 1, 1));
}

#[test]
fn a_refusal_reaches_the_sender() {
    let mut net = Network::new(PEERS, 1);
    let core = net.core();
    let profile = Profile::by_name("udp_blocked").unwrap();
    let (_, lan) = net.add_nat(core, profile, vec![ip("198.51.100.1")], Duration::ZERO);
    let host = net.add_host(lan, vec![ip("192.168.1.2")]);
    net.handle_packet(Duration::ZERO, host, &udp("192.168.1.2:4000", "203.0.113.1:5000", 64, b"hi"));
    // A profile may refuse or drop; either way nothing may get out.
    for (_, to, packet) in run(&mut net) {
        assert_eq!(to, host);
        assert!(packet.flow().is_none());
    }
}
