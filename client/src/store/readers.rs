//! The connections that read, beside the one that writes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::StoreError;
use super::open::{BUSY_TIMEOUT, stable_plans};
use super::sql::execute;

/// Connections that read at the same time; more readers wait.
const MAX_READERS: usize = 4;
/// Page cache of each reading connection, in KiB.
const CACHE_KIB: i64 = 1024;

/// A pool of reading connections, opened when they are first needed.
#[derive(Clone)]
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_READERS));
        Self { path: path.to_owned(), permits, idle: Arc::default() }
    }

    /// Runs `query` on a reading connection: all of its statements see the same state, with everything that was committed
    /// before.
    pub(super) async fn read<T, Q>(&self, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.lend(|conn| at_one_moment(conn, query)).await
    }

    /// Lends a reading connection to `work`.
    pub(super) async fn lend<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let this = self.clone();
        let task = spawn_blocking(move || {
            let idle = this.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = idle.map_or_else(|| connect(&this.path), Ok)?;
            let result = work(&conn);
            if conn.is_autocommit() && !this.permits.is_closed() {
                this.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            }
            drop(permit);
            result
        });
        task.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends the pool: later reads are refused, running ones finish.
    pub(super) async fn close(&self) {
        let max = u32::try_from(MAX_READERS).unwrap_or(u32::MAX);
        let all = Arc::clone(&self.permits).acquire_many_owned(max).await;
        self.permits.close();
        drop(all);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Runs `query` inside a transaction, for which the locks are taken once.
fn at_one_moment<T>(
    conn: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    execute(conn, "BEGIN")?;
    let result = query(conn);
    // After some errors there is no transaction any more.
    if !conn.is_autocommit() {
        execute(conn, "COMMIT")?;
    }
    result
}

/// Opens a reading connection.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| StoreError::opening(path, &error))?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    stable_plans(&conn)?;
    Ok(conn)
}
