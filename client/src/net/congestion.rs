//! Congestion control that starts afresh when packets change over to another path.
//!
//! QUIC sees one address per peer and is never told that the path below has changed, so it would go on with the
//! window, the threshold and the losses of the old one. Each peer connection therefore gets a controller that
//! shares a [`PathGeneration`] with the multiplexer: when it moves on, the real controller is replaced by a new
//! one, and whatever was sent before is neither growth nor loss any more. The one before is kept, in case its path
//! turns out to work after all.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Largest congestion window in bytes: 1 Gbit/s over 130 ms. Slow start would otherwise grow it without end on a
/// path that never loses anything.
const MAX_WINDOW: u64 = 16 << 20;

/// Numbers the paths that a connection uses. Shared between the multiplexer and the controller.
#[derive(Debug, Default)]
pub(crate) struct PathGeneration {
    current: AtomicU64,
    newest: AtomicU64,
}

impl PathGeneration {
    /// Packets take another path from now on; returns the number of the one before.
    pub(crate) fn advance(&self) -> u64 {
        // Only the multiplexer writes, behind its lock.
        let new = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.swap(new, Ordering::Relaxed)
    }

    /// Packets take an earlier path again, whose number is `generation`.
    pub(crate) fn resume(&self, generation: u64) {
        self.current.store(generation, Ordering::Relaxed);
    }

    fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }
}

/// Builds controllers for one connection.
#[derive(Debug)]
pub(crate) struct PerPathConfig {
    /// The connection's generation.
    pub(crate) generation: Arc<PathGeneration>,
}

impl ControllerFactory for PerPathConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let real = Arc::new(CubicConfig::default());
        let inner = Arc::clone(&real).build(now, current_mtu);
        let seen = self.generation.current();
        Box::new(PerPath {
            generation: Arc::clone(&self.generation),
            real,
            inner,
            seen,
            parked: None,
            since: None,
            mtu: current_mtu,
        })
    }
}

struct PerPath {
    generation: Arc<PathGeneration>,
    real: Arc<CubicConfig>,
    inner: Box<dyn Controller>,
    seen: u64,
    /// The controller before this one, and its generation.
    parked: Option<(u64, Box<dyn Controller>)>,
    /// When the current path was taken; `None` for the first.
    since: Option<Instant>,
    mtu: u16,
}

impl PerPath {
    fn follow(&mut self, now: Instant) {
        let current = self.generation.current();
        if current != self.seen {
            let next = match self.parked.take() {
                Some((generation, controller)) if generation == current => controller,
                _ => Arc::clone(&self.real).build(now, self.mtu),
            };
            self.parked = Some((self.seen, std::mem::replace(&mut self.inner, next)));
            self.seen = current;
            self.since = Some(now);
        }
    }

    fn is_of_this_path(&self, sent: Instant) -> bool {
        self.since.is_none_or(|since| sent >= since)
    }
}

impl Controller for PerPath {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.follow(now);
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &quinn_proto::RttEstimator,
    ) {
        self.follow(now);
        if self.is_of_this_path(sent) {
            self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.follow(now);
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.follow(now);
        if self.is_of_this_path(sent) {
            self.inner.on_congestion_event(now, sent, is_persistent, lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().min(MAX_WINDOW)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            generation: Arc::clone(&self.generation),
            real: Arc::clone(&self.real),
            inner: self.inner.clone_box(),
            parked: self
                .parked
                .as_ref()
                .map(|(generation, controller)| (*generation, controller.clone_box())),
            ..*self
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
    fn another_path_starts_with_a_fresh_window() {
        let generation = Arc::new(PathGeneration::default());
        let start = Instant::now();
        let config = Arc::new(PerPathConfig { generation: Arc::clone(&generation) });
        let mut controller = config.build(start, 1200);
        let fresh = controller.window();
        let at = |ms| start + Duration::from_millis(ms);

        controller.on_congestion_event(at(10), at(5), false, 1200);
        assert!(controller.window() < fresh);

        generation.advance();
        controller.on_sent(at(20), 1200, 9);
        assert_eq!(controller.window(), fresh);
        controller.on_congestion_event(at(30), at(6), true, 120_000);
        assert_eq!(controller.window(), fresh, "losses of the old path do not count");
        controller.on_congestion_event(at(40), at(25), false, 1200);
        assert!(controller.window() < fresh, "losses of the new one do");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
    fn a_path_that_was_doubted_without_reason_goes_on_as_it_was() {
        let generation = Arc::new(PathGeneration::default());
        let start = Instant::now();
        let config = Arc::new(PerPathConfig { generation: Arc::clone(&generation) });
        let mut controller = config.build(start, 1200);
        let fresh = controller.window();
        let at = |ms| start + Duration::from_millis(ms);
        controller.on_congestion_event(at(10), at(5), false, 1200);
        let reduced = controller.window();
        assert!(reduced < fresh);

        let before = generation.advance();
        controller.on_sent(at(20), 1200, 9);
        assert_eq!(controller.window(), fresh, "the doubtful time has a controller of its own");
        generation.resume(before);
        controller.on_sent(at(30), 1200, 10);
        assert_eq!(controller.window(), reduced);
        controller.on_congestion_event(at(40), at(25), false, 1200);
        assert_eq!(controller.window(), reduced, "what was lost in the doubtful time does not count");
        generation.advance();
        controller.on_sent(at(50), 1200, 11);
        assert_eq!(controller.window(), fresh, "yet another path starts afresh");
    }
}
