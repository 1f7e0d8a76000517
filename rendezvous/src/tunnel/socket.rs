//! The socket under a QUIC endpoint, with the tunnels joined to it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
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
}

impl TunnelSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, tunnels: Arc<Tunnels>, outlet: Outlet) -> Self {
        Self { inner, tunnels, outlet }
    }

    /// Takes packets out of tunnels, one a buffer.
    fn poll_tunnels(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let Poll::Ready((addr, packet)) = self.outlet.poll(cx) else { break };
            let len = packet.len().min(buf.len());
            buf[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        count
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
        let tunnelled = self.poll_tunnels(cx, bufs, metas);
        if tunnelled > 0 {
            return Poll::Ready(Ok(tunnelled));
        }
        let received = ready!(self.inner.poll_recv(cx, bufs, metas))?;
        for meta in metas.iter_mut().take(received) {
            if TUNNELS.tag(meta.addr).is_some() {
                // No datagram comes from such an address: this one is forged.
                meta.len = 0;
            }
        }
        Poll::Ready(Ok(received))
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
