//! What a NAT remembers of packets from outside that nobody asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::flow::{Flow, Transport};

/// How long an unsolicited SYN is kept back before it is answered (RFC 5382 REQ-4: at least six seconds).
pub const SYN_HOLD: Duration = Duration::from_secs(6);
/// How long Linux remembers a flow that went one way only (`nf_conntrack_udp_timeout`).
pub const REFUSED_LIFETIME: Duration = Duration::from_secs(30);
/// Unsolicited flows remembered at once; what exceeds it is not remembered.
pub const MAX_REFUSED: usize = 4_096;

/// An external endpoint of this NAT and the remote endpoint that sent to it.
type Tuple = (Transport, SocketAddr, SocketAddr);

/// The unsolicited flows a NAT remembers, with the last time each was seen.
#[derive(Debug, Default)]
pub(super) struct Refused {
    seen: BTreeMap<Tuple, Duration>,
}

/// The same flow as seen from inside and from outside has the same tuple.
pub(super) const fn tuple(transport: Transport, external: SocketAddr, remote: SocketAddr) -> Tuple {
    (transport, external, remote)
}

impl Refused {
    /// Notes an unsolicited packet, each repetition anew.
    pub(super) fn note(&mut self, now: Duration, flow: Flow) {
        let tuple = tuple(flow.proto.transport(), flow.dst, flow.src);
        if self.seen.len() < MAX_REFUSED || self.seen.contains_key(&tuple) {
            self.seen.insert(tuple, now);
        }
    }

    /// Notes a SYN only the first time: its repetitions do not lengthen the wait.
    pub(super) fn hold(&mut self, now: Duration, flow: Flow) {
        let tuple = tuple(flow.proto.transport(), flow.dst, flow.src);
        if self.seen.len() < MAX_REFUSED {
            self.seen.entry(tuple).or_insert(now);
        }
    }

    /// Whether such a flow is remembered.
    pub(super) fn remembers(&self, now: Duration, tuple: Tuple) -> bool {
        self.seen.get(&tuple).is_some_and(|seen| now.saturating_sub(*seen) < REFUSED_LIFETIME)
    }

    /// Forgets one flow: it met its counterpart.
    pub(super) fn forget(&mut self, tuple: Tuple) {
        self.seen.remove(&tuple);
    }

    /// When the first of the held flows is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.seen.values().min().map(|seen| *seen + SYN_HOLD)
    }

    /// Takes the flows that were held for [`SYN_HOLD`].
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<Tuple> {
        let due: Vec<Tuple> = self
            .seen
            .iter()
            .filter(|(_, seen)| now.saturating_sub(**seen) >= SYN_HOLD)
            .map(|(tuple, _)| *tuple)
            .collect();
        for tuple in &due {
            self.seen.remove(tuple);
        }
        due
    }

    /// Forgets what is old.
    pub(super) fn prune(&mut self, now: Duration) {
        self.seen.retain(|_, seen| now.saturating_sub(*seen) < REFUSED_LIFETIME);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }
}
