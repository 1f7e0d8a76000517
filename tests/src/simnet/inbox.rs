//! What waits at a bound port to be received.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use bytes::Bytes;
use quinn::udp::{EcnCodepoint, RecvMeta};

use super::counters::DropCause;

/// Payload bytes that may wait at one socket, as with a large `SO_RCVBUF`.
pub const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// The most datagrams handed over in one buffer, as with GRO on Linux.
pub const MAX_COALESCED: usize = 64;

/// How datagrams are handed to a socket's reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reception {
    /// One in each buffer.
    #[default]
    Single,
    /// Those from one sender and of one size (the last may be smaller) together, with a stride, as GRO does.
    Coalesced,
}

/// One datagram that has arrived.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) src: SocketAddr,
    pub(super) dst_ip: IpAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) payload: Bytes,
}

/// The receiving side of a socket.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Tells apart sockets that were bound to the same port one after the other.
    pub(super) id: u64,
    reception: Reception,
    queue: VecDeque<Received>,
    queued_bytes: usize,
    readers: Vec<Waker>,
}

impl Inbox {
    pub(super) const fn new(id: u64, reception: Reception) -> Self {
        Self { id, reception, queue: VecDeque::new(), queued_bytes: 0, readers: Vec::new() }
    }

    pub(super) fn push(&mut self, received: Received) -> Result<(), DropCause> {
        if self.queued_bytes + received.payload.len() > RECEIVE_BUFFER {
            return Err(DropCause::ReceiveBufferFull);
        }
        self.queued_bytes += received.payload.len();
        self.queue.push_back(received);
        self.readers.drain(..).for_each(Waker::wake);
        Ok(())
    }

    pub(super) fn wake_on_arrival(&mut self, waker: &Waker) {
        if !self.readers.iter().any(|known| known.will_wake(waker)) {
            self.readers.push(waker.clone());
        }
    }

    /// Fills as many buffers as there is something for.
    pub(super) fn receive(&mut self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(first) = self.pop() else { break };
            *meta = self.fill(buf, &first);
            filled += 1;
        }
        filled
    }

    /// Copies a datagram, and those that may travel with it, into one buffer. What does not fit is cut off,
    /// as UDP sockets do.
    fn fill(&mut self, buf: &mut [u8], first: &Received) -> RecvMeta {
        let stride = first.payload.len().min(buf.len());
        buf[..stride].copy_from_slice(&first.payload[..stride]);
        let mut len = stride;
        let most = if self.reception == Reception::Coalesced { MAX_COALESCED } else { 1 };
        for _ in 1..most {
            let Some(next) = self.pop_if_joins(first, buf.len() - len) else { break };
            buf[len..len + next.len()].copy_from_slice(&next);
            len += next.len();
            if next.len() < stride {
                break;
            }
        }
        RecvMeta { addr: first.src, len, stride, ecn: first.ecn, dst_ip: Some(first.dst_ip) }
    }

    fn pop_if_joins(&mut self, first: &Received, room: usize) -> Option<Bytes> {
        let next = self.queue.front()?;
        let size = next.payload.len();
        let same = next.src == first.src && next.dst_ip == first.dst_ip && next.ecn == first.ecn;
        let fits = (1..=first.payload.len()).contains(&size) && size <= room;
        if same && fits { self.pop().map(|next| next.payload) } else { None }
    }

    fn pop(&mut self) -> Option<Received> {
        let received = self.queue.pop_front()?;
        self.queued_bytes -= received.payload.len();
        Some(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(size: usize, port: u16) -> Received {
        Received {
            src: SocketAddr::from(([203, 0, 113, 1], port)),
            dst_ip: IpAddr::from([10, 0, 0, 1]),
            ecn: None,
            payload: Bytes::from(vec![7; size]),
        }
    }

    /// The length and stride of every buffer that a reader gets for these datagrams.
    fn read(reception: Reception, datagrams: &[(usize, u16)], room: usize) -> Vec<(usize, usize)> {
        let mut inbox = Inbox::new(1, reception);
        for (size, port) in datagrams {
            inbox.push(datagram(*size, *port)).unwrap();
        }
        let mut storage = vec![0; room * 8];
        let mut bufs: Vec<_> = storage.chunks_mut(room).map(IoSliceMut::new).collect();
        let mut meta = vec![RecvMeta::default(); bufs.len()];
        let filled = inbox.receive(&mut bufs, &mut meta);
        meta[..filled].iter().map(|meta| (meta.len, meta.stride)).collect()
    }

    #[test]
    fn single_reception_gives_one_datagram_per_buffer() {
        let got = read(Reception::Single, &[(100, 1), (100, 1), (60, 1)], 1_000);
        assert_eq!(got, [(100, 100), (100, 100), (60, 60)]);
    }

    #[test]
    fn coalesced_reception_joins_equal_sizes_and_a_smaller_last_one() {
        let got = read(Reception::Coalesced, &[(100, 1), (100, 1), (60, 1), (100, 1)], 1_000);
        assert_eq!(got, [(260, 100), (100, 100)]);
    }

    #[test]
    fn coalesced_reception_keeps_senders_apart_and_heeds_the_room() {
        let got = read(Reception::Coalesced, &[(100, 1), (100, 2), (100, 2), (100, 2)], 200);
        assert_eq!(got, [(100, 100), (200, 100), (100, 100)]);
    }

    #[test]
    fn a_larger_datagram_starts_a_buffer_of_its_own() {
        let got = read(Reception::Coalesced, &[(60, 1), (100, 1)], 1_000);
        assert_eq!(got, [(60, 60), (100, 100)]);
    }

    #[test]
    fn a_datagram_larger_than_the_buffer_is_cut() {
        assert_eq!(read(Reception::Single, &[(100, 1)], 50), [(50, 50)]);
    }

    #[test]
    fn the_receive_buffer_is_bounded() {
        let mut inbox = Inbox::new(1, Reception::Single);
        let fitting = (0..).take_while(|_| inbox.push(datagram(1_024, 1)).is_ok()).count();
        assert_eq!(fitting, RECEIVE_BUFFER / 1_024);
    }
}
