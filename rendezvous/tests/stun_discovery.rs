//! RFC 5780 on loopback: a server with a second address, and one without.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says why it skips"
)]

#[path = "support/client.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use common::identity::Identity;
use common::stun::discovery::{Answered, Origin, parse, request};
use rendezvous::server::StartError;
use rendezvous::{Config, IdentitySource, Limits, Server};
use support::{Client, loopback};

const SECOND_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server on both addresses; `None` where the system has only one on loopback.
async fn with_two_addresses(limits: Limits) -> Option<Server> {
    if UdpSocket::bind((SECOND_IP, 0)).is_err() {
        println!("skipped: this system has no {SECOND_IP}");
        return None;
    }
    let identity = IdentitySource::Given(Identity::from_seed([1; 32]));
    let alt_binds = vec![(SECOND_IP, 0).into()];
    let config = Config { binds: vec![loopback()], bind_tcp: Vec::new(), alt_binds, identity, limits };
    Some(Server::bind(config).await.unwrap())
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// What comes back to `listener` when `socket` asks, and from where.
fn ask(
    socket: &UdpSocket,
    listener: &UdpSocket,
    to: SocketAddr,
    ask: (Origin, Option<u16>),
) -> (Answered, SocketAddr) {
    let id = [9; 12];
    socket.send_to(&request(id, ask.0, ask.1), to).unwrap();
    let mut bytes = [0; 1500];
    let (len, from) = listener.recv_from(&mut bytes).unwrap();
    (parse(&bytes[..len], id).unwrap(), from)
}

/// RFC 5780 §6.1, table 1, from all four endpoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_answers_for_the_three_others() {
    let Some(server) = with_two_addresses(Limits::default()).await else { return };
    let socket = socket();
    let mapped = socket.local_addr().unwrap();
    let main = server.local_addrs()[0];
    let (Answered::Seen { other: Some(other), .. }, _) = ask(&socket, &socket, main, (Origin::Asked, None))
    else {
        panic!("no alternate address")
    };
    assert!(other.ip() == SECOND_IP && other.port() != main.port());
    let corners = [main, other, (main.ip(), other.port()).into(), (other.ip(), main.port()).into()];
    for asked in corners {
        let opposite = |addr: SocketAddr| {
            *corners.iter().find(|c| c.ip() != addr.ip() && c.port() != addr.port()).unwrap()
        };
        let far = opposite(asked);
        let expected = [
            (Origin::Asked, asked),
            (Origin::OtherPort, (asked.ip(), far.port()).into()),
            (Origin::OtherIp, (far.ip(), asked.port()).into()),
            (Origin::Other, far),
        ];
        for (origin, from) in expected {
            let answer = ask(&socket, &socket, asked, (origin, None));
            assert_eq!(answer, (Answered::Seen { mapped, other: Some(far) }, from));
        }
    }
    let mut client = Client::mute(&server, 2).await;
    let probes = client.register().await.probes;
    assert!(probes.contains(&other) && probes.iter().all(|probe| probe.port() != main.port()), "{probes:?}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_changes_the_port_alone_and_says_so() {
    let server = support::server().await;
    let socket = socket();
    let (mapped, main) = (socket.local_addr().unwrap(), server.local_addrs()[0]);
    for origin in [Origin::OtherIp, Origin::Other] {
        let answer = ask(&socket, &socket, main, (origin, None));
        assert_eq!(answer, (Answered::Refused(420), main));
    }
    let (answer, from) = ask(&socket, &socket, main, (Origin::OtherPort, None));
    assert_eq!(answer, Answered::Seen { mapped, other: None });
    assert!(from.ip() == main.ip() && from.port() != main.port());
    server.shutdown().await;
}

/// RFC 5780 §4.6 needs it; the address is the asker's whatever the request says, and the limit is per address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_socket_of_the_asker_may_get_the_answer_within_the_same_limit() {
    let limits = Limits { stun_per_second: 1, stun_burst: 5, ..Limits::default() };
    let server = support::server_with(limits).await;
    let (asker, listener) = (socket(), socket());
    let port = listener.local_addr().unwrap().port();
    let main = server.local_addrs()[0];
    let (answer, from) = ask(&asker, &listener, main, (Origin::Asked, Some(port)));
    let seen = Answered::Seen { mapped: asker.local_addr().unwrap(), other: None };
    assert_eq!((answer, from), (seen, main));
    for n in 0..100 {
        let (origin, port) = if n % 2 == 0 { (Origin::Asked, Some(port)) } else { (Origin::OtherPort, None) };
        asker.send_to(&request([n; 12], origin, port), main).unwrap();
    }
    let counted = async {
        while server.stats().stun_dropped < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), counted).await.expect("a hundred are too many");
    server.shutdown().await;
}

#[tokio::test]
async fn a_second_address_needs_a_first_one_that_differs() {
    for (bind, alternate) in [
        ("0.0.0.0:0", "127.0.0.2:0"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:0", "[::1]:0"),
        ("127.0.0.1:0", "0.0.0.0:0"),
    ] {
        let identity = IdentitySource::Given(Identity::from_seed([1; 32]));
        let (binds, alt_binds) = (vec![bind.parse().unwrap()], vec![alternate.parse().unwrap()]);
        let limits = Limits::default();
        let error = Server::bind(Config { binds, bind_tcp: Vec::new(), alt_binds, identity, limits }).await;
        assert!(matches!(error, Err(StartError::Alternate(_))), "{bind} {alternate}");
    }
}

/// A public client that is not ours, coturn's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn natdiscovery_finds_no_nat_on_loopback() {
    let Some(server) = with_two_addresses(Limits::default()).await else { return };
    let main = server.local_addrs()[0];
    let program = "turnutils_natdiscovery";
    let (ip, port) = (main.ip().to_string(), main.port().to_string());
    let output = tokio::task::block_in_place(|| {
        Command::new(program).args(["-m", "-f", "-L", &ip, "-p", &port, &ip]).output()
    });
    let Ok(output) = output else {
        println!("skipped: {program} (coturn) is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    for expected in ["Endpoint Independent Mapping", "Endpoint Independent Filtering"] {
        assert!(said.contains(expected), "{said}");
    }
    server.shutdown().await;
}
