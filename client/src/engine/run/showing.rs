//! Tells the front end what has become part of conversations, whichever way it came.

use super::*;
use crate::store::Fork;

impl Engine {
    /// Shows what has become part of conversations since the last time, in the order in which it was committed.
    pub(super) async fn show_arrived(&mut self) {
        let before = self.shown;
        loop {
            let rows = match self.context.store.arrived(self.shown, PAGE).await {
                Ok(rows) => rows,
                Err(error) => return self.emit(Event::Error { message: error.to_string() }).await,
            };
            let Some(last) = rows.last() else { break };
            self.shown = last.arrival;
            for message in rows {
                self.show(message).await;
            }
        }
        if self.shown > before {
            self.tell_forks(before).await;
        }
    }

    /// Tells of one message, and of what it changes.
    async fn show(&mut self, message: MessageRow) {
        let conversation = message.conversation;
        if let Some(target) = message.content.target() {
            let target = self.context.store.get(&[target]).await.unwrap_or_default().pop();
            if let Some(target) = target.filter(|target| target.conversation == conversation) {
                self.emit(Event::Changed { conversation, message: Some(Box::new(target)) }).await;
            }
            return;
        }
        let other =
            message.states.first().map(|(peer, _)| *peer).filter(|_| message.own).unwrap_or(message.author);
        if conversation == ConversationId::direct(self.context.store.me(), other)
            && self.rooms.note_direct(other)
        {
            self.watch().await;
        }
        let is_event = matches!(message.content, Content::Room(_));
        let is_hidden = message.regard == Regard::Hidden;
        let by = message.author;
        let is_invitation = message.content == Content::Room(Act::Add(self.context.store.me()));
        let author = if message.own { self.context.name.clone() } else { self.name_of(message.author) };
        self.emit(Event::Message { message, author }).await;
        if is_event {
            self.update_rooms().await;
            self.emit(Event::Changed { conversation, message: None }).await;
        }
        if is_invitation
            && !is_hidden
            && let Ok(Some(room)) = self.context.store.conversation(conversation).await
            && room.members.contains(&(self.context.store.me(), Standing::Invited))
        {
            match self.enter_if_invited(conversation).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.emit(Event::Error { message: error.to_string() }).await,
            }
            let name = room.room.map(|room| room.name).unwrap_or_default();
            self.emit(Event::Invited { conversation, name, by }).await;
        }
    }

    /// Says, once for each author in each conversation, that they have written past each other: what came to light after
    /// the message with the number `before`.
    async fn tell_forks(&self, before: u64) {
        let forks = match self.context.store.first_forks(before).await {
            Ok(forks) => forks,
            Err(error) => return self.emit(Event::Error { message: error.to_string() }).await,
        };
        for Fork { author, .. } in forks {
            let message = if author == self.context.store.me() {
                "messages of yours do not know of each other: an old copy of your data was used, or somebody else has your \
                 key"
                    .to_owned()
            } else {
                format!(
                    "messages of {} do not know of each other: an old copy of their data was used, or different people were \
                     told different things",
                    self.name_of(author)
                )
            };
            self.emit(Event::Error { message }).await;
        }
    }
}
