//! The lab tried on itself: plain sockets in its namespaces, against the kernel's own idea of a packet.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "real time is what is measured here")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use tests::lab::access::Access;
use tests::lab::link::Link;
use tests::lab::netns;
use tests::lab::scene::{End, Plan, Scene};
use tests::lab::tap::{self, Sort};
use tests::lab::unavailable;

/// What the lab must carry so that transfers can be shown.
const MIN_MBIT: f64 = 200.0;
/// How much later than due a packet may come on a busy machine.
const SLACK: Duration = Duration::from_millis(30);

/// A scene without programs, or none with the reason printed.
fn scene(homes: &[&str]) -> Option<Scene> {
    if let Some(reason) = unavailable() {
        println!("skipped: {reason}");
        return None;
    }
    let homes = homes.iter().map(|name| Access::by_name(name).unwrap()).collect();
    Some(Scene::build(&Plan::standard(homes, Path::new("/nonexistent"))).unwrap())
}

/// A UDP socket at an end of the scene.
fn socket(scene: &Scene, end: End, port: u16) -> UdpSocket {
    let place = scene.place(end);
    let socket = place.netns.run(|| UdpSocket::bind(SocketAddr::new(place.ip, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// Sends and receives once; returns what was seen as the source and when it came.
fn pass(from: &UdpSocket, to: &UdpSocket, target: SocketAddr, text: &[u8]) -> (SocketAddr, Duration) {
    let begun = Instant::now();
    from.send_to(text, target).unwrap();
    let mut buffer = [0; 2_000];
    let (len, source) = to.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], text);
    (source, begun.elapsed())
}

fn assert_about(measured: Duration, due: Duration) {
    assert!(measured >= due && measured < due + SLACK, "{measured:?} instead of {due:?}");
}

#[test]
fn echo_with_the_server_takes_its_round_trip() {
    let Some(scene) = scene(&["eim_apdf_preserving", "cgnat", "public"]) else { return };
    let server = socket(&scene, End::Server, 5_000);
    for home in 0..3 {
        let client = socket(&scene, End::Home(home), 4_000);
        let (seen, up) = pass(&client, &server, "203.0.113.1:5000".parse().unwrap(), b"@ping");
        let (source, down) = pass(&server, &client, seen, b"@pong");
        assert_eq!(source.to_string(), "203.0.113.1:5000");
        assert_about(up + down, Duration::from_millis(50));
    }
}

#[test]
fn two_homes_punch_through_and_are_80_ms_apart() {
    let Some(scene) = scene(&["eim_apdf_preserving", "cgnat"]) else { return };
    let server = socket(&scene, End::Server, 5_000);
    let (alice, bob) = (socket(&scene, End::Home(0), 4_000), socket(&scene, End::Home(1), 4_000));
    let target = "203.0.113.1:5000".parse().unwrap();
    let (alice_seen, _) = pass(&alice, &server, target, b"@who am I");
    let (bob_seen, _) = pass(&bob, &server, target, b"@who am I");
    alice.send_to(b"@opens Alice's NAT", bob_seen).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    // Bob's opens his and passes Alice's; hers then passes his.
    let (_, one) = pass(&bob, &alice, alice_seen, b"@open");
    let (_, other) = pass(&alice, &bob, bob_seen, b"@open too");
    assert_about(one + other, Duration::from_millis(80));
    let (a, b) = (scene.place(End::Home(0)).host, scene.place(End::Home(1)).host);
    let tallies = scene.router().with(|network, _| network.tap().tallies().clone()).unwrap();
    assert_eq!(tap::sum(&tallies, a, b, |sort| sort == Sort::Quic).packets, 1);
    assert_eq!(tap::between(&tallies, b, a).packets, 1);
}

#[test]
fn tcp_crosses_nats_with_right_checksums() {
    let Some(scene) = scene(&["cgnat"]) else { return };
    let place = scene.place(End::Server);
    let listener = place.netns.run(|| TcpListener::bind((place.ip, 5_000))).unwrap().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = [0; 5];
        stream.read_exact(&mut text).unwrap();
        stream.write_all(&text).unwrap();
    });
    let target = SocketAddr::new(place.ip, 5_000);
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(5));
    let mut stream = scene.place(End::Home(0)).netns.run(connect).unwrap().unwrap();
    stream.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
    echo.join().unwrap();
}

#[test]
fn a_refused_connection_is_refused_at_once() {
    let Some(scene) = scene(&["eim_apdf_preserving", "udp_blocked"]) else { return };
    // UDP that the own NAT refuses: the kernel learns it from the ICMP answer.
    let client = socket(&scene, End::Home(1), 4_000);
    client.connect("203.0.113.1:5000").unwrap();
    client.send(b"@anybody?").unwrap();
    let answer = client.recv(&mut [0; 10]);
    // A profile may also swallow it.
    let kind = answer.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::WouldBlock), "{kind:?}");
    // TCP to a NAT where nobody listens: refused by a reset, or nothing, but never open.
    let target = "198.51.100.1:80".parse().unwrap();
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(1));
    let error = scene.place(End::Server).netns.run(connect).unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut), "{error}");
    let counts = scene.router().with(|network, _| network.counts().clone()).unwrap();
    println!("UDP: {kind:?}; TCP: {:?}; {counts:?}", error.kind());
}

#[test]
fn a_cut_link_and_a_lossy_one_do_as_told() {
    let Some(scene) = scene(&["public", "public"]) else { return };
    let (a, b) = (socket(&scene, End::Home(0), 4_000), socket(&scene, End::Home(1), 4_000));
    let target = SocketAddr::new(scene.place(End::Home(1)).ip, 4_000);
    pass(&a, &b, target, b"@first");
    scene.cut(End::Home(0), End::Home(1), true).unwrap();
    a.send_to(b"@lost", target).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    scene.cut(End::Home(0), End::Home(1), false).unwrap();
    pass(&a, &b, target, b"@second");
    scene.change_link(End::Home(0), End::Home(1), |link| Link { loss: 1.0, ..link }).unwrap();
    a.send_to(b"@lost too", target).unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let counts = scene.router().with(|network, _| network.counts().clone()).unwrap();
    assert_eq!((counts.dropped["cut"], counts.dropped["lost"]), (1, 1));
}

#[test]
fn transfers_of_200_mbit_can_be_shown() {
    let Some(scene) = scene(&["eim_apdf_preserving", "public"]) else { return };
    let place = scene.place(End::Home(1));
    let listener = place.netns.run(|| TcpListener::bind((place.ip, 6_000))).unwrap().unwrap();
    // Over 80 ms the kernel's receive window would be the limit, not the router.
    let near = |link| Link { delay: Duration::from_millis(5), ..link };
    scene.change_link(End::Home(0), End::Home(1), near).unwrap();
    let total: usize = 100_000_000;
    let sink = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 256 * 1024];
        let mut first = None;
        let mut got = 0;
        while got < total {
            let len = stream.read(&mut buffer).unwrap();
            assert!(len > 0, "ended early");
            got += len;
            // The first part is slow start.
            if got > total / 4 && first.is_none() {
                first = Some((got, Instant::now()));
            }
        }
        let (before, since) = first.unwrap();
        let bits = u32::try_from((got - before) * 8).unwrap();
        f64::from(bits) / since.elapsed().as_secs_f64() / 1e6
    });
    let target = SocketAddr::new(place.ip, 6_000);
    let mut stream = scene.place(End::Home(0)).netns.run(|| TcpStream::connect(target)).unwrap().unwrap();
    let chunk = vec![7; 256 * 1024];
    let mut left = total;
    while left > 0 {
        let len = left.min(chunk.len());
        stream.write_all(&chunk[..len]).unwrap();
        left -= len;
    }
    let mbit = sink.join().unwrap();
    let counts = scene.router().with(|network, _| network.counts().clone()).unwrap();
    println!("{mbit:.0} Mbit/s; {counts:?}");
    assert!(mbit >= MIN_MBIT, "{mbit:.0} Mbit/s");
}

#[test]
fn namespaces_are_gone_after_a_scene_and_after_a_panic() {
    if let Some(reason) = unavailable() {
        println!("skipped: {reason}");
        return;
    }
    let name = {
        let scene = scene(&["cgnat"]).unwrap();
        scene.place(End::Home(0)).netns.name().to_owned()
    };
    assert!(!netns::ours().contains(&name));
    let panicked = std::thread::spawn(|| {
        let scene = scene(&["public"]).unwrap();
        let name = scene.place(End::Server).netns.name().to_owned();
        std::panic::panic_any(name);
    });
    let name = *panicked.join().unwrap_err().downcast::<String>().unwrap();
    assert!(!netns::ours().contains(&name));
}
