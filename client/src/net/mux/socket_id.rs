//! Which of our sockets a datagram leaves from or came to.

use common::traversal::Local;

/// The owner of the sockets that find out what NAT we are behind; peers' tags begin at 1.
pub(super) const PROBER: u32 = 0;

/// The owner of the sockets that find out how long a mapping is held.
pub(super) const CANARIES: u32 = u32::MAX;

/// One of our sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SocketId {
    /// The one that peers and the server know.
    Main,
    /// One that a single agent uses, or the prober; opened when something is sent from it.
    Extra {
        /// Whose: the tag of a peer.
        owner: u32,
        /// As the owner names it.
        local: Local,
    },
}

impl SocketId {
    /// The socket that `owner` names `local`.
    pub(super) fn of(owner: u32, local: Local) -> Self {
        if local == Local::MAIN { Self::Main } else { Self::Extra { owner, local } }
    }

    /// Whether `owner` alone uses it.
    pub(crate) fn is_owned_by(self, owner: u32) -> bool {
        matches!(self, Self::Extra { owner: its, .. } if its == owner)
    }

    /// What `owner` names it; `None` if it is somebody else's.
    pub(super) fn name_for(self, owner: u32) -> Option<Local> {
        match self {
            Self::Main => Some(Local::MAIN),
            Self::Extra { owner: its, local } => (its == owner).then_some(local),
        }
    }
}
