//! Opening the database: what it must look like, its set-up, and its migrations.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::identity::PeerId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::backup;
use super::error::StoreError;
use super::readers;

/// `SQLite`'s mark in the file that says whose database it is: "Hbnb".
const APPLICATION_ID: i64 = 0x4862_6e62;
/// How long to wait for a lock that some other program holds on the file, such as a backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Compiled statements that the writing connection keeps.
const CACHED_STATEMENTS: usize = 128;
/// Pages in the write-ahead log before they move to the main file.
const CHECKPOINT_PAGES: i64 = 4000;
/// Largest database that is checked through and through when it is opened: that takes a few milliseconds.
const MAX_CHECKED_LEN: u64 = 4 * 1024 * 1024;
/// Page cache of the writing connection, in KiB.
const CACHE_KIB: i64 = 16 * 1024;

/// One script a schema version; the first makes version 1. A script that was released never changes.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_search.sql"),
    include_str!("migrations/0003_rooms.sql"),
    include_str!("migrations/0004_meeting.sql"),
    include_str!("migrations/0005_stances.sql"),
    include_str!("migrations/0006_quotas.sql"),
    include_str!("migrations/0007_shares.sql"),
    include_str!("migrations/0008_search_merges.sql"),
];

/// Name of the setting that says whose database it is.
const OWNER: &str = "identity";

/// Opens the database for writing, makes or migrates it, and claims it for `me`.
pub(super) fn open(path: &Path, me: PeerId, migrations: &[&str]) -> Result<Connection, StoreError> {
    make_private(path)?;
    let conn = connect(path)?;
    let version = check(&conn, path, migrations)?;
    set_up(&conn)?;
    migrate(&conn, path, version, migrations)?;
    claim(&conn, me)?;
    Ok(conn)
}

/// A connection that may write, to a file that is there.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| StoreError::opening(path, &error))?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// Opens an existing database for reading; says whose it is.
pub(super) fn open_read_only(path: &Path, migrations: &[&str]) -> Result<(Connection, PeerId), StoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Missing(path.to_owned())),
        Err(error) => return Err(StoreError::Io(format!("{}: {error}", path.display()))),
    }
    let conn = readers::connect(path)?;
    let version = check(&conn, path, migrations)?;
    if version == 0 {
        return Err(StoreError::Missing(path.to_owned()));
    }
    if version < known(migrations) {
        return Err(StoreError::Older { found: version });
    }
    let owner = owner(&conn)?.and_then(|text| text.parse().ok());
    let owner = owner.ok_or_else(|| StoreError::Damaged("it does not say whose it is".to_owned()))?;
    Ok((conn, owner))
}

fn known(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// Creates an empty file that only its owner can read, if there is none; `SQLite` gives its log the same mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(StoreError::Full),
        Err(error) => Err(StoreError::Io(format!("{}: {error}", path.display()))),
    }
}

/// Looks at a database without changing it; returns its schema version, 0 for an empty one.
fn check(conn: &Connection, path: &Path, migrations: &[&str]) -> Result<i64, StoreError> {
    let opening = |error: rusqlite::Error| StoreError::opening(path, &error);
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(opening)?;
    let application: i64 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(opening)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(opening)?;
    if version == 0 && tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID || version <= 0 {
        let reason = "another program's database".to_owned();
        return Err(StoreError::Foreign { path: path.to_owned(), reason });
    }
    let known = known(migrations);
    if version > known {
        return Err(StoreError::Newer { found: version, known });
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_CHECKED_LEN) {
        let verdict: String =
            conn.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(opening)?;
        if verdict != "ok" {
            return Err(StoreError::Damaged(verdict));
        }
    }
    Ok(version)
}

fn set_up(conn: &Connection) -> Result<(), StoreError> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Io(format!("the file system does not allow a write-ahead log ({mode})")));
    }
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What a savepoint needs for going back would be written to a file of its own.
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    stable_plans(conn)?;
    Ok(())
}

/// Keeps compiled statements: otherwise some are compiled again whenever their parameters change.
pub(super) fn stable_plans(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &Connection, path: &Path, version: i64, migrations: &[&str]) -> Result<(), StoreError> {
    if version > 0 && version < known(migrations) {
        snapshot(conn, path, version)?;
    }
    let done = usize::try_from(version).unwrap_or(0);
    for (number, script) in (1_i64..).zip(migrations).skip(done) {
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};");
        let migrated = conn.execute_batch(&format!("BEGIN EXCLUSIVE; {script}; {marks} COMMIT;"));
        if let Err(error) = migrated {
            if !conn.is_autocommit() {
                conn.execute_batch("ROLLBACK")?;
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// Where the copy of a database lies that was made before it left schema `version`.
pub(super) fn snapshot_path(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    PathBuf::from(name)
}

/// Copies the database as it is; an earlier copy of the same schema stays until the new one is whole.
fn snapshot(conn: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Io(format!("copying the database before its migration: {error}")),
    };
    let target = snapshot_path(path, version);
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => make_private(&unfinished)?,
    }
    backup::copy(conn, &unfinished)?;
    std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&unfinished, &target).map_err(io)
}

fn owner(conn: &Connection) -> Result<Option<String>, StoreError> {
    let query = "SELECT value FROM settings WHERE name = ?1";
    Ok(conn.query_row(query, params![OWNER], |row| row.get(0)).optional()?)
}

fn claim(conn: &Connection, me: PeerId) -> Result<(), StoreError> {
    match owner(conn)? {
        Some(owner) if owner == me.to_string() => Ok(()),
        Some(owner) => Err(StoreError::WrongIdentity { owner, me }),
        None => {
            conn.execute(
                "INSERT INTO settings (name, value) VALUES (?1, ?2)",
                params![OWNER, me.to_string()],
            )?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
