//! Paths, NATs in chains, trouble and counters, with bare sockets.

use std::sync::Mutex;

use quinn::udp::{EcnCodepoint, Transmit};
use tokio::time::timeout;

use super::*;
use crate::nat::DropReason;

fn socket(net: &SimNet, host: HostId, port: u16) -> Arc<SimSocket> {
    net.bind_at(host, SocketAddr::from(([0, 0, 0, 0], port))).unwrap()
}

/// The next datagram within a second, as text, with its source.
async fn receive(socket: &SimSocket) -> Option<(String, SocketAddr)> {
    let mut buf = [0; 2048];
    let (len, from) = timeout(1_000 * MS, socket.recv_from(&mut buf)).await.ok()?.unwrap();
    Some((String::from_utf8_lossy(&buf[..len]).into_owned(), from))
}

fn text(text: &str, from: &str) -> Option<(String, SocketAddr)> {
    Some((text.to_owned(), addr(from)))
}

#[tokio::test(start_paused = true)]
async fn a_packet_takes_the_delay_between_its_sites_and_is_translated_on_the_way() {
    let homes = Homes::new(1, Profile::eim_adf(), Profile::eim_adf());
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    client.send_to(b"hello", addr("203.0.113.1:7000")).unwrap();
    assert_eq!(receive(&server).await, text("hello", "198.51.100.1:5000"));
    let elapsed = homes.net.now();
    assert!((25 * MS..=27 * MS).contains(&elapsed), "{elapsed:?}");
    server.send_to(b"welcome", addr("198.51.100.1:5000")).unwrap();
    assert_eq!(receive(&client).await, text("welcome", "203.0.113.1:7000"));
}

#[tokio::test(start_paused = true)]
async fn two_homes_punch() {
    let homes = Homes::new(1, Profile::eim_apdf_preserving(), Profile::eim_apdf_preserving());
    let a = socket(&homes.net, homes.hosts[0], 5000);
    let b = socket(&homes.net, homes.hosts[1], 6000);
    a.send_to(b"a1", addr("198.51.100.2:6000")).unwrap();
    tokio::time::sleep(100 * MS).await;
    assert_eq!(homes.net.dropped(DropCause::Nat(DropReason::NoMapping)), 1, "nothing is open yet");
    b.send_to(b"b1", addr("198.51.100.1:5000")).unwrap();
    assert_eq!(receive(&a).await, text("b1", "198.51.100.2:6000"));
    a.send_to(b"a2", addr("198.51.100.2:6000")).unwrap();
    assert_eq!(receive(&b).await, text("a2", "198.51.100.1:5000"));
    assert_eq!(homes.net.delivered(homes.hosts[0], homes.hosts[1]), Count { packets: 1, bytes: 2 });
    assert_eq!(homes.net.sent(homes.hosts[0]).packets, 2);
    let core = homes.net.on_core(addr("198.51.100.1:5000"), addr("198.51.100.2:6000"));
    assert_eq!(core.packets, 2);
}

#[tokio::test(start_paused = true)]
async fn two_homes_behind_one_carrier_nat_reach_each_other_by_their_carrier_side_addresses() {
    let net = SimNet::new(1);
    let site = net.site();
    let carrier = net.nat(Segment::Core(site), Profile::cgnat(), &[ip("198.51.100.1")]);
    let home = |n: u8| {
        let outside = IpAddr::from([100, 64, 0, n]);
        let nat = net.nat(Segment::Behind(carrier), Profile::eim_apdf_preserving(), &[outside]);
        net.host(Segment::Behind(nat), ip("192.168.1.10"))
    };
    let (a, b) = (home(1), home(2));
    let server = net.host(Segment::Core(net.site()), ip("203.0.113.1"));
    let (a, b, server) = (socket(&net, a, 5000), socket(&net, b, 5000), socket(&net, server, 7000));

    a.send_to(b"from a", addr("203.0.113.1:7000")).unwrap();
    let (_, public_a) = receive(&server).await.unwrap();
    b.send_to(b"from b", addr("203.0.113.1:7000")).unwrap();
    let (_, public_b) = receive(&server).await.unwrap();
    assert_eq!(public_a.ip(), ip("198.51.100.1"), "both NATs have translated");

    // Within the carrier's network, without passing the carrier's NAT.
    a.send_to(b"a1", addr("100.64.0.2:5000")).unwrap();
    assert_eq!(receive(&b).await, None);
    b.send_to(b"b1", addr("100.64.0.1:5000")).unwrap();
    assert_eq!(receive(&a).await, text("b1", "100.64.0.2:5000"));

    // By the carrier's public endpoints, turned around inside it.
    a.send_to(b"a2", public_b).unwrap();
    b.send_to(b"b2", public_a).unwrap();
    assert_eq!(receive(&a).await, Some(("b2".to_owned(), public_b)));
}

#[tokio::test(start_paused = true)]
async fn two_hosts_behind_one_nat_are_neighbours() {
    let net = SimNet::new(1);
    let nat = net.nat(Segment::Core(net.site()), Profile::symmetric_random(), &[ip("198.51.100.1")]);
    let a = socket(&net, net.host(Segment::Behind(nat), ip("192.168.1.10")), 5000);
    let b = socket(&net, net.host(Segment::Behind(nat), ip("192.168.1.11")), 5000);
    a.send_to(b"hi", addr("192.168.1.11:5000")).unwrap();
    assert_eq!(receive(&b).await, text("hi", "192.168.1.10:5000"));
    assert!(net.now() <= 2 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_dual_stack_host_uses_the_address_that_fits() {
    let net = SimNet::new(1);
    let (home, away) = (net.site(), net.site());
    let nat = net.nat(Segment::Core(home), Profile::eim_adf(), &[ip("198.51.100.1")]);
    let host = net.host(Segment::Behind(nat), ip("192.168.1.10"));
    net.add_address(host, Segment::Core(home), ip("2001:db8:1::10"));
    let server = net.host(Segment::Core(away), ip("203.0.113.1"));
    net.add_address(server, Segment::Core(away), ip("2001:db8:2::1"));
    let v6 = |host| net.bind_at(host, addr("[::]:7000")).unwrap();
    let (server4, server6) = (socket(&net, server, 7000), v6(server));
    socket(&net, host, 7000).send_to(b"four", addr("203.0.113.1:7000")).unwrap();
    assert_eq!(receive(&server4).await, text("four", "198.51.100.1:7000"));
    v6(host).send_to(b"six", addr("[2001:db8:2::1]:7000")).unwrap();
    assert_eq!(receive(&server6).await, text("six", "[2001:db8:1::10]:7000"));
    let wrong_family = v6(host).send_to(b"four", addr("203.0.113.1:7000"));
    assert_eq!(wrong_family.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
}

#[tokio::test(start_paused = true)]
async fn loopback_and_own_addresses_stay_on_the_host() {
    let homes = Homes::new(1, Profile::eim_adf(), Profile::eim_adf());
    homes.net.tap(|packet| panic!("{packet:?} left the host"));
    let a = socket(&homes.net, homes.server, 7000);
    let b = socket(&homes.net, homes.server, 7001);
    a.send_to(b"x", addr("127.0.0.1:7001")).unwrap();
    assert_eq!(receive(&b).await, text("x", "127.0.0.1:7000"));
    a.send_to(b"y", addr("203.0.113.1:7001")).unwrap();
    assert_eq!(receive(&b).await, text("y", "203.0.113.1:7000"));
}

#[tokio::test(start_paused = true)]
async fn partitions_begin_and_end() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    let passes = async || {
        client.send_to(b"x", addr("203.0.113.1:7000")).unwrap();
        receive(&server).await.is_some()
    };
    assert!(passes().await);
    homes.net.cut(homes.hosts[0]);
    assert!(!passes().await);
    homes.net.heal(homes.hosts[0]);
    assert!(passes().await);
    homes.net.cut_pair(homes.server, homes.hosts[0]);
    assert!(!passes().await);
    homes.net.heal_pair(homes.hosts[0], homes.server);
    assert!(passes().await);
    homes.net.block_udp(homes.nats[0]);
    assert!(!passes().await);
    homes.net.allow_udp(homes.nats[0]);
    assert!(passes().await);
    assert_eq!(homes.net.dropped(DropCause::Cut), 2);
}

#[tokio::test(start_paused = true)]
async fn nats_and_hosts_change_their_addresses() {
    let homes = Homes::new(1, Profile::eim_apdf_preserving(), Profile::eim_apdf_preserving());
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    let seen = async || {
        client.send_to(b"x", addr("203.0.113.1:7000")).unwrap();
        receive(&server).await.unwrap().1
    };
    assert_eq!(seen().await, addr("198.51.100.1:5000"));
    homes.net.rebind(homes.nats[0]);
    let rebound = seen().await;
    assert!(rebound.ip() == ip("198.51.100.1") && rebound.port() != 5000, "{rebound}");
    homes.net.set_public_ips(homes.nats[0], &[ip("198.51.100.9")]);
    assert_eq!(seen().await, addr("198.51.100.9:5000"));
    homes.net.set_addresses(homes.hosts[0], &[(Segment::Core(homes.sites[0]), ip("198.51.100.50"))]);
    assert_eq!(seen().await, addr("198.51.100.50:5000"));
    homes.net.set_addresses(homes.hosts[0], &[]);
    let offline = client.send_to(b"x", addr("203.0.113.1:7000"));
    assert_eq!(offline.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_an_address_that_went_away_is_lost() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    client.send_to(b"x", addr("203.0.113.1:7000")).unwrap();
    tokio::time::sleep(10 * MS).await;
    homes.net.set_addresses(homes.server, &[(Segment::Core(homes.sites[2]), ip("203.0.113.2"))]);
    assert_eq!(receive(&server).await, None);
    assert_eq!(homes.net.dropped(DropCause::NoRoute), 1);
}

/// Whatever was due before a change has happened before it, even if no task has run since.
#[tokio::test(start_paused = true)]
async fn changes_and_counters_are_exact_in_time() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let _server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    client.send_to(b"x", addr("203.0.113.1:7000")).unwrap();
    // The packet needs 25.2 ms.
    tokio::time::sleep(25 * MS).await;
    assert_eq!(homes.net.delivered(homes.hosts[0], homes.server).packets, 0);
    tokio::time::sleep(MS).await;
    homes.net.cut(homes.server);
    assert_eq!(homes.net.delivered(homes.hosts[0], homes.server).packets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_socket_frees_its_port_and_a_killed_one_is_dead() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let (net, host) = (&homes.net, homes.server);
    let first = socket(net, host, 7000);
    let in_use = net.bind_at(host, addr("0.0.0.0:7000")).unwrap_err();
    assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    let second = socket(net, host, 7000);
    net.kill(host);
    let third = socket(net, host, 7000);
    second.send_to(b"from the dead", addr("203.0.113.1:7000")).unwrap();
    drop(second);
    let client = socket(net, homes.hosts[0], 5000);
    client.send_to(b"to the living", addr("203.0.113.1:7000")).unwrap();
    assert_eq!(receive(&third).await, text("to the living", "198.51.100.1:5000"));
    assert_ne!(socket(net, host, 0).local_addr().unwrap(), socket(net, host, 0).local_addr().unwrap());
}

#[tokio::test(start_paused = true)]
async fn segments_are_split_and_marks_are_carried() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    homes.net.tap(move |packet| log.lock().unwrap().push(packet.payload.len()));
    homes.net.set_reception(homes.server, Reception::Coalesced);
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    let transmit = Transmit {
        destination: addr("203.0.113.1:7000"),
        ecn: Some(EcnCodepoint::Ect0),
        contents: &[1; 2_500],
        segment_size: Some(1_000),
        src_ip: None,
    };
    client.try_send(&transmit).unwrap();
    tokio::time::sleep(100 * MS).await;
    assert_eq!(*seen.lock().unwrap(), [1_000, 1_000, 500]);
    assert_eq!(server.max_receive_segments(), MAX_COALESCED);
    let mut storage = [0; 4_000];
    let mut meta = [quinn::udp::RecvMeta::default()];
    let mut bufs = [io::IoSliceMut::new(&mut storage)];
    let filled = std::future::poll_fn(|cx| server.poll_recv(cx, &mut bufs, &mut meta)).await.unwrap();
    assert_eq!((filled, meta[0].len, meta[0].stride), (1, 2_500, 1_000));
    assert_eq!((meta[0].ecn, meta[0].dst_ip), (Some(EcnCodepoint::Ect0), Some(ip("203.0.113.1"))));
}

#[tokio::test(start_paused = true)]
async fn links_change_while_in_use() {
    let homes = Homes::new(1, Profile::full_cone(), Profile::full_cone());
    let server = socket(&homes.net, homes.server, 7000);
    let client = socket(&homes.net, homes.hosts[0], 5000);
    let arrived = async |size: usize| {
        client.send_to(&vec![0; size], addr("203.0.113.1:7000")).unwrap();
        receive(&server).await.is_some()
    };
    assert!(arrived(1_472).await);
    assert!(!arrived(1_473).await, "an Ethernet frame ends here");
    homes.net.set_link(homes.sites[0], homes.sites[2], Link::new(MS).with_mtu(1_280));
    assert!(arrived(1_252).await);
    assert!(!arrived(1_253).await);
    homes.net.set_one_way(homes.sites[0], homes.sites[2], Link::new(MS).lossy(1.0));
    assert!(!arrived(100).await);
    homes.net.set_lan(homes.nats[0], Link::new(MS).with_mtu(500));
    assert!(!arrived(1_000).await);
    assert_eq!(homes.net.dropped(DropCause::TooLarge), 3);
    assert_eq!(homes.net.dropped(DropCause::Lost), 1);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_network_ends_its_task() {
    let net = SimNet::new(1);
    let host = net.host(Segment::Core(net.site()), ip("203.0.113.1"));
    let socket = net.bind(host, 7000);
    drop(net);
    tokio::time::sleep(MS).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1, "a socket keeps it");
    drop(socket);
    tokio::time::sleep(MS).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
