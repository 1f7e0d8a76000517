//! Clients that do not keep to the protocol: each loses its connection, and nobody else notices.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod support;

use std::net::UdpSocket;
use std::time::Duration;

use bytes::Bytes;
use common::control::{ALPN, MAX_WATCHED, ToServer, Watch, close};
use common::frame::Message;
use common::identity::Identity;
use rendezvous::{Limits, Server};
use support::{Client, closed, connect_raw, loopback, server, server_with};

/// A well-behaved client is served as ever.
async fn still_serves(server: &Server) {
    let client = Client::registered(server, 250).await;
    client.connection.close(close::BYE.into(), b"bye");
}

#[tokio::test]
async fn what_is_no_frame_is_answered_with_a_reason() {
    let server = server().await;
    let watch = Watch { peers: vec![Identity::from_seed([1; 32]).peer_id(); MAX_WATCHED + 20] };
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", "longer than"),
        (&[1, 0xff, 0xff, 0xff], "longer than"),
        (&[1, 0, 0, 2, 0xc1, 0xc1], "does not decode"),
        (&[2, 0, 0, 1, 0x80], "does not decode"),
        (&ToServer::from(watch).to_bytes(), "Register"),
    ];
    for (seed, (bytes, expected)) in (1..).zip(cases) {
        let mut client = Client::mute(&server, seed).await;
        client.send.write_all(bytes).await.unwrap();
        let (code, reason) = client.closed().await;
        assert_eq!(code, close::PROTOCOL);
        assert!(reason.contains(expected), "{reason}");
    }
    assert_eq!(server.stats().core.misbehaved, 5);
    still_serves(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn endless_streams_of_bytes_are_cut_off() {
    let server = server().await;
    let mut client = Client::registered(&server, 1).await;
    let unknown = [&[99, 0, 0x1f, 0][..], &[0; 0x1f00]].concat();
    while client.send.write_all(&unknown).await.is_ok() {}
    assert_eq!(client.closed().await.0, close::PROTOCOL);
    still_serves(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn datagrams_of_any_kind_are_survived() {
    let server = server().await;
    let client = Client::registered(&server, 1).await;
    let most = client.connection.max_datagram_size().unwrap();
    for len in [0, 1, 8, 9, 10, 500, most] {
        for fill in [0, 0x40, 0xff] {
            client.connection.send_datagram(Bytes::from(vec![fill; len])).unwrap();
        }
    }
    let raw = UdpSocket::bind(loopback()).unwrap();
    for first in 0..=255u8 {
        for len in [1, 20, 1200] {
            let mut datagram = vec![0x5a; len];
            datagram[0] = first;
            raw.send_to(&datagram, server.local_addrs()[0]).unwrap();
        }
    }
    still_serves(&server).await;
    assert!(client.connection.close_reason().is_none());
    server.shutdown().await;
}

#[tokio::test]
async fn another_protocol_is_not_spoken() {
    let server = server().await;
    let identity = Identity::from_seed([1; 32]);
    let refused = connect_raw(&identity, b"h3", server.local_addrs()[0], server.peer_id()).await;
    assert!(refused.is_err());
    let other = Identity::from_seed([2; 32]).peer_id();
    let wrong_key = connect_raw(&identity, ALPN, server.local_addrs()[0], other).await;
    assert!(wrong_key.is_err());
    still_serves(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn one_stream_and_no_more() {
    let server = server().await;
    let mut client = Client::registered(&server, 1).await;
    let second = tokio::time::timeout(Duration::from_millis(200), client.connection.open_bi()).await;
    assert!(second.is_err(), "the server grants one stream");
    client.send.finish().unwrap();
    let ended = tokio::time::timeout(support::PATIENCE, client.connection.closed()).await;
    assert!(ended.is_ok(), "a client that has ended its stream has left");
    still_serves(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_no_more() {
    let server = server_with(Limits { max_per_address: 2, ..Limits::default() }).await;
    let first = Client::registered(&server, 1).await;
    let _second = Client::registered(&server, 2).await;
    let identity = Identity::from_seed([3; 32]);
    let (addr, key) = (server.local_addrs()[0], server.peer_id());
    assert!(connect_raw(&identity, ALPN, addr, key).await.is_err());
    let stats = server.stats().core;
    assert_eq!((stats.retried, stats.refused), (1, 1), "proved first, refused then");
    first.connection.close(close::BYE.into(), b"bye");
    while server.stats().core.connections > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    still_serves(&server).await;
    server.shutdown().await;
}

#[tokio::test]
async fn under_load_addresses_are_proved_first() {
    let server = server_with(Limits { half_open_retry: 0, ..Limits::default() }).await;
    let _client = Client::registered(&server, 1).await;
    assert_eq!(server.stats().core.retried, 1);
    server.shutdown().await;
}

/// Whoever forges the sender of a first packet makes the server send it no more than the forger has sent.
#[tokio::test]
async fn a_forged_first_packet_is_not_amplified() {
    let server = server().await;
    let first = first_packet().await;
    let victim = UdpSocket::bind(loopback()).unwrap();
    victim.set_nonblocking(true).unwrap();
    victim.send_to(&first, server.local_addrs()[0]).unwrap();
    let mut bytes = [0; 2000];
    let mut received = Vec::new();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        while let Ok(len) = victim.recv(&mut bytes) {
            received.push(len);
        }
    }
    let total: usize = received.iter().sum();
    assert!(total > 0 && total <= first.len(), "{} bytes led to {received:?}", first.len());
    server.shutdown().await;
}

/// The first packet of a client to a server that says nothing.
async fn first_packet() -> Vec<u8> {
    let silent = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let identity = Identity::from_seed([1; 32]);
    let (to, key) = (silent.local_addr().unwrap(), Identity::from_seed([200; 32]).peer_id());
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let name = common::tls::server_name(key);
    let _connecting = endpoint.connect_with(support::quic(&identity, ALPN), to, &name).unwrap();
    let mut bytes = vec![0; 2000];
    let len = silent.recv(&mut bytes).await.unwrap();
    bytes.truncate(len);
    bytes
}

#[tokio::test]
async fn who_does_not_register_is_sent_away() {
    let server = server().await;
    let identity = Identity::from_seed([1; 32]);
    let (_endpoint, connection) =
        connect_raw(&identity, ALPN, server.local_addrs()[0], server.peer_id()).await.unwrap();
    let waiting = tokio::time::timeout(rendezvous::core::REGISTER_TIMEOUT * 2, connection.closed());
    assert!(waiting.await.is_ok());
    assert_eq!(closed(&connection).await.0, close::PROTOCOL);
    server.shutdown().await;
}
