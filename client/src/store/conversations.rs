//! Conversations and who belongs to them.

use std::collections::BTreeSet;

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::error::StoreError;
use super::rooms::standing;
use super::sql::{conversation_id, int, limit, message_id, peer, rows, run, uint};
use super::stances::LOUD;
use crate::log::{ConversationId, Head, MessageId, Standing};

/// `conversations.kind` of a direct conversation.
const DIRECT: i64 = 1;

/// Unread messages of one conversation that are counted.
pub const MAX_UNREAD: usize = 1000;

/// A conversation, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its name.
    pub id: ConversationId,
    /// What a room is called; `None` for a direct conversation. Anything: made safe before it is shown.
    pub room: Option<RoomNames>,
    /// Who belongs to it, ascending; this user among them, unless put out.
    pub members: Vec<(PeerId, Standing)>,
    /// Texts of others that were not read here, but for those of the blocked and the muted; counted up to
    /// [`MAX_UNREAD`].
    pub unread: usize,
}

impl Conversation {
    /// The other one of a direct conversation.
    #[must_use]
    pub fn other(&self, me: PeerId) -> Option<PeerId> {
        let other = || self.members.iter().map(|(peer, _)| *peer).find(|peer| *peer != me);
        if self.room.is_none() { other() } else { None }
    }
}

/// What a room is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomNames {
    /// Its name; empty while its creation is missing.
    pub name: String,
    /// What it is about; may be empty.
    pub topic: String,
}

/// A conversation in the database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) row: i64,
    pub(super) is_room: bool,
}

impl Entry {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { row: row.get(0)?, is_room: row.get::<_, i64>(1)? == super::rooms::ROOM })
    }
}

/// The row of a conversation.
pub(super) fn row(conn: &Connection, id: ConversationId) -> Result<Option<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT row FROM conversations WHERE id = ?1")?;
    Ok(query.query_row(params![id.as_bytes()], |row| row.get(0)).optional()?)
}

/// A conversation, as far as `peer` may know whether it is here: not if it is a direct one of others.
pub(super) fn entry_towards(
    conn: &Connection,
    id: ConversationId,
    peer: PeerId,
) -> Result<Option<Entry>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT c.row, c.kind FROM conversations c WHERE c.id = ?1 AND (c.kind <> ?3
         OR EXISTS (SELECT 1 FROM members b WHERE b.conversation = c.row AND b.peer = ?2))",
    )?;
    Ok(query.query_row(params![id.as_bytes(), peer.as_bytes(), DIRECT], Entry::read).optional()?)
}

/// A conversation; a direct one of `me` and `other` is made if it is new.
pub(super) fn find_or_make_direct(
    conn: &Connection,
    id: ConversationId,
    me: PeerId,
    other: Option<PeerId>,
) -> Result<Option<Entry>, StoreError> {
    let mut query = conn.prepare_cached("SELECT row, kind FROM conversations WHERE id = ?1")?;
    if let Some(entry) = query.query_row(params![id.as_bytes()], Entry::read).optional()? {
        return Ok(Some(entry));
    }
    match other {
        Some(other) if other != me && ConversationId::direct(me, other) == id => {}
        _ => return Ok(None),
    }
    let row = make(conn, id, DIRECT)?;
    for member in [Some(me), other].into_iter().flatten() {
        let insert = "INSERT INTO members (conversation, peer) VALUES (?1, ?2)";
        run(conn, insert, params![row, member.as_bytes()])?;
    }
    Ok(Some(Entry { row, is_room: false }))
}

/// Makes a room without members.
pub(super) fn make_room(conn: &Connection, id: ConversationId) -> Result<Entry, StoreError> {
    Ok(Entry { row: make(conn, id, super::rooms::ROOM)?, is_room: true })
}

fn make(conn: &Connection, id: ConversationId, kind: i64) -> Result<i64, StoreError> {
    run(conn, "INSERT INTO conversations (id, kind) VALUES (?1, ?2)", params![id.as_bytes(), kind])?;
    Ok(conn.last_insert_rowid())
}

/// How many rooms are here to which `me` does not belong.
pub(super) fn count_foreign(conn: &Connection, me: PeerId) -> Result<usize, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT count(*) FROM conversations c WHERE c.kind = ?1
         AND NOT EXISTS (SELECT 1 FROM members b WHERE b.conversation = c.row AND b.peer = ?2)",
    )?;
    let count = query.query_row(params![super::rooms::ROOM, me.as_bytes()], |row| row.get(0))?;
    Ok(usize::try_from(uint(count)).unwrap_or(usize::MAX))
}

pub(super) fn is_member(conn: &Connection, conversation: i64, peer: PeerId) -> Result<bool, StoreError> {
    let mut query = conn.prepare_cached("SELECT 1 FROM members WHERE conversation = ?1 AND peer = ?2")?;
    Ok(query.exists(params![conversation, peer.as_bytes()])?)
}

/// All conversations, oldest first, or one alone.
pub(super) fn list(
    conn: &Connection,
    me: PeerId,
    only: Option<ConversationId>,
) -> Result<Vec<Conversation>, StoreError> {
    let query = conn.prepare_cached(&format!(
        "SELECT c.row, c.id, c.kind, r.name, r.topic, (SELECT count(*) FROM (
            SELECT 1 FROM messages m WHERE m.conversation = c.row AND m.kind = 1 AND m.row > c.read_row
            AND m.author <> ?1 AND {LOUD} LIMIT ?2))
         FROM conversations c LEFT JOIN rooms r ON r.conversation = c.row
         WHERE ?3 IS NULL OR c.id = ?3 ORDER BY c.row"
    ))?;
    let only = only.map(|id| *id.as_bytes());
    let found = rows(query, params![me.as_bytes(), limit(MAX_UNREAD), only], |row| {
        let room: Option<RoomNames> = match row.get(2)? {
            DIRECT => None,
            _ => Some(RoomNames {
                name: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                topic: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            }),
        };
        let unread = usize::try_from(uint(row.get(5)?)).unwrap_or(usize::MAX);
        Ok((row.get(0)?, Conversation { id: conversation_id(row, 1)?, room, members: Vec::new(), unread }))
    })?;
    let with_members = |(row, found): (i64, Conversation)| {
        let query =
            conn.prepare_cached("SELECT peer, standing FROM members WHERE conversation = ?1 ORDER BY peer")?;
        let members = rows(query, params![row], |row| Ok((peer(row, 0)?, standing(row.get(1)?))))?;
        Ok(Conversation { members, ..found })
    };
    found.into_iter().map(with_members).collect()
}

/// Who belongs to a conversation, the invited among them.
pub(super) fn members(conn: &Connection, conversation: i64) -> Result<Vec<PeerId>, StoreError> {
    let query = conn.prepare_cached("SELECT peer FROM members WHERE conversation = ?1 ORDER BY peer")?;
    rows(query, params![conversation], |row| peer(row, 0))
}

/// Messages of a conversation that are nobody's parent, with their rows.
pub(super) fn heads(conn: &Connection, conversation: i64) -> Result<Vec<(i64, Head)>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT m.row, m.id, m.depth, m.author FROM heads h JOIN messages m ON m.row = h.message
         WHERE h.conversation = ?1",
    )?;
    rows(query, params![conversation], |row| {
        let head = Head { id: message_id(row, 1)?, depth: uint(row.get(2)?), author: peer(row, 3)? };
        Ok((row.get(0)?, head))
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
    rows(query, params![conversation.as_bytes()], fork)
}

/// The first fork of each author in each conversation whose later message came after the one with this number.
pub(super) fn first_forks(conn: &Connection, after: u64) -> Result<Vec<Fork>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT a.author, a.id, b.id FROM forks f
         JOIN messages a ON a.row = f.first JOIN messages b ON b.row = f.second
         WHERE f.second > ?1 AND NOT EXISTS
             (SELECT 1 FROM forks g JOIN messages e ON e.row = g.first
              WHERE e.conversation = a.conversation AND e.author = a.author AND (g.second, g.first) < (f.second, f.first))",
    )?;
    rows(query, params![int(after)], fork)
}

fn fork(row: &Row<'_>) -> rusqlite::Result<Fork> {
    Ok(Fork { author: peer(row, 0)?, first: message_id(row, 1)?, second: message_id(row, 2)? })
}

impl Store {
    /// Messages that are missing in conversations of which `member` is one; at most `limit`.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn missing(&self, member: PeerId, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        self.read(move |conn| missing(conn, member, limit)).await
    }

    /// The heads of a conversation, ascending.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn heads(&self, conversation: ConversationId) -> Result<Vec<MessageId>, StoreError> {
        self.read(move |conn| {
            let Some(row) = row(conn, conversation)? else { return Ok(Vec::new()) };
            let heads: BTreeSet<_> = heads(conn, row)?.iter().map(|(_, head)| head.id).collect();
            Ok(heads.into_iter().collect())
        })
        .await
    }

    /// Forks found in a conversation.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn forks(&self, conversation: ConversationId) -> Result<Vec<Fork>, StoreError> {
        self.read(move |conn| forks(conn, conversation)).await
    }

    /// The first fork of each author in each conversation, of those that came to light after the message with the arrival number
    /// `after`.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn first_forks(&self, after: u64) -> Result<Vec<Fork>, StoreError> {
        self.read(move |conn| first_forks(conn, after)).await
    }

    /// All conversations, oldest first.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn conversations(&self) -> Result<Vec<Conversation>, StoreError> {
        let me = self.inner.me;
        self.read(move |conn| list(conn, me, None)).await
    }

    /// One conversation; `None` if it is not known here.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let me = self.inner.me;
        self.read(move |conn| Ok(list(conn, me, Some(id))?.pop())).await
    }
}
