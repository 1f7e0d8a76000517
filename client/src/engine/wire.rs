//! What two peers say to each other on their control stream (`docs/protocol.md` §6).

use std::net::SocketAddr;

use common::control::{CheckKey, SessionId};
use common::identity::PeerId;
use common::messages;
use common::traversal::tcp::Offer;
use serde::{Deserialize, Serialize};

use crate::log::ConversationId;

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

/// What the sender's NAT is, as far as it is known. Sent once the handshake is complete, and again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatFrame {
    /// On what a mapping depends: 0 not known, 1 nothing but the socket, 2 not on the remote port, 3 on the remote
    /// address, 4 on address and port.
    pub mapping: u8,
    /// How ports are chosen: 0 not known, 1 kept, 2 by a counter, 3 at random.
    pub allocation: u8,
    /// The counter's step.
    #[serde(default)]
    pub step: u16,
    /// The lowest and the highest of the ports that random ones are from.
    #[serde(default)]
    pub range: (u16, u16),
    /// Whether it remembers strangers whom it has refused, and takes another port towards them.
    #[serde(default)]
    pub remembers: bool,
}

/// What gets out of the sender's network to the server. Sent once the handshake is complete, and again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessFrame {
    /// Whether UDP does: 0 not known, 1 yes, 2 no.
    #[serde(default)]
    pub udp: u8,
    /// Whether TCP to the same port number does.
    #[serde(default)]
    pub tcp: u8,
}

/// The sender has made mappings towards the receiver's observed endpoint and wants checks at these of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AimFrame {
    /// Ports that one of them has; at most 16 are looked at.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// The lowest and the highest of the ports among which many of them lie.
    #[serde(default)]
    pub range: Option<(u16, u16)>,
}

/// Where the counter of the sender's NAT stood a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterFrame {
    /// The counters of one round belong together.
    pub round: u32,
    /// The port that was given out last.
    pub port: u16,
}

/// The sender has a link of the receiver's (§9.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// The link's secret, 16 bytes.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
}

/// Answers [`Knock`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The secret that was shown.
    #[serde(with = "serde_bytes")]
    pub secret: Vec<u8>,
    /// A [`Verdict`] by its number.
    pub verdict: u8,
    /// The room that the link leads to; the invitation to it follows in its log.
    #[serde(default)]
    pub room: Option<ConversationId>,
}

/// What becomes of a [`Knock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Come in.
    Welcome = 0,
    /// No such link.
    Unknown = 1,
    /// Its time is over.
    Expired = 2,
    /// It was taken back.
    Revoked = 3,
    /// As many as may have come by it.
    UsedUp = 4,
    /// The inviter may not invite into that room.
    NotAllowed = 5,
    /// Too many knocks on this connection; on the next one it may be tried again.
    TooMany = 6,
}

impl Verdict {
    /// The verdict of that number; what is not known here is a no.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Welcome,
            2 => Self::Expired,
            3 => Self::Revoked,
            4 => Self::UsedUp,
            5 => Self::NotAllowed,
            6 => Self::TooMany,
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Welcome => "the link is good",
            Self::Unknown => "the inviter does not know the link; ask for a new one",
            Self::Expired => "the link has expired; ask for a new one",
            Self::Revoked => "the link was taken back; ask for a new one",
            Self::UsedUp => "the link was used by as many as it was for; ask for a new one",
            Self::NotAllowed => "the inviter may not let anybody into that room any more",
            Self::TooMany => "too many links at once",
        })
    }
}

/// The sender looks for a contact of the receiver's, while there is no server (§6.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// Random name of the search.
    pub session: SessionId,
    /// By which those who know the peer recognise who is sought; 16 bytes.
    #[serde(with = "serde_bytes")]
    pub tag: Vec<u8>,
    /// Public endpoints of the sender; at most 4 are passed on.
    #[serde(default)]
    pub endpoints: Vec<SocketAddr>,
}

/// The sender passes on that `peer` looks for the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// The search.
    pub session: SessionId,
    /// Who looks.
    pub peer: PeerId,
    /// Where they may be reached.
    pub endpoints: Vec<SocketAddr>,
    /// Key for the STUN checks.
    pub key: CheckKey,
}

/// The sender may be reached by who looked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The search.
    pub session: SessionId,
    /// Public endpoints of the sender; at most 4 are passed on.
    #[serde(default)]
    pub endpoints: Vec<SocketAddr>,
}

/// The sender passes on the answer of `peer`, whom the receiver has looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// The search.
    pub session: SessionId,
    /// Who was found.
    pub peer: PeerId,
    /// Where they may be reached.
    pub endpoints: Vec<SocketAddr>,
    /// Key for the STUN checks.
    pub key: CheckKey,
}

messages! {
    /// Frames of the control stream between peers.
    pub enum ToPeer (max MAX_FRAME_LEN) {
        /// See [`Hello`].
        Hello(Hello) = 1,
        /// See [`Candidates`].
        Candidates(Candidates) = 2,
        /// See [`Offer`].
        TcpOffer(Offer) = 6,
        /// See [`NatFrame`].
        Nat(NatFrame) = 8,
        /// See [`AimFrame`].
        Aim(AimFrame) = 9,
        /// See [`CounterFrame`].
        Counter(CounterFrame) = 10,
        /// See [`AccessFrame`].
        Access(AccessFrame) = 13,
        /// See [`Knock`].
        Knock(Knock) = 20,
        /// See [`Answer`].
        Answer(Answer) = 21,
        /// See [`Seek`].
        Seek(Seek) = 24,
        /// See [`Sought`].
        Sought(Sought) = 25,
        /// See [`Found`].
        Found(Found) = 26,
        /// See [`Met`].
        Met(Met) = 27,
    }
}
