//! What of a graph one side has and the other lacks: found by walking up from both. Pure.

use std::collections::{BTreeMap, BinaryHeap};

/// A message on the way up the graph; the deepest is looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// Its verified depth.
    pub(crate) depth: u64,
    /// Its number among the messages that are here.
    pub(crate) row: i64,
}

/// The rows of `from` and everything above that is neither in `known` nor above it; `None` if that takes more than
/// `max` steps. `parents` tells those of a row. The time is that of the difference, not of the conversation.
///
/// # Errors
/// What `parents` fails with.
pub(crate) fn difference<E>(
    from: &[Node],
    known: &[Node],
    max: usize,
    mut parents: impl FnMut(i64) -> Result<Vec<Node>, E>,
) -> Result<Option<Vec<i64>>, E> {
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
        for parent in parents(node.row)? {
            add(&mut queue, &mut open, parent, is_known);
        }
    }
    Ok(Some(missing))
}
