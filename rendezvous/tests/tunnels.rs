//! What strangers may do on the server's TCP port: little, and never for long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use common::identity::Identity;
use common::stream_frame::{MAX_PACKET_LEN, put, take};
use common::stun::binding;
use common::tunnel::{MAGIC, MAX_BODY_LEN, PollId};
use rendezvous::{Config, IdentitySource, Limits, Server};
use support::{Client, PATIENCE, loopback, server, server_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.tcp_addrs()[0]).await.unwrap()
}

/// Sends `bytes` and returns all that comes until the server closes.
async fn exchange(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(server).await;
    // A server that has heard enough may not take all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    // At the latest when the time for opening a tunnel is over, which is as long as the patience of other tests.
    let _ = timeout(PATIENCE * 2, stream.read_to_end(&mut answer)).await.expect("it is closed");
    answer
}

async fn status(server: &Server, request: &str) -> String {
    let answer = exchange(server, request.as_bytes()).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udp_and_tcp_share_the_port_number() {
    let server = server().await;
    assert_eq!(server.local_addrs(), server.tcp_addrs());
    let identity = IdentitySource::Given(Identity::from_seed([3; 32]));
    let more = Config {
        binds: vec![loopback()],
        bind_tcp: vec![loopback()],
        alt_binds: Vec::new(),
        identity: identity.clone(),
        limits: Limits::default(),
    };
    assert_eq!(Server::bind(more).await.unwrap().tcp_addrs().len(), 2);
    let taken = Config {
        binds: vec![loopback()],
        bind_tcp: server.tcp_addrs().to_vec(),
        alt_binds: Vec::new(),
        identity,
        limits: Limits::default(),
    };
    let error = Server::bind(taken).await.unwrap_err().to_string();
    assert!(error.contains("TCP port"), "{error}");
}

/// `docs/protocol.md` §4.7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stun_question_on_tcp_is_answered_with_the_address_of_the_connection() {
    let server = server().await;
    let mut stream = connect(&server).await;
    let mut bytes = BytesMut::from(&MAGIC[..]);
    put(&mut bytes, &binding::request([7; 12]));
    stream.write_all(&bytes).await.unwrap();
    let mut answer = BytesMut::new();
    let packet = loop {
        assert!(timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
        if let Some(packet) = take(&mut answer).unwrap() {
            break packet;
        }
    };
    let seen: SocketAddr = binding::parse_response(&packet, [7; 12]).unwrap();
    assert_eq!(seen, stream.local_addr().unwrap());
    assert_eq!(server.stats().tunnels, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_own_connection() {
    let server = server().await;
    let frame = |packet: &[u8]| {
        let mut bytes = BytesMut::from(&MAGIC[..]);
        put(&mut bytes, packet);
        bytes.to_vec()
    };
    let long = u16::try_from(MAX_PACKET_LEN + 1).unwrap().to_be_bytes();
    let cases: [Vec<u8>; 7] = [
        b"hobnob/9".to_vec(),
        [&MAGIC[..], &[0, 0]].concat(),
        [&MAGIC[..], &long].concat(),
        frame(&[20; 100]),
        frame(&[0; 20]),
        [&[22][..], &[0xff; 300]].concat(),
        vec![0; 300],
    ];
    for (number, bytes) in cases.iter().enumerate() {
        // TLS and HTTP say that they did not understand; nothing sensible comes back.
        assert!(exchange(&server, bytes).await.len() < 200, "case {number}");
    }
    assert_eq!(server.stats().tunnels, 0);
    drop(Client::registered(&server, 250).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_for_tunnels_alone_and_bounded() {
    let server = server().await;
    let close = "Host: x\r\nConnection: close\r\n";
    let path = PollId(5).path(1);
    let too_long = "x".repeat(32 * 1024);
    let cases = [
        (format!("GET / HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("GET /hobnob HTTP/1.1\r\n{close}\r\n"), "400"),
        (format!("GET /hobnob/5/1 HTTP/1.1\r\n{close}\r\n"), "404"),
        (format!("PUT {path} HTTP/1.1\r\n{close}Content-Length: 0\r\n\r\n"), "405"),
        (format!("POST {path} HTTP/1.1\r\n{close}Content-Length: 2\r\n\r\n\0\0"), "400"),
        (format!("POST {path} HTTP/1.1\r\n{close}Content-Length: {}\r\n\r\n", MAX_BODY_LEN + 1), "400"),
        (format!("GET {path} HTTP/1.1\r\n{close}X: {too_long}\r\n\r\n"), "431"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ];
    for (request, expected) in cases {
        assert_eq!(status(&server, &request).await, expected, "{request:.60}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_polling_tunnels_are_counted_per_address() {
    let server = server_with(Limits { max_tunnels_per_address: 3, ..Limits::default() }).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(connect(&server).await);
    }
    // Nothing is accepted until those have been.
    assert_eq!(exchange(&server, b"").await, b"");
    assert_eq!(server.stats().tunnels_refused, 1);
    drop(kept);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for id in 0..3 {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            PollId(id).path(1)
        );
        assert_eq!(status(&server, &request).await, "200");
    }
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        PollId(9).path(1)
    );
    assert_eq!(status(&server, &request).await, "503");
    assert_eq!(server.stats().tunnels, 3);
}

/// A connection that says nothing, or goes on saying nothing whole, is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_ones_are_not_waited_for() {
    let server = server().await;
    let slow = |first: &'static [u8]| {
        let addr = server.tcp_addrs()[0];
        async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(first).await.unwrap();
            let mut answer = Vec::new();
            let closed = timeout(Duration::from_secs(25), stream.read_to_end(&mut answer)).await;
            closed.is_ok()
        }
    };
    let (silent, magic, tls, head) =
        tokio::join!(slow(b""), slow(b"hob"), slow(&[22, 3]), slow(b"GET /hobnob HTTP/1.1\r\nX: "));
    assert_eq!([silent, magic, tls, head], [true; 4]);
}
