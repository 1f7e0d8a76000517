//! Follows what was typed until it is delivered. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::identity::PeerId;
use tokio::time::Instant;

use crate::log::MessageId;
use crate::store::State;

/// A delivery that took longer than this is worth a line.
const LATE: Duration = Duration::from_secs(3);
/// How long such deliveries are collected, so that many make one line.
const COLLECT: Duration = Duration::from_millis(200);
/// Messages that are followed. Beyond, the delivery of the first ones is told as if it were late.
const MAX_OPEN: usize = 10_000;

#[derive(Debug)]
struct Open {
    since: Instant,
    /// The user was told that it waits.
    is_late: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    open: BTreeMap<(PeerId, MessageId), Open>,
    /// Late deliveries that are to be told.
    done: BTreeMap<PeerId, usize>,
    tell_at: Option<Instant>,
}

impl Delivery {
    /// An own message was committed.
    pub(super) fn handle_sent(&mut self, now: Instant, id: MessageId, peer: PeerId, is_connected: bool) {
        if self.open.len() < MAX_OPEN {
            self.open.insert((peer, id), Open { since: now, is_late: !is_connected });
        }
    }

    /// A message got further.
    pub(super) fn handle_state(&mut self, now: Instant, id: MessageId, peer: PeerId, state: State) {
        match state {
            State::Pending | State::Sent => {}
            State::Refused | State::Read => drop(self.open.remove(&(peer, id))),
            State::Delivered => {
                let open = self.open.remove(&(peer, id));
                // One that is not known here was typed in an earlier run.
                if open.is_none_or(|open| open.is_late || now.duration_since(open.since) > LATE) {
                    *self.done.entry(peer).or_default() += 1;
                    self.tell_at.get_or_insert(now + COLLECT);
                }
            }
        }
    }

    /// Somebody has gone: returns how many messages to them are not confirmed, besides those that were known to wait.
    pub(super) fn handle_disconnected(&mut self, peer: PeerId) -> usize {
        let of_peer = self.open.iter_mut().filter(|((to, _), open)| *to == peer && !open.is_late);
        of_peer.map(|(_, open)| open.is_late = true).count()
    }

    /// When [`Delivery::handle_timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tell_at
    }

    /// Late deliveries to tell now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> BTreeMap<PeerId, usize> {
        if self.tell_at.is_none_or(|at| at > now) {
            return BTreeMap::new();
        }
        self.tell_at = None;
        std::mem::take(&mut self.done)
    }

    /// Whether everything to `peers`, or to everybody, has arrived.
    pub(super) fn is_settled(&self, peers: Option<&BTreeSet<PeerId>>) -> bool {
        !self.open.keys().any(|(peer, _)| peers.is_none_or(|peers| peers.contains(peer)))
    }

    /// How many have not.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::identity::Identity;

    fn setup() -> (Delivery, Instant, PeerId, [MessageId; 3]) {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let now = Instant::now();
        let ids = [b"a", b"b", b"c"].map(|bytes| MessageId::of(bytes));
        (Delivery::default(), now, Identity::from_seed([1; 32]).peer_id(), ids)
    }

    #[test]
    fn quick_deliveries_are_not_told() {
        let (mut delivery, now, peer, [a, ..]) = setup();
        delivery.handle_sent(now, a, peer, true);
        assert!(!delivery.is_settled(None));
        delivery.handle_state(now, a, peer, State::Sent);
        delivery.handle_state(now + LATE, a, peer, State::Delivered);
        assert!(delivery.is_settled(None));
        assert_eq!(delivery.poll_timeout(), None);
    }

    #[test]
    fn late_ones_are_told_together() {
        let (mut delivery, now, peer, [a, b, c]) = setup();
        delivery.handle_sent(now, a, peer, false);
        delivery.handle_sent(now, b, peer, true);
        assert_eq!(delivery.handle_disconnected(peer), 1);
        assert_eq!(delivery.handle_disconnected(peer), 0);
        for id in [a, b, c] {
            delivery.handle_state(now, id, peer, State::Delivered);
        }
        assert_eq!(delivery.handle_timeout(now), BTreeMap::new());
        let at = delivery.poll_timeout().unwrap();
        assert_eq!(delivery.handle_timeout(at), BTreeMap::from([(peer, 3)]));
        assert_eq!(delivery.poll_timeout(), None);
    }

    #[test]
    fn the_end_waits_for_those_it_should() {
        let (mut delivery, now, peer, [a, ..]) = setup();
        delivery.handle_sent(now, a, peer, false);
        assert!(delivery.is_settled(Some(&BTreeSet::new())));
        assert!(!delivery.is_settled(Some(&BTreeSet::from([peer]))));
        delivery.handle_state(now, a, peer, State::Refused);
        assert!(delivery.is_settled(None));
    }
}
