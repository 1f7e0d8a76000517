//! How much one member of a room may put on everybody's disk (`docs/protocol.md` §7.5).
//!
//! All members count alike, along each author's own chain, so that all stop at the same message and nobody builds on what
//! others do not have. An author who tells different members different things is taken for each of these things once, on the
//! word of the members who built on it.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::StoreError;
use super::sql::{int, rows, run, signed, uint};
use crate::log::{Content, SignedMessage};

/// Signed bytes of one member's messages in one room, but for its events, which have bounds of their own: two million short
/// lines. One message may go beyond.
pub const MAX_SHARE: u64 = 512 * 1024 * 1024;

/// Whether the message counts.
const fn counts(content: &Content) -> bool {
    !matches!(content, Content::Room(_))
}

/// Counts a message that was delivered in a room.
pub(super) fn add(conn: &Connection, conversation: i64, message: &SignedMessage) -> Result<(), StoreError> {
    if !counts(message.content()) {
        return Ok(());
    }
    let len = u64::try_from(message.bytes().len()).unwrap_or(u64::MAX);
    run(
        conn,
        "INSERT INTO shares (conversation, author, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation, author) DO UPDATE SET bytes = bytes + ?3",
        params![conversation, message.author().as_bytes(), int(len)],
    )?;
    Ok(())
}

/// Whether the author may say this in a room as well, by how much they have said.
pub(super) fn has_room(
    conn: &Connection,
    conversation: i64,
    message: &SignedMessage,
) -> Result<bool, StoreError> {
    if !counts(message.content()) {
        return Ok(true);
    }
    let author = message.author();
    let mut query = conn.prepare_cached(
        "SELECT s.bytes, (SELECT count(*) FROM vouchers v WHERE v.conversation = ?1 AND v.author = ?2)
         FROM shares s WHERE s.conversation = ?1 AND s.author = ?2",
    )?;
    let params = params![conversation, author.as_bytes()];
    let found = query.query_row(params, |row| Ok((uint(row.get(0)?), uint(row.get(1)?)))).optional()?;
    let (bytes, vouchers) = found.unwrap_or_default();
    Ok(bytes < MAX_SHARE.saturating_mul(1 + vouchers) || is_vouched_for(conn, conversation, message)?)
}

/// Whether somebody else has built on the message who has not vouched for its author before; if so they have now.
fn is_vouched_for(conn: &Connection, conversation: i64, message: &SignedMessage) -> Result<bool, StoreError> {
    let author = message.author();
    for child in waiting_for(conn, message)? {
        let voucher = child.author();
        let insert = "INSERT OR IGNORE INTO vouchers (conversation, author, voucher) VALUES (?1, ?2, ?3)";
        if voucher != author
            && run(conn, insert, params![conversation, author.as_bytes(), voucher.as_bytes()])? > 0
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The messages that wait for this one.
fn waiting_for(conn: &Connection, message: &SignedMessage) -> Result<Vec<SignedMessage>, StoreError> {
    let query = conn.prepare_cached(
        "SELECT w.signed FROM gaps g JOIN waiting w ON w.row = g.child WHERE g.parent = ?1",
    )?;
    let found: Vec<Vec<u8>> = rows(query, params![message.id().as_bytes()], |row| row.get(0))?;
    found.into_iter().map(signed).collect()
}

#[cfg(test)]
mod tests;
