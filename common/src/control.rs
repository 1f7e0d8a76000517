//! What a client and the rendezvous say to each other on the control stream (`docs/protocol.md` §4).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::PeerId;
use crate::messages;

/// Protocol of the control connection, as TLS ALPN. Another major version is another name.
pub const ALPN: &[u8] = b"hobnob-rv/1";

/// The largest control frame either side accepts, in bytes of its body.
pub const MAX_FRAME_LEN: usize = 8 * 1024;
/// Peers that one client may ask presence of; a [`Watch`] holds at most this many, 34 bytes each.
pub const MAX_WATCHED: usize = 200;
/// Public endpoints that the server tells of a peer.
pub const MAX_ENDPOINTS: usize = 8;
/// Endpoints for STUN alone that the server tells of itself.
pub const MAX_PROBES: usize = 8;

/// Names that one answer holds.
pub const MAX_FOUND_NAMES: usize = 20;
/// What a server that keeps names has among its features.
pub const NAMES_FEATURE: &str = "names";

/// QUIC application error codes with which the server closes a control connection (`docs/protocol.md` §4.5).
pub mod close {
    /// The server shuts down; come back after a while.
    pub const SHUTDOWN: u32 = 1;
    /// A newer connection registered the same key.
    pub const REPLACED: u32 = 2;
    /// The client broke the protocol.
    pub const PROTOCOL: u32 = 3;
    /// The server is full, or this address has too many connections.
    pub const FULL: u32 = 4;
    /// The client leaves in good order.
    pub const BYE: u32 = 5;
}

/// Names one introduction of two peers. Chosen at random by who asks, so that relayed packets can follow the
/// request without waiting for the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Tells two runs of one identity apart: random at each start of a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// Key of the STUN checks of one introduction, made by the server (`docs/protocol.md` §5.1).
///
/// It keeps strangers out of the punching; it does not protect content, for the server knows it too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckKey(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl std::fmt::Debug for CheckKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckKey(..)")
    }
}

/// First frame of a client: registers the key of its TLS identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// This run of the client.
    pub instance: InstanceId,
    /// Names of optional features that the client has.
    #[serde(default)]
    pub features: Vec<String>,
    /// Who may find it from the first moment on.
    #[serde(default)]
    pub admit: Admit,
}

/// Who may find this client; replaces what was said before. To all others the server is as if the client were not
/// registered (`docs/protocol.md` §4.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// Whether `peers` are the only ones who may; otherwise they are the only ones who may not.
    #[serde(default)]
    pub only: bool,
    /// At most [`MAX_WATCHED`] keys.
    #[serde(default)]
    pub peers: Vec<PeerId>,
}

/// Asks to be introduced to `peer`. Relayed packets of `session` may follow at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// Random name for the introduction.
    pub session: SessionId,
    /// Whom to reach.
    pub peer: PeerId,
}

/// Ends an introduction and its relay, from either side; also tells that the other side has ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The introduction.
    pub session: SessionId,
}

/// Enters or leaves the lobby, where the server pairs newcomers in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lobby {
    /// Whether the client waits there from now on.
    pub waiting: bool,
    /// Peers that it does not want to be paired with, since it knows them already.
    #[serde(default)]
    pub except: Vec<PeerId>,
}

/// Replaces the list of peers that may see this client online and whose presence it wants in return.
/// Presence is told only between two peers that each list the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// At most [`MAX_WATCHED`] keys.
    pub peers: Vec<PeerId>,
}

/// The client's packets take another way to the server from now on. It says nothing more: what counts is that a packet
/// goes that way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {}

/// A router leads packets that come to `addr` to this client, whoever sends them. Replaces what was said before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// The router's endpoint; `None` if there is no such thing any more. The server tells it only while it sees the
    /// client at the same IP address.
    pub addr: Option<SocketAddr>,
}

/// Answers [`Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The UDP endpoint at which the server sees this client; `None` while its packets come through a tunnel.
    #[serde(default)]
    pub observed: Option<SocketAddr>,
    /// More endpoints of the server, at most [`MAX_PROBES`], that answer STUN Binding requests and nothing else: by
    /// what they see a client learns how its NAT maps (`docs/protocol.md` §3.1). An unspecified address stands for the
    /// one that the client reached the server at.
    #[serde(default)]
    pub probes: Vec<SocketAddr>,
    /// Names of optional features that the server has.
    #[serde(default)]
    pub features: Vec<String>,
}

/// The UDP endpoint at which the server sees this client has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Where the server sees this client now; `None` when its packets come through a tunnel.
    #[serde(default)]
    pub addr: Option<SocketAddr>,
}

/// Introduces two peers: both get one, each with the other's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduce {
    /// The introduction, which also names the relay between the two.
    pub session: SessionId,
    /// The other side. A hint until its TLS handshake proves it.
    pub peer: PeerId,
    /// The other side's run.
    pub instance: InstanceId,
    /// Public endpoints that the server observed of it; at most [`MAX_ENDPOINTS`].
    pub endpoints: Vec<SocketAddr>,
    /// Key for the STUN checks.
    pub key: CheckKey,
    /// Whether the receiver of this frame is the one who opens the QUIC connection.
    pub dial: bool,
    /// Whether the server paired two newcomers in the lobby.
    #[serde(default)]
    pub lobby: bool,
}

/// The server cannot make an introduction, or has to take it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The introduction.
    pub session: SessionId,
    /// Why.
    pub reason: FailedReason,
}

/// Why an introduction failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedReason {
    /// The peer is not registered here now.
    Offline,
    /// One of the two has too many introductions open.
    TooMany,
    /// The session's name is taken, or the peer is the client itself.
    Invalid,
}

/// A watched peer came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    pub peer: PeerId,
    /// The run that is online, or `None` when the peer went.
    pub online: Option<InstanceId>,
    /// Whether this is how things stood when the receiver asked, rather than news. Who asked last dials, so
    /// that two who see each other do not both dial.
    #[serde(default)]
    pub standing: bool,
}

/// Asks for a number under which somebody may claim a code (§8). Each client has one at a time; a newer one replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {}

/// Answers [`Offer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// First part of the code.
    pub number: u32,
}

/// Claims what is offered under a number. The server passes it on once, as [`Claimed`]; then the number is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// First part of the code.
    pub number: u32,
    /// The claimer's SPAKE2 message.
    #[serde(with = "serde_bytes")]
    pub pake: Vec<u8>,
}

/// Somebody has claimed an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// First part of the code.
    pub number: u32,
    /// Who.
    pub peer: PeerId,
    /// Their SPAKE2 message.
    #[serde(with = "serde_bytes")]
    pub pake: Vec<u8>,
}

/// From the one end of a claim to the other, in both directions: the server passes on one of each, with the sender in
/// place of the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// First part of the code.
    pub number: u32,
    /// The other end.
    pub peer: PeerId,
    /// The offerer's SPAKE2 message; empty from the claimer.
    #[serde(with = "serde_bytes")]
    pub pake: Vec<u8>,
    /// The proof that the sender knows the words.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// Takes a name for the sender's key, or says anew whether it is listed (§10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeName {
    /// Comes back in the answer.
    pub ask: u32,
    /// The name.
    pub name: String,
    /// Whether it is found by its beginning too.
    #[serde(default)]
    pub listed: bool,
}

/// Gives a name back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropName {
    /// Comes back in the answer.
    pub ask: u32,
    /// The name.
    pub name: String,
}

/// Asks whose a name is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindName {
    /// Comes back in the answer.
    pub ask: u32,
    /// The name, or the beginning of some; empty for the sender's own names.
    pub text: String,
    /// Whether listed names that begin so are wanted too.
    #[serde(default)]
    pub begins: bool,
}

/// Answers [`TakeName`], [`DropName`] and [`FindName`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The number of the question.
    pub ask: u32,
    /// A [`NameVerdict`] by its number.
    pub verdict: u8,
    /// Names that were found or taken; at most [`MAX_FOUND_NAMES`].
    #[serde(default)]
    pub names: Vec<NamedPeer>,
}

/// A name and whose it is, as the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPeer {
    /// The name in its normal form.
    pub name: String,
    /// Its owner.
    pub peer: PeerId,
    /// Whether it is found by its beginning too.
    #[serde(default)]
    pub listed: bool,
}

/// What became of a question about names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NameVerdict {
    /// It was done.
    Done = 0,
    /// The name, or one that looks like it, is somebody's.
    Taken = 1,
    /// The text is no name.
    Invalid = 2,
    /// The sender's key has as many names as it may.
    TooMany = 3,
    /// Too many questions in a short time from this key or address.
    TooFast = 4,
    /// The server takes no more names.
    Full = 5,
    /// The server could not keep it.
    Unavailable = 6,
    /// The name is not the sender's.
    NotYours = 7,
}

impl NameVerdict {
    /// The verdict of that number; one that is not known here is as good as none.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Taken,
            2 => Self::Invalid,
            3 => Self::TooMany,
            4 => Self::TooFast,
            5 => Self::Full,
            7 => Self::NotYours,
            _ => Self::Unavailable,
        }
    }
}

/// Nothing is offered under this number, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoOffer {
    /// First part of the code.
    pub number: u32,
}

messages! {
    /// From the client to the server.
    pub enum ToServer (max MAX_FRAME_LEN) {
        /// See [`Register`].
        Register(Register) = 1,
        /// See [`Connect`].
        Connect(Connect) = 2,
        /// See [`End`].
        End(End) = 3,
        /// See [`Lobby`].
        Lobby(Lobby) = 4,
        /// See [`Watch`].
        Watch(Watch) = 5,
        /// See [`Moved`].
        Moved(Moved) = 6,
        /// See [`Mapped`].
        Mapped(Mapped) = 7,
        /// See [`Offer`].
        Offer(Offer) = 16,
        /// See [`Claim`].
        Claim(Claim) = 17,
        /// See [`Reply`].
        Reply(Reply) = 18,
        /// See [`TakeName`].
        TakeName(TakeName) = 24,
        /// See [`DropName`].
        DropName(DropName) = 25,
        /// See [`FindName`].
        FindName(FindName) = 26,
        /// See [`Admit`].
        Admit(Admit) = 32,
    }
}

messages! {
    /// From the server to the client.
    pub enum ToClient (max MAX_FRAME_LEN) {
        /// See [`Welcome`].
        Welcome(Welcome) = 1,
        /// See [`Observed`].
        Observed(Observed) = 2,
        /// See [`Introduce`].
        Introduce(Introduce) = 3,
        /// See [`Failed`].
        Failed(Failed) = 4,
        /// See [`End`].
        End(End) = 5,
        /// See [`Presence`].
        Presence(Presence) = 6,
        /// See [`Offered`].
        Offered(Offered) = 16,
        /// See [`Claimed`].
        Claimed(Claimed) = 17,
        /// See [`Reply`].
        Reply(Reply) = 18,
        /// See [`NoOffer`].
        NoOffer(NoOffer) = 19,
        /// See [`Names`].
        Names(Names) = 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Message, take};
    use crate::identity::Identity;

    #[test]
    fn largest_frames_fit() {
        let peers = vec![Identity::from_seed([1; 32]).peer_id(); MAX_WATCHED];
        let watch = ToServer::from(Watch { peers: peers.clone() });
        let peer = Identity::from_seed([1; 32]).peer_id();
        let name = NamedPeer { name: "x".repeat(crate::names::MAX_BYTES), peer, listed: true };
        let names = ToClient::from(Names { ask: u32::MAX, verdict: 0, names: vec![name; MAX_FOUND_NAMES] });
        assert!(names.to_bytes().len() <= MAX_FRAME_LEN);
        let admit = Admit { only: true, peers };
        let features = vec!["a feature".to_owned(); 8];
        let register = Register { instance: InstanceId(u64::MAX), features, admit: admit.clone() };
        for frame in [watch, admit.into(), register.into()] {
            assert!(frame.to_bytes().len() <= MAX_FRAME_LEN);
            assert_eq!(take(&mut frame.to_bytes().into()).unwrap(), Some(frame));
        }
    }
}
