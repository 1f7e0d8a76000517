//! One IP packet: what the router reads from it and what it may change in it.
//!
//! Addresses and ports are rewritten in place and the checksums patched by difference (RFC 1624), as a NAT
//! does: a packet that came with a wrong checksum leaves with a wrong checksum.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};

use crate::nat::{Flow, Proto, TcpFlags};

/// Hop limit of the packets that the lab's routers write themselves.
const OWN_TTL: u8 = 64;
/// The most bytes of a refused packet that are quoted to its sender (RFC 792 asks for header + 8; RFC 1812
/// §4.3.2.3 for as much as fits 576).
const QUOTE_LEN: usize = 128;
/// IPv4: offsets of the time to live, the header checksum, and the two addresses.
const V4_TTL: usize = 8;
const V4_SUM: usize = 10;
const V4_SRC: usize = 12;
const V4_DST: usize = 16;
/// IPv6: offsets of the hop limit and the two addresses, and the header's length.
const V6_HOPS: usize = 7;
const V6_SRC: usize = 8;
const V6_DST: usize = 24;
const V6_LEN: usize = 40;
/// Offsets of the checksum within the UDP and the TCP header.
const UDP_SUM: usize = 6;
const TCP_SUM: usize = 16;
/// Offsets of the sequence and the acknowledgement number within the TCP header.
const TCP_SEQ: usize = 4;
const TCP_ACK: usize = 8;

/// Why a packet is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Not an IP packet, or one whose lengths do not hold.
    Malformed,
    /// A fragment: only the first has ports, so the NAT model cannot judge the others.
    Fragment,
}

/// What a packet carries, as far as the lab cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// A packet with ports.
    Ports(Proto),
    /// Anything else, such as ICMP: carried between hosts on one network, never through a NAT.
    Other,
}

/// One parsed IP packet.
#[derive(Debug, Clone)]
pub struct Packet {
    bytes: Vec<u8>,
    src: SocketAddr,
    dst: SocketAddr,
    carries: Carries,
    transport: usize,
    payload: usize,
}

impl Packet {
    /// Parses what a TUN device gave.
    ///
    /// # Errors
    /// When the packet cannot be carried.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unfit> {
        let sliced = SlicedPacket::from_ip(bytes).map_err(|_| Unfit::Malformed)?;
        if sliced.is_ip_payload_fragmented() {
            return Err(Unfit::Fragment);
        }
        let (src, dst, transport): (IpAddr, IpAddr, usize) = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.slice().len())
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let transport = V6_LEN + ip.extensions().slice().len();
                (header.source_addr().into(), header.destination_addr().into(), transport)
            }
            _ => return Err(Unfit::Malformed),
        };
        let (carries, ports, header_len) = match &sliced.transport {
            Some(TransportSlice::Udp(udp)) => {
                let ports = (udp.source_port(), udp.destination_port());
                (Carries::Ports(Proto::Udp), ports, udp.header_slice().len())
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let flags = TcpFlags { syn: tcp.syn(), ack: tcp.ack(), fin: tcp.fin(), rst: tcp.rst() };
                let ports = (tcp.source_port(), tcp.destination_port());
                (Carries::Ports(Proto::Tcp(flags)), ports, tcp.header_slice().len())
            }
            _ => (Carries::Other, (0, 0), 0),
        };
        Ok(Self {
            bytes: bytes.to_vec(),
            src: SocketAddr::new(src, ports.0),
            dst: SocketAddr::new(dst, ports.1),
            carries,
            transport,
            payload: transport + header_len,
        })
    }

    /// The packet as a NAT sees it; none without ports.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        match self.carries {
            Carries::Ports(proto) => Some(Flow { proto, src: self.src, dst: self.dst }),
            Carries::Other => None,
        }
    }

    /// What it carries.
    #[must_use]
    pub fn carries(&self) -> Carries {
        self.carries
    }

    /// Where it comes from, as far as it has come.
    #[must_use]
    pub fn src(&self) -> SocketAddr {
        self.src
    }

    /// Where it goes, as far as it has come.
    #[must_use]
    pub fn dst(&self) -> SocketAddr {
        self.dst
    }

    /// The whole packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole packet, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What follows the UDP or TCP header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload..).unwrap_or_default()
    }

    /// The first bytes, for an ICMP error.
    #[must_use]
    pub fn quote(&self) -> Vec<u8> {
        self.bytes[..self.bytes.len().min(QUOTE_LEN)].to_vec()
    }

    /// The segment with which `from` refuses this TCP segment of `to` (RFC 9293 §3.5.2); none for a reset.
    #[must_use]
    pub fn tcp_reset(&self, from: SocketAddr, to: SocketAddr) -> Option<Vec<u8>> {
        let Carries::Ports(Proto::Tcp(flags)) = self.carries else { return None };
        if flags.rst {
            return None;
        }
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), OWN_TTL),
            (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), OWN_TTL),
            _ => return None,
        };
        let mut out = Vec::with_capacity(V6_LEN + self.payload - self.transport);
        if flags.ack {
            let seq = self.word(self.transport + TCP_ACK);
            ip.tcp(from.port(), to.port(), seq, 0).rst().write(&mut out, &[]).ok()?;
        } else {
            let len = u32::try_from(self.payload().len()).ok()? + u32::from(flags.syn) + u32::from(flags.fin);
            let ack = self.word(self.transport + TCP_SEQ).wrapping_add(len);
            ip.tcp(from.port(), to.port(), 0, 0).rst().ack(ack).write(&mut out, &[]).ok()?;
        }
        Some(out)
    }

    fn word(&self, at: usize) -> u32 {
        self.bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
    }

    /// Takes `hops` from the hop limit; false when the packet does not live that long.
    pub fn travel(&mut self, hops: u8) -> bool {
        let at = if self.src.is_ipv4() { V4_TTL } else { V6_HOPS };
        let Some(left) = self.bytes[at].checked_sub(hops).filter(|left| *left > 0) else { return false };
        // The time to live shares its 16-bit word with the protocol number.
        let old = [self.bytes[at], self.bytes[at + 1]];
        self.bytes[at] = left;
        if self.src.is_ipv4() {
            let new = [self.bytes[at], self.bytes[at + 1]];
            self.patch(V4_SUM, &old, &new);
        }
        true
    }

    /// Gives the packet a new source and destination.
    ///
    /// An address of the other family than the packet's is left out: no NAT of the lab translates families.
    pub fn rewrite(&mut self, src: SocketAddr, dst: SocketAddr) {
        let (at_src, at_dst) = if self.src.is_ipv4() { (V4_SRC, V4_DST) } else { (V6_SRC, V6_DST) };
        if src.is_ipv4() == self.src.is_ipv4() {
            self.put_addr(at_src, self.src.ip(), src.ip());
            self.put_port(self.transport, self.src.port(), src.port());
            self.src = src;
        }
        if dst.is_ipv4() == self.dst.is_ipv4() {
            self.put_addr(at_dst, self.dst.ip(), dst.ip());
            self.put_port(self.transport + 2, self.dst.port(), dst.port());
            self.dst = dst;
        }
    }

    fn put_addr(&mut self, at: usize, old: IpAddr, new: IpAddr) {
        let (old, new) = (octets(old), octets(new));
        self.bytes[at..at + new.len()].copy_from_slice(&new);
        if self.src.is_ipv4() {
            self.patch(V4_SUM, &old, &new);
        }
        self.patch_transport(&old, &new);
    }

    fn put_port(&mut self, at: usize, old: u16, new: u16) {
        let (old, new) = (old.to_be_bytes(), new.to_be_bytes());
        self.bytes[at..at + 2].copy_from_slice(&new);
        self.patch_transport(&old, &new);
    }

    fn patch_transport(&mut self, old: &[u8], new: &[u8]) {
        match self.carries {
            Carries::Ports(Proto::Udp) => {
                let at = self.transport + UDP_SUM;
                // Zero means "no checksum" (RFC 768), and a sum that comes out as zero is sent as all ones.
                if self.bytes[at..at + 2] == [0, 0] {
                    return;
                }
                self.patch(at, old, new);
                if self.bytes[at..at + 2] == [0, 0] {
                    self.bytes[at..at + 2].copy_from_slice(&[0xff, 0xff]);
                }
            }
            Carries::Ports(Proto::Tcp(_)) => self.patch(self.transport + TCP_SUM, old, new),
            Carries::Other => {}
        }
    }

    /// RFC 1624 equation 3: `HC' = ~(~HC + ~m + m')`, over as many 16-bit words as changed.
    fn patch(&mut self, at: usize, old: &[u8], new: &[u8]) {
        let mut sum = u32::from(!u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]));
        for word in old.chunks_exact(2) {
            sum += u32::from(!u16::from_be_bytes([word[0], word[1]]));
        }
        for word in new.chunks_exact(2) {
            sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let folded = u16::try_from(sum).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&(!folded).to_be_bytes());
    }
}

/// An ICMP "port unreachable" from `from` to the sender of the quoted packet; none when families differ.
#[must_use]
pub fn port_unreachable(from: IpAddr, to: IpAddr, quote: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(quote.len() + V6_LEN + 8);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            PacketBuilder::ipv4(from.octets(), to.octets(), OWN_TTL)
                .icmpv4(Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port))
                .write(&mut out, quote)
                .ok()?;
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            PacketBuilder::ipv6(from.octets(), to.octets(), OWN_TTL)
                .icmpv6(Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port))
                .write(&mut out, quote)
                .ok()?;
        }
        _ => return None,
    }
    Some(out)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let mut out = Vec::new();
        match (src.ip(), dst.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => PacketBuilder::ipv4(a.octets(), b.octets(), 64)
                .udp(src.port(), dst.port())
                .write(&mut out, payload)
                .unwrap(),
            (IpAddr::V6(a), IpAddr::V6(b)) => PacketBuilder::ipv6(a.octets(), b.octets(), 64)
                .udp(src.port(), dst.port())
                .write(&mut out, payload)
                .unwrap(),
            _ => panic!("one family"),
        }
        out
    }

    fn tcp(src: &str, dst: &str, ttl: u8) -> Vec<u8> {
        let (src, dst): (std::net::SocketAddrV4, std::net::SocketAddrV4) =
            (src.parse().unwrap(), dst.parse().unwrap());
        let mut out = Vec::new();
        PacketBuilder::ipv4(src.ip().octets(), dst.ip().octets(), ttl)
            .tcp(src.port(), dst.port(), 7, 1000)
            .syn()
            .write(&mut out, b"x")
            .unwrap();
        out
    }

    #[test]
    fn rewriting_equals_building_anew() {
        let (a, b) = ("192.168.1.2:4000", "203.0.113.1:5000");
        let (c, d) = ("198.51.100.7:61000", "10.0.0.1:1");
        let mut packet = Packet::parse(&udp(a, b, b"hello")).unwrap();
        packet.rewrite(c.parse().unwrap(), d.parse().unwrap());
        assert_eq!(packet.bytes(), udp(c, d, b"hello"));
        assert_eq!(packet.payload(), b"hello");

        let mut packet = Packet::parse(&tcp(a, b, 64)).unwrap();
        packet.rewrite(c.parse().unwrap(), d.parse().unwrap());
        assert!(packet.travel(3));
        assert_eq!(packet.bytes(), tcp(c, d, 61));

        let (a, b) = ("[2001:db8::1]:4000", "[2001:db8::2]:5000");
        let (c, d) = ("[2001:db8:1::9]:61000", "[2001:db8:2::3]:1");
        let mut packet = Packet::parse(&udp(a, b, b"odd")).unwrap();
        packet.rewrite(c.parse().unwrap(), d.parse().unwrap());
        assert_eq!(packet.bytes(), udp(c, d, b"odd"));
    }

    #[test]
    fn a_missing_udp_checksum_stays_missing() {
        let mut bytes = udp("192.168.1.2:4000", "203.0.113.1:5000", b"hello");
        bytes[26..28].copy_from_slice(&[0, 0]);
        let mut packet = Packet::parse(&bytes).unwrap();
        packet.rewrite("1.2.3.4:5".parse().unwrap(), "6.7.8.9:10".parse().unwrap());
        assert_eq!(packet.bytes()[26..28], [0, 0]);
    }

    #[test]
    fn a_packet_dies_of_its_hop_limit() {
        let mut packet = Packet::parse(&tcp("1.2.3.4:5", "6.7.8.9:10", 3)).unwrap();
        assert!(packet.travel(2));
        assert!(!packet.travel(1));
    }

    #[test]
    fn garbage_and_fragments_are_refused() {
        assert_eq!(Packet::parse(&[]).unwrap_err(), Unfit::Malformed);
        assert_eq!(Packet::parse(&[0x45; 12]).unwrap_err(), Unfit::Malformed);
        let mut fragment = udp("1.2.3.4:5", "6.7.8.9:10", &[0; 64]);
        fragment[6] = 0x20;
        assert_eq!(Packet::parse(&fragment).unwrap_err(), Unfit::Fragment);
    }

    #[test]
    fn a_reset_acknowledges_the_syn() {
        let (a, b) = ("1.2.3.4:5", "6.7.8.9:10");
        let syn = Packet::parse(&tcp(a, b, 64)).unwrap();
        let reset = syn.tcp_reset(b.parse().unwrap(), a.parse().unwrap()).unwrap();
        let reset = Packet::parse(&reset).unwrap();
        let flags = TcpFlags { rst: true, ack: true, ..TcpFlags::default() };
        assert_eq!(reset.carries(), Carries::Ports(Proto::Tcp(flags)));
        assert_eq!((reset.src().to_string(), reset.dst().to_string()), (b.to_owned(), a.to_owned()));
        // One for the SYN and one for the byte that came with it.
        assert_eq!(reset.word(reset.transport + TCP_ACK), 7 + 2);
        assert_eq!(reset.tcp_reset(syn.src(), syn.dst()), None, "no reset for a reset");
    }

    #[test]
    fn the_refusal_parses() {
        let quote = Packet::parse(&udp("1.2.3.4:5", "6.7.8.9:10", b"q")).unwrap().quote();
        let icmp = port_unreachable("6.7.8.9".parse().unwrap(), "1.2.3.4".parse().unwrap(), &quote).unwrap();
        let packet = Packet::parse(&icmp).unwrap();
        assert_eq!(packet.carries(), Carries::Other);
        assert_eq!(packet.dst().ip().to_string(), "1.2.3.4");
    }
}
