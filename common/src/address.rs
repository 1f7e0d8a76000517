//! Addresses that stand for something else, and the one form of those that do not.
//!
//! QUIC and the traversal know everything by an address. What has none gets one out of a unique local range (RFC 4193)
//! of its kind, which never appears on a wire: a peer wherever it is, a tunnel to the server, a TCP connection.

use std::net::{IpAddr, SocketAddr};

/// Port of all addresses that stand for something.
const PORT: u16 = 1;

/// The addresses that stand for things of one kind, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space([u8; 8]);

/// Peers, wherever they are.
pub const PEERS: Space = Space([0xfd, b'h', b'o', b'b', b'n', b'o', b'b', 0]);
/// Tunnels between a client and the server.
pub const TUNNELS: Space = Space([0xfd, b'h', b'o', b'b', b't', b'u', b'n', 0]);
/// TCP connections to peers.
pub const STREAMS: Space = Space([0xfd, b'h', b'o', b'b', b't', b'c', b'p', 0]);

impl Space {
    /// The address that stands for number `tag`.
    #[must_use]
    pub fn addr(self, tag: u32) -> SocketAddr {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.0);
        octets[12..].copy_from_slice(&tag.to_be_bytes());
        SocketAddr::new(IpAddr::V6(octets.into()), PORT)
    }

    /// The number that `addr` stands for; `None` if it is not one of these.
    #[must_use]
    pub fn tag(self, addr: SocketAddr) -> Option<u32> {
        let IpAddr::V6(ip) = addr.ip() else { return None };
        let octets = ip.octets();
        let tag = octets[12..].try_into().ok()?;
        octets.starts_with(&self.0).then(|| u32::from_be_bytes(tag))
    }
}

/// Whether `addr` stands for something rather than for a place that packets go to.
#[must_use]
pub fn is_virtual(addr: SocketAddr) -> bool {
    [PEERS, TUNNELS, STREAMS].iter().any(|space| space.tag(addr).is_some())
}

/// The address in its one form: IPv4 as IPv4 even if it came v4-mapped, and without what means something on one host only.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_addresses_of_its_own() {
        for tag in [0, 1, u32::MAX] {
            for space in [PEERS, TUNNELS, STREAMS] {
                let addr = space.addr(tag);
                assert!(is_virtual(addr));
                assert_eq!(space.tag(addr), Some(tag));
                let others = [PEERS, TUNNELS, STREAMS].into_iter().filter(|other| *other != space);
                assert!(others.into_iter().all(|other| other.tag(addr).is_none()));
            }
        }
        for real in ["192.0.2.1:1", "[fd68:6f62::1]:1", "[::ffff:192.0.2.1]:1"] {
            assert!(!is_virtual(real.parse().unwrap()), "{real}");
        }
    }

    #[test]
    fn an_address_has_one_form() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:5000".parse().unwrap());
        let scoped: SocketAddr = "[fe80::1%7]:5000".parse().unwrap();
        assert_eq!(canonical(scoped), "[fe80::1]:5000".parse().unwrap());
    }
}
