//! The socket under a QUIC endpoint, with the tunnels joined to it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use common::address::TUNNELS;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::{Outlet, Tunnels};

/// A UDP socket whose datagrams are joined by the packets that come out of tunnels.
#[derive(Debug)]
pub(crate) struct TunnelSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    tunnels: Arc<Tunnels>,
    outlet: Outlet,
    /// Whether tunnels are asked first the next time: they and UDP take turns, so that neither starves the other.
    is_tunnels_turn: AtomicBool,
}

impl TunnelSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, tunnels: Arc<Tunnels>, outlet: Outlet) -> Self {
        Self { inner, tunnels, outlet, is_tunnels_turn: AtomicBool::new(true) }
    }

    /// Takes packets out of tunnels, one a buffer.
    fn poll_tunnels(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Poll::Ready((addr, packet)) = self.outlet.poll(cx) else { break };
            let len = packet.len().min(buf.len());
            buf[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    /// Takes datagrams.
    fn poll_udp(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, metas))?;
        for meta in metas.iter_mut().take(received) {
            if TUNNELS.tag(meta.addr).is_some() {
                // No datagram comes from such an address: this one is forged.
                meta.len = 0;
            }
        }
        Poll::Ready(Ok(received))
    }
}

impl AsyncUdpSocket for TunnelSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if TUNNELS.tag(transmit.destination).is_none() {
            return self.inner.try_send(transmit);
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        for packet in transmit.contents.chunks(segment.max(1)) {
            self.tunnels.send(transmit.destination, packet);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let is_tunnels_turn = self.is_tunnels_turn.fetch_xor(true, Ordering::Relaxed);
        let first = if is_tunnels_turn { Self::poll_tunnels } else { Self::poll_udp };
        let second = if is_tunnels_turn { Self::poll_udp } else { Self::poll_tunnels };
        match first(self, cx, bufs, metas) {
            Poll::Pending => second(self, cx, bufs, metas),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
