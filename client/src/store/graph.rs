//! The message graph in `SQLite`, as [`crate::log::ingest`] wants it.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::conversations::Entry;
use super::error::StoreError;
use super::rooms;
use super::shares;
use super::sql::{conversation_id, int, message_id, rows, run, signed, uint};
use super::walk::{self, Node};
use crate::log::ingest::{Graph, Invalid, Known};
use crate::log::{Content, ConversationId, MessageId, SignedMessage};

/// Messages of one bearer that may wait for their parents at a time. Honest peers send parents first.
pub const MAX_WAITING: usize = 1024;
/// Messages that are looked at to find out whether a message descends from its author's last one; beyond that
/// nobody is accused.
const MAX_WALK: usize = 512;
/// Tips that are kept of one author; an honest one has one.
const MAX_TIPS: usize = 8;
/// Forks that are recorded of one conversation: proof enough.
const MAX_FORKS: i64 = 64;

/// Messages that were delivered in this transaction: the parents of the next ones, usually.
#[derive(Debug, Default)]
pub(super) struct Recent(BTreeMap<MessageId, (ConversationId, Node)>);

/// The graph of all conversations, inside a transaction, while messages from `bearer` come in.
pub(super) struct SqlGraph<'a> {
    pub(super) conn: &'a Connection,
    /// The conversation of the message that is taken in.
    pub(super) conversation: Entry,
    pub(super) bearer: PeerId,
    pub(super) received_ms: u64,
    pub(super) recent: &'a mut Recent,
    /// Rows of the messages that were delivered, in order.
    pub(super) delivered: Vec<i64>,
}

impl Graph for SqlGraph<'_> {
    type Error = StoreError;

    fn find(&mut self, id: MessageId) -> Result<Option<Known>, StoreError> {
        if let Some(&(conversation, Node { depth, .. })) = self.recent.0.get(&id) {
            return Ok(Some(Known::Delivered { conversation, depth }));
        }
        let mut query = self.conn.prepare_cached(
            "SELECT c.id, m.depth FROM messages m JOIN conversations c ON c.row = m.conversation
             WHERE m.id = ?1",
        )?;
        let delivered = query
            .query_row(params![id.as_bytes()], |row| {
                Ok(Known::Delivered { conversation: conversation_id(row, 0)?, depth: uint(row.get(1)?) })
            })
            .optional()?;
        if delivered.is_some() {
            return Ok(delivered);
        }
        let mut query = self.conn.prepare_cached("SELECT 1 FROM waiting WHERE id = ?1")?;
        Ok(query.exists(params![id.as_bytes()])?.then_some(Known::Waiting))
    }

    fn admit(&mut self, message: &SignedMessage) -> Result<Result<(), Invalid>, StoreError> {
        admit(self.conn, self.conversation, message)
    }

    fn deliver(&mut self, message: &SignedMessage) -> Result<(), StoreError> {
        let content = message.message();
        let parents: Vec<_> = content.parents.iter().map(|&id| self.node(id)).collect::<Result<_, _>>()?;
        let row = insert(self.conn, self.conversation, message, &parents, self.received_ms)?;
        self.recent.0.insert(message.id(), (content.conversation, Node { row, depth: content.depth }));
        self.delivered.push(row);
        Ok(())
    }

    fn hold(&mut self, message: &SignedMessage, absent: &[MessageId]) -> Result<bool, StoreError> {
        let mut query = self.conn.prepare_cached("SELECT count(*) FROM waiting WHERE bearer = ?1")?;
        let held: i64 = query.query_row(params![self.bearer.as_bytes()], |row| row.get(0))?;
        if usize::try_from(held).is_ok_and(|held| held >= MAX_WAITING) {
            return Ok(false);
        }
        run(
            self.conn,
            "INSERT INTO waiting (id, conversation, bearer, signed) VALUES (?1, ?2, ?3, ?4)",
            params![
                message.id().as_bytes(),
                self.conversation.row,
                self.bearer.as_bytes(),
                message.bytes().as_ref()
            ],
        )?;
        let row = self.conn.last_insert_rowid();
        for parent in absent {
            let insert = "INSERT INTO gaps (parent, child) VALUES (?1, ?2)";
            run(self.conn, insert, params![parent.as_bytes(), row])?;
        }
        Ok(true)
    }

    fn release(&mut self, parent: MessageId) -> Result<Vec<SignedMessage>, StoreError> {
        let children = self.children(parent)?;
        if children.is_empty() {
            return Ok(Vec::new());
        }
        run(self.conn, "DELETE FROM gaps WHERE parent = ?1", params![parent.as_bytes()])?;
        let mut free = Vec::new();
        for (row, _) in children {
            let mut query = self.conn.prepare_cached(
                "DELETE FROM waiting WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM gaps WHERE child = ?1)
                 RETURNING signed",
            )?;
            let bytes: Option<Vec<u8>> = query.query_row(params![row], |row| row.get(0)).optional()?;
            free.extend(bytes.map(signed).transpose()?);
        }
        Ok(free)
    }

    fn abandon(&mut self, parent: MessageId) -> Result<Vec<MessageId>, StoreError> {
        let children = self.children(parent)?;
        for (row, _) in &children {
            run(self.conn, "DELETE FROM waiting WHERE row = ?1", params![row])?;
        }
        Ok(children.into_iter().map(|(_, id)| id).collect())
    }
}

impl SqlGraph<'_> {
    /// A message that was delivered.
    fn node(&self, id: MessageId) -> Result<Node, StoreError> {
        if let Some((_, node)) = self.recent.0.get(&id) {
            return Ok(*node);
        }
        let mut query = self.conn.prepare_cached("SELECT row, depth FROM messages WHERE id = ?1")?;
        Ok(query.query_row(params![id.as_bytes()], |row| {
            Ok(Node { row: row.get(0)?, depth: uint(row.get(1)?) })
        })?)
    }

    fn children(&self, parent: MessageId) -> Result<Vec<(i64, MessageId)>, StoreError> {
        let query = self.conn.prepare_cached(
            "SELECT w.row, w.id FROM gaps g JOIN waiting w ON w.row = g.child WHERE g.parent = ?1",
        )?;
        rows(query, params![parent.as_bytes()], |row| Ok((row.get(0)?, message_id(row, 1)?)))
    }
}

/// Whether the author, who belongs to the conversation if it is a direct one, may say this here, as far as the message's past goes.
pub(super) fn admit(
    conn: &Connection,
    conversation: Entry,
    message: &SignedMessage,
) -> Result<Result<(), Invalid>, StoreError> {
    if conversation.is_room {
        return rooms::admit(conn, message);
    }
    Ok(match message.content() {
        Content::Room(_) => Err(Invalid::NotAllowed),
        _ => Ok(()),
    })
}

/// Makes a message part of its conversation: its row, its edges, the heads and the author's tips. Returns its row.
pub(super) fn insert(
    conn: &Connection,
    Entry { row: conversation, is_room }: Entry,
    message: &SignedMessage,
    parents: &[Node],
    received_ms: u64,
) -> Result<i64, StoreError> {
    let content = message.message();
    run(
        conn,
        "INSERT INTO messages (id, conversation, author, depth, label_ms, received_ms, kind, signed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            message.id().as_bytes(),
            conversation,
            content.author.as_bytes(),
            int(content.depth),
            int(content.label_ms),
            int(received_ms),
            content.content.kind(),
            message.bytes().as_ref()
        ],
    )?;
    let row = conn.last_insert_rowid();
    for parent in parents {
        run(conn, "INSERT INTO edges (child, parent) VALUES (?1, ?2)", params![row, parent.row])?;
    }
    move_heads(conn, conversation, row, parents)?;
    let len = i64::try_from(message.bytes().len()).unwrap_or(i64::MAX);
    run(conn, "UPDATE conversations SET bytes = bytes + ?2 WHERE row = ?1", params![conversation, len])?;
    move_tips(conn, conversation, content.author, row, parents)?;
    if let Some(target) = message.content().target() {
        let insert = "INSERT INTO changes (target, message) VALUES (?1, ?2)";
        run(conn, insert, params![target.as_bytes(), row])?;
    }
    if is_room {
        shares::add(conn, conversation, message)?;
        rooms::place(conn, conversation, row, message)?;
    }
    Ok(row)
}

/// Makes `row` a head in place of its parents.
fn move_heads(conn: &Connection, conversation: i64, row: i64, parents: &[Node]) -> Result<(), StoreError> {
    let mut is_placed = false;
    for parent in parents {
        // Usually it is the one parent's place that the message takes.
        if is_placed {
            run(
                conn,
                "DELETE FROM heads WHERE conversation = ?1 AND message = ?2",
                params![conversation, parent.row],
            )?;
        } else {
            let take = "UPDATE heads SET message = ?3 WHERE conversation = ?1 AND message = ?2";
            is_placed = run(conn, take, params![conversation, parent.row, row])? > 0;
        }
    }
    if !is_placed {
        run(conn, "INSERT INTO heads (conversation, message) VALUES (?1, ?2)", params![conversation, row])?;
    }
    Ok(())
}

/// Makes `row` a tip of its author in place of those from which it descends; any other is a fork.
fn move_tips(
    conn: &Connection,
    conversation: i64,
    author: PeerId,
    row: i64,
    parents: &[Node],
) -> Result<(), StoreError> {
    let query = conn.prepare_cached(
        "SELECT t.message, m.depth FROM tips t JOIN messages m ON m.row = t.message
         WHERE t.conversation = ?1 AND t.author = ?2 ORDER BY t.message",
    )?;
    let tips = rows(query, params![conversation, author.as_bytes()], |row| {
        Ok(Node { row: row.get(0)?, depth: uint(row.get(1)?) })
    })?;
    let forked = unrelated(conn, &tips, parents)?;
    if let ([tip], []) = (tips.as_slice(), forked.as_slice()) {
        let take = "UPDATE tips SET message = ?4 WHERE conversation = ?1 AND author = ?2 AND message = ?3";
        run(conn, take, params![conversation, author.as_bytes(), tip.row, row])?;
        return Ok(());
    }
    for tip in &forked {
        let insert = "INSERT INTO forks (first, second) SELECT ?1, ?2 WHERE
             (SELECT count(*) FROM forks f JOIN messages m ON m.row = f.first WHERE m.conversation = ?3) < ?4";
        run(conn, insert, params![tip.row, row, conversation, MAX_FORKS])?;
    }
    // An author with more tips than are kept has misbehaved often enough: the oldest are forgotten.
    let keep_from = (forked.len() + 1).saturating_sub(MAX_TIPS);
    let kept = &forked[keep_from..];
    for tip in tips.iter().filter(|tip| !kept.contains(tip)) {
        let delete = "DELETE FROM tips WHERE conversation = ?1 AND author = ?2 AND message = ?3";
        run(conn, delete, params![conversation, author.as_bytes(), tip.row])?;
    }
    let insert = "INSERT INTO tips (conversation, author, message) VALUES (?1, ?2, ?3)";
    run(conn, insert, params![conversation, author.as_bytes(), row])?;
    Ok(())
}

/// Those of `tips` that are no ancestors of a message with these parents; none if that takes too long to find out.
pub(super) fn unrelated(conn: &Connection, tips: &[Node], parents: &[Node]) -> Result<Vec<Node>, StoreError> {
    let mut left: BTreeSet<Node> = tips.iter().copied().collect();
    let mut seen: BTreeSet<i64> = parents.iter().map(|node| node.row).collect();
    let mut queue: BinaryHeap<Node> = parents.iter().copied().collect();
    while let Some(node) = queue.pop() {
        left.remove(&node);
        // The first is the one of least depth; nothing of that depth or less can descend from any that is left.
        let Some(lowest) = left.first() else { break };
        if node.depth <= lowest.depth {
            continue;
        }
        if seen.len() > MAX_WALK {
            return Ok(Vec::new());
        }
        let above = walk::parents(conn, node.row)?;
        queue.extend(above.into_iter().filter(|node| seen.insert(node.row)));
    }
    Ok(left.into_iter().collect())
}
