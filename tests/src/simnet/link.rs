//! One direction of a link: delay, jitter, loss, duplication, a bottleneck with a bounded queue, an MTU.
//!
//! A link knows nothing of addresses and hosts; it answers when a packet of some size arrives, if at all.

use std::time::Duration;

use quinn::udp::EcnCodepoint;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::counters::DropCause;

/// The properties of one direction of a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One-way delay of every packet.
    pub delay: Duration,
    /// Up to this much more, evenly spread and drawn for each packet: packets overtake each other.
    pub jitter: Duration,
    /// The share of packets that vanish, 0 to 1.
    pub loss: f64,
    /// The share of packets that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// Bytes per second (IP and UDP headers count), or no bottleneck.
    pub rate: Option<u64>,
    /// Bytes that may wait for the bottleneck; what does not fit is dropped from the tail.
    pub queue: u64,
    /// Once so many bytes wait, packets that can carry it are marked "congestion experienced" (RFC 3168).
    pub mark_above: Option<u64>,
    /// The largest IP packet; larger ones vanish, as between routers that send no ICMP.
    pub mtu: usize,
}

/// The usual Ethernet MTU.
const ETHERNET_MTU: usize = 1_500;
/// The default queue: about 85 full packets.
const DEFAULT_QUEUE: u64 = 128 * 1024;

impl Link {
    /// A perfect link of that delay.
    #[must_use]
    pub const fn new(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            rate: None,
            queue: DEFAULT_QUEUE,
            mark_above: None,
            mtu: ETHERNET_MTU,
        }
    }

    /// The same with that share of packets lost.
    #[must_use]
    pub const fn lossy(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same with that jitter.
    #[must_use]
    pub const fn jittery(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// The same with that share of packets doubled.
    #[must_use]
    pub const fn duplicating(self, duplicate: f64) -> Self {
        Self { duplicate, ..self }
    }

    /// The same with a bottleneck of `rate` bytes per second and room for `queue` bytes before it.
    #[must_use]
    pub const fn limited(self, rate: u64, queue: u64) -> Self {
        Self { rate: Some(rate), queue, ..self }
    }

    /// The same with that MTU.
    #[must_use]
    pub const fn with_mtu(self, mtu: usize) -> Self {
        Self { mtu, ..self }
    }
}

/// When and how a packet arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) at: Duration,
    pub(super) ecn: Option<EcnCodepoint>,
}

/// What a pipe makes of one packet: one arrival and perhaps a second.
pub(super) type Carried = (Arrival, Option<Arrival>);

/// A link in use: its properties, its queue and its own random choices, so that traffic on other links does
/// not change what is lost on this one.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) link: Link,
    /// When the bottleneck has sent all that waits for it.
    busy_until: Duration,
    rng: StdRng,
}

impl Pipe {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        Self { link, busy_until: Duration::ZERO, rng: StdRng::seed_from_u64(seed) }
    }

    /// Takes a packet of `size` bytes, headers included.
    pub(super) fn carry(
        &mut self,
        now: Duration,
        size: usize,
        ecn: Option<EcnCodepoint>,
    ) -> Result<Carried, DropCause> {
        if size > self.link.mtu {
            return Err(DropCause::TooLarge);
        }
        let (sent, ecn) = self.pass_bottleneck(now, size, ecn)?;
        // Drawn in any case and in the same order, so that one knob does not change what another decides.
        let lost = self.draw(self.link.loss);
        let doubled = self.draw(self.link.duplicate);
        let (first, second) = (self.flight_time(), self.flight_time());
        if lost {
            return Err(DropCause::Lost);
        }
        let second = doubled.then_some(Arrival { at: sent + second, ecn });
        Ok((Arrival { at: sent + first, ecn }, second))
    }

    /// When the bottleneck has sent the packet, and the mark it leaves on it.
    fn pass_bottleneck(
        &mut self,
        now: Duration,
        size: usize,
        ecn: Option<EcnCodepoint>,
    ) -> Result<(Duration, Option<EcnCodepoint>), DropCause> {
        let Some(rate) = self.link.rate else { return Ok((now, ecn)) };
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let waiting = bytes_in(self.busy_until.saturating_sub(now), rate);
        if waiting.saturating_add(size) > self.link.queue {
            return Err(DropCause::QueueFull);
        }
        let congested = self.link.mark_above.is_some_and(|most| waiting > most);
        self.busy_until = self.busy_until.max(now) + time_for(size, rate);
        Ok((self.busy_until, if congested { ecn.map(|_| EcnCodepoint::Ce) } else { ecn }))
    }

    fn flight_time(&mut self) -> Duration {
        self.link.delay + self.link.jitter.mul_f64(self.rng.random_range(0.0..1.0))
    }

    fn draw(&mut self, share: f64) -> bool {
        self.rng.random_range(0.0..1.0) < share
    }
}

/// The time `size` bytes take at `rate` bytes per second.
fn time_for(size: u64, rate: u64) -> Duration {
    Duration::from_nanos(size.saturating_mul(1_000_000_000) / rate.max(1))
}

/// The bytes that pass in `time` at `rate` bytes per second.
fn bytes_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn carry(pipe: &mut Pipe, now: Duration, size: usize) -> Result<Duration, DropCause> {
        pipe.carry(now, size, None).map(|(first, _)| first.at)
    }

    #[test]
    fn a_perfect_link_only_delays() {
        let mut pipe = Pipe::new(Link::new(25 * MS), 1);
        for n in 0..1_000 {
            assert_eq!(pipe.carry(n * MS, 1_500, None), Ok((Arrival { at: (25 + n) * MS, ecn: None }, None)));
        }
    }

    #[test]
    fn what_exceeds_the_mtu_is_dropped() {
        let mut pipe = Pipe::new(Link::new(MS).with_mtu(1_280), 1);
        assert_eq!(carry(&mut pipe, MS, 1_280), Ok(2 * MS));
        assert_eq!(carry(&mut pipe, MS, 1_281), Err(DropCause::TooLarge));
    }

    #[test]
    fn a_bottleneck_spaces_packets_and_its_queue_is_bounded() {
        // 1,000 bytes a millisecond, room for three packets of 1,000.
        let mut pipe = Pipe::new(Link::new(MS).limited(1_000_000, 3_000), 1);
        let arrivals: Vec<_> = (0..4).map(|_| carry(&mut pipe, Duration::ZERO, 1_000)).collect();
        assert_eq!(arrivals, [Ok(2 * MS), Ok(3 * MS), Ok(4 * MS), Err(DropCause::QueueFull)]);
        assert_eq!(carry(&mut pipe, MS, 1_000), Ok(5 * MS), "one has left");
    }

    #[test]
    fn rfc3168_a_filling_queue_marks_what_can_be_marked() {
        let link = Link { mark_above: Some(500), ..Link::new(MS).limited(1_000_000, 10_000) };
        let mut pipe = Pipe::new(link, 1);
        let mut mark = |ecn| pipe.carry(Duration::ZERO, 1_000, ecn).map(|(first, _)| first.ecn);
        assert_eq!(mark(Some(EcnCodepoint::Ect0)), Ok(Some(EcnCodepoint::Ect0)));
        assert_eq!(mark(Some(EcnCodepoint::Ect0)), Ok(Some(EcnCodepoint::Ce)));
        assert_eq!(mark(None), Ok(None));
    }

    #[test]
    fn loss_and_duplication_come_in_the_stated_share() {
        let mut pipe = Pipe::new(Link::new(MS).lossy(0.1).duplicating(0.2), 1);
        let carried: Vec<_> = (0..10_000).map(|_| pipe.carry(MS, 100, None)).collect();
        let lost = carried.iter().filter(|c| c.is_err()).count();
        let doubled = carried.iter().flatten().filter(|(_, second)| second.is_some()).count();
        assert!((900..1_100).contains(&lost), "{lost}");
        assert!((1_600..2_000).contains(&doubled), "{doubled}");
    }

    #[test]
    fn jitter_reorders_within_its_bound() {
        let mut pipe = Pipe::new(Link::new(10 * MS).jittery(5 * MS), 1);
        let arrivals: Vec<_> = (0..100).map(|_| carry(&mut pipe, Duration::ZERO, 100).unwrap()).collect();
        assert!(arrivals.windows(2).any(|pair| pair[0] > pair[1]));
        assert!(arrivals.iter().all(|at| (10 * MS..15 * MS).contains(at)));
    }
}
