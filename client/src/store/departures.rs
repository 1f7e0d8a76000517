//! Which messages are being written to peers, and which are being cancelled: never both.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::MessageId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Departures {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Written, and not confirmed; as many as fit the windows of all streams, and those of streams that broke.
    departing: BTreeSet<MessageId>,
    cancelled: BTreeSet<MessageId>,
}

impl Departures {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a message for cancelling; `false` if it has departed.
    pub(super) fn cancel(&self, id: MessageId) -> bool {
        let mut state = self.state();
        let may = !state.departing.contains(&id);
        if may {
            state.cancelled.insert(id);
        }
        may
    }

    /// The cancelling has ended, one way or the other.
    pub(super) fn forget(&self, id: MessageId) {
        self.state().cancelled.remove(&id);
    }

    /// Claims messages for writing; tells of each whether it may be written.
    pub(super) fn depart(&self, ids: &[MessageId]) -> Vec<bool> {
        let mut state = self.state();
        ids.iter()
            .map(|id| {
                let may = !state.cancelled.contains(id);
                if may {
                    state.departing.insert(*id);
                }
                may
            })
            .collect()
    }

    /// Whether a message was written, and it is not known how far it got: nobody takes it back any more.
    pub(super) fn has_departed(&self, id: MessageId) -> bool {
        self.state().departing.contains(&id)
    }

    /// The store knows how far these got.
    pub(super) fn settle(&self, ids: &[MessageId]) {
        let mut state = self.state();
        for id in ids {
            state.departing.remove(id);
        }
    }
}
