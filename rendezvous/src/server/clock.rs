//! The one place where the driver reads the clock.

use std::time::Instant;

/// Now, by tokio's clock, which tests can pause.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver's one clock read; everything else is handed the time"
)]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
