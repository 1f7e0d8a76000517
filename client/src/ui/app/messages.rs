//! What is done to messages that are there: answers, changes, deletions, reactions.

use super::{App, Closed, News};
use crate::engine::{Draft, EngineError};
use crate::log::{ConversationId, Reaction};
use crate::store::{HistoryRow, MessageRow};

/// Messages among which one is looked for.
const AMONG: usize = 1000;
/// Digits of a number that counts back; longer ones are the beginning of an id.
const MAX_DIGITS: usize = 4;

impl App {
    pub(super) async fn reply(&mut self, which: &str, text: String) -> Result<(), Closed> {
        let Some(target) = self.find_message(which).await? else { return Ok(()) };
        let draft = Draft { text, reply_to: Some(target.id()), mentions: vec![target.author] };
        match self.engine.post(target.conversation, draft).await {
            Ok(message) => self.handle_sent(message).await,
            Err(error) => self.fail(&error).await,
        }
    }

    pub(super) async fn edit(&mut self, which: &str, text: &str) -> Result<(), Closed> {
        let Some(target) = self.find_message(which).await? else { return Ok(()) };
        let outcome = self.engine.edit(target.conversation, target.id(), text).await;
        self.changed(&target, outcome).await
    }

    pub(super) async fn delete(&mut self, which: &str) -> Result<(), Closed> {
        let Some(target) = self.find_message(which).await? else { return Ok(()) };
        let outcome = self.engine.delete(target.conversation, target.id()).await;
        self.changed(&target, outcome).await
    }

    pub(super) async fn react(&mut self, which: &str, sign: &str) -> Result<(), Closed> {
        let Some(target) = self.find_message(which).await? else { return Ok(()) };
        let me = self.engine.me();
        let is_set = target.marks.reactions.iter().any(|(known, who)| known == sign && who.contains(&me));
        let reaction = if is_set { Reaction::Remove } else { Reaction::Add };
        let outcome = self.engine.react(target.conversation, target.id(), sign, reaction).await;
        self.changed(&target, outcome).await
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

    /// Shows what a message has become.
    async fn changed(
        &mut self,
        target: &MessageRow,
        outcome: Result<MessageRow, EngineError>,
    ) -> Result<(), Closed> {
        if let Err(error) = outcome {
            return self.fail(&error).await;
        }
        let id = target.id().to_string();
        match self.engine.find_message(target.conversation, &id, AMONG).await {
            Ok(Some(row)) => self.say(News::Changed(Box::new(row))).await,
            Ok(None) => Ok(()),
            Err(error) => self.fail(&error).await,
        }
    }

    /// The message of the open conversation that is meant: counted back from 1, or by the beginning of its id.
    async fn find_message(&self, which: &str) -> Result<Option<MessageRow>, Closed> {
        let direct = self.current.map(|current| self.engine.direct(current.peer));
        let Some(conversation) = self.room.or(direct) else {
            self.say(News::Error("you talk to nobody yet".to_owned())).await?;
            return Ok(None);
        };
        let back = which.parse::<usize>().ok().filter(|_| which.len() <= MAX_DIGITS);
        let found = match back {
            Some(back) => self.engine.history(conversation, None, back).await.map(|rows| {
                let messages = rows.into_iter().filter_map(|row| match row {
                    HistoryRow::Message(message) => Some(*message),
                    HistoryRow::Gap(_) => None,
                });
                let messages: Vec<_> = messages.collect();
                if messages.len() == back { messages.into_iter().next() } else { None }
            }),
            None => self.engine.find_message(conversation, which, AMONG).await,
        };
        match found {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) => {
                let message = "there is no such message; 1 is the last one, 2 the one before".to_owned();
                self.say(News::Error(message)).await.map(|()| None)
            }
            Err(error) => self.fail(&error).await.map(|()| None),
        }
    }
}
