//! Relayed packets that overtook the `Connect` frame of their session: QUIC datagrams and streams are not ordered
//! with each other. They wait for a moment.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::control::SessionId;

use super::ConnId;

/// Packets that wait for each connection: a first flight of two packets, in halves.
pub const MAX_PER_CONNECTION: usize = 4;
/// Packets that wait in all, some 5 MB.
const MAX_TOTAL: usize = 4096;
/// How long they wait. Longer than a lost packet with the `Connect` frame takes to be sent again on most paths.
pub const LIFETIME: Duration = Duration::from_millis(400);

/// The packets that wait.
#[derive(Debug, Default)]
pub(super) struct Early {
    by_conn: HashMap<ConnId, Vec<Held>>,
    /// Ends of waiting times, the soonest first, since all wait equally long.
    ends: VecDeque<(Instant, ConnId)>,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    session: SessionId,
    frame: Bytes,
}

impl Early {
    /// Keeps a frame; `false` if too many of this connection wait already.
    pub(super) fn hold(&mut self, now: Instant, conn: ConnId, session: SessionId, frame: &[u8]) -> bool {
        if self.ends.len() >= MAX_TOTAL {
            return false;
        }
        let held = self.by_conn.entry(conn).or_default();
        if held.len() >= MAX_PER_CONNECTION {
            return false;
        }
        let until = now + LIFETIME;
        // Copied, because the slice may keep a whole receive buffer of many packets alive.
        held.push(Held { until, session, frame: Bytes::copy_from_slice(frame) });
        self.ends.push_back((until, conn));
        true
    }

    /// The frames that waited for `session`, in the order in which they came.
    pub(super) fn release(&mut self, conn: ConnId, session: SessionId) -> Vec<Bytes> {
        let Some(held) = self.by_conn.get_mut(&conn) else { return Vec::new() };
        let released = held.extract_if(.., |h| h.session == session).map(|h| h.frame).collect();
        if held.is_empty() {
            self.by_conn.remove(&conn);
        }
        released
    }

    /// Forgets what waits for a connection that is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.by_conn.remove(&conn);
    }

    /// When [`Early::expire`] is next worth calling.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ends.front().map(|(until, _)| *until)
    }

    /// Drops frames that waited too long and returns their number.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while let Some((_, conn)) = self.ends.pop_front_if(|(until, _)| *until <= now) {
            let Some(held) = self.by_conn.get_mut(&conn) else { continue };
            let before = held.len();
            held.retain(|h| h.until > now);
            dropped += before - held.len();
            if held.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        dropped
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);

    #[test]
    fn waits_bounded_and_in_order() {
        let now = Instant::now();
        let mut early = Early::default();
        for n in 0..4u8 {
            assert!(early.hold(now, A, SessionId(u64::from(n % 2)), &[n]));
        }
        assert!(!early.hold(now, A, SessionId(0), &[9]));
        assert_eq!(early.release(A, SessionId(1)), [&[1u8][..], &[3]]);
        assert_eq!(early.release(A, SessionId(1)).len(), 0);
        assert_eq!(early.release(ConnId(2), SessionId(0)).len(), 0);
        assert_eq!(early.expire(now + LIFETIME - Duration::from_millis(1)), 0);
        assert_eq!(early.poll_timeout(), Some(now + LIFETIME));
        assert_eq!(early.expire(now + LIFETIME), 2);
        assert_eq!((early.poll_timeout(), early.by_conn.len()), (None, 0));
    }
}
