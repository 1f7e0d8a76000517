//! Small helpers between `SQLite`'s types and ours.

use bytes::Bytes;
use common::identity::PeerId;
use rusqlite::{CachedStatement, Connection, Params, Row};

use super::error::StoreError;
use crate::log::{ConversationId, MessageId, SignedMessage};

/// A number of ours as `SQLite`'s signed 64 bits. All of them are bounded far below (see `log::message`); anything
/// else is cut.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number out of `SQLite`; what is negative there was never written by us.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A count or limit as `SQLite` wants it.
pub(super) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn peer(row: &Row<'_>, column: usize) -> rusqlite::Result<PeerId> {
    row.get(column).map(PeerId::from_bytes)
}

pub(super) fn message_id(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageId> {
    row.get(column).map(MessageId::from_bytes)
}

pub(super) fn conversation_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ConversationId> {
    row.get(column).map(ConversationId::from_bytes)
}

/// A message as it was written; its signature was checked before.
pub(super) fn signed(bytes: Vec<u8>) -> Result<SignedMessage, StoreError> {
    SignedMessage::parse(Bytes::from(bytes))
        .map_err(|error| StoreError::Damaged(format!("a stored message does not decode: {error}")))
}

/// All rows of a query.
pub(super) fn rows<T>(
    mut statement: CachedStatement<'_>,
    params: impl Params,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    Ok(statement.query_map(params, row)?.collect::<rusqlite::Result<_>>()?)
}

/// Runs a statement without parameters.
pub(super) fn execute(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Runs a statement that returns nothing; says how many rows it changed.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}
