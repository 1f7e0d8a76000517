//! What can go wrong between the client and the server, in words for the user.

use std::fmt;

use common::control;
use common::identity::PeerId;
use quinn::{ConnectionError, TransportErrorCode};

/// Characters of a reason for closing that are shown.
const MAX_REASON: usize = 200;
/// TLS alert `no_application_protocol` (RFC 7301 §3.2): the server speaks another version.
const ALERT_NO_PROTOCOL: u8 = 120;

/// How the server was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// Over UDP alone.
    Udp,
    /// Over TCP too.
    Tcp,
    /// Over TCP too, and through a proxy.
    Proxy,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "; is it running, and does UDP reach it?",
            Self::Tcp => {
                ", neither over UDP nor over TCP; is it running? If this network has a web proxy, name it with --proxy"
            }
            Self::Proxy => ", neither over UDP nor over TCP nor through the proxy; is it running?",
        })
    }
}

/// Why there is no connection to the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The name has no address.
    #[error("the server's name {0} does not resolve: {1}")]
    Resolve(String, String),
    /// Nobody answers.
    #[error("the server {address} does not answer{tried}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// How it was tried.
        tried: Tried,
    },
    /// Nobody answers, and the proxy refused.
    #[error("the server {address} does not answer, and the proxy {reason}")]
    Proxy {
        /// `host:port`.
        address: String,
        /// What the proxy said, with what to do.
        reason: String,
    },
    /// The server's key is not the pinned one.
    #[error(
        "the server {address} shows another key than before: expected {expected}, found {found}. Either it was set \
         up anew, or somebody stands in between. Ask its operator; if the new key is right, start once with \
         --server {address}#{found}"
    )]
    WrongKey {
        /// `host:port`.
        address: String,
        /// The pinned key.
        expected: PeerId,
        /// The key that it has now.
        found: PeerId,
    },
    /// The other side speaks another protocol or version.
    #[error("{0} is no rendezvous of this version: {1}")]
    Incompatible(String, String),
    /// The server closed the connection and said why.
    #[error("the server closed the connection: {0}")]
    Closed(String),
    /// Another client with the same identity has taken this one's place.
    #[error("another client registered with the same identity; this one has left the server")]
    Replaced,
    /// The connection was lost.
    #[error("the connection to the server was lost: {0}")]
    Lost(String),
}

impl ServerError {
    /// Whether trying again could help without anybody doing something.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::WrongKey { .. } | Self::Incompatible(..) | Self::Replaced)
    }
}

/// What a connection's end means to the user.
pub(super) fn closed(address: &str, error: &ConnectionError) -> ServerError {
    use control::close;
    match error {
        ConnectionError::ApplicationClosed(reason) => {
            let text = common::text::one_line(&String::from_utf8_lossy(&reason.reason), MAX_REASON);
            match u32::try_from(reason.error_code.into_inner()) {
                Ok(close::REPLACED) => ServerError::Replaced,
                Ok(close::SHUTDOWN) => ServerError::Closed("it shuts down".to_owned()),
                _ => ServerError::Closed(text),
            }
        }
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::crypto(ALERT_NO_PROTOCOL) =>
        {
            ServerError::Incompatible(
                address.to_owned(),
                "it speaks another version of the protocol".to_owned(),
            )
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::crypto(ALERT_NO_PROTOCOL) =>
        {
            ServerError::Incompatible(
                address.to_owned(),
                "it speaks another version of the protocol".to_owned(),
            )
        }
        ConnectionError::VersionMismatch => {
            ServerError::Incompatible(address.to_owned(), "it speaks no QUIC version 1".to_owned())
        }
        ConnectionError::TransportError(error) => {
            ServerError::Incompatible(address.to_owned(), error.to_string())
        }
        ConnectionError::TimedOut => ServerError::Lost("it no longer answers".to_owned()),
        other => ServerError::Lost(other.to_string()),
    }
}
