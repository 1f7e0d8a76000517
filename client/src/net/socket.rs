//! The socket under QUIC: a thin adapter between quinn and the [`Mux`].
//!
//! It shows quinn one IPv6 socket. Below are one real socket per address family, the relay, which is the control
//! connection to the server: a connection of the same quinn endpoint, and the tunnels that may carry that one.
//!
//! Locks: quinn holds a connection's lock while it calls [`AsyncUdpSocket::try_send`], so nothing here may touch a
//! connection while it holds the multiplexer.

mod extra;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use common::address;
use common::demux::{self, Kind};
use common::traversal::tcp::StreamId;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::Notify;

use super::carriers::{Carriers, Sent};
use super::clock;
use super::mux::{self, Destination, Mux, Outgoing, SocketId};
use super::tcp::StreamTable;
use super::tuning::RELAY_BUFFER;
use extra::Extras;
pub use extra::{Bind, BindExtra};

/// Bytes that may wait for the relay when a packet is sent there beside a direct path in doubt. A transfer at the
/// direct path's rate must not fill the relay's queue before the relay is all there is.
const SPARE_QUEUE: usize = 32 << 10;

/// See the module.
pub(crate) struct MuxSocket {
    mux: Mutex<Mux>,
    links: Vec<Arc<dyn AsyncUdpSocket>>,
    extras: Extras,
    server: Mutex<Option<quinn::Connection>>,
    carriers: Mutex<Carriers>,
    reader: Mutex<Option<Waker>>,
    /// The TCP connections to peers.
    pub(super) streams: StreamTable,
    /// Rung when a path has changed or the agents' timer has moved forward.
    pub(crate) changed: Notify,
    armed: Mutex<Option<Instant>>,
}

impl fmt::Debug for MuxSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MuxSocket").field("links", &self.links).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MuxSocket {
    /// A socket over `links`: at least one, at most one of each address family. `bind` makes more.
    pub(crate) fn new(links: Vec<Arc<dyn AsyncUdpSocket>>, bind: BindExtra) -> Arc<Self> {
        Arc::new(Self {
            mux: Mutex::default(),
            links,
            extras: Extras::new(bind),
            server: Mutex::default(),
            carriers: Mutex::default(),
            reader: Mutex::default(),
            streams: StreamTable::default(),
            changed: Notify::new(),
            armed: Mutex::default(),
        })
    }

    /// Works on the multiplexer and then sends what it wants sent.
    pub(crate) fn with_mux<T>(&self, work: impl FnOnce(&mut Mux) -> T) -> T {
        let mut mux = lock(&self.mux);
        let result = work(&mut mux);
        self.settle(mux);
        result
    }

    /// Works on the ways of the control connection.
    pub(crate) fn with_carriers<T>(&self, work: impl FnOnce(&mut Carriers) -> T) -> T {
        work(&mut lock(&self.carriers))
    }

    /// A packet came out of the tunnel that QUIC knows by `addr`.
    pub(crate) fn handle_tunnelled(&self, addr: SocketAddr, packet: Bytes) {
        lock(&self.carriers).handle_tunnelled(addr, packet);
        self.wake_reader();
    }

    /// Sends a datagram that may get lost.
    pub(crate) fn send_datagram(&self, to: SocketAddr, contents: &[u8]) {
        // Why it is not sent now makes no difference.
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: None };
        let _ = self.send_on_link(&transmit);
    }

    fn wake_reader(&self) {
        if let Some(reader) = lock(&self.reader).take() {
            reader.wake();
        }
    }

    /// Relayed packets go through `connection` from now on, or nowhere.
    pub(crate) fn set_server(&self, connection: Option<quinn::Connection>) {
        // What fits into QUIC's smallest packets fits for as long as the connection lives, and larger frames than
        // that are not made: no need to ask again for each packet.
        let max_frame = connection.as_ref().and_then(quinn::Connection::max_datagram_size);
        *lock(&self.server) = connection;
        self.with_mux(|mux| mux.set_max_frame(max_frame.unwrap_or(0)));
    }

    /// A datagram came over the connection to the server.
    pub(crate) fn handle_relayed(&self, frame: &Bytes) {
        let now = clock::now();
        self.with_mux(|mux| mux.handle_relayed(now, frame));
    }

    /// A packet came over a TCP connection to a peer.
    pub(crate) fn handle_stream_packet(&self, id: StreamId, packet: Bytes) {
        let now = clock::now();
        self.with_mux(|mux| mux.handle_stream_packet(now, id, packet));
    }

    /// When the agents want [`MuxSocket::handle_timeout`]. Remembered, so that `changed` rings only when the timer
    /// moves forward.
    pub(crate) fn arm(&self) -> Option<Instant> {
        let timeout = lock(&self.mux).poll_timeout();
        *lock(&self.armed) = timeout;
        timeout
    }

    /// Lets time pass for the agents.
    pub(crate) fn handle_timeout(&self) {
        let now = clock::now();
        self.with_mux(|mux| mux.handle_timeout(now));
    }

    /// The families of the links, by a local address of each.
    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.links.iter().filter_map(|link| link.local_addr().ok()).collect()
    }

    /// Sends what the multiplexer has ready, after giving it free, wakes QUIC if there is something to read, and rings
    /// if its timer or a path moved.
    fn settle(&self, mut mux: MutexGuard<'_, Mux>) {
        let outgoing = if mux.has_outgoing() { mux.take_outgoing() } else { Vec::new() };
        let timeout = mux.poll_timeout();
        let has_news = mux.has_news();
        let has_received = mux.has_received();
        drop(mux);
        if has_received {
            self.wake_reader();
        }
        let is_earlier = match (timeout, *lock(&self.armed)) {
            (Some(timeout), Some(armed)) => timeout < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_earlier || has_news {
            self.changed.notify_one();
        }
        if !outgoing.is_empty() {
            self.send_all(outgoing);
        }
    }

    fn send_all(&self, outgoing: Vec<Outgoing>) {
        let server = lock(&self.server).clone();
        for item in outgoing {
            match item {
                Outgoing::Datagram(_, to, contents) if StreamId::of(to).is_some() => {
                    self.streams.send(to, contents);
                }
                Outgoing::Datagram(socket, to, contents) => {
                    let transmit = Transmit {
                        destination: to,
                        ecn: None,
                        contents: &contents,
                        segment_size: None,
                        src_ip: None,
                    };
                    // A check that cannot be sent now is a check that was lost: the schedule sends another.
                    let _ = self.send(socket, &transmit);
                }
                Outgoing::Close(id) => self.extras.retain(|open| open != id),
                Outgoing::CloseAll(peer) => self.extras.retain(|id| !id.is_owned_by(peer)),
                Outgoing::Relayed(frame) => relay(server.as_ref(), frame, 0),
                Outgoing::Spare(frame) => relay(server.as_ref(), frame, RELAY_BUFFER - SPARE_QUEUE),
            }
        }
    }

    fn send(&self, socket: SocketId, transmit: &Transmit<'_>) -> io::Result<()> {
        if socket == SocketId::Main {
            return self.send_on_link(transmit);
        }
        let Ok((link, was_open)) = self.extras.get(socket, transmit.destination) else { return Ok(()) };
        if !was_open {
            // It is not read from before the reader comes round.
            self.wake_reader();
        }
        // A full buffer of such a socket loses packets: the writer waits for the links alone.
        let _ = link.try_send(transmit);
        Ok(())
    }

    fn send_on_link(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = address::canonical(transmit.destination);
        let of_family = |link: &&Arc<dyn AsyncUdpSocket>| {
            link.local_addr().is_ok_and(|local| local.is_ipv4() == to.is_ipv4())
        };
        let Some(link) = self.links.iter().find(of_family) else { return Ok(()) };
        match link.try_send(&Transmit { destination: to, src_ip: None, ..transmit.clone() }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // An unreachable network, a refused packet, a full interface: lost, as any packet may be.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn send_to_peer(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let now = clock::now();
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let ecn = transmit.ecn.map_or(0, |ecn| ecn as u8);
        let destination =
            self.with_mux(|mux| mux.handle_send(now, transmit.destination, ecn, transmit.contents, segment));
        match destination {
            Destination::Direct(socket, to) => {
                self.send(socket, &Transmit { destination: to, src_ip: None, ..transmit.clone() })
            }
            Destination::Handed => Ok(()),
        }
    }

    /// Hands relayed and tunnelled packets to QUIC, one per buffer.
    fn read_queue(&self, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let (mut mux, mut carriers) = (lock(&self.mux), lock(&self.carriers));
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let relayed = mux.poll_received().map(|relayed| (relayed.from, relayed.packet, relayed.ecn));
            let tunnelled = || carriers.poll_received().map(|(from, packet)| (from, packet, 0));
            let Some((addr, packet, ecn)) = relayed.or_else(tunnelled) else { break };
            let len = packet.len().min(buf.len());
            buf[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: EcnCodepoint::from_bits(ecn), dst_ip: None };
            count += 1;
        }
        count
    }

    /// Takes checks out of what a socket received, renames the senders that are peers and drops strangers.
    fn sort(&self, socket: SocketId, bufs: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) {
        let now = clock::now();
        let mut mux = lock(&self.mux);
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let from = address::canonical(meta.addr);
            let len = meta.len.min(buf.len());
            let mut stun = VecDeque::new();
            let mut kept =
                demux::retain(&mut buf[..len], meta.stride, |datagram| match demux::kind(datagram) {
                    Kind::Quic => true,
                    Kind::Stun => {
                        stun.push_back(Bytes::copy_from_slice(datagram));
                        false
                    }
                    Kind::Other => false,
                });
            for datagram in stun {
                if !mux.handle_stun(now, socket, from, &datagram) {
                    lock(&self.carriers).handle_stun(from, &datagram);
                }
            }
            match mux.source(from) {
                Some(addr) => meta.addr = lock(&self.carriers).known_as(from).unwrap_or(addr),
                None => kept = 0,
            }
            meta.len = kept;
            meta.stride = meta.stride.max(1);
        }
        self.settle(mux);
    }
}

/// Sends a frame to the relay if more than `reserve` bytes of its queue stay free. A relay that is gone or full loses
/// packets like any network: those that come last, for the first ones are what the other side waits for.
fn relay(server: Option<&quinn::Connection>, frame: Bytes, reserve: usize) {
    if let Some(server) = server
        && server.datagram_send_buffer_space() >= frame.len() + reserve
    {
        let _ = server.send_datagram(frame);
    }
}

impl AsyncUdpSocket for MuxSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let links = self.links.iter().map(|link| Arc::clone(link).create_io_poller()).collect();
        Box::pin(AllWritable { links })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if address::PEERS.tag(transmit.destination).is_some() {
            return self.send_to_peer(transmit);
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let sent = lock(&self.carriers).handle_send(transmit.destination, transmit.contents, segment);
        let to = match sent {
            Some(Sent::Tunnelled) => return Ok(()),
            Some(Sent::Udp(server)) => server,
            None => transmit.destination,
        };
        self.send_on_link(&Transmit { destination: to, ..transmit.clone() })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        *lock(&self.reader) = Some(cx.waker().clone());
        let queued = self.read_queue(bufs, metas);
        if queued > 0 {
            return Poll::Ready(Ok(queued));
        }
        for link in &self.links {
            match link.poll_recv(cx, bufs, metas) {
                Poll::Ready(Ok(count)) => {
                    self.sort(SocketId::Main, &mut bufs[..count], &mut metas[..count]);
                    return Poll::Ready(Ok(count));
                }
                // Nobody listens where a packet of ours went: not this socket's trouble.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        let (socket, count) = ready!(self.extras.poll_recv(cx, bufs, metas));
        self.sort(socket, &mut bufs[..count], &mut metas[..count]);
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(mux::UNSPECIFIED.ip(), self.local_addrs().first().map_or(0, SocketAddr::port)))
    }

    fn max_transmit_segments(&self) -> usize {
        self.links.iter().map(|link| link.max_transmit_segments()).min().unwrap_or(1)
    }

    fn max_receive_segments(&self) -> usize {
        self.links.iter().map(|link| link.max_receive_segments()).max().unwrap_or(1)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// Writable when every link is: a link that nothing is sent on always is.
#[derive(Debug)]
struct AllWritable {
    links: Vec<Pin<Box<dyn UdpPoller>>>,
}

impl UdpPoller for AllWritable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for link in &mut self.links {
            match link.as_mut().poll_writable(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}
