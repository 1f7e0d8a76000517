//! Tunnels: QUIC packets of clients that UDP does not reach, over TCP (`docs/protocol.md` §4.7).
//!
//! [`Tunnels`] knows them all. To the QUIC endpoints each is an address that never appears on a wire; the [`socket`]
//! under an endpoint takes what came out of tunnels from an [`Outlet`] and puts what goes into them through
//! [`Tunnels::send`]. How the packets travel is the business of the modules below: [`listener`] accepts and tells by
//! the first byte what it is, [`stream`] carries packets on a byte stream or a WebSocket, [`http`] and [`poll`] in
//! requests and answers.
//!
//! Nothing here is trusted: whoever can reach the port can send packets to QUIC over UDP as well. What is bounded is
//! what connections and memory cost.

mod gate;
mod http;
pub(crate) mod listener;
mod poll;
pub(crate) mod socket;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use common::address::TUNNELS;
use common::demux::{self, Kind};
use common::stun::binding;
use tokio::sync::mpsc;

/// Packets that wait for one tunnel; more are dropped, and QUIC sends them again. Half of what the congestion window
/// starts with.
const MAX_OUTBOX: usize = 64;
/// Packets out of tunnels that wait for one endpoint. When they are so many, tunnels are not read further, each in
/// its turn.
const MAX_ARRIVED: usize = 256;

/// A packet out of a tunnel: the address that stands for the tunnel, and the packet.
type Arrived = (SocketAddr, Bytes);

/// All tunnels of a server.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    open: Mutex<Open>,
    /// Packets that did not fit into the queue of their tunnel.
    pub(crate) dropped: AtomicU64,
    /// Connections that were turned away, for their number.
    pub(crate) refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    by_tag: HashMap<u32, Entry>,
    next_tag: u32,
}

#[derive(Debug)]
struct Entry {
    /// Where the TCP connection comes from.
    source: SocketAddr,
    outbox: mpsc::Sender<Bytes>,
}

/// Where tunnels leave packets for one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Inlet(mpsc::Sender<Arrived>);

/// Where one endpoint takes them.
#[derive(Debug)]
pub(crate) struct Outlet(Mutex<mpsc::Receiver<Arrived>>);

/// The queue between tunnels and one endpoint.
pub(crate) fn channel() -> (Inlet, Outlet) {
    let (inlet, outlet) = mpsc::channel(MAX_ARRIVED);
    (Inlet(inlet), Outlet(Mutex::new(outlet)))
}

impl Outlet {
    /// The next packet, if there is one; otherwise the task of `context` is woken for it.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Arrived> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.poll_recv(context) {
            Poll::Ready(Some(arrived)) => Poll::Ready(arrived),
            // Without any listener there is nothing to wait for.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Tunnels {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open().by_tag.len()
    }

    /// Puts a packet into the tunnel that `to` stands for. One that is gone or full loses it, as any network may.
    pub(crate) fn send(&self, to: SocketAddr, packet: &[u8]) {
        let Some(tag) = TUNNELS.tag(to) else { return };
        let open = self.open();
        let Some(entry) = open.by_tag.get(&tag) else { return };
        if entry.outbox.try_send(Bytes::copy_from_slice(packet)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where the tunnel that `addr` stands for comes from; `None` if it is gone, or `addr` is a real address.
    pub(crate) fn source(&self, addr: SocketAddr) -> Option<SocketAddr> {
        self.open().by_tag.get(&TUNNELS.tag(addr)?).map(|entry| entry.source)
    }
}

/// The outer end of one tunnel, for what carries it. Dropping it closes the tunnel.
#[derive(Debug)]
struct Tunnel {
    tunnels: Arc<Tunnels>,
    tag: u32,
    source: SocketAddr,
    inlet: Inlet,
}

/// A tunnel has ended: what came out of it is no packet, or the server ends.
struct Ended;

impl Tunnel {
    /// A new tunnel from `source`, and the packets that are to go into it.
    fn open(tunnels: &Arc<Tunnels>, inlet: Inlet, source: SocketAddr) -> (Self, mpsc::Receiver<Bytes>) {
        let (outbox, queue) = mpsc::channel(MAX_OUTBOX);
        let mut open = tunnels.open();
        // 2^32 tunnels later the numbers are used again, by when the old ones are gone.
        let tag = open.next_tag;
        open.next_tag = tag.wrapping_add(1);
        open.by_tag.insert(tag, Entry { source, outbox });
        drop(open);
        (Self { tunnels: Arc::clone(tunnels), tag, source, inlet }, queue)
    }

    /// A packet came out of the tunnel: QUIC for the endpoint, or a question for the address that the server sees
    /// (RFC 8489), which here is that of the TCP connection.
    async fn arrived(&self, packet: Bytes) -> Result<(), Ended> {
        let addr = TUNNELS.addr(self.tag);
        match demux::kind(&packet) {
            Kind::Quic => self.inlet.0.send((addr, packet)).await.map_err(|_| Ended),
            Kind::Stun => {
                let mut answer = [0; binding::MAX_RESPONSE_LEN];
                let len = binding::respond(&packet, self.source, &mut answer).ok_or(Ended)?;
                self.tunnels.send(addr, &answer[..len]);
                Ok(())
            }
            Kind::Other => Err(Ended),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.tunnels.open().by_tag.remove(&self.tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SocketAddr {
        "192.0.2.7:1234".parse().unwrap()
    }

    #[tokio::test]
    async fn packets_go_in_and_come_out_under_one_address() {
        let tunnels = Arc::new(Tunnels::default());
        let (inlet, outlet) = channel();
        let (tunnel, mut outbox) = Tunnel::open(&tunnels, inlet, source());
        assert!(tunnel.arrived(Bytes::from_static(&[0x40, 1])).await.is_ok());
        let (addr, packet) = std::future::poll_fn(|context| outlet.poll(context)).await;
        assert_eq!((packet.as_ref(), tunnels.source(addr)), (&[0x40, 1][..], Some(source())));
        tunnels.send(addr, &[0x40, 2]);
        assert_eq!(outbox.recv().await.unwrap().as_ref(), [0x40, 2]);
        drop(tunnel);
        assert_eq!((tunnels.source(addr), tunnels.count()), (None, 0));
    }

    #[tokio::test]
    async fn a_question_for_the_address_is_answered_with_that_of_the_connection() {
        let tunnels = Arc::new(Tunnels::default());
        let (tunnel, mut outbox) = Tunnel::open(&tunnels, channel().0, source());
        assert!(tunnel.arrived(Bytes::copy_from_slice(&binding::request([7; 12]))).await.is_ok());
        let answer = outbox.recv().await.unwrap();
        assert_eq!(binding::parse_response(&answer, [7; 12]), Some(source()));
        for garbage in [&[0; 20][..], &[20; 30], &[]] {
            assert!(tunnel.arrived(Bytes::copy_from_slice(garbage)).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_tunnel_that_is_not_read_holds_a_bounded_number_of_packets() {
        let tunnels = Arc::new(Tunnels::default());
        let (tunnel, outbox) = Tunnel::open(&tunnels, channel().0, source());
        for _ in 0..MAX_OUTBOX + 5 {
            tunnels.send(TUNNELS.addr(tunnel.tag), &[0x40; 1200]);
        }
        assert_eq!((outbox.len(), tunnels.dropped.load(Ordering::Relaxed)), (MAX_OUTBOX, 5));
    }
}
