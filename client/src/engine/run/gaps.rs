//! Gaps that last. While conversations are compared, messages are kept back for moments until earlier ones have come;
//! only what is still kept back after a while is told, and when that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::alarm::Alarm;
use super::{Engine, Event};
use crate::log::ConversationId;
use crate::store::Gap;

/// How long a gap lasts before it is told, and how often it is looked at from then on.
const LASTING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    told: BTreeMap<ConversationId, Gap>,
    pub(super) alarm: Alarm,
}

impl Gaps {
    /// Something is kept back.
    pub(super) fn note(&mut self) {
        self.alarm.set(LASTING);
    }
}

impl Engine {
    /// Tells which gaps are new, have changed, or are filled.
    pub(super) async fn tell_gaps(&mut self) {
        self.gaps.alarm.clear();
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
