//! What the stream to one member lets the streams to others hand on, while it is new (`docs/protocol.md` §7.4). In memory, and
//! no promise: whoever misses it is told that there is something.

use std::collections::BTreeSet;
use std::sync::Arc;

use common::identity::PeerId;
use tokio::sync::broadcast;

use super::error::StoreError;
use super::{Store, conversations};
use crate::log::{ConversationId, MessageId, mesh};

/// Messages that a slow stream may be behind with before it leaves some out.
const MAX_BEHIND: usize = 64;

/// A message that is to be handed on.
#[derive(Debug, Clone)]
pub(crate) struct Onward {
    pub(crate) conversation: ConversationId,
    pub(crate) id: MessageId,
    /// To whom.
    pub(crate) to: BTreeSet<PeerId>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct HandingOn(broadcast::Sender<Arc<Onward>>);

impl Default for HandingOn {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl Store {
    /// What is to be handed on from now on.
    pub(crate) fn handed_on(&self) -> broadcast::Receiver<Arc<Onward>> {
        self.inner.handing_on.0.subscribe()
    }

    /// Lets `messages` of a conversation, with their authors, be handed on to whom they go from here after `bearer` has brought
    /// them.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub(crate) async fn hand_on(
        &self,
        conversation: ConversationId,
        bearer: PeerId,
        messages: Vec<(PeerId, MessageId)>,
    ) -> Result<(), StoreError> {
        let members = self
            .read(move |conn| match conversations::row(conn, conversation)? {
                Some(row) => conversations::members(conn, row),
                None => Ok(Vec::new()),
            })
            .await?;
        for (author, id) in messages {
            let to = mesh::onward(conversation, &members, author, bearer, self.me());
            if !to.is_empty() {
                // Without any stream there is nobody to tell.
                let _ = self.inner.handing_on.0.send(Arc::new(Onward { conversation, id, to }));
            }
        }
        Ok(())
    }
}
