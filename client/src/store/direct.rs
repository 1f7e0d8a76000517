//! What a direct chat comes to towards the other one, as far as they are known to have it (`docs/protocol.md` §7.4): what may
//! still be taken back and what they refused is left out. And what they are told once more if they lost something.

use std::collections::{BTreeSet, BinaryHeap};

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::departures::Departures;
use super::error::StoreError;
use super::outbox::State;
use super::sql::{limit, message_id, peer, rows};
use super::walk::{self, Node};
use super::{Store, conversations, graph};
use crate::log::wire::HeadsHash;
use crate::log::{ConversationId, MessageId};

/// The other one of a direct chat.
pub(super) struct Towards<'a> {
    pub(super) peer: PeerId,
    pub(super) departures: &'a Departures,
}

impl Towards<'_> {
    /// What stands at the end of all that is not withheld.
    pub(super) fn heads(&self, conn: &Connection, conversation: i64) -> Result<Vec<Node>, StoreError> {
        let mut queue = BinaryHeap::from(walk::heads(conn, conversation)?);
        let mut seen = BTreeSet::new();
        let (mut found, mut above) = (Vec::new(), Vec::new());
        while let Some(node) = queue.pop() {
            if !seen.insert(node.row) {
                continue;
            }
            if self.is_withheld(conn, node.row)? {
                queue.extend(walk::parents(conn, node.row)?);
            } else {
                found.push(node);
                above.extend(walk::parents(conn, node.row)?);
            }
        }
        // Without withheld messages between them none of these can be above another.
        if seen.len() == found.len() {
            return Ok(found);
        }
        let ends = graph::unrelated(conn, &found, &above)?;
        // Where that takes too long all are named: too many do no harm.
        Ok(if ends.is_empty() { found } else { ends })
    }

    fn is_withheld(&self, conn: &Connection, row: i64) -> Result<bool, StoreError> {
        let mut query = conn.prepare_cached(
            "SELECT o.state, m.id FROM outbox o JOIN messages m ON m.row = o.message
             WHERE o.message = ?1 AND o.recipient = ?2",
        )?;
        let found = query
            .query_row(params![row, self.peer.as_bytes()], |row| {
                Ok((State::from_number(row.get(0)?), message_id(row, 1)?))
            })
            .optional()?;
        Ok(match found {
            Some((State::Pending, id)) => !self.departures.has_departed(id),
            Some((State::Refused, _)) => true,
            Some((State::Sent | State::Delivered | State::Read, _)) | None => false,
        })
    }
}

/// The names of messages.
pub(super) fn ids(conn: &Connection, nodes: &[Node]) -> Result<Vec<MessageId>, StoreError> {
    let mut query = conn.prepare_cached("SELECT id FROM messages WHERE row = ?1")?;
    let id = |node: &Node| Ok(query.query_row(params![node.row], |row| message_id(row, 0))?);
    nodes.iter().map(id).collect()
}

/// Texts of `author` that were read here, among the last `max` before the message in the row `first`; none unless `author` is
/// known to have had that one.
fn read_before(
    conn: &Connection,
    author: PeerId,
    first: i64,
    max: usize,
) -> Result<Vec<MessageId>, StoreError> {
    let mut had = conn.prepare_cached(
        "SELECT 1 FROM messages m WHERE m.row = ?1 AND (m.author = ?2 OR EXISTS
         (SELECT 1 FROM outbox o WHERE o.message = m.row AND o.recipient = ?2 AND o.state >= ?3))",
    )?;
    if !had.exists(params![first, author.as_bytes(), State::Delivered.number()])? {
        return Ok(Vec::new());
    }
    let query = conn.prepare_cached(
        "SELECT m.id, m.author FROM messages f JOIN conversations c ON c.row = f.conversation
         JOIN messages m ON m.conversation = c.row AND m.kind = 1 AND m.row < f.row AND m.row <= c.read_row
         WHERE f.row = ?1 ORDER BY m.row DESC LIMIT ?2",
    )?;
    let last = rows(query, params![first, limit(max)], |row| Ok((message_id(row, 0)?, peer(row, 1)?)))?;
    Ok(last.into_iter().filter(|(_, by)| *by == author).map(|(id, _)| id).collect())
}

fn read_among(conn: &Connection, author: PeerId, ids: Vec<MessageId>) -> Result<Vec<MessageId>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT 1 FROM messages m JOIN conversations c ON c.row = m.conversation
         WHERE m.id = ?1 AND m.author = ?2 AND m.kind = 1 AND m.row <= c.read_row",
    )?;
    let mut read = Vec::new();
    for id in ids {
        if query.exists(params![id.as_bytes(), author.as_bytes()])? {
            read.push(id);
        }
    }
    Ok(read)
}

impl Store {
    /// What the direct chat with `peer` comes to, without what that one cannot have.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn direct_summary(&self, peer: PeerId) -> Result<HeadsHash, StoreError> {
        let (id, this) = (ConversationId::direct(self.me(), peer), self.clone());
        self.read(move |conn| {
            let Some(conversation) = conversations::row(conn, id)? else {
                return Ok(HeadsHash::of(Vec::new()));
            };
            let towards = Towards { peer, departures: &this.inner.departures };
            Ok(HeadsHash::of(ids(conn, &towards.heads(conn, conversation)?)?))
        })
        .await
    }

    /// Whether one of these messages is not part of the conversation here.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn lacks_any(
        &self,
        conversation: ConversationId,
        ids: Vec<MessageId>,
    ) -> Result<bool, StoreError> {
        self.read(move |conn| {
            let Some(row) = conversations::row(conn, conversation)? else { return Ok(!ids.is_empty()) };
            for id in ids {
                if walk::node(conn, row, id)?.is_none() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Those of `ids` that are texts of `author` and were read here.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn read_among(
        &self,
        author: PeerId,
        ids: Vec<MessageId>,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.read(move |conn| read_among(conn, author, ids)).await
    }

    /// If `peer` has lost the message with the number `first`, which they wrote or had acknowledged: their texts that were read
    /// here, among the last `max` before it. They may have lost the news of that, too.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn read_before(
        &self,
        peer: PeerId,
        first: i64,
        max: usize,
    ) -> Result<Vec<MessageId>, StoreError> {
        self.read(move |conn| read_before(conn, peer, first, max)).await
    }
}

#[cfg(test)]
mod tests;
