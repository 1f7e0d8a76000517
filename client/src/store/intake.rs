//! Messages on their way into the database: own ones that are composed, and others that come in.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::identity::{Identity, PeerId};
use rusqlite::Connection;

use super::conversations::{self, Entry};
use super::error::StoreError;
use super::graph::{self, Recent, SqlGraph};
use super::history::{MessageRow, shown};
use super::outbox::{self, State};
use super::quota::Quotas;
use super::shares;
use super::sql::uint;
use super::walk::{self, Node};
use crate::log::ingest::{Graph, Invalid, Outcome, ingest};
use crate::log::{Act, Content, ConversationId, Head, Message, MessageId, SignedMessage};

/// Rooms that are kept although this user does not belong to them: invitations that are not whole yet, and rooms that
/// were left.
const MAX_FOREIGN_ROOMS: usize = 256;

/// What this user wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) conversation: ConversationId,
    pub(super) recipients: Vec<PeerId>,
    pub(super) content: Content,
    pub(super) label_ms: u64,
    pub(super) nonce: u64,
}

/// What became of one message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The message, also if its bytes are no valid one.
    pub id: MessageId,
    /// The conversation that it names, if its bytes are a message.
    pub conversation: Option<ConversationId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Messages that became part of the conversation through it, each after its parents. Every delivered message is
    /// in exactly one such list.
    pub delivered: Vec<MessageRow>,
}

/// Writes a message on top of the heads, with its outbox rows. A creation makes its room.
pub(super) fn compose(
    conn: &Connection,
    identity: &Identity,
    draft: Draft,
) -> Result<MessageRow, StoreError> {
    let me = identity.peer_id();
    let Draft { conversation: id, recipients, content, label_ms, nonce } = draft;
    let created = match &content {
        Content::Room(Act::Create { .. }) => Some(conversations::make_room(conn, id)?),
        _ => None,
    };
    let found = match created {
        Some(entry) => Some(entry),
        None => conversations::find_or_make_direct(conn, id, me, recipients.first().copied())?,
    };
    let entry = found.ok_or(StoreError::UnknownConversation(id))?;
    let conversation = entry.row;
    let removed = match content {
        Content::Room(Act::Remove(peer)) => Some(peer),
        _ => None,
    };
    let found = conversations::heads(conn, conversation)?;
    let heads: Vec<_> = found.iter().map(|(_, head)| *head).collect();
    let message = Message::compose(identity, id, &heads, content, label_ms, nonce)?;
    let is_parent = |head: &Head| message.message().parents.contains(&head.id);
    let parents = found.iter().filter(|(_, head)| is_parent(head));
    let parents: Vec<_> = parents.map(|&(row, head)| Node { row, depth: head.depth }).collect();
    let recipients: BTreeSet<_> = if entry.is_room {
        graph::admit(conn, entry, &message)?.map_err(StoreError::NotAllowed)?;
        if !shares::has_room(conn, conversation, &message)? {
            return Err(StoreError::NotAllowed(Invalid::TooMuch));
        }
        // Who was only invited, and has not heard of it, does not hear of this either.
        let unaware = match removed {
            Some(peer) if !outbox::has_any(conn, conversation, peer)? => Some(peer),
            _ => None,
        };
        let members = conversations::members(conn, conversation)?.into_iter().chain(removed);
        members.filter(|peer| Some(*peer) != unaware).collect()
    } else {
        recipients.into_iter().collect()
    };
    let row = graph::insert(conn, entry, &message, &parents, label_ms)?;
    // Whoever was just invited is a member by now.
    let invited = match message.content() {
        Content::Room(Act::Add(peer)) => Some(*peer),
        _ => None,
    };
    let recipients: BTreeSet<_> = recipients.into_iter().chain(invited).filter(|&peer| peer != me).collect();
    for &recipient in &recipients {
        if Some(recipient) != removed && !conversations::is_member(conn, conversation, recipient)? {
            return Err(StoreError::NotMember(recipient));
        }
        outbox::insert(conn, row, recipient, State::Pending)?;
    }
    let states = recipients.into_iter().map(|recipient| (recipient, State::Pending)).collect();
    Ok(shown(message, uint(row), label_ms, true, states))
}

/// A message whose bounds and signature were checked, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Checked {
    id: MessageId,
    pub(super) message: Result<SignedMessage, Invalid>,
}

/// Checks messages that came in; the costly part, done outside the transaction.
pub(super) fn check(messages: Vec<Bytes>) -> Vec<Checked> {
    let ids: Vec<_> = messages.iter().map(|bytes| MessageId::of(bytes)).collect();
    let checked = SignedMessage::decode_each(messages).into_iter();
    checked.zip(ids).map(|(message, id)| Checked { id, message: message.map_err(Invalid::from) }).collect()
}

/// Takes in messages that `bearer` handed over.
pub(super) fn take_in(
    conn: &Connection,
    me: PeerId,
    bearer: PeerId,
    messages: &[Checked],
    received_ms: u64,
) -> Result<Vec<Ingested>, StoreError> {
    let mut results = Vec::with_capacity(messages.len());
    let (mut quotas, mut recent) = (Quotas::new(conn, me)?, Recent::default());
    for Checked { id, message } in messages {
        let id = *id;
        let conversation = message.as_ref().ok().map(|message| message.message().conversation);
        let taken = match message {
            Ok(message) => {
                let seen = (&mut quotas, &mut recent);
                take_one(conn, me, bearer, message.clone(), received_ms, seen)?
            }
            Err(invalid) => Err(invalid.clone()),
        };
        results.push(match taken {
            Ok((outcome, delivered)) => Ingested { id, conversation, outcome, delivered },
            Err(invalid) => {
                Ingested { id, conversation, outcome: Outcome::Invalid(invalid), delivered: Vec::new() }
            }
        });
    }
    Ok(results)
}

type Taken = Result<(Outcome, Vec<MessageRow>), Invalid>;

fn take_one(
    conn: &Connection,
    me: PeerId,
    bearer: PeerId,
    message: SignedMessage,
    received_ms: u64,
    (quotas, recent): (&mut Quotas, &mut Recent),
) -> Result<Taken, StoreError> {
    let postponed = |quota| Ok(Ok((Outcome::Postponed(quota), Vec::new())));
    let found = conversations::entry_towards(conn, message.message().conversation, bearer)?;
    if found.is_none()
        && let Some(quota) = quotas.full(conn)?
    {
        return postponed(quota);
    }
    let found = match found {
        Some(entry) => Some(entry),
        None => make(conn, me, bearer, &message)?,
    };
    let Some(entry) = found else {
        return Ok(Err(Invalid::UnknownConversation));
    };
    if let Err(invalid) = may_bear(conn, entry, me, bearer, &message)? {
        return Ok(Err(invalid));
    }
    let mut graph =
        SqlGraph { conn, conversation: entry, bearer, received_ms, recent, delivered: Vec::new() };
    if let Some(quota) = quotas.exceeded(conn, entry.row)?
        && graph.find(message.id())?.is_none()
    {
        return postponed(quota);
    }
    if entry.is_room && !shares::has_room(conn, entry.row, &message)? && graph.find(message.id())?.is_none() {
        return Ok(Err(Invalid::TooMuch));
    }
    let taken = ingest(&mut graph, message)?;
    let mut arrivals = Vec::with_capacity(taken.delivered.len());
    for (message, row) in taken.delivered.into_iter().zip(graph.delivered) {
        let own = message.author() == me;
        let mut states = Vec::new();
        if own && !entry.is_room {
            // Lost here and kept there: who brings it back has it.
            outbox::insert(conn, row, bearer, State::Delivered)?;
            states.push((bearer, State::Delivered));
        }
        arrivals.push(shown(message, uint(row), received_ms, own, states));
    }
    Ok(Ok((taken.outcome, arrivals)))
}

/// The message's conversation. A direct one with the bearer is made if it is new, and so is a room by its creation. A direct
/// one with somebody else is as unknown as if it were not here: the bearer is not to learn whom this user talks with.
pub(super) fn find_or_make(
    conn: &Connection,
    me: PeerId,
    bearer: PeerId,
    message: &SignedMessage,
) -> Result<Option<Entry>, StoreError> {
    match conversations::entry_towards(conn, message.message().conversation, bearer)? {
        Some(entry) => Ok(Some(entry)),
        None => make(conn, me, bearer, message),
    }
}

/// Makes the message's conversation, of which `bearer` may not know that it is here.
fn make(
    conn: &Connection,
    me: PeerId,
    bearer: PeerId,
    message: &SignedMessage,
) -> Result<Option<Entry>, StoreError> {
    let id = message.message().conversation;
    if conversations::row(conn, id)?.is_some() {
        return Ok(None);
    }
    if let Some(entry) = conversations::find_or_make_direct(conn, id, me, Some(bearer))? {
        return Ok(Some(entry));
    }
    // A creation that decodes is that of the room it names.
    let is_creation = matches!(message.content(), Content::Room(Act::Create { .. }));
    if !is_creation || conversations::count_foreign(conn, me)? >= MAX_FOREIGN_ROOMS {
        return Ok(None);
    }
    conversations::make_room(conn, id).map(Some)
}

/// Whether `bearer` may hand this over in a conversation that [`find_or_make`] has found. In a room whoever is or wrote it
/// belongs to it; one that was put out cannot bring forward what it says it wrote before. While this user does not belong to
/// the room itself, all that is known of its members may be old.
pub(super) fn may_bear(
    conn: &Connection,
    Entry { row: conversation, is_room }: Entry,
    me: PeerId,
    bearer: PeerId,
    message: &SignedMessage,
) -> Result<Result<(), Invalid>, StoreError> {
    let is_author_in = conversations::is_member(conn, conversation, message.author())?;
    if !is_room {
        return Ok(if is_author_in { Ok(()) } else { Err(Invalid::AuthorNotMember) });
    }
    let is_bearer_in = conversations::is_member(conn, conversation, bearer)?;
    if is_bearer_in || is_author_in || !conversations::is_member(conn, conversation, me)? {
        return Ok(Ok(()));
    }
    // What has missing parents is kept back until they tell more.
    let mut is_whole = true;
    for parent in &message.message().parents {
        is_whole &= walk::node(conn, conversation, *parent)?.is_some();
    }
    Ok(if is_whole { Err(Invalid::BearerNotMember) } else { Ok(()) })
}
