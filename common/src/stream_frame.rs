//! Packets on a byte stream: what UDP keeps apart by itself, a length keeps apart on TCP (`docs/protocol.md` §2.1).
//!
//! ```text
//! +---------------+=================+
//! | length 2 (BE) | packet, 1..=MAX |
//! +---------------+=================+
//! ```
//!
//! The packets are what would have been datagrams: QUIC and STUN, sealed and authenticated by themselves. Nothing
//! is trusted because of the stream that it came on.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Bytes before each packet.
pub const HEADER_LEN: usize = 2;
/// The largest packet. QUIC's MTU discovery stops below what an Ethernet frame carries.
pub const MAX_PACKET_LEN: usize = 1500;

/// A length that no packet has: the other side does not speak this framing, and the stream cannot be used further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} bytes on a stream: 1 to {MAX_PACKET_LEN} are allowed")]
pub struct BadLength(pub usize);

/// Writes `packet` at the end of `out`. Returns whether it has been written: an empty or too long one is not.
pub fn put(out: &mut BytesMut, packet: &[u8]) -> bool {
    let len = match u16::try_from(packet.len()) {
        Ok(len) if (1..=MAX_PACKET_LEN).contains(&packet.len()) => len,
        _ => return false,
    };
    out.reserve(HEADER_LEN + packet.len());
    out.put_u16(len);
    out.put_slice(packet);
    true
}

/// Takes the next packet out of `buffer`; `Ok(None)` if more bytes are needed. The packet shares the buffer's memory.
///
/// # Errors
/// [`BadLength`] if what stands there is no packet.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, BadLength> {
    let Some(&header) = buffer.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(header));
    if len == 0 || len > MAX_PACKET_LEN {
        return Err(BadLength(len));
    }
    if buffer.len() < HEADER_LEN + len {
        return Ok(None);
    }
    buffer.advance(HEADER_LEN);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// The framing for [`tokio_util::codec::Framed`]: a byte stream becomes a stream and a sink of packets. A packet that
/// no frame holds is dropped, as a network does with what is too large for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PacketCodec;

impl Decoder for PacketCodec {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
        take(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Encoder<Bytes> for PacketCodec {
    type Error = io::Error;

    fn encode(&mut self, packet: Bytes, out: &mut BytesMut) -> io::Result<()> {
        put(out, &packet);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_however_the_stream_is_cut() {
        let packets = [vec![1; 1], vec![2; MAX_PACKET_LEN], vec![3; 700]];
        let mut stream = BytesMut::new();
        assert!(packets.iter().all(|packet| put(&mut stream, packet)));
        for piece in [1, 2, 3, 699, 5000] {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(packet) = take(&mut buffer).unwrap() {
                    found.push(packet.to_vec());
                }
            }
            assert_eq!(found, packets, "cut every {piece} bytes");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn lengths_have_bounds_on_both_sides() {
        let mut out = BytesMut::new();
        assert!(!put(&mut out, &[]) && !put(&mut out, &[0; MAX_PACKET_LEN + 1]) && out.is_empty());
        for len in [0, MAX_PACKET_LEN + 1, usize::from(u16::MAX)] {
            let header = u16::try_from(len).unwrap().to_be_bytes();
            assert_eq!(take(&mut BytesMut::from(&header[..])), Err(BadLength(len)));
        }
    }
}
