//! Walks up the graph.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::sql::{rows, uint};
use crate::log::MessageId;
use crate::log::difference;

pub(super) use crate::log::difference::Node;

/// A delivered message of a conversation.
pub(super) fn node(conn: &Connection, conversation: i64, id: MessageId) -> Result<Option<Node>, StoreError> {
    let mut query =
        conn.prepare_cached("SELECT row, depth FROM messages WHERE id = ?1 AND conversation = ?2")?;
    let node = query.query_row(params![id.as_bytes(), conversation], |row| {
        Ok(Node { row: row.get(0)?, depth: uint(row.get(1)?) })
    });
    Ok(node.optional()?)
}

/// The heads of a conversation.
pub(super) fn heads(conn: &Connection, conversation: i64) -> Result<Vec<Node>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT m.row, m.depth FROM heads h JOIN messages m ON m.row = h.message WHERE h.conversation = ?1",
    )?;
    rows(query, params![conversation], |row| Ok(Node { row: row.get(0)?, depth: uint(row.get(1)?) }))
}

pub(super) fn parents(conn: &Connection, child: i64) -> Result<Vec<Node>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT m.row, m.depth FROM edges e JOIN messages m ON m.row = e.parent WHERE e.child = ?1",
    )?;
    rows(query, params![child], |row| Ok(Node { row: row.get(0)?, depth: uint(row.get(1)?) }))
}

/// See [`difference::difference`].
pub(super) fn difference(
    conn: &Connection,
    from: &[Node],
    known: &[Node],
    max: usize,
) -> Result<Option<Vec<i64>>, StoreError> {
    difference::difference(from, known, max, |row| parents(conn, row))
}
