//! Conversations and who belongs to them.

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::sql::{conversation_id, limit, message_id, peer, rows, run};
use crate::log::{ConversationId, Head, MessageId};

/// `conversations.kind` of a direct conversation.
const DIRECT: i64 = 1;

/// A conversation, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its name.
    pub id: ConversationId,
    /// Its members, this user among them.
    pub members: Vec<PeerId>,
}

/// The row of a conversation.
pub(super) fn row(conn: &Connection, id: ConversationId) -> Result<Option<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT row FROM conversations WHERE id = ?1")?;
    Ok(query.query_row(params![id.as_bytes()], |row| row.get(0)).optional()?)
}

/// The row of a conversation; a direct one of `me` and `other` is made if it is new.
pub(super) fn find_or_make(
    conn: &Connection,
    id: ConversationId,
    me: PeerId,
    other: Option<PeerId>,
) -> Result<Option<i64>, StoreError> {
    if let Some(row) = row(conn, id)? {
        return Ok(Some(row));
    }
    match other {
        Some(other) if other != me && ConversationId::direct(me, other) == id => {}
        _ => return Ok(None),
    }
    run(conn, "INSERT INTO conversations (id, kind) VALUES (?1, ?2)", params![id.as_bytes(), DIRECT])?;
    let row = conn.last_insert_rowid();
    for member in [Some(me), other].into_iter().flatten() {
        let insert = "INSERT INTO members (conversation, peer) VALUES (?1, ?2)";
        run(conn, insert, params![row, member.as_bytes()])?;
    }
    Ok(Some(row))
}

pub(super) fn is_member(conn: &Connection, conversation: i64, peer: PeerId) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached("SELECT 1 FROM members WHERE conversation = ?1 AND peer = ?2")?;
    Ok(query.exists(params![conversation, peer.as_bytes()])?)
}

/// All conversations.
pub(super) fn list(conn: &Connection) -> Result<Vec<Conversation>, StoreError> {
    let query = conn.prepare_cached("SELECT row, id FROM conversations ORDER BY row")?;
    let found: Vec<(i64, ConversationId)> =
        rows(query, [], |row| Ok((row.get(0)?, conversation_id(row, 1)?)))?;
    let with_members = |(row, id)| Ok(Conversation { id, members: members(conn, row)? });
    found.into_iter().map(with_members).collect()
}

fn members(conn: &Connection, conversation: i64) -> Result<Vec<PeerId>, StoreError> {
    let query = conn.prepare_cached("SELECT peer FROM members WHERE conversation = ?1 ORDER BY peer")?;
    rows(query, params![conversation], |row| peer(row, 0))
}

/// Messages of a conversation that are nobody's parent.
pub(super) fn heads(conn: &Connection, conversation: i64) -> Result<Vec<Head>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT m.id, m.depth, m.author FROM heads h JOIN messages m ON m.row = h.message
         WHERE h.conversation = ?1",
    )?;
    rows(query, params![conversation], |row| {
        Ok(Head { id: message_id(row, 0)?, depth: super::sql::uint(row.get(1)?), author: peer(row, 2)? })
    })
}

/// Messages that are missing, in conversations of which `member` is one.
pub(super) fn missing(conn: &Connection, member: PeerId, max: usize) -> Result<Vec<MessageId>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT DISTINCT g.parent FROM members b
         JOIN waiting w ON w.conversation = b.conversation
         JOIN gaps g ON g.child = w.row
         WHERE b.peer = ?1 AND NOT EXISTS (SELECT 1 FROM waiting p WHERE p.id = g.parent)
         LIMIT ?2",
    )?;
    rows(query, params![member.as_bytes(), limit(max)], |row| message_id(row, 0))
}

/// Two messages by one author of which neither descends from the other: proof that the author's key is used twice
/// or that its owner misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// Whose.
    pub author: PeerId,
    /// The one that was here first.
    pub first: MessageId,
    /// The other.
    pub second: MessageId,
}

/// All forks found in a conversation.
pub(super) fn forks(conn: &Connection, conversation: ConversationId) -> Result<Vec<Fork>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT a.author, a.id, b.id FROM forks f
         JOIN messages a ON a.row = f.first JOIN messages b ON b.row = f.second
         JOIN conversations c ON c.row = a.conversation WHERE c.id = ?1",
    )?;
    rows(query, params![conversation.as_bytes()], |row| {
        Ok(Fork { author: peer(row, 0)?, first: message_id(row, 1)?, second: message_id(row, 2)? })
    })
}
