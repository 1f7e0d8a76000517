//! Walks up the graph.

use std::collections::{BTreeMap, BinaryHeap};

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::sql::{rows, uint};
use crate::log::MessageId;

/// A message on the way up the graph; the deepest is looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) depth: u64,
    pub(super) row: i64,
}

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

/// The rows of `from` and everything above that is neither in `known` nor above it; `None` if that takes more than
/// `max` steps. The time is that of the difference, not of the conversation.
pub(super) fn difference(
    conn: &Connection,
    from: &[Node],
    known: &[Node],
    max: usize,
) -> Result<Option<Vec<i64>>, StoreError> {
    // By row: whether it is known, or above something known. A node is popped only after everything below it.
    let mut seen: BTreeMap<i64, bool> = BTreeMap::new();
    let mut queue = BinaryHeap::new();
    let mut open = 0_usize;
    let mut add = |queue: &mut BinaryHeap<Node>, open: &mut usize, node: Node, is_known: bool| {
        match seen.get_mut(&node.row) {
            None => {
                seen.insert(node.row, is_known);
                queue.push(node);
                *open += usize::from(!is_known);
            }
            Some(known) if is_known && !*known => {
                *known = true;
                *open -= 1;
            }
            Some(_) => {}
        }
        seen[&node.row]
    };
    for node in known {
        add(&mut queue, &mut open, *node, true);
    }
    for node in from {
        add(&mut queue, &mut open, *node, false);
    }
    let mut missing = Vec::new();
    let mut steps = 0;
    while open > 0
        && let Some(node) = queue.pop()
    {
        steps += 1;
        if steps > max {
            return Ok(None);
        }
        // Adding it once more tells what it is by now.
        let is_known = add(&mut queue, &mut open, node, false);
        if !is_known {
            open -= 1;
            missing.push(node.row);
        }
        for parent in parents(conn, node.row)? {
            add(&mut queue, &mut open, parent, is_known);
        }
    }
    Ok(Some(missing))
}
