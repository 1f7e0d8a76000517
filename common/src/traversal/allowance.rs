//! A budget that refills with time.

use std::time::{Duration, Instant};

/// So many at once, and then one in each interval.
#[derive(Debug)]
pub struct Allowance {
    burst: u32,
    interval: Duration,
    left: u32,
    refilled: Option<Instant>,
}

impl Allowance {
    /// All of `burst` is there at first; afterwards one comes back each `interval`, which is at least a millisecond.
    #[must_use]
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, left: burst, refilled: None }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let steps = now.saturating_duration_since(since).as_millis() / self.interval.as_millis();
        if let Some(steps) = u32::try_from(steps).ok().filter(|steps| *steps > 0) {
            self.left = self.left.saturating_add(steps).min(self.burst);
            self.refilled = Some(since + self.interval * steps);
        }
        let is_allowed = self.left > 0;
        self.left -= u32::from(is_allowed);
        is_allowed
    }
}
