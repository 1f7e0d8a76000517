//! What is known of the way to a peer, for people who ask why it is not better.

use std::net::SocketAddr;

use common::traversal::cause::Cause;
use common::traversal::tcp::TcpOutlook;
use common::traversal::{Outlook, Tier};

use super::mux::{PathChange, Via};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insight {
    /// The path in use.
    pub path: PathChange,
    /// Why there is no better one.
    pub cause: Cause,
    /// What is known of both networks, and what was tried over UDP.
    pub outlook: Outlook,
    /// What was tried over TCP.
    pub tcp: TcpOutlook,
    /// The port of our router that leads here, if it gives one.
    pub mapped: Option<SocketAddr>,
    /// Whether the router was asked for one.
    pub asks_router: bool,
    /// Whether this machine has a public IPv6 address.
    pub has_ipv6: bool,
}

impl Insight {
    /// Judges what is known.
    pub(super) fn new(path: PathChange, outlook: Outlook, tcp: TcpOutlook) -> Self {
        let tier = match path.via {
            Via::Relay => None,
            Via::Lan => Some(Tier::Lan),
            Via::Udp => Some(Tier::Public),
            Via::Tcp => Some(Tier::Tcp),
        };
        let cause = outlook.cause(tier, tcp);
        Self { path, cause, outlook, tcp, mapped: None, asks_router: false, has_ipv6: false }
    }
}
