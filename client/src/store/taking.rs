//! Messages that come in, on their way into the database.

use std::collections::VecDeque;

use bytes::Bytes;
use common::identity::PeerId;
use rusqlite::Connection;

use super::error::StoreError;
use super::intake::{self, Ingested};
use super::writer::Answer;
use super::{Store, blocking};

/// Messages that are taken in without a user getting their turn in between.
const PIECE: usize = 32;

/// Messages that were checked and wait for their commit, in pieces.
#[derive(Debug)]
pub struct Taking {
    pieces: VecDeque<Answer<Vec<Ingested>>>,
    committed: Vec<Ingested>,
}

impl Taking {
    /// Waits for the commit; the results are in the order of the messages. Whoever stops waiting can begin again.
    ///
    /// # Errors
    /// [`StoreError`]; the first messages may have been kept then. A message that is wrong is no error but an outcome.
    pub async fn committed(&mut self) -> Result<Vec<Ingested>, StoreError> {
        while let Some(piece) = self.pieces.front_mut() {
            let results = piece.await.map_err(|_| StoreError::Closed);
            self.pieces.pop_front();
            self.committed.extend(results??);
        }
        Ok(std::mem::take(&mut self.committed))
    }
}

impl Store {
    /// Takes in messages that `bearer` handed over, behind whatever users wait for; the results are in the same order.
    ///
    /// # Errors
    /// See [`Taking::committed`].
    pub async fn ingest(
        &self,
        bearer: PeerId,
        messages: Vec<Bytes>,
        received_ms: u64,
    ) -> Result<Vec<Ingested>, StoreError> {
        self.begin_ingest(bearer, messages, received_ms).await?.committed().await
    }

    /// Checks messages that `bearer` handed over, and queues them behind whatever users wait for.
    ///
    /// # Errors
    /// [`StoreError`] if the store is closed.
    pub async fn begin_ingest(
        &self,
        bearer: PeerId,
        messages: Vec<Bytes>,
        received_ms: u64,
    ) -> Result<Taking, StoreError> {
        let me = self.me();
        let writer = self.writer()?;
        let mut checked = blocking(move || Ok(intake::check(messages))).await?.into_iter();
        let mut taking = Taking { pieces: VecDeque::new(), committed: Vec::with_capacity(checked.len()) };
        while checked.len() > 0 {
            let piece: Vec<_> = checked.by_ref().take(PIECE).collect();
            let this = self.clone();
            let announce = move |results: &Vec<Ingested>| {
                let newest = results.iter().flat_map(|result| &result.delivered).map(|row| row.arrival).max();
                if let Some(newest) = newest {
                    this.inner.newest.send_replace(newest);
                }
            };
            let take_in = move |conn: &Connection| intake::take_in(conn, me, bearer, &piece, received_ms);
            taking.pieces.push_back(writer.enqueue(PIECE, take_in, announce).await?);
        }
        Ok(taking)
    }
}
