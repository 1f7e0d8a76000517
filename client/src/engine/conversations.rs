//! Conversations as front ends see them: direct ones and rooms, all by their id.

use common::identity::PeerId;

use super::settings::TYPING;
use super::{Engine, EngineError, Event};
use crate::log::exchange::READ_MARKS;
use crate::log::message::DisplayOrder;
use crate::log::{Act, Content, ConversationId, MAX_TEXT_LEN, MessageId, Reaction, Role, Standing, Text};
use crate::store::{Contact, HistoryRow, MessageRow, Regard, Selection, Stance, Unsent};

/// What a user wants to say: the text, what it answers, whom it mentions.
pub type Draft = Text;

/// What a conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With one other person.
    Direct(PeerId),
    /// A room.
    Room {
        /// What it is about; may be empty, and may hold anything: make it safe before it is shown.
        topic: String,
        /// Everybody who belongs to it, ascending by key.
        members: Vec<Member>,
        /// How this user stands to it; `None` once they have left or were put out.
        standing: Option<Standing>,
    },
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub peer: PeerId,
    /// The name to show, unless it is this user: a contact's, else the beginning of the key. May hold anything.
    pub name: String,
    /// How they stand to the room.
    pub standing: Standing,
    /// Whether they are connected.
    pub connected: bool,
    /// How this user wants what they say to be treated.
    pub regard: Regard,
}

/// A conversation, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationInfo {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub kind: Kind,
    /// The room's name or the person's; may hold anything.
    pub title: String,
    /// Texts of others that were not read; counted up to [`crate::store::MAX_UNREAD`].
    pub unread: usize,
    /// The last message in everybody's order.
    pub newest: Option<MessageRow>,
    /// How this user wants what is said in it to be treated.
    pub regard: Regard,
}

impl ConversationInfo {
    /// Whether this user is invited and has neither accepted nor declined.
    #[must_use]
    pub const fn is_invitation(&self) -> bool {
        matches!(&self.kind, Kind::Room { standing: Some(Standing::Invited), .. })
    }
}

impl Engine {
    /// The conversation with `peer`, whether or not anything was said in it.
    #[must_use]
    pub fn direct(&self, peer: PeerId) -> ConversationId {
        ConversationId::direct(self.me(), peer)
    }

    /// All conversations, those with the newest messages first, but for direct ones with people who are blocked.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read; so with all methods here that only read.
    pub async fn conversations(&self) -> Result<Vec<ConversationInfo>, EngineError> {
        let contacts = self.store.contacts().await?;
        let mut list = Vec::new();
        let stances = self.attitude.borrow().stances.clone();
        for conversation in self.store.conversations().await? {
            if conversation.other(self.me()).is_some_and(|other| stances.has(Stance::Blocked, other)) {
                continue;
            }
            list.push(self.describe(conversation, &contacts).await?);
        }
        list.sort_by_key(|info: &ConversationInfo| {
            std::cmp::Reverse(info.newest.as_ref().map(|message| message.arrival))
        });
        Ok(list)
    }

    /// One conversation; `None` if it is not known here.
    ///
    /// # Errors
    /// See [`Engine::conversations`].
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationInfo>, EngineError> {
        let Some(conversation) = self.store.conversation(id).await? else { return Ok(None) };
        let contacts = self.store.contacts().await?;
        self.describe(conversation, &contacts).await.map(Some)
    }

    async fn describe(
        &self,
        conversation: crate::store::Conversation,
        contacts: &[Contact],
    ) -> Result<ConversationInfo, EngineError> {
        let me = self.me();
        let name = |peer: PeerId| {
            let contact = contacts.iter().find(|contact| contact.peer == peer);
            contact.map_or_else(|| peer.short(), Contact::name)
        };
        let stances = self.attitude.borrow().stances.clone();
        let id = conversation.id;
        let newest = self.history(id, None, 1).await?.into_iter().find_map(|row| match row {
            HistoryRow::Message(message) => Some(*message),
            HistoryRow::Gap(_) => None,
        });
        let other = conversation.other(me);
        let regard = match other {
            Some(other) => stances.regard(other.as_bytes()),
            None => stances.regard(id.as_bytes()),
        };
        let (title, kind) = match (conversation.room, other) {
            (None, other) => {
                let other = other.unwrap_or(me);
                (name(other), Kind::Direct(other))
            }
            (Some(room), _) => {
                let live = self.live.borrow();
                let is_connected = |peer| live.get(&peer).is_some_and(|live| live.words.is_some());
                let member = |&(peer, standing): &(PeerId, Standing)| Member {
                    peer,
                    name: name(peer),
                    standing,
                    connected: is_connected(peer),
                    regard: stances.regard(peer.as_bytes()),
                };
                let members: Vec<_> = conversation.members.iter().map(member).collect();
                let standing = members.iter().find(|member| member.peer == me).map(|member| member.standing);
                (room.name, Kind::Room { topic: room.topic, members, standing })
            }
        };
        Ok(ConversationInfo { id, kind, title, unread: conversation.unread, newest, regard })
    }

    /// The newest `limit` lines of a conversation before `before`, oldest first, with edits, deletions and reactions
    /// applied.
    ///
    /// # Errors
    /// See [`Engine::conversations`].
    pub async fn history(
        &self,
        conversation: ConversationId,
        before: Option<DisplayOrder>,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, EngineError> {
        Ok(self.store.history(Selection { conversation, before, limit }).await?)
    }

    /// Says something in a conversation that is known here; the first words to somebody go through [`Engine::send`]. It
    /// is durable when this returns.
    ///
    /// # Errors
    /// [`EngineError`]; nothing was written then. So with all methods here that write.
    pub async fn post(
        &self,
        conversation: ConversationId,
        mut draft: Draft,
    ) -> Result<MessageRow, EngineError> {
        check_text(&draft.text)?;
        draft.mentions.sort_unstable();
        draft.mentions.dedup();
        self.write(conversation, Content::Text(draft)).await
    }

    /// Rewrites an own text.
    ///
    /// # Errors
    /// [`EngineError::NotYours`] if it is none; else see [`Engine::post`].
    pub async fn edit(
        &self,
        conversation: ConversationId,
        target: MessageId,
        text: &str,
    ) -> Result<MessageRow, EngineError> {
        check_text(text)?;
        self.own(target).await?;
        self.write(conversation, Content::Edit { target, text: text.to_owned() }).await
    }

    /// Takes back an own text, for everybody who follows the rules; who has read it may remember.
    ///
    /// # Errors
    /// See [`Engine::edit`].
    pub async fn delete(
        &self,
        conversation: ConversationId,
        target: MessageId,
    ) -> Result<MessageRow, EngineError> {
        self.own(target).await?;
        self.write(conversation, Content::Delete { target }).await
    }

    /// Sets a sign beside somebody's message, or takes it back.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn react(
        &self,
        conversation: ConversationId,
        target: MessageId,
        sign: &str,
        reaction: Reaction,
    ) -> Result<MessageRow, EngineError> {
        self.write(conversation, Content::React { target, sign: sign.to_owned(), reaction }).await
    }

    /// Makes a room of this user alone.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn create_room(&self, name: &str) -> Result<ConversationId, EngineError> {
        let (now, nonce) = ((self.wall_clock)(), rand::random());
        let conversation = ConversationId::room(self.me(), now, nonce, name);
        let content = Content::Room(Act::Create { name: name.to_owned() });
        self.store.compose(&self.identity, conversation, &[], content, now, nonce).await?;
        Ok(conversation)
    }

    /// Invites somebody into a room; any member may.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn invite(&self, room: ConversationId, peer: PeerId) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Add(peer))).await
    }

    /// Takes an invitation.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn accept(&self, room: ConversationId) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Accept)).await
    }

    /// Leaves a room, or declines an invitation.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn leave(&self, room: ConversationId) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Leave)).await
    }

    /// Puts somebody out of a room; owners may.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn remove(&self, room: ConversationId, peer: PeerId) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Remove(peer))).await
    }

    /// Gives somebody a role; owners may.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn set_role(
        &self,
        room: ConversationId,
        peer: PeerId,
        role: Role,
    ) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Appoint(peer, role))).await
    }

    /// Says what a room is about; any member may.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn set_topic(&self, room: ConversationId, topic: &str) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Topic(topic.to_owned()))).await
    }

    /// Gives a room another name; owners may.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn rename_room(&self, room: ConversationId, name: &str) -> Result<MessageRow, EngineError> {
        self.write(room, Content::Room(Act::Rename(name.to_owned()))).await
    }

    /// Everything of a conversation that is here was read; its authors learn of it, unless this user does not want
    /// that.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be written.
    pub async fn mark_read(&self, conversation: ConversationId) -> Result<(), EngineError> {
        Ok(self.store.mark_read(conversation).await?)
    }

    /// Whether others learn what this user has read.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be written.
    pub async fn set_read_marks(&self, is_on: bool) -> Result<(), EngineError> {
        let value = if is_on { "on" } else { "off" };
        Ok(self.store.set_setting(READ_MARKS, value).await?)
    }

    /// This user is typing there: those who are connected learn of it, unless this user does not want that.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub async fn typing(&self, conversation: ConversationId) -> Result<(), EngineError> {
        if TYPING.is_on(&self.store).await? {
            // Without a connection there is nobody to tell.
            let _ = self.typing.send(conversation);
        }
        Ok(())
    }

    /// Own messages that somebody has not confirmed, oldest first, at most `limit`.
    ///
    /// # Errors
    /// See [`Engine::conversations`].
    pub async fn unsent(&self, limit: usize) -> Result<Vec<(Unsent, MessageRow)>, EngineError> {
        Ok(self.store.unsent_rows(limit).await?)
    }

    /// Takes back a message that has gone to nobody yet, as if it had never been written.
    ///
    /// # Errors
    /// [`EngineError`] if it is too late.
    pub async fn cancel(&self, id: MessageId) -> Result<(), EngineError> {
        self.store.cancel(id).await?;
        self.tell(Event::Cancelled { id }).await;
        Ok(())
    }

    async fn own(&self, target: MessageId) -> Result<(), EngineError> {
        if self.store.is_own_text(target).await? { Ok(()) } else { Err(EngineError::NotYours) }
    }

    /// Writes to everybody in a conversation, and looks for those who are not there.
    ///
    /// # Errors
    /// See [`Engine::post`].
    pub async fn write(
        &self,
        conversation: ConversationId,
        content: Content,
    ) -> Result<MessageRow, EngineError> {
        let known = self.store.conversation(conversation).await?;
        let other: Vec<_> = known.and_then(|known| known.other(self.me())).into_iter().collect();
        self.compose(conversation, &other, content).await
    }

    pub(super) async fn compose(
        &self,
        conversation: ConversationId,
        recipients: &[PeerId],
        content: Content,
    ) -> Result<MessageRow, EngineError> {
        let (now, nonce) = ((self.wall_clock)(), rand::random());
        let row = self.store.compose(&self.identity, conversation, recipients, content, now, nonce).await?;
        // In a large room those for whom messages wait are looked for one after the other.
        for (peer, _) in row.states.iter().take(MAX_SOUGHT_AT_ONCE) {
            let is_connected = self.live.borrow().get(peer).is_some_and(|live| live.words.is_some());
            if !is_connected {
                self.net.seek(*peer).await;
            }
        }
        Ok(row)
    }
}

/// People who are looked for when something is written.
const MAX_SOUGHT_AT_ONCE: usize = crate::log::mesh::FULL;

/// Whether a message may have `text`.
///
/// # Errors
/// [`EngineError::Empty`] and [`EngineError::TooLong`].
pub fn check_text(text: &str) -> Result<(), EngineError> {
    if text.is_empty() {
        return Err(EngineError::Empty);
    }
    if text.len() > MAX_TEXT_LEN {
        return Err(EngineError::TooLong { len: text.len(), max: MAX_TEXT_LEN });
    }
    Ok(())
}
