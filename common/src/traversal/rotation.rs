//! When the mapping of the path in use is to be renewed.

use std::time::{Duration, Instant};

use super::{Agent, Tier, tier};

/// Tries to renew a mapping, and the time between them.
const MAX_RENEWALS: u32 = 4;
const RENEWAL_PAUSE: Duration = Duration::from_secs(3);
/// A mapping that began so much later than the main socket's outlives it for long enough: that the main one has changed is
/// seen within twelve seconds, and a renewal takes one or two.
const SHOWN_AFTER: Duration = Duration::from_secs(15);

/// When the mappings of our NAT are renewed. They end at a certain age, or that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// At this age.
    pub after: Duration,
    /// When the main socket's mapping began.
    pub main_born: Instant,
    /// No later than this: then it is known that there is no need.
    pub until: Option<Instant>,
}

impl Agent {
    /// When the mappings of our NAT are to be renewed; `None` for never.
    pub fn set_rotation(&mut self, rotation: Option<Rotation>) {
        if self.rotation != rotation {
            self.rotation = rotation;
            self.renewals = 0;
        }
    }

    /// When the mapping of the path in use is to be renewed.
    pub(super) fn renewal_due(&self) -> Option<Instant> {
        let rotation = self.rotation?;
        let way = self.route.direct().filter(|way| tier(way.remote) == Tier::Public)?;
        let born = self.sockets.get(&way.local).copied().unwrap_or(rotation.main_born);
        if rotation.until.is_some() && born >= rotation.main_born + SHOWN_AFTER {
            // The main mapping shows in time what becomes of this one.
            return None;
        }
        // Both sides at the same time would each make what the other's makes needless.
        let after = if self.follows() { rotation.after * 9 / 8 } else { rotation.after };
        let due = self.next_renewal.map_or(born + after, |next| next.max(born + after));
        (rotation.until.is_none_or(|until| due < until) && self.renewals < MAX_RENEWALS).then_some(due)
    }

    pub(super) fn renew(&mut self, now: Instant) {
        let Some(way) = self.route.direct() else { return };
        self.punch.renew(now, way.remote);
        self.renewals += 1;
        self.next_renewal = Some(now + RENEWAL_PAUSE);
    }
}
