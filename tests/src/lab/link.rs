//! One direction of a link between two attachments of a network: delay, loss, rate and a bounded queue.

use std::time::Duration;

/// Bytes that wait at a link of limited rate unless the link says otherwise.
pub const DEFAULT_QUEUE: usize = 256 * 1024;

/// What a link does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One-way delay.
    pub delay: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Bits a second; none is unlimited.
    pub rate: Option<u64>,
    /// Bytes that may wait when the rate is limited; what does not fit is dropped.
    pub queue: usize,
    /// Nothing passes.
    pub cut: bool,
}

impl Link {
    /// A link that only delays.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, loss: 0.0, rate: None, queue: DEFAULT_QUEUE, cut: false }
    }
}

/// Why a link swallowed a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swallowed {
    /// By chance.
    Lost,
    /// The queue was full.
    QueueFull,
    /// The link is cut.
    Cut,
}

/// A link at work.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) link: Link,
    /// When the last bit of what was accepted so far leaves the queue.
    busy_until: Duration,
}

impl Line {
    pub(super) fn new(link: Link) -> Self {
        Self { link, busy_until: Duration::ZERO }
    }

    /// Accepts a packet of `len` bytes and says when it arrives. `chance` is uniform in 0..1.
    pub(super) fn carry(&mut self, now: Duration, len: usize, chance: f64) -> Result<Duration, Swallowed> {
        if self.link.cut {
            return Err(Swallowed::Cut);
        }
        if chance < self.link.loss {
            return Err(Swallowed::Lost);
        }
        let Some(rate) = self.link.rate.filter(|rate| *rate > 0) else {
            return Ok(now + self.link.delay);
        };
        let start = self.busy_until.max(now);
        if start - now > transmission(self.link.queue, rate) {
            return Err(Swallowed::QueueFull);
        }
        self.busy_until = start + transmission(len, rate);
        Ok(self.busy_until + self.link.delay)
    }
}

/// How long `len` bytes take at `rate` bits a second.
fn transmission(len: usize, rate: u64) -> Duration {
    let bits = u64::try_from(len).unwrap_or(u64::MAX).saturating_mul(8);
    Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate)
}

/// A small seeded generator (`SplitMix64`), so that losses replay.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub(super) fn chance(&mut self) -> f64 {
        let high = u32::try_from(self.next_u64() >> 32).unwrap_or(u32::MAX);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_queue_behind_each_other_at_the_rate() {
        let mut line = Line::new(Link { rate: Some(8_000_000), ..Link::delayed(Duration::from_millis(40)) });
        assert_eq!(line.carry(Duration::ZERO, 1000, 0.5), Ok(Duration::from_millis(41)));
        assert_eq!(line.carry(Duration::ZERO, 1000, 0.5), Ok(Duration::from_millis(42)));
    }

    #[test]
    fn a_full_queue_drops() {
        let mut line = Line::new(Link {
            rate: Some(8_000_000),
            queue: 1500,
            ..Link::delayed(Duration::from_millis(40))
        });
        let taken = (0..10).filter(|_| line.carry(Duration::ZERO, 1000, 0.5).is_ok()).count();
        assert_eq!(taken, 2);
        assert_eq!(line.carry(Duration::ZERO, 1000, 0.5), Err(Swallowed::QueueFull));
    }

    #[test]
    fn losses_come_at_the_stated_share() {
        let mut dice = Dice::new(1);
        let mut line = Line::new(Link { loss: 0.1, ..Link::delayed(Duration::ZERO) });
        let lost = (0..10_000).filter(|_| line.carry(Duration::ZERO, 1, dice.chance()).is_err()).count();
        assert!((900..1100).contains(&lost), "{lost}");
    }
}
