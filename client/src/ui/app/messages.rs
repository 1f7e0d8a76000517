//! What is done to messages that are there, and to the conversation that is open.

use super::{App, Closed, News};
use crate::log::ConversationId;
use crate::ui::talking::{self, Wish};

impl App {
    /// Carries a wish out about a message of the conversation that is open, and shows what came of it.
    pub(super) async fn handle_here(&mut self, wish: impl FnOnce(String) -> Wish) -> Result<(), Closed> {
        let whom = match (self.room, self.current) {
            (Some(room), _) => room.to_string(),
            (None, Some(current)) => current.peer.to_string(),
            (None, None) => return self.say(News::Error("you talk to nobody yet".to_owned())).await,
        };
        match talking::perform(&self.worker(), wish(whom)).await {
            Ok(News::Message { message, .. }) => self.handle_sent(*message).await,
            Ok(news) => self.say(news).await,
            Err(fatal) => self.say(News::Error(fatal.message)).await,
        }
    }

    /// The user has seen a conversation.
    pub(super) async fn handle_seen(&mut self, conversation: ConversationId) -> Result<(), Closed> {
        match self.engine.mark_read(conversation).await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&error).await,
        }
    }

    /// Others may see that the user is writing.
    pub(super) async fn handle_typing(&mut self, conversation: ConversationId) -> Result<(), Closed> {
        match self.engine.typing(conversation).await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&error).await,
        }
    }
}
