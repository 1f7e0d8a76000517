//! One long transfer over a stream, verified byte for byte, with a record of when how much had arrived.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quinn::Connection;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::world::now;

/// The contents repeat after this many bytes: a prime, so that no packet or window size hides a shift.
const PERIOD: usize = 65_521;
/// The grain of tokio's clock, twice.
const TICK: Duration = Duration::from_millis(2);
/// Bytes written at once.
const WRITE: usize = 64 << 10;

/// When how many bytes had been read, in order and without a gap.
#[derive(Debug, Clone)]
pub(super) struct Record {
    start: Instant,
    arrivals: Arc<Mutex<Vec<(Duration, u64)>>>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { start: now(), arrivals: Arc::default() }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn note(&self, total: u64) {
        let at = self.elapsed();
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((at, total));
    }

    /// Bytes that had arrived by `at`.
    pub(super) fn total_at(&self, at: Duration) -> u64 {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let place = arrivals.partition_point(|(when, _)| *when <= at);
        place.checked_sub(1).map_or(0, |last| arrivals[last].1)
    }

    /// Mean rate in Mbit/s between two times.
    pub(super) fn rate(&self, from: Duration, to: Duration) -> f64 {
        let bytes = self.total_at(to) - self.total_at(from);
        bytes as f64 * 8.0 / (to - from).as_secs_f64() / 1e6
    }

    /// Rates in consecutive bins of `bin` from `from` on.
    pub(super) fn bins(&self, from: Duration, bin: Duration, count: u32) -> Vec<f64> {
        (0..count).map(|n| self.rate(from + bin * n, from + bin * (n + 1))).collect()
    }

    /// How long after `at` nothing new arrived; for ever if nothing did.
    pub(super) fn silence_after(&self, at: Duration) -> Duration {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        // What had arrived may be read a tick of the clock later.
        let next = arrivals.iter().map(|(when, _)| *when).find(|when| *when > at + TICK);
        next.map_or(Duration::MAX, |next| next - at)
    }

    /// The longest time without anything new between `from` and `to`.
    pub(super) fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let within = arrivals.iter().map(|(at, _)| *at).filter(|at| (from..=to).contains(at));
        let times: Vec<_> = std::iter::once(from).chain(within).chain([to]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// A block whose bytes at `offset` can be had as one slice, for up to [`WRITE`] bytes.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Self {
        let byte = |at: usize| {
            let at = at % PERIOD;
            at.wrapping_mul(31).wrapping_add(at >> 7).to_le_bytes()[0]
        };
        Self((0..PERIOD + WRITE).map(byte).collect())
    }

    fn at(&self, offset: u64, len: usize) -> &[u8] {
        let start = usize::try_from(offset % PERIOD as u64).expect("less than the period");
        &self.0[start..start + len]
    }
}

/// Writes until `stop` is true, then ends the stream; returns how much it was.
pub(super) async fn write(connection: Connection, stop: watch::Receiver<bool>) -> anyhow::Result<u64> {
    let pattern = Pattern::new();
    let (mut send, _unused) = connection.open_bi().await?;
    let mut total = 0;
    while !*stop.borrow() {
        total += send.write(pattern.at(total, WRITE)).await? as u64;
    }
    send.finish()?;
    let _ = send.stopped().await?;
    Ok(total)
}

/// Reads one stream to its end, compares and records; returns how much it was.
pub(super) async fn read(connection: Connection, record: Record) -> anyhow::Result<u64> {
    let pattern = Pattern::new();
    let (_unused, mut recv) = connection.accept_bi().await?;
    let mut total = 0;
    while let Some(chunk) = recv.read_chunk(WRITE, true).await.context("the stream broke")? {
        ensure!(chunk.offset == total, "a gap in an ordered stream");
        ensure!(*chunk.bytes == *pattern.at(total, chunk.bytes.len()), "other bytes than were sent");
        total += chunk.bytes.len() as u64;
        record.note(total);
    }
    Ok(total)
}

/// The number of the first bin whose rate is at least `rate`.
pub(super) fn reached(bins: &[f64], rate: f64) -> Option<usize> {
    bins.iter().position(|bin| *bin >= rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(arrivals: &[(u64, u64)]) -> Record {
        let record = Record { start: now(), arrivals: Arc::default() };
        *record.arrivals.lock().unwrap() =
            arrivals.iter().map(|(at, total)| (Duration::from_millis(*at), *total)).collect();
        record
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rates_and_gaps_come_from_what_arrived_when() {
        let record = record(&[(100, 1_000_000), (200, 2_000_000), (650, 2_000_001), (700, 3_000_000)]);
        assert_eq!(record.total_at(50 * MS), 0);
        assert_eq!(record.total_at(200 * MS), 2_000_000);
        assert_eq!(record.rate(100 * MS, 200 * MS).round().to_bits(), f64::to_bits(80.0));
        assert_eq!(record.bins(Duration::ZERO, 100 * MS, 3).len(), 3);
        assert_eq!(record.longest_gap(150 * MS, 700 * MS), 450 * MS);
        assert_eq!(record.silence_after(199 * MS), 451 * MS, "what comes at once was there before");
        assert_eq!(record.longest_gap(200 * MS, 600 * MS), 400 * MS, "nothing came until the end");
    }

    #[test]
    fn the_first_bin_that_is_fast_enough() {
        assert_eq!(reached(&[1.0, 7.9, 8.0, 3.0], 8.0), Some(2));
        assert_eq!(reached(&[1.0], 8.0), None);
    }
}
