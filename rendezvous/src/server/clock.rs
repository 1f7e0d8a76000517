//! The one place where the driver reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, by tokio's clock, which tests can pause.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's one clock read; everything else is handed the time"
)]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Today, counted from 1970-01-01, by the clock on the wall: names are kept for years.
#[expect(clippy::disallowed_methods, reason = "the driver's one reading of the wall clock")]
pub(crate) fn today() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 86_400).unwrap_or(u32::MAX)
}
