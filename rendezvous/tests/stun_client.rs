//! Standard STUN clients against a real server on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says why it skips"
)]

#[path = "support/client.rs"]
mod support;

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use common::identity::Identity;
use common::stun::binding::{parse_response, request};
use rendezvous::{Config, IdentitySource, Limits, Server};
use support::{Client, loopback};

/// A server on IPv4 and, where there is any, IPv6.
async fn both_families(limits: Limits) -> Server {
    let mut binds = vec![loopback()];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        binds.push((Ipv6Addr::LOCALHOST, 0).into());
    } else {
        println!("skipped for IPv6: there is none here");
    }
    let identity = IdentitySource::Given(Identity::from_seed([1; 32]));
    Server::bind(Config { binds, bind_tcp: Vec::new(), alt_binds: Vec::new(), identity, limits })
        .await
        .unwrap()
}

/// What a program says when asked for the mapped address; `None` if it is not installed.
fn ask(program: &str, server: SocketAddr) -> Option<String> {
    let (ip, port) = (server.ip().to_string(), server.port().to_string());
    let output = match program {
        "stunclient" => {
            let family = if server.is_ipv4() { "4" } else { "6" };
            Command::new(program).args(["--family", family, &ip, &port]).output()
        }
        _ => Command::new(program).args(["-p", &port, &ip]).output(),
    };
    let output = output.ok()?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_clients_learn_their_address() {
    let server = both_families(Limits::default()).await;
    let mut tried = 0;
    for program in ["stunclient", "turnutils_stunclient"] {
        for addr in server.local_addrs() {
            let Some(said) = tokio::task::block_in_place(|| ask(program, *addr)) else { continue };
            tried += 1;
            let ip = addr.ip().to_string();
            let mapped = said.lines().any(|line| line.to_lowercase().contains("addr") && line.contains(&ip));
            assert!(mapped, "{program}: {said}");
        }
    }
    if tried == 0 {
        println!(
            "skipped: neither stunclient (stuntman-client) nor turnutils_stunclient (coturn) is installed"
        );
    }
    // The answer is counted after it was sent.
    let counted = async {
        while server.stats().stun_answered < tried {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), counted).await.expect("each answer is counted");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_the_senders_address_up_to_the_limit() {
    let limits = Limits { stun_per_second: 1, stun_burst: 5, ..Limits::default() };
    let server = both_families(limits).await;
    for addr in server.local_addrs() {
        let socket = UdpSocket::bind((addr.ip(), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut answers = 0;
        let mut bytes = [0; 200];
        for n in 0..10 {
            socket.send_to(&request([n; 12]), addr).unwrap();
            socket.send_to(&[20; 8], addr).unwrap();
        }
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let mut id = [0; 12];
            id.copy_from_slice(&bytes[8..20]);
            assert_eq!(parse_response(&bytes[..len], id), Some(socket.local_addr().unwrap()));
            assert_eq!(from, *addr);
            answers += 1;
        }
        assert_eq!(answers, 5);
    }
    let stats = server.stats();
    let families = u64::try_from(server.local_addrs().len()).unwrap();
    assert_eq!((stats.stun_dropped, stats.alien), (5 * families, 10 * families));
    server.shutdown().await;
}

/// `docs/protocol.md` §3.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ports_that_a_client_is_told_of_answer_stun_within_the_one_limit() {
    let limits = Limits { stun_per_second: 1, stun_burst: 5, ..Limits::default() };
    let server = support::server_with(limits).await;
    let main = server.local_addrs()[0];
    let mut client = Client::mute(&server, 1).await;
    let probes = client.register().await.probes;
    assert_eq!(probes.len(), 2);
    assert!(probes.iter().all(|probe| probe.ip() == main.ip() && probe.port() != main.port()), "{probes:?}");
    let socket = UdpSocket::bind((main.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for n in 0..10 {
        socket.send_to(&request([n; 12]), probes[usize::from(n % 2)]).unwrap();
    }
    let mut bytes = [0; 200];
    let answers = std::iter::from_fn(|| socket.recv_from(&mut bytes).ok()).count();
    assert_eq!(answers, 5);
    server.shutdown().await;
}
