//! Telling STUN and QUIC apart on one UDP port (RFC 9443 §2).

/// What a datagram is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// STUN: 0 to 3.
    Stun,
    /// QUIC, with its fixed bit set: 64 to 255 without TURN's and RTP's ranges in use here.
    Quic,
    /// Nothing that is spoken here.
    Other,
}

/// The kind of `datagram`.
#[must_use]
pub fn kind(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(64..=255) => Kind::Quic,
        _ => Kind::Other,
    }
}

/// Goes through the datagrams of one receive buffer, `stride` bytes each and the last one possibly shorter (that
/// is how GRO delivers them), and moves those that `keep` accepts together at the front.
///
/// Returns how many bytes remain. The remainder still has the same stride: a short last datagram is only ever
/// followed by nothing.
pub fn retain(buffer: &mut [u8], stride: usize, mut keep: impl FnMut(&mut [u8]) -> bool) -> usize {
    if stride == 0 {
        // No stride with data makes readers loop for ever; there is nothing sound to keep.
        return 0;
    }
    let mut kept = 0;
    let mut start = 0;
    while start < buffer.len() {
        let end = (start + stride).min(buffer.len());
        if keep(&mut buffer[start..end]) {
            if kept != start {
                buffer.copy_within(start..end, kept);
            }
            kept += end - start;
        }
        start = end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_first_byte() {
        assert_eq!([0, 3, 4, 63, 64, 255].map(|b| kind(&[b])), {
            use Kind::{Other, Quic, Stun};
            [Stun, Stun, Other, Other, Quic, Quic]
        });
        assert_eq!(kind(&[]), Kind::Other);
    }

    #[test]
    fn mixed_buffers_are_compacted() {
        let mut buffer = *b"\x00aa@bb\x01cc@d";
        let mut stun = Vec::new();
        let kept = retain(&mut buffer, 3, |datagram| {
            if kind(datagram) == Kind::Stun {
                stun.push(datagram.to_vec());
                return false;
            }
            true
        });
        assert_eq!(&buffer[..kept], b"@bb@d");
        assert_eq!(stun, [b"\x00aa".to_vec(), b"\x01cc".to_vec()]);
        assert_eq!(retain(&mut buffer, 0, |_| true), 0);
    }
}
