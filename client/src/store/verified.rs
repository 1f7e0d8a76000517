//! Whose keys this user has compared.

use std::collections::BTreeMap;

use common::identity::PeerId;
use rusqlite::{Connection, params};

use super::Store;
use super::error::StoreError;
use super::sql::{int, peer, rows, run, uint};

fn verified(conn: &Connection) -> Result<BTreeMap<PeerId, u64>, StoreError> {
    let query = conn.prepare_cached("SELECT peer, at_ms FROM verified")?;
    let all = rows(query, [], |row| Ok((peer(row, 0)?, uint(row.get(1)?))))?;
    Ok(all.into_iter().collect())
}

impl Store {
    /// Whose keys were compared, and when, in Unix milliseconds.
    ///
    /// # Errors
    /// See [`Store::outbox`].
    pub async fn verified(&self) -> Result<BTreeMap<PeerId, u64>, StoreError> {
        self.read(verified).await
    }

    /// The user has compared the key of `peer` at `at_ms`; `None` takes that back.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn set_verified(&self, peer: PeerId, at_ms: Option<u64>) -> Result<(), StoreError> {
        self.write(move |conn| {
            let key = peer.as_bytes();
            match at_ms {
                Some(at_ms) => run(
                    conn,
                    "INSERT INTO verified (peer, at_ms) VALUES (?1, ?2)
                     ON CONFLICT (peer) DO UPDATE SET at_ms = ?2",
                    params![key, int(at_ms)],
                ),
                None => run(conn, "DELETE FROM verified WHERE peer = ?1", params![key]),
            }
            .map(drop)
        })
        .await
    }
}
