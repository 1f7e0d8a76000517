//! What peers say that is not for their session alone, and what is to be said of them.

use common::identity::PeerId;
use common::names::likeness;

use super::{Engine, Event};
use crate::engine::session::SessionNumber;
use crate::engine::wire::ToPeer;
use crate::store::{Contact, StoreError};

impl Engine {
    /// Says so loudly if somebody goes by the name of a contact whose key was compared, but has another key.
    pub(super) async fn warn_of_impostor(&self, peer: PeerId, name: &str) -> Result<(), StoreError> {
        let verified = self.context.store.verified().await?;
        if verified.is_empty() || verified.contains_key(&peer) {
            return Ok(());
        }
        let contacts = self.context.store.contacts().await?;
        let wanted = likeness(name);
        let is_alike =
            |contact: &&Contact| verified.contains_key(&contact.peer) && likeness(&contact.name()) == wanted;
        if let Some(known) = contacts.iter().find(is_alike).map(|contact| contact.peer) {
            self.emit(Event::Impostor { peer, name: name.to_owned(), known }).await;
        }
        Ok(())
    }

    /// A peer says something that is not for its session alone.
    pub(super) async fn handle_told(
        &mut self,
        peer: PeerId,
        number: SessionNumber,
        frame: ToPeer,
    ) -> Result<(), StoreError> {
        match frame {
            ToPeer::Knock(knock) => self.handle_knock(peer, number, knock).await,
            ToPeer::Answer(answer) => self.handle_answer(peer, answer).await,
            ToPeer::Seek(seek) => {
                self.handle_seek(peer, seek);
                Ok(())
            }
            ToPeer::Sought(sought) => {
                self.handle_sought(peer, sought).await;
                Ok(())
            }
            ToPeer::Found(found) => {
                self.handle_found(peer, found);
                Ok(())
            }
            ToPeer::Met(met) => {
                self.handle_met(met).await;
                Ok(())
            }
            // All others end in the session.
            _ => Ok(()),
        }
    }
}
