//! Names on the disk: one `SQLite` database in the data directory, and a task that writes what the core decides, many
//! changes in one transaction. Nothing else of anybody is in it.

use std::path::Path;

use common::control::Names as Answer;
use common::identity::PeerId;
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::connection::Input;
use crate::core::{ConnId, NameChange, NameRow};

/// Name of the database in the data directory.
pub const FILE_NAME: &str = "names.db";
/// Changes that wait for the disk; what is beyond is refused.
const QUEUE_LEN: usize = 1024;
/// Requests that one transaction takes.
const MAX_BATCH: usize = 256;
/// `SQLite`'s mark in the file that says whose database it is: "Hbnn".
const APPLICATION_ID: i64 = 0x4862_6e6e;
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE names (
    name TEXT NOT NULL PRIMARY KEY,
    peer BLOB NOT NULL CHECK (length(peer) = 32),
    listed INTEGER NOT NULL,
    -- The last day on which its owner was here, counted from 1970-01-01.
    day INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// Changes to be kept, and who is told.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) changes: Vec<NameChange>,
    pub(super) answer: Option<(ConnId, Answer)>,
}

/// Why names cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The file is something else, or of a newer version.
    #[error("it is no database of names of this version; move it away to begin without names")]
    Foreign,
    /// `SQLite` cannot use it.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Opens the database, or makes it for its owner alone; returns all names that are in it.
pub(super) fn open(path: &Path) -> Result<(Connection, Vec<NameRow>), NamesError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    let number = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    match (number("user_version")?, number("application_id")?) {
        (0, 0) => {
            let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
            conn.execute_batch(&format!("BEGIN EXCLUSIVE; {SCHEMA} {marks} COMMIT;"))?;
        }
        (VERSION, APPLICATION_ID) => {}
        _ => return Err(NamesError::Foreign),
    }
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "full")?;
    let mut query = conn.prepare("SELECT name, peer, listed, day FROM names")?;
    let row = |row: &rusqlite::Row<'_>| {
        let peer = PeerId::from_bytes(row.get(1)?);
        Ok(NameRow { name: row.get(0)?, peer, listed: row.get(2)?, day: row.get(3)? })
    };
    let rows = query.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
    drop(query);
    Ok((conn, rows))
}

fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A queue to [`run`].
pub(super) fn queue() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(QUEUE_LEN)
}

/// Writes what is queued until nobody can queue more, and reports each request to the hub. Without a database names last
/// as long as the server.
pub(super) async fn run(
    mut conn: Option<Connection>,
    mut requests: mpsc::Receiver<Request>,
    hub: mpsc::Sender<Input>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while requests.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let mut is_saved = true;
        if let Some(writer) = conn.take() {
            let taken = std::mem::take(&mut batch);
            let write = move || {
                let written = write(&writer, &taken);
                (writer, taken, written)
            };
            let Ok((writer, taken, written)) = spawn_blocking(write).await else { return };
            (conn, batch) = (Some(writer), taken);
            if let Err(error) = written {
                warn!(%error, "names could not be kept");
                is_saved = false;
            }
        }
        for Request { changes, answer } in batch.drain(..) {
            // At the end nobody listens any more.
            let _ = hub.send(Input::Saved { changes, answer, is_saved }).await;
        }
    }
}

fn write(conn: &Connection, requests: &[Request]) -> rusqlite::Result<()> {
    let transaction = conn.unchecked_transaction()?;
    for change in requests.iter().flat_map(|request| &request.changes) {
        match change {
            NameChange::Keep(NameRow { name, peer, listed, day }) => transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO names (name, peer, listed, day) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![name, peer.as_bytes(), listed, day])?,
            NameChange::Forget(name) => {
                transaction.prepare_cached("DELETE FROM names WHERE name = ?1")?.execute(params![name])?
            }
        };
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, day: u32) -> NameRow {
        NameRow { name: name.to_owned(), peer: PeerId::from_bytes([1; 32]), listed: day > 1, day }
    }

    #[test]
    fn names_come_back_after_a_restart_and_foreign_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (conn, none) = open(&path).unwrap();
        assert_eq!(none, []);
        let keep = |row| NameChange::Keep(row);
        let changes = vec![keep(row("anna", 1)), keep(row("bert", 1)), keep(row("anna", 2))];
        let requests = [
            Request { changes, answer: None },
            Request { changes: vec![NameChange::Forget("bert".to_owned())], answer: None },
        ];
        write(&conn, &requests).unwrap();
        drop(conn);
        assert_eq!(open(&path).unwrap().1, [row("anna", 2)]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = dir.path().join("other");
        Connection::open(&other).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
        assert!(matches!(open(&other), Err(NamesError::Foreign)));
    }
}
