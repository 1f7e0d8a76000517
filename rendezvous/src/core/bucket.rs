//! Token buckets: a rate over time with an allowance for bursts.

use std::time::{Duration, Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second; 0 grants everything.
    pub per_second: u64,
    /// Tokens in a full bucket.
    pub burst: u64,
}

/// One bucket. Its [`Rate`] is passed in, since thousands of buckets share it.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: u64,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst, filled_at: now }
    }

    /// Takes `amount` tokens if they are there.
    pub fn take(&mut self, now: Instant, rate: Rate, amount: u64) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        self.fill(now, rate);
        let Some(rest) = self.tokens.checked_sub(amount) else { return false };
        self.tokens = rest;
        true
    }

    /// Whether nothing of it is in use.
    pub fn is_full(&mut self, now: Instant, rate: Rate) -> bool {
        self.fill(now, rate);
        self.tokens >= rate.burst
    }

    fn fill(&mut self, now: Instant, rate: Rate) {
        let per_second = u128::from(rate.per_second);
        let elapsed = now.saturating_duration_since(self.filled_at).as_nanos();
        let gained = u64::try_from(elapsed * per_second / NANOS_PER_SECOND).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(gained);
        if self.tokens >= rate.burst {
            self.tokens = rate.burst;
            self.filled_at = now;
            return;
        }
        // Only the time that whole tokens stand for is used up, so that a slow rate loses no fractions.
        let used = u64::try_from(u128::from(gained) * NANOS_PER_SECOND / per_second).unwrap_or(u64::MAX);
        self.filled_at += Duration::from_nanos(used);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn bursts_then_keeps_the_rate() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full(now, RATE);
        assert_eq!((0..5).filter(|_| bucket.take(now, RATE, 1)).count(), 3);
        let mut taken = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(7);
            taken += u32::from(bucket.take(now, RATE, 1));
        }
        assert_eq!(taken, 70);
        assert!(bucket.take(now + Duration::from_secs(3600), RATE, 3));
        assert!(!bucket.take(now + Duration::from_secs(3600), RATE, 1));
    }

    #[test]
    fn zero_is_unlimited_and_time_may_stand_still() {
        let now = Instant::now();
        let free = Rate { per_second: 0, burst: 0 };
        assert!(Bucket::full(now, free).take(now, free, u64::MAX));
        let mut bucket = Bucket::full(now, RATE);
        assert!(bucket.take(now, RATE, 3) && !bucket.take(now, RATE, 1));
    }
}
