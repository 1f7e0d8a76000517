//! Addresses that have not proved yet that somebody real is there: the server sends them no more than came from
//! them. QUIC itself would allow three times as much (RFC 9000 §8.1).
//!
//! The first flight of a handshake fits, so that a real client is not slower for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The least that a client's first datagram has (RFC 9000 §14.1).
const FIRST_DATAGRAM: usize = 1200;

/// The one thing that the hub and the sockets share: the hub adds and removes, the sockets count. There are never
/// more entries than handshakes under way.
#[derive(Debug, Default)]
pub(super) struct Unvalidated {
    budgets: Mutex<HashMap<SocketAddr, Budget>>,
    /// How many there are, so that nothing is locked while there are none.
    len: AtomicUsize,
}

/// What one address is granted; all its handshakes share it.
#[derive(Debug)]
struct Budget {
    /// Handshakes under way; at least one.
    handshakes: usize,
    /// Bytes that may still be sent.
    bytes: usize,
}

impl Unvalidated {
    /// A handshake begins with a first datagram from `addr`.
    pub(super) fn add(&self, addr: SocketAddr) {
        self.change(|budgets| {
            // The first datagram of a further handshake grants nothing here: it has come while the address had its
            // entry, so `received` has counted it.
            let budget = budgets.entry(addr).or_insert(Budget { handshakes: 0, bytes: FIRST_DATAGRAM });
            budget.handshakes += 1;
        });
    }

    /// One handshake of `addr` is over; the address is bounded until the last of them is.
    pub(super) fn remove(&self, addr: SocketAddr) {
        self.change(|budgets| {
            let Entry::Occupied(mut entry) = budgets.entry(addr) else { return };
            entry.get_mut().handshakes -= 1;
            if entry.get().handshakes == 0 {
                entry.remove();
            }
        });
    }

    /// `bytes` more came from `addr`.
    pub(super) fn received(&self, addr: SocketAddr, bytes: usize) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(budget) = self.budgets().get_mut(&addr) {
            budget.bytes = budget.bytes.saturating_add(bytes);
        }
    }

    /// How much of `len` bytes, in datagrams of `segment`, may be sent to `addr`; it counts as sent.
    pub(super) fn grant(&self, addr: SocketAddr, len: usize, segment: usize) -> usize {
        if self.len.load(Ordering::Acquire) == 0 {
            return len;
        }
        let mut budgets = self.budgets();
        let Some(budget) = budgets.get_mut(&addr) else { return len };
        let bytes = &mut budget.bytes;
        let granted = if len <= *bytes { len } else { *bytes - *bytes % segment.max(1) };
        *bytes -= granted;
        granted
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<SocketAddr, Budget>)) {
        let mut budgets = self.budgets();
        change(&mut budgets);
        self.len.store(budgets.len(), Ordering::Release);
    }

    fn budgets(&self) -> MutexGuard<'_, HashMap<SocketAddr, Budget>> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_goes_out_than_came_in() {
        let unvalidated = Unvalidated::default();
        let addr = SocketAddr::from(([192, 0, 2, 1], 1));
        assert_eq!(unvalidated.grant(addr, 5_000, 1_200), 5_000, "unknown: proved, or no handshake");
        unvalidated.add(addr);
        assert_eq!(unvalidated.grant(addr, 1_338, 1_200), 1_200, "whole datagrams only");
        assert_eq!(unvalidated.grant(addr, 138, 138), 0);
        unvalidated.received(addr, 200);
        assert_eq!(unvalidated.grant(addr, 138, 138), 138);
        assert_eq!(unvalidated.grant(addr, 138, 138), 0);
        unvalidated.remove(addr);
        assert_eq!(unvalidated.grant(addr, 138, 138), 138);
    }

    #[test]
    fn handshakes_of_one_address_share_what_came_from_it() {
        let unvalidated = Unvalidated::default();
        let addr = SocketAddr::from(([192, 0, 2, 1], 1));
        unvalidated.add(addr);
        assert_eq!(unvalidated.grant(addr, 1_200, 1_200), 1_200);
        unvalidated.received(addr, 1_200);
        unvalidated.add(addr);
        assert_eq!(unvalidated.grant(addr, 2_400, 1_200), 1_200, "two datagrams came, two may go");
        unvalidated.remove(addr);
        assert_eq!(unvalidated.grant(addr, 1_200, 1_200), 0, "the other handshake is still under way");
        unvalidated.remove(addr);
        unvalidated.remove(addr);
        assert_eq!(unvalidated.grant(addr, 1_200, 1_200), 1_200);
        assert_eq!(unvalidated.len.load(Ordering::Acquire), 0);
    }
}
