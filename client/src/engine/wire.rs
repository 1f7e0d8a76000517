//! What two peers say to each other on their control stream (`docs/protocol.md` §6).

use std::net::SocketAddr;

use common::messages;
use serde::{Deserialize, Serialize};

/// The largest control frame, in bytes of its body.
const MAX_FRAME_LEN: usize = 4 * 1024;
/// Addresses in one [`Candidates`] that are looked at.
pub const MAX_CANDIDATES: usize = 12;

/// First byte of every stream: what it is for. Streams of unknown kinds are refused, so that newer peers may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Frames of [`ToPeer`].
    Control = 1,
    /// The conversation log.
    Log = 2,
}

/// First frame of both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name that the sender goes by. Anything: made safe before it is shown.
    pub name: String,
    /// Names of optional features that the sender has.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Where else the sender may be reached. Sent once its handshake is complete, and again when it changes; private
/// addresses travel nowhere but here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// At most [`MAX_CANDIDATES`].
    pub addrs: Vec<SocketAddr>,
}

messages! {
    /// Frames of the control stream between peers.
    pub enum ToPeer (max MAX_FRAME_LEN) {
        /// See [`Hello`].
        Hello(Hello) = 1,
        /// See [`Candidates`].
        Candidates(Candidates) = 2,
    }
}
