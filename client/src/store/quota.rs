//! How much others may put on this user's disk (`docs/protocol.md` §7.5).
//!
//! A conversation is *asked for* once this user takes part in it: has written to the person or named them, has accepted the
//! room's invitation. What is not asked for has small bounds, and all of it together has one.

use std::collections::BTreeMap;

use common::identity::PeerId;
use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use super::contacts;
use super::conversations;
use super::error::StoreError;
use super::rooms::ROOM;
use super::sql::uint;
use crate::log::ConversationId;
use crate::log::ingest::Quota;

/// Bytes that are kept of what somebody writes who was never answered.
pub const MAX_UNANSWERED: u64 = 64 * MIB;
/// Bytes that are kept of a room to which this user is invited, or does not belong. The invited get all of a room.
pub const MAX_UNACCEPTED: u64 = 256 * MIB;
/// Bytes that are kept of all that was not asked for together.
pub const MAX_UNASKED: u64 = 1024 * MIB;
/// Conversations that were not asked for.
pub const MAX_UNASKED_COUNT: u64 = 1024;
/// The setting that bounds the whole database, in GiB.
pub const DISK: &str = "disk";
/// What it is unless it was set.
pub const DEFAULT_DISK: u64 = 16;

const MIB: u64 = 1024 * 1024;

/// Holds for conversations `c` that `?1`, this user, has not asked for.
const UNASKED: &str = "CASE c.kind WHEN 1 THEN
        NOT EXISTS (SELECT 1 FROM tips t WHERE t.conversation = c.row AND t.author = ?1)
        AND NOT EXISTS (SELECT 1 FROM members b JOIN contacts p ON p.peer = b.peer
            WHERE b.conversation = c.row AND b.peer <> ?1 AND p.own_name <> '')
    ELSE NOT EXISTS (SELECT 1 FROM members b WHERE b.conversation = c.row AND b.peer = ?1 AND b.standing > 1) END";

/// Verdicts on the conversations of one batch of messages; what a batch adds may go beyond.
pub(super) struct Quotas {
    me: PeerId,
    is_disk_full: bool,
    verdicts: BTreeMap<i64, Option<Quota>>,
}

impl Quotas {
    pub(super) fn new(conn: &Connection, me: PeerId) -> Result<Self, StoreError> {
        Ok(Self { me, is_disk_full: is_disk_full(conn)?, verdicts: BTreeMap::new() })
    }

    /// Why nothing more of the conversation is taken now.
    pub(super) fn exceeded(
        &mut self,
        conn: &Connection,
        conversation: i64,
    ) -> Result<Option<Quota>, StoreError> {
        if self.is_disk_full {
            return Ok(Some(Quota::Disk));
        }
        if let Some(verdict) = self.verdicts.get(&conversation) {
            return Ok(*verdict);
        }
        let verdict = unasked(conn, self.me, conversation)?;
        self.verdicts.insert(conversation, verdict);
        Ok(verdict)
    }

    /// Why no conversation is begun that this user has not asked for.
    pub(super) fn full(&self, conn: &Connection) -> Result<Option<Quota>, StoreError> {
        if self.is_disk_full {
            return Ok(Some(Quota::Disk));
        }
        let (count, bytes) = all_unasked(conn, self.me)?;
        Ok((count >= MAX_UNASKED_COUNT || bytes >= MAX_UNASKED).then_some(Quota::Strangers))
    }
}

fn unasked(conn: &Connection, me: PeerId, conversation: i64) -> Result<Option<Quota>, StoreError> {
    let query = format!("SELECT c.kind, c.bytes FROM conversations c WHERE c.row = ?2 AND {UNASKED}");
    let found = conn
        .prepare_cached(&query)?
        .query_row(params![me.as_bytes(), conversation], |row| Ok((row.get(0)?, uint(row.get(1)?))))
        .optional()?;
    let Some((kind, bytes)) = found else { return Ok(None) };
    let _: i64 = kind;
    let (max, quota) =
        if kind == ROOM { (MAX_UNACCEPTED, Quota::Unaccepted) } else { (MAX_UNANSWERED, Quota::Unanswered) };
    if bytes >= max {
        return Ok(Some(quota));
    }
    Ok((all_unasked(conn, me)?.1 >= MAX_UNASKED).then_some(Quota::Strangers))
}

fn all_unasked(conn: &Connection, me: PeerId) -> Result<(u64, u64), StoreError> {
    let query = format!("SELECT count(*), coalesce(sum(c.bytes), 0) FROM conversations c WHERE {UNASKED}");
    let mut query = conn.prepare_cached(&query)?;
    Ok(query.query_row(params![me.as_bytes()], |row| Ok((uint(row.get(0)?), uint(row.get(1)?))))?)
}

/// Whether the database is as large as the user lets it get. Pages that are free count as room.
fn is_disk_full(conn: &Connection) -> Result<bool, StoreError> {
    let gib = contacts::setting(conn, &contacts::setting_key(DISK))?.and_then(|set| set.parse().ok());
    let max = gib.unwrap_or(DEFAULT_DISK).saturating_mul(1024 * MIB);
    let pragma = |query: &str| conn.prepare_cached(query)?.query_row([], |row| row.get(0)).map(uint);
    let pages = pragma("PRAGMA page_count")?.saturating_sub(pragma("PRAGMA freelist_count")?);
    Ok(pages.saturating_mul(pragma("PRAGMA page_size")?) >= max)
}

impl Store {
    /// Why nothing more of `conversation` is taken from `peer` now; `None` if it is.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn exceeded(
        &self,
        peer: PeerId,
        conversation: ConversationId,
    ) -> Result<Option<Quota>, StoreError> {
        let me = self.me();
        self.read(move |conn| {
            let mut quotas = Quotas::new(conn, me)?;
            match conversations::entry_towards(conn, conversation, peer)? {
                Some(entry) => quotas.exceeded(conn, entry.row),
                None => quotas.full(conn),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
