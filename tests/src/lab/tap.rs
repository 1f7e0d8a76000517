//! What the lab sees from outside: who sent what to whom, on which public addresses, and whether a text that
//! should be secret was in it.
//!
//! Nothing here asks the programs under test; what they claim is compared with this.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::stream_frame;

use super::network::HostId;
use super::pcap::Pcap;

/// Packets whose outlines are kept for a look at the newest traffic.
pub const RECENT: usize = 4_096;
/// Sightings of secret texts that are kept; one is already too many.
const MAX_SIGHTINGS: usize = 64;
/// Shortest text worth looking for: shorter ones turn up in ciphertext by chance.
const MIN_SECRET: usize = 6;

/// Pairs of a sender and an address that are counted apart.
const MAX_TARGETS: usize = 1_024;

/// What a payload is, by the first byte of the first packet in it (RFC 9443).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// STUN over UDP.
    Stun,
    /// QUIC over UDP.
    Quic,
    /// Other UDP.
    OtherUdp,
    /// A TCP segment that begins with a STUN message in a frame (`docs/protocol.md` §2.1).
    TcpStun,
    /// A TCP segment that begins with a QUIC packet in a frame.
    TcpQuic,
    /// Other TCP: what opens and closes connections, what goes on from an earlier segment, anything else.
    OtherTcp,
}

impl Sort {
    /// The sort of a UDP payload.
    #[must_use]
    pub fn of_udp(payload: &[u8]) -> Self {
        match payload.first() {
            Some(0..=3) => Self::Stun,
            Some(64..=255) => Self::Quic,
            _ => Self::OtherUdp,
        }
    }

    /// The sort of a TCP payload.
    #[must_use]
    pub fn of_tcp(payload: &[u8]) -> Self {
        match Self::of_udp(payload.get(stream_frame::HEADER_LEN..).unwrap_or_default()) {
            Self::Stun => Self::TcpStun,
            Self::Quic => Self::TcpQuic,
            _ => Self::OtherTcp,
        }
    }

    /// Whether it is QUIC, on whatever.
    #[must_use]
    pub const fn is_quic(self) -> bool {
        matches!(self, Self::Quic | Self::TcpQuic)
    }
}

/// A delivered packet.
#[derive(Debug, Clone, Copy)]
pub struct Passage<'a> {
    /// When the target got it.
    pub at: Duration,
    /// When the sender sent it.
    pub sent: Duration,
    /// The sender.
    pub from: HostId,
    /// The target.
    pub to: HostId,
    /// What it is.
    pub sort: Sort,
    /// Source and destination on the public core; none when it never got there.
    pub core: Option<(SocketAddr, SocketAddr)>,
    /// Length of the IP packet.
    pub len: usize,
    /// What follows the UDP or TCP header.
    pub payload: &'a [u8],
}

/// The outline of a delivered packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// When the target got it.
    pub at: Duration,
    /// The sender.
    pub from: HostId,
    /// The target.
    pub to: HostId,
    /// What it is.
    pub sort: Sort,
    /// Source and destination on the public core; none when it never got there.
    pub core: Option<(SocketAddr, SocketAddr)>,
    /// Length of the IP packet.
    pub len: usize,
}

/// Delivered packets of one sort from one host to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// When the first was delivered.
    pub first: Option<Duration>,
    /// When the last was delivered.
    pub last: Option<Duration>,
}

/// All tallies, by sender, target and sort.
pub type Tallies = BTreeMap<(HostId, HostId, Sort), Tally>;

/// A secret that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The secret.
    pub secret: String,
    /// When.
    pub at: Duration,
    /// The sender.
    pub from: HostId,
    /// The target.
    pub to: HostId,
}

/// The watch on all delivered packets.
#[derive(Debug, Default)]
pub struct Tap {
    tallies: Tallies,
    recent: VecDeque<Outline>,
    secrets: Vec<String>,
    sightings: Vec<Sighting>,
    capture: Option<(HostId, Pcap)>,
    capture_failed: bool,
    /// Packets with ports by sender and the address that they were sent to.
    addressed: BTreeMap<(HostId, IpAddr), u64>,
}

impl Tap {
    /// Watches from now on for a text that must never be seen in a payload.
    ///
    /// # Panics
    /// When the text is too short to mean anything when it is found.
    pub fn watch_for(&mut self, secret: &str) {
        assert!(secret.len() >= MIN_SECRET, "a secret needs at least {MIN_SECRET} bytes");
        self.secrets.push(secret.to_owned());
    }

    /// Writes every packet that this host sends or gets to a file.
    pub fn capture_at(&mut self, host: HostId, pcap: Pcap) {
        self.capture = Some((host, pcap));
    }

    /// Ends the capture; false when it could not be written in full.
    pub fn end_capture(&mut self) -> bool {
        let Some((_, mut pcap)) = self.capture.take() else { return true };
        pcap.flush().is_ok() && !self.capture_failed
    }

    /// A host sent a packet with ports to this address, whether it arrives or not.
    pub(super) fn address(&mut self, from: HostId, to: IpAddr) {
        if self.addressed.len() < MAX_TARGETS || self.addressed.contains_key(&(from, to)) {
            *self.addressed.entry((from, to)).or_default() += 1;
        }
    }

    /// Packets with ports by sender and the address that they were sent to, whether they arrived or not.
    #[must_use]
    pub fn addressed(&self) -> &BTreeMap<(HostId, IpAddr), u64> {
        &self.addressed
    }

    /// A host sent a packet.
    pub(super) fn sent(&mut self, now: Duration, from: HostId, packet: &[u8]) {
        self.capture_packet(now, from, packet);
    }

    /// A host got a packet (of any protocol).
    pub(super) fn arrived(&mut self, now: Duration, to: HostId, packet: &[u8]) {
        self.capture_packet(now, to, packet);
    }

    /// A host got a packet with ports.
    pub(super) fn delivered(&mut self, passage: &Passage<'_>) {
        let Passage { at, from, to, sort, core, len, payload, .. } = *passage;
        let tally = self.tallies.entry((from, to, sort)).or_default();
        tally.packets += 1;
        tally.bytes += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        tally.first.get_or_insert(at);
        tally.last = Some(at);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Outline { at, from, to, sort, core, len });
        for secret in &self.secrets {
            if self.sightings.len() < MAX_SIGHTINGS && contains(payload, secret.as_bytes()) {
                self.sightings.push(Sighting { secret: secret.clone(), at, from, to });
            }
        }
    }

    /// The tallies so far.
    #[must_use]
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Outlines of the newest packets, oldest first.
    #[must_use]
    pub fn recent(&self) -> &VecDeque<Outline> {
        &self.recent
    }

    /// Secrets seen in the open.
    #[must_use]
    pub fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    fn capture_packet(&mut self, now: Duration, host: HostId, packet: &[u8]) {
        if let Some((at, pcap)) = &mut self.capture
            && *at == host
        {
            self.capture_failed |= pcap.record(now, packet).is_err();
        }
    }
}

/// The tally of everything from one host to another.
#[must_use]
pub fn between(tallies: &Tallies, from: HostId, to: HostId) -> Tally {
    sum(tallies, from, to, |_| true)
}

/// The tally of some sorts from one host to another.
#[must_use]
pub fn sum(tallies: &Tallies, from: HostId, to: HostId, keep: impl Fn(Sort) -> bool) -> Tally {
    let matching = tallies.iter().filter(|((f, t, sort), _)| (*f, *t) == (from, to) && keep(*sort));
    matching.fold(Tally::default(), |total, (_, tally)| Tally {
        packets: total.packets + tally.packets,
        bytes: total.bytes + tally.bytes,
        first: total.first.into_iter().chain(tally.first).min(),
        last: total.last.max(tally.last),
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(at: u64, from: usize, to: usize, payload: &[u8]) -> Passage<'_> {
        Passage {
            at: Duration::from_millis(at),
            sent: Duration::ZERO,
            from: HostId(from),
            to: HostId(to),
            sort: Sort::of_udp(payload),
            core: None,
            len: payload.len() + 28,
            payload,
        }
    }

    #[test]
    fn tallies_tell_pairs_and_sorts_apart() {
        let mut tap = Tap::default();
        tap.delivered(&passage(5, 0, 1, &[1, 2, 3]));
        tap.delivered(&passage(9, 0, 1, &[0x40; 100]));
        tap.delivered(&passage(7, 1, 0, &[0x40; 10]));
        let all = between(tap.tallies(), HostId(0), HostId(1));
        assert_eq!((all.packets, all.bytes), (2, 103));
        assert_eq!((all.first, all.last), (Some(Duration::from_millis(5)), Some(Duration::from_millis(9))));
        let quic = sum(tap.tallies(), HostId(0), HostId(1), |sort| sort == Sort::Quic);
        assert_eq!(quic.bytes, 100);
        let sorts = [&[][..], &[0, 2, 0x40, 1], &[0, 20, 0], &[1, 1, 9]].map(Sort::of_tcp);
        assert_eq!(sorts, [Sort::OtherTcp, Sort::TcpQuic, Sort::TcpStun, Sort::OtherTcp]);
        assert_eq!(between(tap.tallies(), HostId(1), HostId(2)), Tally::default());
    }

    #[test]
    fn a_secret_in_the_open_is_seen() {
        let mut tap = Tap::default();
        tap.watch_for("the secret");
        tap.delivered(&passage(1, 0, 1, b"@@the secre"));
        assert!(tap.sightings().is_empty());
        tap.delivered(&passage(2, 0, 1, b"@@the secret@@"));
        assert_eq!(tap.sightings().len(), 1);
    }

    #[test]
    fn outlines_are_bounded() {
        let mut tap = Tap::default();
        for at in 0..5_000 {
            tap.delivered(&passage(at, 0, 1, &[1]));
        }
        assert_eq!(tap.recent().len(), RECENT);
    }
}
