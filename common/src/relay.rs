//! Relayed packets: one sealed packet of two peers' QUIC connection, in a QUIC datagram of each one's connection
//! to the server (`docs/protocol.md` §4.4).
//!
//! ```text
//! +---------------------------+--------------+=================+
//! | kind 2 | ecn 2 | number 4 | session 8 BE | packet or a half |
//! +---------------------------+--------------+=================+
//! ```
//!
//! The outer connection carries about 1,160 bytes before it has discovered the path's MTU, the inner one sends
//! 1,200 at once (RFC 9000 §14.1): a packet that does not fit travels in two halves, which `number` keeps
//! together.

use bytes::{Bytes, BytesMut};

use crate::control::SessionId;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 9;
/// The largest relay frame. A frame goes on over another connection than it came in on, whose path may not carry
/// more than QUIC's smallest packets (1,162 bytes of datagram), whatever the sender's own path has been found to
/// carry; the server does not cut frames up.
pub const MAX_FRAME_LEN: usize = HEADER_LEN + 1100;
/// The largest packet that the relay carries: two halves, each in a frame of the largest size.
pub const MAX_PACKET_LEN: usize = 2 * (MAX_FRAME_LEN - HEADER_LEN);
/// Congestion window in bytes with which both ends of a connection to the server begin: 20 Mbit/s over 50 ms. What it
/// carries is held back by the peers' own controllers already, from ten packets up; with a second slow start below the
/// first a transfer crawled for seconds, and one loss during the handshake made that last for minutes.
pub const FIRST_WINDOW: u64 = 128 << 10;
/// First halves that wait for their second; an older one is dropped.
const MAX_WAITING: usize = 8;

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// The two ECN bits of an IP header (RFC 3168 §5), carried through the relay.
pub type EcnBits = u8;

/// The session that a relay frame belongs to; `None` if it is too short or of an unknown kind.
#[must_use]
pub fn session(frame: &[u8]) -> Option<SessionId> {
    let (head, rest) = frame.split_first()?;
    let id = rest.first_chunk::<8>()?;
    (head >> 6 <= SECOND && rest.len() > 8).then(|| SessionId(u64::from_be_bytes(*id)))
}

/// Puts packets into relay frames.
#[derive(Debug, Default)]
pub struct Wrapper {
    next_number: u8,
}

impl Wrapper {
    /// The frames for `packet`, each at most `max_frame` bytes and never more than [`MAX_FRAME_LEN`]: one, two, or
    /// none if it does not fit in two.
    pub fn wrap(
        &mut self,
        session: SessionId,
        ecn: EcnBits,
        packet: &[u8],
        max_frame: usize,
    ) -> impl Iterator<Item = Bytes> + use<> {
        let room = max_frame.min(MAX_FRAME_LEN).saturating_sub(HEADER_LEN);
        let halves = if packet.len() <= room {
            [Some(frame(WHOLE, ecn, 0, session, packet)), None]
        } else if packet.len() <= 2 * room {
            let number = self.next_number;
            self.next_number = (number + 1) & 0x0f;
            let (first, second) = packet.split_at(packet.len().div_ceil(2));
            [
                Some(frame(FIRST, ecn, number, session, first)),
                Some(frame(SECOND, ecn, number, session, second)),
            ]
        } else {
            [None, None]
        };
        halves.into_iter().flatten()
    }
}

fn frame(kind: u8, ecn: EcnBits, number: u8, session: SessionId, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_LEN + payload.len());
    bytes.extend_from_slice(&[kind << 6 | (ecn & 3) << 4 | number & 0x0f]);
    bytes.extend_from_slice(&session.0.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// A packet that came over the relay.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// The introduction it belongs to.
    pub session: SessionId,
    /// Its ECN bits.
    pub ecn: EcnBits,
    /// The packet of the inner connection.
    pub packet: Bytes,
}

/// Takes packets out of relay frames and joins halves, in whatever order they come.
#[derive(Debug, Default)]
pub struct Unwrapper {
    waiting: Vec<Half>,
}

#[derive(Debug)]
struct Half {
    session: SessionId,
    number: u8,
    kind: u8,
    payload: Bytes,
}

impl Unwrapper {
    /// The packet that `frame` completes; `None` if it is a half whose other half is missing, or no relay frame.
    pub fn unwrap(&mut self, frame: &Bytes) -> Option<Unwrapped> {
        let session = session(frame)?;
        let (kind, ecn, number) = (frame[0] >> 6, frame[0] >> 4 & 3, frame[0] & 0x0f);
        let payload = frame.slice(HEADER_LEN..);
        if kind == WHOLE {
            return Some(Unwrapped { session, ecn, packet: payload });
        }
        let twin = self.waiting.iter().position(|half| half.session == session && half.number == number);
        let Some(twin) = twin else {
            self.wait(Half { session, number, kind, payload });
            return None;
        };
        let half = self.waiting.remove(twin);
        if half.kind == kind {
            // The same half of a later packet with the same number: the older one's twin was lost.
            self.wait(Half { session, number, kind, payload });
            return None;
        }
        let (first, second) = if kind == FIRST { (payload, half.payload) } else { (half.payload, payload) };
        let packet = [first, second].concat().into();
        Some(Unwrapped { session, ecn, packet })
    }

    fn wait(&mut self, half: Half) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push(half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(0x0102_0304_0506_0708);

    fn round_trip(len: usize, max_frame: usize, swap: bool) -> Option<Unwrapped> {
        let packet: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut frames: Vec<_> = Wrapper::default().wrap(SESSION, 2, &packet, max_frame).collect();
        assert!(
            frames.iter().all(|f| f.len() <= max_frame.min(MAX_FRAME_LEN) && session(f) == Some(SESSION))
        );
        if swap {
            frames.reverse();
        }
        let mut unwrapper = Unwrapper::default();
        let out = frames.iter().filter_map(|f| unwrapper.unwrap(f)).next()?;
        assert_eq!(out.packet, packet);
        Some(out)
    }

    #[test]
    fn whole_and_halved_packets_come_back() {
        assert_eq!(round_trip(1100, 1162, false).unwrap().ecn, 2);
        assert_eq!(round_trip(1200, 1162, false).unwrap().session, SESSION);
        assert!(round_trip(1201, 1162, true).is_some());
        assert!(round_trip(MAX_PACKET_LEN, 1162, false).is_some());
        assert!(round_trip(2400, 1162, false).is_none());
        assert!(round_trip(1200, 1400, true).is_some(), "in frames that every path carries");
    }

    #[test]
    fn lost_halves_do_not_pile_up_or_mix() {
        let mut wrapper = Wrapper::default();
        let mut unwrapper = Unwrapper::default();
        for i in 0..100u8 {
            let first = wrapper.wrap(SESSION, 0, &[i; 1200], 1162).next().unwrap();
            assert_eq!(unwrapper.unwrap(&first), None);
            assert!(unwrapper.waiting.len() <= MAX_WAITING);
        }
        let both: Vec<_> = wrapper.wrap(SESSION, 0, &[7; 1200], 1162).collect();
        assert_eq!(unwrapper.unwrap(&both[0]), None);
        assert_eq!(unwrapper.unwrap(&both[1]).unwrap().packet, vec![7; 1200]);
    }

    #[test]
    fn garbage_is_not_a_frame() {
        let mut unwrapper = Unwrapper::default();
        assert_eq!(unwrapper.unwrap(&Bytes::from_static(b"")), None);
        assert_eq!(unwrapper.unwrap(&Bytes::from_static(&[0; HEADER_LEN])), None);
        assert_eq!(unwrapper.unwrap(&Bytes::from_static(&[0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 1])), None);
    }
}
