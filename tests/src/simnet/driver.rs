//! The one task that lets time pass in a network, and the one place that reads the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::world::World;

/// A world, its clock, and the bell that wakes its driver.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    start: Instant,
    bell: Arc<Notify>,
}

impl Shared {
    /// Starts a world now. Its driver ends when the last handle and the last socket are gone.
    pub(super) fn start(world: World) -> Arc<Self> {
        let bell = Arc::new(Notify::new());
        let shared = Arc::new(Self { world: Mutex::new(world), start: clock(), bell: Arc::clone(&bell) });
        let driver = drive(Arc::downgrade(&shared), shared.start, bell);
        #[expect(clippy::disallowed_methods, reason = "the network's one task; it ends with the network")]
        tokio::task::spawn(driver);
        shared
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        clock().saturating_duration_since(self.start)
    }

    /// The world. A panic of a tap (a failed assertion, say) does not hide what came before it.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the world, or looks at it, at the present time: whatever is due by now has happened
    /// before, whoever gets to run first. Wakes the driver if it has to get up earlier after that.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut World, Duration) -> T) -> T {
        let now = self.now();
        let mut world = self.lock();
        world.run_until(now);
        let result = act(&mut world, now);
        let next = world.next_event();
        if next.is_some_and(|next| world.driver_wakes.is_none_or(|wakes| next < wakes)) {
            world.driver_wakes = next;
            self.bell.notify_one();
        }
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

#[expect(clippy::disallowed_methods, reason = "the network's one reading of tokio's (paused) clock")]
fn clock() -> Instant {
    Instant::now()
}

/// Runs the world up to the present again and again until it is gone.
async fn drive(shared: Weak<Shared>, start: Instant, bell: Arc<Notify>) {
    while let Some(shared) = shared.upgrade() {
        let next = {
            let now = shared.now();
            let mut world = shared.lock();
            world.run_until(now);
            world.driver_wakes = world.next_event();
            world.driver_wakes
        };
        drop(shared);
        match next {
            // Either the time has come or something earlier has: both mean another round.
            Some(at) => drop(timeout_at(start + at, bell.notified()).await),
            None => bell.notified().await,
        }
    }
}
