//! Who may open a connection: bounds in total, per source address and on handshakes under way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::limits::Limits;

/// Where connections are counted together: one IPv4 address, or one IPv6 /64, which is what one home gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that `addr` belongs to.
    #[must_use]
    pub fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            v4 @ IpAddr::V4(_) => Self(v4),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

/// A connection that wants to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Where its first packet seems to come from, over UDP or in a tunnel.
    pub from: SocketAddr,
    /// Whether the sender has proved that it receives packets there, as every TCP connection does.
    pub validated: bool,
    /// The UDP endpoint that peers may use; `None` for a tunnel.
    pub endpoint: Option<SocketAddr>,
}

impl Arrival {
    /// A connection whose first packet came as a datagram.
    #[must_use]
    pub const fn over_udp(from: SocketAddr, validated: bool) -> Self {
        Self { from, validated, endpoint: Some(from) }
    }
}

/// What is done with an [`Arrival`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The handshake goes on.
    Accept,
    /// The sender must prove its address first.
    Retry,
    /// It is turned away.
    Refuse,
}

/// Counts connections against [`Limits`].
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: usize,
    half_open: usize,
    by_source: HashMap<Source, usize>,
}

impl Admission {
    /// Judges an arrival and counts it if it is accepted.
    ///
    /// An address that is not proved can be anybody's, so a full quota of an address first leads to a Retry:
    /// nobody can lock others out by forging their address.
    pub(super) fn admit(&mut self, arrival: Arrival, limits: &Limits) -> Verdict {
        let source = Source::of(arrival.from);
        let same = self.by_source.get(&source).copied().unwrap_or(0);
        if self.total >= limits.max_connections || self.half_open >= limits.half_open_refuse {
            return Verdict::Refuse;
        }
        let crowded = same >= limits.max_per_address;
        if !arrival.validated && (crowded || self.half_open >= limits.half_open_retry) {
            return Verdict::Retry;
        }
        if crowded {
            return Verdict::Refuse;
        }
        self.total += 1;
        self.half_open += 1;
        *self.by_source.entry(source).or_insert(0) += 1;
        Verdict::Accept
    }

    /// A handshake has come to its end, well or not.
    pub(super) fn handshake_over(&mut self) {
        self.half_open = self.half_open.saturating_sub(1);
    }

    /// A connection of `source` is gone.
    pub(super) fn gone(&mut self, source: Source) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    /// Connections in all, and those of them in their handshake.
    #[must_use]
    pub(super) const fn counts(&self) -> (usize, usize) {
        (self.total, self.half_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(ip: &str, validated: bool) -> Arrival {
        Arrival::over_udp(SocketAddr::new(ip.parse().unwrap(), 1), validated)
    }

    fn limits() -> Limits {
        Limits {
            max_connections: 6,
            max_per_address: 2,
            half_open_retry: 3,
            half_open_refuse: 5,
            ..Limits::default()
        }
    }

    #[test]
    fn counts_per_address_and_64() {
        let mut admission = Admission::default();
        let limits = limits();
        for ip in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(admission.admit(arrival(ip, true), &limits), Verdict::Accept);
        }
        assert_eq!(admission.admit(arrival("2001:db8::3", false), &limits), Verdict::Retry);
        assert_eq!(admission.admit(arrival("2001:db8::3", true), &limits), Verdict::Refuse);
        assert_eq!(admission.admit(arrival("2001:db8:0:1::3", true), &limits), Verdict::Accept);
        admission.gone(Source::of(arrival("2001:db8::9", true).from));
        assert_eq!(admission.admit(arrival("2001:db8::3", true), &limits), Verdict::Accept);
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let mapped = Source::of(arrival("::ffff:192.0.2.1", true).from);
        assert_eq!(mapped, Source::of(arrival("192.0.2.1", true).from));
    }

    #[test]
    fn many_handshakes_lead_to_retry_then_refusal() {
        let mut admission = Admission::default();
        let limits = limits();
        for i in 1..=3 {
            assert_eq!(admission.admit(arrival(&format!("192.0.2.{i}"), false), &limits), Verdict::Accept);
        }
        assert_eq!(admission.admit(arrival("192.0.2.4", false), &limits), Verdict::Retry);
        assert_eq!(admission.admit(arrival("192.0.2.4", true), &limits), Verdict::Accept);
        assert_eq!(admission.admit(arrival("192.0.2.5", true), &limits), Verdict::Accept);
        assert_eq!(admission.admit(arrival("192.0.2.6", true), &limits), Verdict::Refuse);
        for _ in 0..5 {
            admission.handshake_over();
        }
        assert_eq!(admission.admit(arrival("192.0.2.6", false), &limits), Verdict::Accept);
        assert_eq!(admission.admit(arrival("192.0.2.7", true), &limits), Verdict::Refuse, "all in all");
        assert_eq!(admission.counts(), (6, 1));
    }
}
