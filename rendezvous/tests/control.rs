//! Clients on loopback against a real server: registering, pairing, connecting, relaying, presence, the end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod support;

use std::time::Duration;

use bytes::Bytes;
use common::control::{End, Failed, FailedReason, InstanceId, Presence, SessionId, ToClient, close};
use common::relay::{Unwrapper, Wrapper};
use rendezvous::Limits;
use support::{Client, relay_frame, server, server_with};

#[tokio::test]
async fn registers_and_learns_where_it_is_seen() {
    let server = server().await;
    let mut client = Client::mute(&server, 1).await;
    assert_eq!(client.register().await.observed, Some(client.addr()));
    assert_eq!(server.stats().core.registered, 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_newer_registration_replaces_the_older() {
    let server = server().await;
    let old = Client::registered(&server, 1).await;
    let mut new = Client::registered(&server, 1).await;
    let mut other = Client::registered(&server, 2).await;
    assert_eq!(old.closed().await.0, close::REPLACED);
    other.connect(5, new.peer()).await;
    assert_eq!(new.introduced().await.endpoints, [other.addr()]);
    server.shutdown().await;
}

#[tokio::test]
async fn a_new_address_is_told() {
    let server = server().await;
    let mut client = Client::registered(&server, 1).await;
    client.endpoint.rebind(std::net::UdpSocket::bind(support::loopback()).unwrap()).unwrap();
    client.relay(1, b"from the new address");
    let addr = client.addr();
    assert!(matches!(client.hear().await, ToClient::Observed(observed) if observed.addr == Some(addr)));
    server.shutdown().await;
}

#[tokio::test]
async fn newcomers_are_paired_in_order() {
    let server = server().await;
    let mut clients = Vec::new();
    for seed in 1..=4 {
        let mut client = Client::registered(&server, seed).await;
        client.lobby().await;
        if seed % 2 == 1 {
            assert!(client.hears_nothing().await);
        }
        clients.push(client);
    }
    for pair in clients.chunks_mut(2) {
        let [first, second] = pair else { panic!("two and two") };
        let (at_first, at_second) = (first.introduced().await, second.introduced().await);
        assert_eq!((at_first.peer, at_second.peer), (second.peer(), first.peer()));
        assert_eq!((at_first.dial, at_second.dial), (false, true), "the later one dials");
        assert!(at_first.lobby && at_second.lobby);
        assert_eq!((at_first.session, &at_first.key), (at_second.session, &at_second.key));
        assert_eq!(at_first.endpoints, [second.addr()]);
        first.relay(at_first.session.0, b"hello");
        assert_eq!(second.datagram().await, relay_frame(at_first.session.0, b"hello"));
    }
    server.shutdown().await;
}

#[tokio::test]
async fn packets_pass_both_ways_and_end_with_the_session() {
    let server = server().await;
    let mut a = Client::registered(&server, 1).await;
    let mut b = Client::registered(&server, 2).await;
    a.connect(7, b.peer()).await;
    let (at_a, at_b) = (a.introduced().await, b.introduced().await);
    assert_eq!((at_a.dial, at_b.dial, at_a.lobby), (true, false, false));
    assert_ne!(at_a.key.0, [0; 16]);

    let packet: Vec<u8> = (0..1200u16).map(|i| (i % 251) as u8).collect();
    for (from, to) in [(&a, &b), (&b, &a)] {
        let room = from.connection.max_datagram_size().unwrap();
        for frame in Wrapper::default().wrap(SessionId(7), 2, &packet, room) {
            from.connection.send_datagram(frame).unwrap();
        }
        let mut unwrapper = Unwrapper::default();
        assert_eq!(unwrapper.unwrap(&to.datagram().await), None);
        let whole = unwrapper.unwrap(&to.datagram().await).expect("both halves are there");
        assert_eq!((whole.packet, whole.ecn), (Bytes::from(packet.clone()), 2));
    }

    let stranger = Client::registered(&server, 3).await;
    stranger.relay(7, b"let me in");
    a.tell(End { session: SessionId(7) }).await;
    assert_eq!(b.hear().await, ToClient::End(End { session: SessionId(7) }));
    a.relay(7, b"too late");
    let nothing = tokio::time::timeout(Duration::from_millis(200), b.connection.read_datagram()).await;
    assert!(nothing.is_err(), "got {nothing:?}");
    server.shutdown().await;
}

#[tokio::test]
async fn who_is_not_there_cannot_be_reached() {
    let server = server().await;
    let mut a = Client::registered(&server, 1).await;
    let b = Client::registered(&server, 2).await;
    let (me, gone) = (a.peer(), b.peer());
    a.connect(1, gone).await;
    a.introduced().await;
    b.connection.close(close::BYE.into(), b"bye");
    assert_eq!(a.hear().await, ToClient::End(End { session: SessionId(1) }));
    for (session, peer, reason) in [(2, gone, FailedReason::Offline), (3, me, FailedReason::Invalid)] {
        a.connect(session, peer).await;
        assert_eq!(a.hear().await, ToClient::Failed(Failed { session: SessionId(session), reason }));
    }
    server.shutdown().await;
}

#[tokio::test]
async fn packets_that_overtake_their_request_arrive() {
    let server = server().await;
    let mut a = Client::registered(&server, 1).await;
    let mut b = Client::registered(&server, 2).await;
    a.relay(9, b"first");
    tokio::time::sleep(Duration::from_millis(100)).await;
    a.connect(9, b.peer()).await;
    b.introduced().await;
    assert_eq!(b.datagram().await, relay_frame(9, b"first"));
    server.shutdown().await;
}

#[tokio::test]
async fn the_relay_keeps_to_its_budget() {
    let limits = Limits { relay_bytes_per_second: 1, relay_burst: 5_000, ..Limits::default() };
    let server = server_with(limits).await;
    let mut a = Client::registered(&server, 1).await;
    let mut b = Client::registered(&server, 2).await;
    a.connect(1, b.peer()).await;
    b.introduced().await;
    for _ in 0..10 {
        a.relay(1, &[0; 991]);
    }
    for _ in 0..5 {
        b.datagram().await;
    }
    a.introduced().await;
    b.relay(1, &[0; 991]);
    a.datagram().await;
    while server.stats().core.dropped_budget < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.stats().core.relayed, 6);
    server.shutdown().await;
}

#[tokio::test]
async fn presence_is_mutual() {
    let server = server().await;
    let mut a = Client::registered(&server, 1).await;
    let mut b = Client::registered(&server, 2).await;
    let (id_a, id_b) = (a.peer(), b.peer());
    let run = |peer: common::identity::PeerId| Some(InstanceId(u64::from(peer.as_bytes()[0])));
    a.watch(&[id_b]).await;
    assert!(a.hears_nothing().await);
    b.watch(&[id_a]).await;
    let standing = Presence { peer: id_a, online: run(id_a), standing: true };
    assert_eq!(b.hear().await, ToClient::Presence(standing));
    let news = Presence { peer: id_b, online: run(id_b), standing: false };
    assert_eq!(a.hear().await, ToClient::Presence(news));
    drop(b);
    let news = Presence { peer: id_b, online: None, standing: false };
    assert_eq!(a.hear().await, ToClient::Presence(news));
    server.shutdown().await;
}

#[tokio::test]
async fn clients_hear_of_the_shutdown() {
    let server = server().await;
    let client = Client::registered(&server, 1).await;
    let mute = Client::mute(&server, 2).await;
    let (ended, first, second) = tokio::join!(server.shutdown(), client.closed(), mute.closed());
    assert_eq!((ended, first.0, second.0), ((), close::SHUTDOWN, close::SHUTDOWN));
}

/// RFC 9001 §6: the second update takes keys that are derived long after the handshake.
#[tokio::test]
async fn keys_can_be_updated() {
    let server = server().await;
    let mut client = Client::registered(&server, 1).await;
    let other = Client::registered(&server, 2).await;
    for session in 1..=3 {
        client.connection.force_key_update();
        client.connect(session, other.peer()).await;
        assert_eq!(client.introduced().await.session, SessionId(session));
        // The old keys are kept for three probe timeouts (RFC 9001 §6.5), and until then there is no other update.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    server.shutdown().await;
}
