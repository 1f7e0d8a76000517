//! Names on servers, and the keys that were found first under them.

use common::identity::PeerId;
use rusqlite::{OptionalExtension, params};

use super::Store;
use super::contacts;
use super::error::StoreError;
use super::sql::{int, limit, peer, run};

/// Names that are remembered; the oldest are forgotten.
const MAX_PINNED: usize = 1000;

impl Store {
    /// Remembers whose `name` is at `server`, unless that is known, or `renew`; says whose it counts as.
    ///
    /// # Errors
    /// See [`Store::meet`].
    pub async fn pin_name(
        &self,
        server: &str,
        name: &str,
        found: PeerId,
        now_ms: u64,
        renew: bool,
    ) -> Result<PeerId, StoreError> {
        let (server, name) = (contacts::key(server), name.to_owned());
        self.write(move |conn| {
            let known = conn
                .prepare_cached("SELECT peer FROM found_names WHERE server = ?1 AND name = ?2")?
                .query_row(params![server, name], |row| peer(row, 0))
                .optional()?;
            if let Some(known) = known.filter(|_| !renew) {
                return Ok(known);
            }
            run(
                conn,
                "DELETE FROM found_names WHERE (server, name) NOT IN
                    (SELECT server, name FROM found_names ORDER BY found_ms DESC LIMIT ?1)",
                params![limit(MAX_PINNED - 1)],
            )?;
            run(
                conn,
                "INSERT INTO found_names (server, name, peer, found_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (server, name) DO UPDATE SET peer = ?3, found_ms = ?4",
                params![server, name, found.as_bytes(), int(now_ms)],
            )?;
            Ok(found)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use common::identity::Identity;

    use super::*;

    #[tokio::test]
    async fn the_first_key_stays_until_the_user_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let [me, a, b] = [1, 2, 3].map(|seed| Identity::from_seed([seed; 32]).peer_id());
        let store = Store::open(&dir.path().join("db"), me).await.unwrap();
        let pin =
            async |name: &str, peer, at, renew| store.pin_name("h:1", name, peer, at, renew).await.unwrap();
        assert_eq!([pin("anna", a, 1, false).await, pin("anna", b, 2, false).await], [a, a]);
        assert_eq!([pin("anna", b, 3, true).await, pin("anna", a, 4, false).await], [b, b]);
        for number in 0..MAX_PINNED as u64 {
            pin(&format!("n{number}"), a, 10 + number, false).await;
        }
        assert_eq!(pin("anna", a, 5000, false).await, a, "forgotten among a thousand newer ones");
    }
}
