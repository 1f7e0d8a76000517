//! What two members tell each other to find out what one of them lacks (`docs/protocol.md` §7.4).

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::conversations::Entry;
use super::direct::{self, Towards};
use super::error::StoreError;
use super::sql::{conversation_id, int, limit, message_id, rows, signed, uint};
use super::{Store, conversations, walk};
use crate::log::wire::{HeadsHash, MAX_IDS};
use crate::log::{ConversationId, MessageId, SignedMessage};

/// Messages that are looked at to find a difference. A greater one is not searched for: everything is handed over.
const MAX_DIFFERENCE_WALK: usize = 250_000;

/// What a peer lacks of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// Messages with these numbers, parents first.
    Rows(Vec<i64>),
    /// So much that it gets everything.
    Everything,
}

impl Store {
    /// The rooms that this user shares with `peer`, with what their heads come to.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn summaries(&self, peer: PeerId) -> Result<Vec<(ConversationId, HeadsHash)>, StoreError> {
        let me = self.me();
        self.read(move |conn| summaries(conn, me, peer)).await
    }

    /// Ids by which `peer` finds what is missing here: all heads, and messages further and further up. Empty if nothing is
    /// here, or it is a direct chat with somebody else. In that with `peer` messages that were never sent are left out.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn position(
        &self,
        peer: PeerId,
        conversation: ConversationId,
    ) -> Result<Vec<MessageId>, StoreError> {
        let this = self.clone();
        self.read(move |conn| {
            position(conn, &Towards { peer, departures: &this.inner.departures }, conversation)
        })
        .await
    }

    /// What `peer` lacks of a conversation, having all of `known` and whatever is above; nothing if it is no member.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn lacking(
        &self,
        peer: PeerId,
        conversation: ConversationId,
        known: Vec<MessageId>,
    ) -> Result<Lacking, StoreError> {
        self.read(move |conn| lacking(conn, peer, conversation, &known)).await
    }

    /// The numbers of what `peer` was sent of a conversation, up to the place `until` in the order of everything that goes
    /// out, and has not confirmed; nothing if it is no member.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn unconfirmed(
        &self,
        peer: PeerId,
        conversation: ConversationId,
        until: u64,
    ) -> Result<Vec<i64>, StoreError> {
        self.read(move |conn| {
            let query = conn.prepare_cached(
                "SELECT m.row FROM outbox o JOIN messages m ON m.row = o.message
                 JOIN conversations c ON c.row = m.conversation
                 WHERE o.recipient = ?1 AND o.state < 20 AND o.sequence <= ?2 AND c.id = ?3
                 AND EXISTS (SELECT 1 FROM members b WHERE b.conversation = c.row AND b.peer = ?1)",
            )?;
            rows(query, params![peer.as_bytes(), int(until), conversation.as_bytes()], |row| row.get(0))
        })
        .await
    }

    /// The next messages of a conversation with numbers above `after`, in order of arrival, parents first.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn next_rows(
        &self,
        conversation: ConversationId,
        after: i64,
        max: usize,
    ) -> Result<Vec<i64>, StoreError> {
        self.read(move |conn| {
            let query = conn.prepare_cached(
                "SELECT row FROM messages
                 WHERE conversation = (SELECT row FROM conversations WHERE id = ?1) AND row > ?2
                 ORDER BY row LIMIT ?3",
            )?;
            rows(query, params![conversation.as_bytes(), after, limit(max)], |row| row.get(0))
        })
        .await
    }

    /// The messages with these numbers, in their order; those that are gone are left out.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn signed_rows(&self, numbers: Vec<i64>) -> Result<Vec<SignedMessage>, StoreError> {
        self.read(move |conn| {
            let mut found = Vec::with_capacity(numbers.len());
            for number in numbers {
                let mut query = conn.prepare_cached("SELECT signed FROM messages WHERE row = ?1")?;
                let bytes: Option<Vec<u8>> = query.query_row(params![number], |row| row.get(0)).optional()?;
                found.extend(bytes.map(signed).transpose()?);
            }
            Ok(found)
        })
        .await
    }
}

fn summaries(
    conn: &Connection,
    me: PeerId,
    peer: PeerId,
) -> Result<Vec<(ConversationId, HeadsHash)>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT c.row, c.id FROM members b JOIN conversations c ON c.row = b.conversation
         JOIN members a ON a.conversation = c.row AND a.peer = ?1
         WHERE b.peer = ?2 AND c.kind = ?3 ORDER BY c.row",
    )?;
    let shared: Vec<(i64, ConversationId)> =
        rows(query, params![me.as_bytes(), peer.as_bytes(), super::rooms::ROOM], |row| {
            Ok((row.get(0)?, conversation_id(row, 1)?))
        })?;
    let mut summaries = Vec::with_capacity(shared.len());
    for (row, id) in shared {
        let heads = conversations::heads(conn, row)?;
        summaries.push((id, HeadsHash::of(heads.iter().map(|(_, head)| head.id).collect())));
    }
    Ok(summaries)
}

fn position(
    conn: &Connection,
    towards: &Towards<'_>,
    id: ConversationId,
) -> Result<Vec<MessageId>, StoreError> {
    let Some(Entry { row: conversation, is_room }) = conversations::entry_towards(conn, id, towards.peer)?
    else {
        return Ok(Vec::new());
    };
    let mut heads =
        if is_room { walk::heads(conn, conversation)? } else { towards.heads(conn, conversation)? };
    heads.sort_by_key(|head| std::cmp::Reverse(head.depth));
    heads.truncate(MAX_IDS / 2);
    let deepest = heads.first().map_or(0, |head| head.depth);
    let mut ids = direct::ids(conn, &heads)?;
    // What waits for other members of a room is no secret to this one.
    let other = (!is_room).then_some(towards.peer.as_bytes());
    let mut distance = 1;
    while distance < deepest {
        let mut query = conn.prepare_cached(
            "SELECT id FROM messages m WHERE conversation = ?1 AND depth <= ?2 AND NOT EXISTS
             (SELECT 1 FROM outbox o WHERE o.message = m.row AND o.recipient = ?3 AND o.state IN (0, 20))
             ORDER BY depth DESC, label_ms DESC, id DESC LIMIT 1",
        )?;
        let depth = int(deepest - distance);
        let found =
            query.query_row(params![conversation, depth, other], |row| message_id(row, 0)).optional()?;
        ids.extend(found.filter(|id| !ids.contains(id)));
        distance *= 2;
    }
    Ok(ids)
}

fn lacking(
    conn: &Connection,
    peer: PeerId,
    id: ConversationId,
    known: &[MessageId],
) -> Result<Lacking, StoreError> {
    let Some(conversation) = conversations::row(conn, id)? else { return Ok(Lacking::Rows(Vec::new())) };
    if !conversations::is_member(conn, conversation, peer)? {
        return Ok(Lacking::Rows(Vec::new()));
    }
    let mut common = Vec::new();
    for id in known {
        common.extend(walk::node(conn, conversation, *id)?);
    }
    if common.is_empty() {
        return Ok(Lacking::Everything);
    }
    let heads = walk::heads(conn, conversation)?;
    Ok(match walk::difference(conn, &heads, &common, MAX_DIFFERENCE_WALK)? {
        Some(mut rows) => {
            rows.sort_unstable();
            Lacking::Rows(rows)
        }
        None => Lacking::Everything,
    })
}

/// Messages of `peer` that were read here and of which it was not told, with the number up to which that is so.
pub(super) fn newly_read(
    conn: &Connection,
    peer: PeerId,
    max: usize,
) -> Result<Vec<(i64, MessageId)>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT m.row, m.id FROM members b JOIN conversations c ON c.row = b.conversation
         JOIN messages m ON m.conversation = c.row AND m.kind = 1 AND m.row > b.told_row AND m.row <= c.read_row
         WHERE b.peer = ?1 AND b.told_row < c.read_row AND m.author = ?1 ORDER BY m.row LIMIT ?2",
    )?;
    rows(query, params![peer.as_bytes(), limit(max)], |row| Ok((row.get(0)?, message_id(row, 1)?)))
}

/// Notes that `peer` was told of everything that was read up to `row`.
pub(super) fn note_told(conn: &Connection, peer: PeerId, row: i64) -> Result<(), StoreError> {
    let update = "UPDATE members SET told_row = max(told_row, min(?2,
         (SELECT read_row FROM conversations c WHERE c.row = members.conversation))) WHERE peer = ?1";
    super::sql::run(conn, update, params![peer.as_bytes(), row])?;
    Ok(())
}

/// Notes that everything of a conversation up to the arrival number `row` was read here.
pub(super) fn mark_read(conn: &Connection, id: ConversationId, row: u64) -> Result<(), StoreError> {
    let update = "UPDATE conversations SET read_row = max(read_row, ?2) WHERE id = ?1";
    super::sql::run(conn, update, params![id.as_bytes(), int(row)])?;
    Ok(())
}

/// The newest message of a conversation by its number.
pub(super) fn newest_row(conn: &Connection, id: ConversationId) -> Result<u64, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT max(m.row) FROM messages m JOIN conversations c ON c.row = m.conversation
         WHERE c.id = ?1 AND m.kind = 1",
    )?;
    let newest: Option<i64> = query.query_row(params![id.as_bytes()], |row| row.get(0))?;
    Ok(uint(newest.unwrap_or(0)))
}
