//! Something that is to be looked at after a while, however often it changes until then.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::net::now;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Instant>);

impl Alarm {
    /// Rings after `wait`, unless it rings before anyway.
    pub(super) fn set(&mut self, wait: Duration) {
        self.0.get_or_insert_with(|| Instant::from_std(now()) + wait);
    }

    /// Does not ring any more.
    pub(super) const fn clear(&mut self) {
        self.0 = None;
    }

    /// Ends when it rings.
    pub(super) fn rung(&self) -> impl Future<Output = ()> + use<> {
        let at = self.0;
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}
