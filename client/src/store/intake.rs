//! Messages on their way into the database: own ones that are composed, and others that come in.

use std::collections::BTreeSet;

use bytes::Bytes;
use common::identity::{Identity, PeerId};
use rusqlite::{Connection, params};

use super::conversations;
use super::error::StoreError;
use super::graph::{self, SqlGraph};
use super::history::{MessageRow, shown};
use super::outbox::{self, State};
use super::sql::uint;
use crate::log::ingest::{Invalid, Outcome, ingest};
use crate::log::{Content, ConversationId, Message, MessageId, SignedMessage};

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
    /// What became of it.
    pub outcome: Outcome,
    /// Messages that became part of the conversation through it, each after its parents. Every delivered message is
    /// in exactly one such list.
    pub delivered: Vec<MessageRow>,
}

/// Writes a message on top of the heads, with its outbox rows.
pub(super) fn compose(
    conn: &Connection,
    identity: &Identity,
    draft: Draft,
) -> Result<MessageRow, StoreError> {
    let me = identity.peer_id();
    let first = draft.recipients.first().copied();
    let conversation = conversations::find_or_make(conn, draft.conversation, me, first)?
        .ok_or(StoreError::UnknownConversation(draft.conversation))?;
    let recipients: BTreeSet<_> = draft.recipients.iter().copied().filter(|&peer| peer != me).collect();
    for &member in recipients.iter().chain([&me]) {
        if !conversations::is_member(conn, conversation, member)? {
            return Err(StoreError::NotMember(member));
        }
    }
    let heads = conversations::heads(conn, conversation)?;
    let message =
        Message::compose(identity, draft.conversation, &heads, draft.content, draft.label_ms, draft.nonce)?;
    let row = graph::insert(conn, conversation, &message, draft.label_ms)?;
    for &recipient in &recipients {
        outbox::insert(conn, row, recipient)?;
    }
    let states = recipients.into_iter().map(|recipient| (recipient, State::Pending)).collect();
    Ok(shown(message, uint(row), draft.label_ms, true, states))
}

/// A message whose bounds and signature were checked, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Checked {
    id: MessageId,
    message: Result<SignedMessage, Invalid>,
}

/// Checks messages that came in; the costly part, done outside the transaction.
pub(super) fn check(messages: Vec<Bytes>) -> Vec<Checked> {
    let check = |bytes: Bytes| Checked {
        id: MessageId::of(&bytes),
        message: SignedMessage::decode(bytes).map_err(Invalid::from),
    };
    messages.into_iter().map(check).collect()
}

/// Takes in messages that `bearer` handed over.
pub(super) fn take_in(
    conn: &Connection,
    me: PeerId,
    bearer: PeerId,
    messages: Vec<Checked>,
    received_ms: u64,
) -> Result<Vec<Ingested>, StoreError> {
    let mut results = Vec::with_capacity(messages.len());
    for Checked { id, message } in messages {
        let taken = match message {
            Ok(message) => take_one(conn, me, bearer, message, received_ms)?,
            Err(invalid) => Err(invalid),
        };
        results.push(match taken {
            Ok((outcome, delivered)) => Ingested { id, outcome, delivered },
            Err(invalid) => Ingested { id, outcome: Outcome::Invalid(invalid), delivered: Vec::new() },
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
) -> Result<Taken, StoreError> {
    let id = message.message().conversation;
    let Some(conversation) = conversations::find_or_make(conn, id, me, Some(bearer))? else {
        return Ok(Err(Invalid::UnknownConversation));
    };
    if !conversations::is_member(conn, conversation, bearer)? {
        return Ok(Err(Invalid::BearerNotMember));
    }
    if !conversations::is_member(conn, conversation, message.author())? {
        return Ok(Err(Invalid::AuthorNotMember));
    }
    let mut graph = SqlGraph { conn, conversation, bearer, received_ms };
    let taken = ingest(&mut graph, message)?;
    let mut delivered = Vec::with_capacity(taken.delivered.len());
    for message in taken.delivered {
        delivered.push(arrival(conn, me, message, received_ms)?);
    }
    Ok(Ok((taken.outcome, delivered)))
}

fn arrival(
    conn: &Connection,
    me: PeerId,
    message: SignedMessage,
    received_ms: u64,
) -> Result<MessageRow, StoreError> {
    let mut query = conn.prepare_cached("SELECT row FROM messages WHERE id = ?1")?;
    let row: i64 = query.query_row(params![message.id().as_bytes()], |row| row.get(0))?;
    let own = message.author() == me;
    Ok(shown(message, uint(row), received_ms, own, Vec::new()))
}
