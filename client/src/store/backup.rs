//! A copy of the database while it is in use.

use std::path::Path;

use rusqlite::{Connection, params};

use super::error::StoreError;
use super::{Store, readers};

/// Writes what is committed into the empty file at `target`, without what is no longer used; returns how many messages
/// the copy holds, after it was checked.
pub(super) fn copy(conn: &Connection, target: &Path) -> Result<u64, StoreError> {
    // SQLite writes into an existing file if it is empty, and keeps its mode.
    conn.execute("VACUUM INTO ?1", params![target.to_string_lossy()])?;
    let copied = readers::connect(target)?;
    let verdict: String = copied.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Damaged(verdict));
    }
    Ok(copied.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).map(super::sql::uint)?)
}

impl Store {
    /// Copies the database into the empty file at `target`, also while others write to it: the copy is what was
    /// committed at one moment. Returns how many messages it holds.
    ///
    /// # Errors
    /// [`StoreError`]; the file is of no use then.
    pub async fn back_up(&self, target: &Path) -> Result<u64, StoreError> {
        let target = target.to_owned();
        self.inner.readers.lend(move |conn| copy(conn, &target)).await
    }
}
