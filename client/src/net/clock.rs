//! The one place where the clock is read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time, as tokio sees it: tests that pause tokio's clock pause everything.
#[expect(clippy::disallowed_methods, reason = "the driver's one reading of the monotonic clock")]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Milliseconds since 1970 by this machine's clock: a label for people, never an order.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reading of the wall clock")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
