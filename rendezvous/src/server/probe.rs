//! UDP ports beside the main one that answer STUN alone, so that clients learn how their NATs map
//! (`docs/protocol.md` §3.1).

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::AsyncUdpSocket;
use quinn::udp::RecvMeta;
use tokio::task::JoinSet;
use tracing::warn;

use super::socket::StunSocket;
use super::transport;

/// Such ports beside each address that the server listens on. Two and the main one show a counter's step.
const PER_ADDRESS: usize = 2;
/// Bytes of a received datagram that are looked at; a Binding request is far smaller.
const BUFFER_LEN: usize = 2048;

/// Ports of the system's choice on the address of each of `mains`. What cannot be had is done without: clients learn
/// less then.
pub(super) fn bind_beside(mains: &[Arc<dyn AsyncUdpSocket>]) -> Vec<Arc<dyn AsyncUdpSocket>> {
    let addrs = mains.iter().filter_map(|main| main.local_addr().ok());
    addrs
        .flat_map(|main| (0..PER_ADDRESS).map(move |_| SocketAddr::new(main.ip(), 0)))
        .filter_map(|addr| {
            transport::bind(addr)
                .inspect_err(|error| warn!(%error, "no port for STUN beside the main one"))
                .ok()
        })
        .collect()
}

/// Answers on `socket` until it fails or `tasks` end.
pub(super) fn serve(tasks: &mut JoinSet<()>, socket: StunSocket) {
    tasks.spawn(async move {
        let error = poll_fn(|cx| answer(&socket, cx)).await;
        warn!(%error, "a port for STUN has failed");
    });
}

/// Pending until the socket fails: the socket answers by itself what is read from it, and nothing else is wanted.
fn answer(socket: &StunSocket, cx: &mut Context<'_>) -> Poll<io::Error> {
    let mut buffer = [0; BUFFER_LEN];
    loop {
        let mut meta = [RecvMeta::default()];
        match socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta) {
            Poll::Ready(Ok(_)) => {}
            // An answer of ours met nobody.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Pending => return Poll::Pending,
        }
    }
}
