//! How packets of the control connection travel when it is not simply UDP (`docs/protocol.md` §4.7).
//!
//! QUIC knows a connection to the server by one address, which does not change while it lives. A connection that
//! began in a tunnel has an address that stands for it and never appears on a wire; one that began over UDP has the
//! server's. [`Carriers`] says for such an address where its packets really go, and under which address QUIC knows
//! what came in. A change from one way to another is to the server a migration of the same connection.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use common::address::TUNNELS;
use common::stun::binding::{self, TransactionId};
use tokio::sync::mpsc;

/// Packets that wait for a tunnel; more are dropped, and QUIC sends them again.
const MAX_OUTBOX: usize = 128;
/// Packets out of tunnels that wait for QUIC to read them.
const MAX_RECEIVED: usize = 1024;
/// Addresses of the server that are known to answer.
const MAX_ANSWERS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Carriers {
    ways: HashMap<SocketAddr, Way>,
    next_tag: u32,
    received: VecDeque<(SocketAddr, Bytes)>,
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Way {
    tunnel: Option<mpsc::Sender<Bytes>>,
    /// The server's address while packets go over UDP.
    udp: Option<SocketAddr>,
    /// Whether something came that way since they do.
    is_heard: bool,
}

/// A question to the server whether UDP passes.
#[derive(Debug)]
struct Probe {
    id: TransactionId,
    /// From where it was answered.
    answered: Vec<SocketAddr>,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is seen to: in the tunnel, or lost for want of room there.
    Tunnelled,
    /// To this address over UDP.
    Udp(SocketAddr),
}

impl Carriers {
    /// A new tunnel: the address that stands for it, and the packets that are to go into it.
    pub(crate) fn open(&mut self) -> (SocketAddr, mpsc::Receiver<Bytes>) {
        let addr = TUNNELS.addr(self.next_tag);
        self.next_tag = self.next_tag.wrapping_add(1);
        (addr, self.reopen(addr))
    }

    /// A tunnel for the connection that QUIC knows by `addr`, in the place of the one that it has.
    pub(crate) fn reopen(&mut self, addr: SocketAddr) -> mpsc::Receiver<Bytes> {
        let (outbox, queue) = mpsc::channel(MAX_OUTBOX);
        self.ways.insert(addr, Way { tunnel: Some(outbox), udp: None, is_heard: false });
        queue
    }

    /// Forgets the way of `addr`; a real address is itself again.
    pub(crate) fn close(&mut self, addr: SocketAddr) {
        self.ways.remove(&addr);
        self.received.retain(|(from, _)| *from != addr);
    }

    /// Packets to `addr` go over UDP to `server` from now on. The tunnel stays and is listened to.
    pub(crate) fn go_over_udp(&mut self, addr: SocketAddr, server: SocketAddr) {
        if let Some(way) = self.ways.get_mut(&addr) {
            way.udp = Some(server);
            way.is_heard = false;
        }
    }

    /// They go through the tunnel again.
    pub(crate) fn go_through_tunnel(&mut self, addr: SocketAddr) {
        if let Some(way) = self.ways.get_mut(&addr) {
            way.udp = None;
            way.is_heard = false;
        }
    }

    /// Whether the server was heard on the way that packets take now, since they do.
    pub(crate) fn is_heard(&self, addr: SocketAddr) -> bool {
        self.ways.get(&addr).is_some_and(|way| way.is_heard)
    }

    /// QUIC sends `contents`, packets of `segment` bytes each, to `to`; `None` if that is an address like any other.
    pub(crate) fn handle_send(&self, to: SocketAddr, contents: &[u8], segment: usize) -> Option<Sent> {
        let way = match self.ways.get(&to) {
            Some(way) => way,
            // Closed, but QUIC does not know it yet.
            None if TUNNELS.tag(to).is_some() => return Some(Sent::Tunnelled),
            None => return None,
        };
        if let Some(server) = way.udp {
            return Some(Sent::Udp(server));
        }
        if let Some(outbox) = &way.tunnel {
            for packet in contents.chunks(segment.max(1)) {
                // A full tunnel loses packets as any network does.
                let _ = outbox.try_send(Bytes::copy_from_slice(packet));
            }
        }
        Some(Sent::Tunnelled)
    }

    /// The address by which QUIC knows the sender of a datagram from the server's address `from`.
    pub(crate) fn known_as(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        let (addr, way) = self.ways.iter_mut().find(|(_, way)| way.udp == Some(from))?;
        way.is_heard = true;
        Some(*addr)
    }

    /// A packet came out of the tunnel that `addr` stands for.
    pub(crate) fn handle_tunnelled(&mut self, addr: SocketAddr, packet: Bytes) {
        let Some(way) = self.ways.get_mut(&addr) else { return };
        way.is_heard |= way.udp.is_none();
        if self.received.len() < MAX_RECEIVED {
            self.received.push_back((addr, packet));
        }
    }

    /// The next packet for QUIC.
    pub(crate) fn poll_received(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.received.pop_front()
    }

    /// Asks the server over UDP whether it answers there: the datagram to send.
    pub(crate) fn probe(&mut self, id: TransactionId) -> [u8; binding::HEADER_LEN] {
        self.probe = Some(Probe { id, answered: Vec::new() });
        binding::request(id)
    }

    /// A STUN datagram came that is no check. Returns whether it answers the question.
    pub(crate) fn handle_stun(&mut self, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(probe) = &mut self.probe else { return false };
        let is_answer = binding::parse_response(datagram, probe.id).is_some();
        if is_answer && probe.answered.len() < MAX_ANSWERS && !probe.answered.contains(&from) {
            probe.answered.push(from);
        }
        is_answer
    }

    /// From where the question was answered.
    pub(crate) fn answered(&self) -> &[SocketAddr] {
        self.probe.as_ref().map_or(&[], |probe| &probe.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> SocketAddr {
        "192.0.2.1:5000".parse().unwrap()
    }

    #[test]
    fn a_connection_keeps_its_address_from_the_tunnel_to_udp_and_back() {
        let mut carriers = Carriers::default();
        let (addr, mut outbox) = carriers.open();
        assert_eq!(carriers.handle_send(addr, &[1, 1, 2], 2), Some(Sent::Tunnelled));
        assert_eq!(outbox.try_recv().unwrap().as_ref(), [1, 1]);
        assert_eq!(outbox.try_recv().unwrap().as_ref(), [2]);
        assert_eq!(carriers.known_as(server()), None, "no stranger speaks for the connection");

        carriers.go_over_udp(addr, server());
        assert_eq!(carriers.handle_send(addr, &[3], 1), Some(Sent::Udp(server())));
        assert!(!carriers.is_heard(addr));
        assert_eq!(carriers.known_as(server()), Some(addr));
        assert!(carriers.is_heard(addr));

        carriers.go_through_tunnel(addr);
        assert_eq!(carriers.handle_send(addr, &[4], 1), Some(Sent::Tunnelled));
        assert_eq!(outbox.try_recv().unwrap().as_ref(), [4]);

        carriers.close(addr);
        assert_eq!(carriers.handle_send(addr, &[5], 1), Some(Sent::Tunnelled), "nowhere");
        assert_eq!(carriers.handle_send(server(), &[5], 1), None);
    }

    #[test]
    fn what_waits_has_bounds() {
        let mut carriers = Carriers::default();
        let (addr, outbox) = carriers.open();
        for _ in 0..2 * MAX_RECEIVED {
            carriers.handle_tunnelled(addr, Bytes::from_static(b"x"));
            carriers.handle_send(addr, b"x", 1);
        }
        assert_eq!((carriers.received.len(), outbox.len()), (MAX_RECEIVED, MAX_OUTBOX));
        carriers.close(addr);
        carriers.handle_tunnelled(addr, Bytes::from_static(b"x"));
        assert!(carriers.poll_received().is_none(), "of a closed tunnel nothing is kept");
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let mut carriers = Carriers::default();
        let answer = |id| {
            let mut out = [0; binding::MAX_RESPONSE_LEN];
            let len = binding::respond(&binding::request(id), server(), &mut out).unwrap();
            out[..len].to_vec()
        };
        assert!(!carriers.handle_stun(server(), &answer([1; 12])));
        carriers.probe([1; 12]);
        assert!(!carriers.handle_stun(server(), &answer([2; 12])));
        assert!(carriers.answered().is_empty());
        assert!(carriers.handle_stun(server(), &answer([1; 12])));
        assert_eq!(carriers.answered(), [server()]);
    }
}
