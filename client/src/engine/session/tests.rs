use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::identity::Identity;
use common::tls::{self, EarlyData, Trust};
use quinn::{ClientConfig, Endpoint, ServerConfig, WriteError};
use tokio::time::timeout;

use super::*;
use crate::net::ALPN;

/// Longer than anything here takes.
const TIME: Duration = Duration::from_secs(10);

/// Two ends of a connection over loopback, the dialling one first, with the endpoints that carry them.
async fn pair() -> ([Connection; 2], [Endpoint; 2]) {
    let [alice, bob] = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let accepting = ServerConfig::with_crypto(Arc::new(tls::server_config(&bob, ALPN, EarlyData::Refuse)));
    let there = Endpoint::server(accepting, any).unwrap();
    let here = Endpoint::client(any).unwrap();
    let dialling = ClientConfig::new(Arc::new(tls::client_config(&alice, ALPN, Trust::NamedKey)));
    let name = tls::server_name(bob.peer_id());
    let dial = here.connect_with(dialling, there.local_addr().unwrap(), &name).unwrap();
    let accept = async { there.accept().await.unwrap().await.unwrap() };
    let (dialled, accepted) = tokio::join!(dial, accept);
    ([dialled.unwrap(), accepted], [here, there])
}

async fn labelled(connection: &Connection, kind: u8) -> Stream {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(&[kind]).await.unwrap();
    (send, recv)
}

/// Waits until the other side has refused both directions of a stream.
async fn assert_refused((send, mut recv): Stream) {
    let code = VarInt::from_u32(close::PROTOCOL);
    assert_eq!(timeout(TIME, send.stopped()).await.unwrap().unwrap(), Some(code));
    let read = timeout(TIME, recv.read_to_end(1)).await.unwrap();
    assert!(matches!(read, Err(quinn::ReadToEndError::Read(ReadError::Reset(got))) if got == code));
}

#[tokio::test]
async fn a_second_stream_of_a_kind_does_not_replace_the_first() {
    let ([dialled, accepted], _endpoints) = pair().await;
    let dial = async {
        let mut first = labelled(&dialled, StreamKind::Control as u8).await;
        let second = labelled(&dialled, StreamKind::Control as u8).await;
        let unknown = labelled(&dialled, 77).await;
        let (mut given_up, _) = dialled.open_bi().await.unwrap();
        given_up.finish().unwrap();
        first.0.write_all(b"first").await.unwrap();
        let log = labelled(&dialled, StreamKind::Log as u8).await;
        assert_refused(second).await;
        assert_refused(unknown).await;
        (first, log)
    };
    let (_kept, taken) =
        timeout(TIME, async { tokio::join!(dial, streams(&accepted, Side::Acceptor)) }).await.unwrap();
    let [mut control, _log] = taken.unwrap();
    let mut text = [0; 5];
    control.1.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"first");
}

#[tokio::test]
async fn both_sides_refuse_further_streams_for_as_long_as_the_connection_lasts() {
    let ([dialled, accepted], _endpoints) = pair().await;
    let (ours, theirs) = tokio::join!(streams(&dialled, Side::Dialer), streams(&accepted, Side::Acceptor));
    let ([mut control, _log], [mut their_control, _their_log]) = (ours.unwrap(), theirs.unwrap());
    let open = async {
        // More than may be open at once: the refused ones no longer count.
        for kind in 0..200 {
            assert_refused(labelled(&dialled, kind).await).await;
            assert_refused(labelled(&accepted, kind).await).await;
        }
    };
    tokio::select! {
        () = open => {}
        ended = refuse_streams(&dialled) => panic!("{ended}"),
        ended = refuse_streams(&accepted) => panic!("{ended}"),
    }
    control.0.write_all(b"still").await.unwrap();
    their_control.1.read_exact(&mut [0; 5]).await.unwrap();
    dialled.close(VarInt::from_u32(close::BYE), b"");
    let ended = timeout(TIME, refuse_streams(&accepted)).await.unwrap();
    assert!(matches!(ended, SessionError::Connection));
    let written = control.0.write_all(b"!").await;
    assert!(matches!(written, Err(WriteError::ConnectionLost(_))));
}
