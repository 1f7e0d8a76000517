//! What two agents say to each other over the peers' connection to get through hard NATs (`docs/protocol.md` §6.3).

use super::cause::Access;
use super::nat::{Nat, PortRange};

/// Ports that one [`Aim`] may list.
pub const MAX_AIMED: usize = 16;

/// Something for the other agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// What the sender's NAT is.
    Nat(Nat),
    /// What gets out of the sender's network.
    Access(Access),
    /// See [`Aim`].
    Aim(Aim),
    /// See [`Counter`].
    Counter(Counter),
}

/// The sender has made mappings towards the receiver's endpoint and expects checks at these of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// Ports that one of them has; at most [`MAX_AIMED`].
    pub ports: Vec<u16>,
    /// Ports among which many of them lie.
    pub range: Option<PortRange>,
}

/// Where the counter of the sender's NAT stood a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Counts the rounds: both sides' counters of one round belong together.
    pub round: u32,
    /// The port that was given out last.
    pub port: u16,
}
