//! Pings one after the other, and what they come to. Several may be under way at once: the interval need not wait for
//! the round trip.

use std::net::SocketAddr;
use std::time::Duration;

use common::identity::PeerId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::news::via_word;
use crate::engine::{Engine, PingError};

/// The shortest interval: a peer answers no faster (`docs/protocol.md` §6.5).
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// The longest one.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// The interval unless told otherwise.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Results that wait to be shown.
const QUEUE_LEN: usize = 64;

/// How to ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Between requests, in milliseconds.
    pub(super) interval_ms: u64,
    /// How many requests; `None` for no end.
    pub(super) count: Option<u64>,
}

impl Plan {
    fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pinged {
    /// Its number, from 1.
    pub(super) seq: u64,
    /// What was measured; `None` if no answer came.
    pub(super) reply: Option<Reply>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    /// The round trip in milliseconds.
    pub(super) rtt_ms: f64,
    /// The kind of path, in the words of the event `path`.
    pub(super) via: String,
    /// Where packets went; `None` for the relay.
    pub(super) remote: Option<SocketAddr>,
}

/// All results together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// The shortest, the longest, and all round trips added up, in milliseconds.
    min: f64,
    max: f64,
    sum: f64,
}

impl Tally {
    /// Counts `pinged` in.
    pub(super) fn add(&mut self, pinged: &Pinged) {
        self.sent += 1;
        let Some(Reply { rtt_ms, .. }) = pinged.reply else { return };
        self.min = if self.received == 0 { rtt_ms } else { self.min.min(rtt_ms) };
        self.max = self.max.max(rtt_ms);
        self.sum += rtt_ms;
        self.received += 1;
    }

    /// The share that was lost, from 0 to 1, in thousandths.
    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 pings")]
    pub(super) fn loss(&self) -> f64 {
        let lost = (self.sent - self.received) as f64 / self.sent.max(1) as f64;
        (lost * 1_000.0).round() / 1_000.0
    }

    /// The shortest, the average and the longest round trip in milliseconds, if there was one.
    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 pings")]
    pub(super) fn times(&self) -> Option<[f64; 3]> {
        (self.received > 0).then(|| [self.min, tenths(self.sum / self.received as f64), self.max])
    }
}

/// Tenths are what a measurement is good for.
fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

/// Pings `peer` as `plan` says, until nobody listens any more. Results come in the order in which they are known.
///
/// # Errors
/// [`PingError::NotConnected`].
pub(super) fn start(
    engine: Engine,
    peer: PeerId,
    plan: Plan,
    tasks: &mut JoinSet<()>,
) -> Result<mpsc::Receiver<Pinged>, PingError> {
    let (results, queue) = mpsc::channel(QUEUE_LEN);
    if !engine.is_connected(peer) {
        return Err(PingError::NotConnected);
    }
    tasks.spawn(async move {
        let (mut ticks, mut under_way) = (interval(plan.interval()), JoinSet::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let count = plan.count.unwrap_or(u64::MAX);
        let mut seq = 0;
        while seq < count || !under_way.is_empty() {
            tokio::select! {
                _ = ticks.tick(), if seq < count => {
                    seq += 1;
                    let engine = engine.clone();
                    under_way.spawn(async move { pinged(seq, engine.ping(peer).await) });
                }
                Some(Ok(pinged)) = under_way.join_next() => {
                    if results.send(pinged).await.is_err() {
                        return;
                    }
                }
                () = results.closed() => return,
            }
        }
    });
    Ok(queue)
}

fn pinged(seq: u64, result: Result<crate::engine::Pong, PingError>) -> Pinged {
    let reply = result.ok().map(|pong| Reply {
        rtt_ms: tenths(pong.rtt.as_secs_f64() * 1_000.0),
        via: pong.path.map_or("relay", |path| via_word(path.via)).to_owned(),
        remote: pong.path.and_then(|path| path.remote),
    });
    Pinged { seq, reply }
}

/// An interval such as `20ms`, `1s`, `0.5s`, or a number of seconds.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.trim().parse::<f64>().ok().map(|number| number * unit);
    let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval
        .filter(|interval| (MIN_INTERVAL..=MAX_INTERVAL).contains(interval))
        .ok_or_else(|| "write 20ms, 1s or the like, from 10ms to 10s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_bounded() {
        for (text, ms) in [("20ms", 20), ("1s", 1_000), ("0.5s", 500), ("2", 2_000), ("10ms", 10)] {
            assert_eq!(parse_interval(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "ms", "9ms", "11s", "-1s", "NaN", "inf", "1e99s", "x"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tally_knows_times_and_losses() {
        let mut tally = Tally::default();
        assert_eq!((tally.loss(), tally.times()), (0.0, None));
        for (seq, rtt_ms) in [(1, Some(80.0)), (2, None), (3, Some(40.0))] {
            let reply = rtt_ms.map(|rtt_ms| Reply { rtt_ms, via: "udp".to_owned(), remote: None });
            tally.add(&Pinged { seq, reply });
        }
        assert_eq!((tally.sent, tally.received, tally.loss()), (3, 2, 0.333));
        assert_eq!(tally.times(), Some([40.0, 60.0, 80.0]));
    }
}
