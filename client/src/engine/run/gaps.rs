//! Gaps that last. While conversations are compared, messages are kept back for moments until earlier ones have come;
//! only what is still kept back after a while is told, and when that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Engine, Event};
use crate::log::ConversationId;
use crate::net::now;
use crate::store::Gap;

/// How long a gap lasts before it is told, and how often it is looked at from then on.
const LASTING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    told: BTreeMap<ConversationId, Gap>,
    look_at: Option<Instant>,
}

impl Gaps {
    /// Something is kept back.
    pub(super) fn note(&mut self) {
        self.look_at.get_or_insert_with(|| Instant::from_std(now()) + LASTING);
    }

    /// Ends when gaps are to be looked at.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        let look_at = self.look_at;
        async move {
            match look_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Engine {
    /// Tells which gaps are new, have changed, or are filled.
    pub(super) async fn tell_gaps(&mut self) {
        self.gaps.look_at = None;
        let open = match self.context.store.gaps().await {
            Ok(open) => open,
            Err(error) => return self.emit(Event::Error { message: error.to_string() }).await,
        };
        if !open.is_empty() {
            self.gaps.note();
        }
        let before = std::mem::replace(&mut self.gaps.told, open.clone());
        let filled = before.keys().filter(|id| !open.contains_key(id)).map(|id| (*id, Gap::default()));
        let changed =
            open.iter().filter(|(id, gap)| before.get(id) != Some(gap)).map(|(id, gap)| (*id, *gap));
        for (conversation, gap) in filled.chain(changed) {
            self.emit(Event::Gap { conversation, gap }).await;
        }
    }
}
