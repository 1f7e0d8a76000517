//! A UDP socket under QUIC that answers STUN itself (`docs/protocol.md` §3) and drops what is neither.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use common::demux::{self, Kind};
use common::stun::{binding, response_port};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::clock;
use super::unvalidated::Unvalidated;
use crate::core::{Bucket, Rate, Source};

/// Buckets that sources are spread over by a secret hash. Two sources in one bucket share its rate, which nobody
/// can bring about on purpose, and the memory is the same under any flood.
const BUCKETS: usize = 4096;

/// What the sockets did, over all of them.
#[derive(Debug, Default)]
pub(super) struct SocketCounters {
    /// STUN requests answered.
    pub(super) stun_answered: AtomicU64,
    /// STUN messages that were no request to answer.
    pub(super) stun_ignored: AtomicU64,
    /// STUN requests not answered for their number, or because the socket was full.
    pub(super) stun_dropped: AtomicU64,
    /// Datagrams that were neither STUN nor QUIC.
    pub(super) alien: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct StunSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    limiter: Arc<SharedLimiter>,
    counters: Arc<SocketCounters>,
    unvalidated: Arc<Unvalidated>,
}

impl StunSocket {
    pub(super) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        limiter: Arc<SharedLimiter>,
        counters: Arc<SocketCounters>,
        unvalidated: Arc<Unvalidated>,
    ) -> Self {
        Self { inner, limiter, counters, unvalidated }
    }

    /// Answers what is STUN in a receive buffer and leaves only QUIC in it.
    fn sift(&self, limiter: &mut Limiter, now: Instant, buffer: &mut [u8], meta: &mut RecvMeta) {
        let mut seen = *meta;
        meta.len =
            demux::retain(&mut buffer[..meta.len], meta.stride, |datagram| match demux::kind(datagram) {
                Kind::Quic => true,
                Kind::Stun => {
                    seen.len = datagram.len();
                    self.stun(limiter, now, datagram, &seen);
                    false
                }
                Kind::Other => {
                    self.counters.alien.fetch_add(1, Ordering::Relaxed);
                    false
                }
            });
        self.unvalidated.received(meta.addr, meta.len);
    }

    fn stun(&self, limiter: &mut Limiter, now: Instant, datagram: &[u8], meta: &RecvMeta) {
        let mut answer = [0; binding::MAX_RESPONSE_LEN];
        let Some(len) = binding::respond(datagram, meta.addr, &mut answer) else {
            self.counters.stun_ignored.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let port = response_port::wanted(datagram).unwrap_or(meta.addr.port());
        let transmit = Transmit {
            destination: SocketAddr::new(meta.addr.ip(), port),
            ecn: None,
            contents: &answer[..len],
            segment_size: None,
            // From the address that was asked, or the answer would not pass the asker's NAT.
            src_ip: meta.dst_ip,
        };
        let sent = limiter.allows(now, meta.addr) && self.inner.try_send(&transmit).is_ok();
        let counter = if sent { &self.counters.stun_answered } else { &self.counters.stun_dropped };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsyncUdpSocket for StunSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let granted = self.unvalidated.grant(transmit.destination, transmit.contents.len(), segment);
        if granted == transmit.contents.len() {
            return self.inner.try_send(transmit);
        }
        if granted == 0 {
            // To QUIC it is lost on the way, and sent again if the client turns out to be real.
            return Ok(());
        }
        let segment_size = transmit.segment_size.filter(|size| *size < granted);
        let contents = &transmit.contents[..granted];
        self.inner.try_send(&Transmit { contents, segment_size, ..transmit.clone() })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        let now = clock::now();
        let mut limiter = self.limiter.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (buffer, meta) in bufs.iter_mut().zip(meta).take(received) {
            self.sift(&mut limiter, now, buffer, meta);
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

/// The one [`Limiter`] of all sockets: a forged source gets no more for being sent to several ports. The lock is held
/// for as long as one receive buffer takes.
#[derive(Debug)]
pub(super) struct SharedLimiter(Mutex<Limiter>);

impl SharedLimiter {
    pub(super) fn new(rate: Rate) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Limiter::new(clock::now(), rate))))
    }
}

/// Bounds STUN answers per source, since its address may be forged.
#[derive(Debug)]
struct Limiter {
    rate: Rate,
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

impl Limiter {
    fn new(now: Instant, rate: Rate) -> Self {
        let buckets = vec![Bucket::full(now, rate); BUCKETS].into_boxed_slice();
        Self { rate, buckets, hasher: RandomState::new() }
    }

    fn allows(&mut self, now: Instant, from: SocketAddr) -> bool {
        let hash = self.hasher.hash_one(Source::of(from));
        let place = usize::try_from(hash % BUCKETS as u64).expect("less than the number of buckets");
        self.buckets[place].take(now, self.rate, 1)
    }
}
