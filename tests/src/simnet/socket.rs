//! A UDP socket on a simulated host, for quinn or for anybody else.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::driver::Shared;
use super::inbox::MAX_COALESCED;
use super::world::Bound;

/// Datagrams that one transmit may hold, as with GSO under quinn.
const MAX_SEGMENTS: usize = 10;

/// A bound UDP socket. Dropping it unbinds its port.
pub struct SimSocket {
    shared: Arc<Shared>,
    bound: Bound,
    receive_segments: usize,
}

impl SimSocket {
    pub(super) const fn new(shared: Arc<Shared>, bound: Bound, coalesces: Coalesces) -> Self {
        let receive_segments = match coalesces {
            Coalesces::Yes => MAX_COALESCED,
            Coalesces::No => 1,
        };
        Self { shared, bound, receive_segments }
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// If the host has no address from which the destination can be reached.
    pub fn send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<()> {
        self.try_send(&Transmit {
            destination,
            ecn: None,
            contents: payload,
            segment_size: None,
            src_ip: None,
        })
    }

    /// Waits for one datagram; what does not fit into the buffer is lost.
    ///
    /// # Errors
    /// Never; the type is that of a real socket.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| {
            let mut meta = [RecvMeta::default()];
            let received = self.poll_recv(cx, &mut [IoSliceMut::new(buf)], &mut meta);
            received.map_ok(|_| (meta[0].len, meta[0].addr))
        })
        .await
    }
}

/// Whether a socket may hand over several datagrams in one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coalesces {
    Yes,
    No,
}

impl AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.shared.act(|world, now| world.send(now, self.bound, transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut world = self.shared.lock();
        // A killed process receives nothing more, and is not told.
        let Some(inbox) = world.hosts[self.bound.host.0].inbox(self.bound.local, self.bound.id) else {
            return Poll::Pending;
        };
        match inbox.receive(bufs, meta) {
            0 => {
                inbox.wake_on_arrival(cx.waker());
                Poll::Pending
            }
            filled => Poll::Ready(Ok(filled)),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bound.local)
    }

    fn max_transmit_segments(&self) -> usize {
        MAX_SEGMENTS
    }

    fn max_receive_segments(&self) -> usize {
        self.receive_segments
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let Bound { host, local, id } = self.bound;
        self.shared.lock().hosts[host.0].unbind(local, id);
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSocket").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// The network drops rather than blocks, so a socket can always be written to.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
