//! Round trips as people ask for them: a datagram to the peer (RFC 9221) that it sends back, over whatever path packets
//! take (`docs/protocol.md` §6.5). It may be lost like any packet, and nothing waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::traversal::Allowance;
use quinn::{Connection, SendDatagramError};
use tokio::sync::{mpsc, oneshot};

use crate::net::{PathChange, now};

/// Length of every datagram: what it is, and a number that the answer repeats.
const LEN: usize = 1 + 8;
/// Requests of a peer that are answered at once ...
pub const ANSWER_BURST: u32 = 100;
/// ... and after those one in this time; the rest are dropped.
pub const ANSWER_INTERVAL: Duration = Duration::from_millis(10);
/// Answers that are waited for at the same time; the oldest gives way.
const MAX_WAITING: usize = 512;
/// Wishes to ask that wait.
pub(super) const MAX_WISHES: usize = 64;
/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// A datagram between peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// Is to be sent back.
    Request(u64),
    /// Comes back.
    Answer(u64),
}

impl Echo {
    /// As it travels.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        let (kind, number) = match self {
            Self::Request(number) => (1, number),
            Self::Answer(number) => (2, number),
        };
        let mut bytes = [kind; LEN];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        Bytes::copy_from_slice(&bytes)
    }

    /// `None` for what this version does not know.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let [kind, number @ ..] = <&[u8; LEN]>::try_from(datagram).ok()?;
        let number = u64::from_be_bytes(*number);
        match kind {
            1 => Some(Self::Request(number)),
            2 => Some(Self::Answer(number)),
            _ => None,
        }
    }
}

/// A round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// How long it took.
    pub rtt: Duration,
    /// The path that packets took when the answer came.
    pub path: Option<PathChange>,
}

/// Why there is no round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// There is no connection.
    #[error("not connected")]
    NotConnected,
    /// The peer's client is too old.
    #[error("their client does not answer pings; it is older")]
    Unsupported,
    /// No answer came.
    #[error("no answer")]
    Lost,
}

/// Who waits for an answer.
pub(super) type Wish = oneshot::Sender<Result<Duration, PingError>>;

/// Asks over the connection that `wishes` leads to and waits for the answer.
pub(super) async fn ask(wishes: &mpsc::Sender<Wish>) -> Result<Duration, PingError> {
    let (wish, answer) = oneshot::channel();
    wishes.send(wish).await.map_err(|_| PingError::NotConnected)?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(PingError::Lost),
    }
}

/// What is waited for on one connection, and how much is answered.
#[derive(Debug)]
struct Echoes {
    waiting: VecDeque<(u64, Instant, Wish)>,
    answers: Allowance,
}

impl Echoes {
    const fn new() -> Self {
        Self { waiting: VecDeque::new(), answers: Allowance::new(ANSWER_BURST, ANSWER_INTERVAL) }
    }

    /// Somebody wants to know. `number` must not be foreseeable, or the peer could answer before it is asked.
    fn handle_wish(&mut self, now: Instant, number: u64, wish: Wish) -> Bytes {
        self.waiting.retain(|(_, _, wish)| !wish.is_closed());
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((number, now, wish));
        Echo::Request(number).to_bytes()
    }

    /// A datagram has come; returns the answer to it.
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Bytes> {
        match Echo::parse(datagram)? {
            Echo::Request(number) => self.answers.take(now).then(|| Echo::Answer(number).to_bytes()),
            Echo::Answer(number) => {
                let place = self.waiting.iter().position(|(waiting, ..)| *waiting == number)?;
                let (_, sent, wish) = self.waiting.remove(place)?;
                // Whoever asked may have had enough.
                let _ = wish.send(Ok(now.saturating_duration_since(sent)));
                None
            }
        }
    }

    /// The datagram of the newest wish cannot be sent.
    fn refuse(&mut self, error: PingError) {
        if let Some((_, _, wish)) = self.waiting.pop_back() {
            let _ = wish.send(Err(error));
        }
    }
}

/// Answers the peer's requests and makes ours, until the connection ends.
pub(super) async fn serve(connection: &Connection, wishes: &mut mpsc::Receiver<Wish>) {
    let mut echoes = Echoes::new();
    loop {
        tokio::select! {
            Some(wish) = wishes.recv() => {
                let datagram = echoes.handle_wish(now(), rand::random(), wish);
                match connection.send_datagram(datagram) {
                    Ok(()) => {}
                    Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => {
                        echoes.refuse(PingError::Unsupported);
                    }
                    Err(_) => echoes.refuse(PingError::NotConnected),
                }
            }
            datagram = connection.read_datagram() => match datagram {
                Ok(datagram) => {
                    if let Some(answer) = echoes.handle_datagram(now(), &datagram) {
                        // A lost answer is what the other side wants to learn of.
                        let _ = connection.send_datagram(answer);
                    }
                }
                Err(_) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_what_they_were() {
        for echo in [Echo::Request(7), Echo::Answer(u64::MAX)] {
            assert_eq!(Echo::parse(&echo.to_bytes()), Some(echo));
        }
        for wrong in [&[][..], &[1; LEN - 1], &[1; LEN + 1], &[3; LEN]] {
            assert_eq!(Echo::parse(wrong), None);
        }
    }

    #[test]
    fn answers_find_whoever_asked_and_nobody_else() {
        let (start, mut echoes) = (now(), Echoes::new());
        let (wish, mut answer) = oneshot::channel();
        let request = echoes.handle_wish(start, 7, wish);
        let mut peer = Echoes::new();
        let back = peer.handle_datagram(start, &request).unwrap();
        assert_eq!(echoes.handle_datagram(start, &Echo::Answer(8).to_bytes()), None);
        answer.try_recv().unwrap_err();
        assert_eq!(echoes.handle_datagram(start + Duration::from_millis(80), &back), None);
        assert_eq!(answer.try_recv(), Ok(Ok(Duration::from_millis(80))));
        assert!(echoes.waiting.is_empty());
    }

    #[test]
    fn a_peer_that_asks_too_much_is_not_answered() {
        let (start, mut echoes) = (now(), Echoes::new());
        let request = Echo::Request(1).to_bytes();
        let mut count = |at| (0..1_000).filter(|_| echoes.handle_datagram(at, &request).is_some()).count();
        assert_eq!(count(start), 100);
        assert_eq!(count(start + Duration::from_millis(200)), 20);
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let (start, mut echoes) = (now(), Echoes::new());
        let mut answers = Vec::new();
        for number in 0..2_000 {
            let (wish, answer) = oneshot::channel();
            answers.push(answer);
            echoes.handle_wish(start, number, wish);
        }
        assert_eq!(echoes.waiting.len(), MAX_WAITING);
        drop(answers);
        let (wish, _answer) = oneshot::channel();
        echoes.handle_wish(start, 1, wish);
        assert_eq!(echoes.waiting.len(), 1, "whoever has gone is not waited for");
    }
}
