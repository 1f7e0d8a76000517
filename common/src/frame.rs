//! The frame that all control streams use: a type, a length and a body (`docs/protocol.md` §2).
//!
//! ```text
//! +--------+----------------+=========================+
//! | type 1 | length 3 (BE)  | body: rmp-serde, named  |
//! +--------+----------------+=========================+
//! ```
//!
//! A type that a reader does not know is skipped; fields that it does not know are ignored and fields that are
//! missing take their defaults, so that both sides can grow at different times.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the body.
pub const HEADER_LEN: usize = 4;

/// Why bytes from the other side are not frames. Each of them is the other side's fault and ends the stream.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is above what this stream allows.
    #[error("a frame of {len} bytes is longer than the {max} allowed here")]
    TooLong {
        /// The announced length of the body.
        len: usize,
        /// The bound of this stream.
        max: usize,
    },
    /// The body is not what its type says.
    #[error("the body of a frame of type {kind} does not decode: {reason}")]
    Body {
        /// The type byte.
        kind: u8,
        /// What the decoder said.
        reason: String,
    },
}

/// A set of messages that travel as frames on one kind of stream.
pub trait Message: Sized {
    /// The largest body that this kind of stream allows, in bytes.
    const MAX_LEN: usize;

    /// Writes type, length and body at the end of `out`.
    fn encode(&self, out: &mut BytesMut);

    /// Reads a body; `Ok(None)` for a type that this version does not know.
    ///
    /// # Errors
    /// [`FrameError::Body`] if the body is not what the type says.
    fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, FrameError>;

    /// The message as the bytes of one frame.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Writes one frame with a serialised body; for implementations of [`Message::encode`].
///
/// # Panics
/// If `body` cannot be serialised or is longer than 2^24 - 1 bytes: both are bugs of this program, since
/// everything that is sent was bounded before.
pub fn put(out: &mut BytesMut, kind: u8, body: &impl Serialize) {
    let start = out.len();
    out.put_u8(kind);
    out.put_uint(0, 3);
    rmp_serde::encode::write_named(&mut out.writer(), body).expect("our own messages serialise into memory");
    let len = u32::try_from(out.len() - start - HEADER_LEN).expect("a frame is shorter than 4 GiB");
    assert!(len < 1 << 24, "a frame's length has three bytes");
    out[start + 1..start + HEADER_LEN].copy_from_slice(&len.to_be_bytes()[1..]);
}

/// Reads a body; for implementations of [`Message::decode`].
///
/// # Errors
/// [`FrameError::Body`] if it does not decode.
pub fn body<T: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<Option<T>, FrameError> {
    rmp_serde::from_slice(bytes)
        .map(Some)
        .map_err(|error| FrameError::Body { kind, reason: error.to_string() })
}

/// Takes the next known message out of `buffer`; `Ok(None)` if more bytes are needed.
///
/// # Errors
/// [`FrameError`] if what stands there is no frame of this stream; the stream cannot be used further.
pub fn take<M: Message>(buffer: &mut BytesMut) -> Result<Option<M>, FrameError> {
    loop {
        if buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        let kind = buffer[0];
        let len = usize::from(buffer[1]) << 16 | usize::from(buffer[2]) << 8 | usize::from(buffer[3]);
        if len > M::MAX_LEN {
            return Err(FrameError::TooLong { len, max: M::MAX_LEN });
        }
        if buffer.len() < HEADER_LEN + len {
            return Ok(None);
        }
        buffer.advance(HEADER_LEN);
        let body = buffer.split_to(len);
        if let Some(message) = M::decode(kind, &body)? {
            return Ok(Some(message));
        }
    }
}

/// Declares an enum of messages, one struct a variant, and its [`Message`] implementation.
#[macro_export]
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident (max $max:expr) {
            $( $(#[$vmeta:meta])* $variant:ident($body:ty) = $kind:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis enum $name { $( $(#[$vmeta])* $variant($body) ),+ }

        impl $crate::frame::Message for $name {
            const MAX_LEN: usize = $max;

            fn encode(&self, out: &mut bytes::BytesMut) {
                match self { $( Self::$variant(body) => $crate::frame::put(out, $kind, body) ),+ }
            }

            fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, $crate::frame::FrameError> {
                match kind {
                    $( $kind => Ok($crate::frame::body::<$body>(kind, body)?.map(Self::$variant)), )+
                    _ => Ok(None),
                }
            }
        }

        $( impl From<$body> for $name { fn from(body: $body) -> Self { Self::$variant(body) } } )+
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Old {
        a: u32,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct New {
        a: u32,
        #[serde(default)]
        b: Option<String>,
    }

    messages! { pub(super) enum OldMessage (max 64) { Only(Old) = 1 } }
    messages! { pub(super) enum NewMessage (max 64) { Only(New) = 1, Other(Old) = 2 } }

    #[test]
    fn versions_read_each_other() {
        let new = NewMessage::Only(New { a: 5, b: Some("x".to_owned()) }).to_bytes();
        assert_eq!(take(&mut BytesMut::from(&new[..])).unwrap(), Some(OldMessage::Only(Old { a: 5 })));
        let old = OldMessage::Only(Old { a: 5 }).to_bytes();
        assert_eq!(
            take(&mut BytesMut::from(&old[..])).unwrap(),
            Some(NewMessage::Only(New { a: 5, b: None }))
        );
    }

    #[test]
    fn unknown_types_are_skipped_and_halves_wait() {
        let mut bytes = BytesMut::new();
        NewMessage::Other(Old { a: 1 }).encode(&mut bytes);
        NewMessage::Only(New { a: 2, b: None }).encode(&mut bytes);
        let all = bytes.clone().freeze();
        assert_eq!(take(&mut bytes).unwrap(), Some(OldMessage::Only(Old { a: 2 })));
        for cut in 0..all.len() {
            assert_eq!(take::<OldMessage>(&mut BytesMut::from(&all[..cut])).unwrap(), None, "cut at {cut}");
        }
    }

    #[test]
    fn too_long_and_wrong_bodies_are_errors() {
        let long = [1, 0, 0, 65];
        assert!(matches!(
            take::<OldMessage>(&mut BytesMut::from(&long[..])),
            Err(FrameError::TooLong { len: 65, .. })
        ));
        let wrong = [1, 0, 0, 1, 0xc1];
        assert!(matches!(
            take::<OldMessage>(&mut BytesMut::from(&wrong[..])),
            Err(FrameError::Body { kind: 1, .. })
        ));
    }
}
