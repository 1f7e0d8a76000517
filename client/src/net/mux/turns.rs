//! Whose turn it is to make many NAT mappings. One peer at a time has it, and all together make only so many mappings in
//! the time in which a NAT forgets them: other people's flows share its table.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Mappings that all tries together make within [`WINDOW`]. A table of 1,024 entries that is half full of other flows
/// bears that.
const MAX_MAPPINGS: u32 = 512;
/// How long a NAT remembers a mapping that is not used any more (RFC 4787 REQ-5).
const WINDOW: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The peer that has it.
    owner: Option<u32>,
    /// What was granted within the window. Every try makes some mappings, so that there are not many.
    granted: VecDeque<(Instant, u32)>,
}

impl Turns {
    /// The peer that has the turn.
    pub(super) const fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Nobody has it any more.
    pub(super) const fn end(&mut self) {
        self.owner = None;
    }

    /// Gives the turn to `peer` for a try that makes `mappings`, if it is free and they are not too many.
    pub(super) fn grant(&mut self, now: Instant, peer: u32, mappings: u32) -> bool {
        self.granted.retain(|(at, _)| now < *at + WINDOW);
        let used: u32 = self.granted.iter().map(|(_, mappings)| mappings).sum();
        let may = self.owner.is_none() && used + mappings <= MAX_MAPPINGS;
        if may {
            self.owner = Some(peer);
            self.granted.push_back((now, mappings.max(1)));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_at_a_time_and_so_many_mappings_within_two_minutes() {
        let now = crate::net::clock::now();
        let mut turns = Turns::default();
        assert!(turns.grant(now, 1, 240) && !turns.grant(now, 2, 240), "it is taken");
        turns.end();
        assert!(turns.grant(now, 2, 240));
        turns.end();
        let later = now + Duration::from_secs(119);
        assert!(!turns.grant(later, 3, 90), "too many");
        assert!(turns.grant(later, 3, 32));
        turns.end();
        assert!(turns.grant(now + WINDOW, 3, 240));
    }
}
