//! How long a NAT holds a mapping over which nothing is sent (RFC 4787 REQ-5), as far as it is known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Silence that is dared before anything is known.
pub const UNKNOWN: Duration = Duration::from_secs(15);
/// Silence that is dared where the shortest that was tried was too long.
const LEAST: Duration = Duration::from_secs(5);
/// Heartbeats are sent so much before the longest silence that was survived is over: timers and networks are late.
const MARGIN: Duration = Duration::from_secs(1);

/// What is known of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hold {
    /// The longest silence after which a mapping was still there.
    survived: Option<Duration>,
    /// The shortest after which one was gone.
    limit: Option<Duration>,
}

impl Hold {
    /// A mapping was there after this silence.
    pub fn handle_survived(&mut self, silence: Duration) {
        let below_limit = self.limit.is_none_or(|limit| silence < limit);
        if below_limit {
            self.survived = self.survived.max(Some(silence));
        }
    }

    /// A mapping was gone after this silence. What longer ones have shown before does not count any more.
    pub fn handle_forgotten(&mut self, silence: Duration) {
        self.limit = Some(self.limit.map_or(silence, |limit| limit.min(silence)));
        if self.survived >= self.limit {
            self.survived = None;
        }
    }

    /// Measured anew: what was too long once may not be any more.
    pub const fn forget_limit(&mut self) {
        self.limit = None;
    }

    /// How long a mapping may be left without a packet.
    #[must_use]
    pub fn interval(&self) -> Duration {
        match (self.survived, self.limit) {
            (Some(survived), None) => survived.saturating_sub(MARGIN).max(UNKNOWN),
            (Some(survived), Some(_)) => survived.saturating_sub(MARGIN).max(LEAST),
            (None, Some(limit)) => (limit / 2).clamp(LEAST, UNKNOWN),
            (None, None) => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_interval_grows_with_what_was_survived_and_falls_back() {
        let mut hold = Hold::default();
        assert_eq!(hold.interval(), UNKNOWN);
        hold.handle_survived(secs(8));
        assert_eq!(hold.interval(), UNKNOWN, "longer ones are still silent");
        hold.handle_survived(secs(88));
        hold.handle_survived(secs(28));
        assert_eq!(hold.interval(), secs(87));
        hold.handle_forgotten(secs(60));
        assert_eq!(hold.interval(), UNKNOWN);
        hold.handle_survived(secs(88));
        hold.handle_survived(secs(28));
        assert_eq!(hold.interval(), secs(27), "not above what was too long");
        hold.handle_forgotten(secs(8));
        assert_eq!(hold.interval(), LEAST);
        hold.forget_limit();
        hold.handle_survived(secs(88));
        assert_eq!(hold.interval(), secs(87));
    }
}
