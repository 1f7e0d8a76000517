//! Folding the write-ahead log into the file, beside the writer.
//!
//! A connection of its own copies what the log has while the writer goes on. What was written meanwhile is little; the writer
//! copies that itself, between two commits, so that the log begins anew.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::StoreError;
use super::open;

/// The connection that folds, opened when it is first needed.
pub(super) struct Folder {
    path: PathBuf,
    conn: Option<Connection>,
    under_way: Option<JoinHandle<Option<Connection>>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), conn: None, under_way: None }
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.under_way.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Begins to fold what is there now; nothing else may be under way.
    pub(super) fn begin(&mut self) {
        let (path, conn) = (self.path.clone(), self.conn.take());
        self.under_way = Some(spawn_blocking(move || {
            let conn = conn.map_or_else(|| open::connect(&path), Ok);
            match conn.and_then(|conn| fold(&conn).map(|()| conn)) {
                Ok(conn) => Some(conn),
                Err(error) => {
                    tracing::warn!(%error, "the write-ahead log stays as it is");
                    None
                }
            }
        }));
    }

    /// Waits until what is under way is done. Whoever stops waiting can begin again.
    pub(super) async fn done(&mut self) {
        if let Some(task) = self.under_way.as_mut() {
            let ended = task.await;
            self.under_way = None;
            self.conn = ended.ok().flatten();
        }
    }

    /// Closes the connection, after what is under way.
    pub(super) async fn close(mut self) {
        self.done().await;
    }
}

/// Folds the write-ahead log into the file, as far as nobody reads from it.
pub(super) fn fold(conn: &Connection) -> Result<(), StoreError> {
    Ok(conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}
