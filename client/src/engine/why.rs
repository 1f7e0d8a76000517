//! How somebody is connected, and why not better.

use common::identity::PeerId;

use crate::net::Insight;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Who.
    pub peer: PeerId,
    /// What is known of the way there; `None` if they are not connected.
    pub insight: Option<Insight>,
    /// Since when packets have taken this path, in Unix time in milliseconds.
    pub since_ms: Option<u64>,
    /// Whether the server says that they are online.
    pub online: bool,
    /// Why they were not reached the last time.
    pub trouble: Option<String>,
}
