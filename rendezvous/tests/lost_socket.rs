//! A socket that fails while the server runs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/client.rs"]
mod support;

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::control::close;
use common::identity::Identity;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use rendezvous::{Limits, Server};
use support::{Client, loopback};
use tokio::time::timeout;

fn real() -> Arc<dyn AsyncUdpSocket> {
    TokioRuntime.wrap_udp_socket(UdpSocket::bind(loopback()).unwrap()).unwrap()
}

/// Fails at the first look for a datagram.
#[derive(Debug)]
struct Broken(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Broken {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::other("broken")))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test]
async fn one_lost_endpoint_is_counted_and_the_others_serve() {
    let sockets = vec![real(), Arc::new(Broken(real())) as Arc<dyn AsyncUdpSocket>];
    let server = Server::with_sockets(&Identity::from_seed([200; 32]), Limits::default(), sockets).unwrap();
    let counted = async {
        while server.stats().endpoints_lost == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(support::PATIENCE, counted).await.expect("the lost endpoint is counted");
    let client = Client::registered(&server, 1).await;
    client.connection.close(close::BYE.into(), b"bye");
    assert_eq!(server.stats().endpoints_lost, 1);
    server.shutdown().await;
}

#[tokio::test]
async fn the_server_ends_with_the_last_endpoint() {
    let sockets = vec![Arc::new(Broken(real())) as Arc<dyn AsyncUdpSocket>];
    let mut server =
        Server::with_sockets(&Identity::from_seed([200; 32]), Limits::default(), sockets).unwrap();
    timeout(support::PATIENCE, server.failed()).await.expect("it ends");
    assert_eq!(server.stats().endpoints_lost, 1);
}
