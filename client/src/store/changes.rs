//! Edits, deletions and reactions, applied to what is shown; signs that the blocked set are not shown. The log keeps the
//! originals.

use std::collections::{BTreeMap, BTreeSet};

use common::identity::PeerId;
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::history::{MessageRow, VISIBLE};
use super::sql::{limit, rows, signed};
use super::stances::UNBLOCKED;
use crate::log::{Content, MessageId, Reaction};

/// Changes of one message that are applied: the first in everybody's order.
const MAX_CHANGES: usize = 2048;

/// What became of a message after it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Its author wrote it anew; the content is the newest.
    pub edited: bool,
    /// Its author took it back; the content is an empty text.
    pub deleted: bool,
    /// Signs, ascending, with those who set them.
    pub reactions: Vec<(String, Vec<PeerId>)>,
}

/// The changes of one message. They are few and the conversation is long: a cross join keeps `SQLite` from walking along the
/// conversation, whose index has the order that is wanted.
fn changes_of() -> String {
    format!(
        "SELECT m.signed FROM changes c CROSS JOIN messages m ON m.row = c.message
         CROSS JOIN conversations v ON v.row = m.conversation
         WHERE c.target = ?1 AND v.id = ?2 AND {VISIBLE} AND (m.author = ?4 OR {UNBLOCKED})
         ORDER BY m.depth, m.label_ms, m.id LIMIT ?3"
    )
}

/// Applies all changes of a message.
pub(super) fn apply(conn: &Connection, row: &mut MessageRow) -> Result<(), StoreError> {
    if !matches!(row.content, Content::Text(_)) {
        return Ok(());
    }
    let query = conn.prepare_cached(&changes_of())?;
    let id = row.id();
    let author = row.author;
    let params = params![id.as_bytes(), row.conversation.as_bytes(), limit(MAX_CHANGES), author.as_bytes()];
    let found: Vec<Vec<u8>> = rows(query, params, |row| row.get(0))?;
    let mut reactions: BTreeMap<String, BTreeSet<PeerId>> = BTreeMap::new();
    for bytes in found {
        let change = signed(bytes)?;
        let author = change.author();
        match change.into_content() {
            Content::Edit { text: new, .. } if author == row.author => {
                if let Content::Text(text) = &mut row.content {
                    text.text = new;
                    row.marks.edited = true;
                }
            }
            Content::Delete { .. } if author == row.author => row.marks.deleted = true,
            Content::React { sign, reaction: Reaction::Add, .. } => {
                reactions.entry(sign).or_default().insert(author);
            }
            Content::React { sign, reaction: Reaction::Remove, .. } => {
                if let Some(authors) = reactions.get_mut(&sign) {
                    authors.remove(&author);
                }
            }
            _ => {}
        }
    }
    if row.marks.deleted {
        row.content = Content::text("");
        return Ok(());
    }
    reactions.retain(|_, authors| !authors.is_empty());
    row.marks.reactions =
        reactions.into_iter().map(|(sign, authors)| (sign, authors.into_iter().collect())).collect();
    Ok(())
}

/// Whether `me` wrote the message, and it is a text: then it may be edited and deleted.
pub(super) fn is_own_text(conn: &Connection, me: PeerId, id: MessageId) -> Result<bool, StoreError> {
    let mut query =
        conn.prepare_cached("SELECT 1 FROM messages WHERE id = ?1 AND author = ?2 AND kind = 1")?;
    Ok(query.exists(params![id.as_bytes(), me.as_bytes()])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::rows;

    #[test]
    fn what_became_of_a_message_is_found_without_walking_along_the_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let me = PeerId::from_bytes([1; 32]);
        let conn =
            crate::store::open::open(&dir.path().join("db"), me, crate::store::open::MIGRATIONS).unwrap();
        let query = conn.prepare_cached(&format!("EXPLAIN QUERY PLAN {}", changes_of())).unwrap();
        let plan: Vec<String> =
            rows(query, params![[0_u8; 32], [0_u8; 32], 1, [0_u8; 32]], |row| row.get(3)).unwrap();
        assert!(plan[0].starts_with("SEARCH c "), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("messages_in_order")), "{plan:?}");
    }
}
