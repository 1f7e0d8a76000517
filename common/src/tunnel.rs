//! Tunnels: how the packets of the control connection travel where UDP does not pass (`docs/protocol.md` §4.7).
//!
//! A tunnel carries the same QUIC packets over something else. It proves nothing and hides nothing; the QUIC
//! connection inside does. Here is what both ends agree on.

/// First bytes of a stream on which packets follow in frames (`docs/protocol.md` §2.1). No TLS record and no HTTP
/// method begins with its first byte.
pub const MAGIC: [u8; 8] = *b"hobnob/1";
/// Path at which the server takes a WebSocket; polls go to a place below.
pub const PATH: &str = "/hobnob";
/// How long the server holds back the answer to a poll when it has nothing to send, in seconds: less than any
/// middlebox is known to wait for one.
pub const POLL_SECONDS: u64 = 10;
/// The largest body of a poll's request or answer, in bytes.
pub const MAX_BODY_LEN: usize = 64 * 1024;
/// Packets in one body: no more than fit.
pub const MAX_BODY_PACKETS: usize =
    MAX_BODY_LEN / (crate::stream_frame::HEADER_LEN + crate::stream_frame::MAX_PACKET_LEN);

/// Names one polling tunnel: 128 bits drawn by the client, which nobody guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollId(pub u128);

impl PollId {
    /// The path of the `number`th request of one kind. Each has its own, so that no cache answers it.
    #[must_use]
    pub fn path(self, number: u64) -> String {
        format!("{PATH}/{:032x}/{number}", self.0)
    }

    /// The tunnel that a request's path belongs to; `None` for any other path.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (id, number) = path.strip_prefix(PATH)?.strip_prefix('/')?.split_once('/')?;
        let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number =
            !number.is_empty() && number.len() <= 20 && number.bytes().all(|b| b.is_ascii_digit());
        (is_hex && is_number).then(|| u128::from_str_radix(id, 16).ok().map(Self))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_have_paths_of_their_own() {
        for id in [0, 7, u128::MAX] {
            assert_eq!(PollId::of_path(&PollId(id).path(u64::MAX)), Some(PollId(id)));
        }
        let id = "0123456789abcdef0123456789abcdef";
        for wrong in [
            "/",
            "/hobnob",
            "/hobnob/",
            &format!("/hobnob/{id}"),
            &format!("/hobnob/{id}/"),
            &format!("/hobnob/{id}/x"),
            &format!("/hobnob/+{}/1", &id[1..]),
            &format!("/hobnob/{id}0/1"),
            &format!("/hobnobs/{id}/1"),
        ] {
            assert_eq!(PollId::of_path(wrong), None, "{wrong}");
        }
    }
}
