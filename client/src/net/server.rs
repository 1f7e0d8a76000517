//! The connection to the rendezvous: reaching it, knowing it again, and its control stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use common::control::{self, Register, ToClient, ToServer, Welcome};
use common::frame::{self, Message as _};
use common::identity::{Identity, PeerId};
use common::tls::{self, Trust};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportErrorCode, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::socket::MuxSocket;
use super::{mux, tuning};

/// How long one address of the server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Head start of each address of the server over the next one.
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one server name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Frames that wait to be written or handled.
const QUEUE_LEN: usize = 64;
/// Characters of a reason for closing that are shown.
const MAX_REASON: usize = 200;
/// TLS alert `no_application_protocol` (RFC 7301 §3.2): the server speaks another version.
const ALERT_NO_PROTOCOL: u8 = 120;

/// Where the rendezvous is, as the user gave it: `host:port`, and the key if it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTarget {
    /// `host:port`.
    pub address: String,
    /// The key that the server must have; `None` takes the first one and reports it.
    pub key: Option<PeerId>,
}

/// A text that is no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server: write HOST:PORT or HOST:PORT#KEY, for example example.org:5000")]
pub struct ParseServerError(String);

impl std::str::FromStr for ServerTarget {
    type Err = ParseServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseServerError(text.chars().take(200).collect());
        let (address, key) = match text.split_once('#') {
            Some((address, key)) => (address, Some(key.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        if host.is_empty() || is_bare_ipv6 || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(wrong());
        }
        Ok(Self { address: address.to_owned(), key })
    }
}

impl std::fmt::Display for ServerTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key {
            Some(key) => write!(f, "{}#{key}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Why there is no connection to the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The name has no address.
    #[error("the server's name {0} does not resolve: {1}")]
    Resolve(String, String),
    /// Nobody answers.
    #[error("the server {0} does not answer; is it running, and does UDP reach it?")]
    Unreachable(String),
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

/// A live connection to the server.
#[derive(Debug)]
pub(crate) struct ServerLink {
    pub(crate) connection: Connection,
    pub(crate) key: PeerId,
    pub(crate) address: SocketAddr,
    pub(crate) welcome: Welcome,
    frames: mpsc::Sender<ToServer>,
    _tasks: JoinSet<()>,
}

/// What the tasks of a link report.
#[derive(Debug)]
pub(crate) enum FromServer {
    Frame(ToClient),
    Down(ServerError),
}

impl ServerLink {
    /// Queues a frame; a server that does not read any more loses its connection.
    pub(crate) fn send(&self, frame: impl Into<ToServer>) {
        if self.frames.try_send(frame.into()).is_err() {
            self.connection.close(VarInt::from_u32(control::close::PROTOCOL), b"the server does not read");
        }
    }
}

/// Resolves, connects, registers. The link's tasks then report to `inbox`.
pub(crate) async fn connect(
    endpoint: Endpoint,
    socket: Arc<MuxSocket>,
    identity: Identity,
    target: ServerTarget,
    register: Register,
    inbox: mpsc::Sender<FromServer>,
) -> Result<ServerLink, ServerError> {
    let addresses = resolve(&target.address, &socket.local_addrs()).await?;
    socket.with_mux(|mux| mux.set_servers(&addresses));
    // The key is looked at below rather than in the handshake, so that a changed one can be named.
    let crypto = tls::client_config(&identity, control::ALPN, Trust::FirstUse);
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(tuning::server_transport());

    let connection = race(&endpoint, &config, &addresses, &target.address).await?;
    let key = check_key(&connection, &target)?;
    let lost = |error: &dyn std::fmt::Display| ServerError::Lost(error.to_string());
    let (mut send, recv) = connection.open_bi().await.map_err(|error| closed(&target.address, &error))?;
    send.write_all(&ToServer::from(register).to_bytes()).await.map_err(|error| lost(&error))?;
    let mut reader = FrameReader { recv, buffer: BytesMut::new() };
    let welcome = match timeout(CONNECT_TIMEOUT, reader.next()).await {
        Ok(Ok(ToClient::Welcome(welcome))) => welcome,
        Ok(Ok(_)) => return Err(ServerError::Incompatible(target.address, "it did not greet".to_owned())),
        Ok(Err(reason)) => {
            return Err(connection
                .close_reason()
                .map_or(ServerError::Lost(reason), |e| closed(&target.address, &e)));
        }
        Err(_) => return Err(ServerError::Unreachable(target.address)),
    };

    let (frames, queue) = mpsc::channel(QUEUE_LEN);
    let mut tasks = JoinSet::new();
    tasks.spawn(write_frames(send, queue));
    tasks.spawn(read_frames(reader, connection.clone(), target.address, inbox));
    tasks.spawn(read_relayed(connection.clone(), socket));
    let address = mux::unmap(connection.remote_address());
    Ok(ServerLink { connection, key, address, welcome, frames, _tasks: tasks })
}

/// Addresses of `address` of families that we have a socket for; IPv6 and IPv4 alternate (RFC 8305 §4).
async fn resolve(address: &str, locals: &[SocketAddr]) -> Result<Vec<SocketAddr>, ServerError> {
    let fail = |reason: String| ServerError::Resolve(address.to_owned(), reason);
    let found = tokio::net::lookup_host(address).await.map_err(|error| fail(error.to_string()))?;
    let (v6, v4): (Vec<_>, Vec<_>) = found
        .filter(|addr| locals.iter().any(|local| local.is_ipv4() == addr.is_ipv4()))
        .partition(SocketAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    let addresses: Vec<_> =
        (0..longest).flat_map(|i| [v6.get(i), v4.get(i)]).flatten().copied().take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(fail("it has no address of a family that this machine has".to_owned()));
    }
    Ok(addresses)
}

/// Tries the addresses with small head starts; the first connection wins.
async fn race(
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    addresses: &[SocketAddr],
    name: &str,
) -> Result<Connection, ServerError> {
    let mut attempts = JoinSet::new();
    for (place, address) in (0u32..).zip(addresses.iter().copied()) {
        let (endpoint, config, name) = (endpoint.clone(), config.clone(), name.to_owned());
        attempts.spawn(async move {
            tokio::time::sleep(ADDRESS_STAGGER * place).await;
            let connecting = endpoint
                .connect_with(config, mux::map(address), tls::ANY_KEY)
                .map_err(|error| ServerError::Lost(error.to_string()))?;
            match timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connection) => connection.map_err(|error| closed(&name, &error)),
                Err(_) => Err(ServerError::Unreachable(name)),
            }
        });
    }
    let mut failure = ServerError::Unreachable(name.to_owned());
    while let Some(result) = attempts.join_next().await {
        match result {
            Ok(Ok(connection)) => return Ok(connection),
            // An answer says more than silence.
            Ok(Err(ServerError::Unreachable(_))) | Err(_) => {}
            Ok(Err(error)) => failure = error,
        }
    }
    Err(failure)
}

fn check_key(connection: &Connection, target: &ServerTarget) -> Result<PeerId, ServerError> {
    let address = target.address.clone();
    let Some(found) = tls::peer_id(connection) else {
        return Err(ServerError::Incompatible(address, "it showed no key".to_owned()));
    };
    match target.key {
        Some(expected) if expected != found => {
            connection.close(VarInt::from_u32(control::close::BYE), b"wrong key");
            Err(ServerError::WrongKey { address, expected, found })
        }
        _ => Ok(found),
    }
}

/// What a connection's end means to the user.
fn closed(address: &str, error: &ConnectionError) -> ServerError {
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
        ConnectionError::TimedOut => ServerError::Unreachable(address.to_owned()),
        other => ServerError::Lost(other.to_string()),
    }
}

/// Reads frames off the control stream.
struct FrameReader {
    recv: RecvStream,
    buffer: BytesMut,
}

impl FrameReader {
    async fn next(&mut self) -> Result<ToClient, String> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer).map_err(|error| error.to_string())? {
                return Ok(frame);
            }
            match self.recv.read_chunk(control::MAX_FRAME_LEN, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) => return Err("the server ended the control stream".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

async fn write_frames(mut send: SendStream, mut queue: mpsc::Receiver<ToServer>) {
    while let Some(frame) = queue.recv().await {
        if send.write_all(&frame.to_bytes()).await.is_err() {
            // The reader sees the same end and reports it.
            return;
        }
    }
}

async fn read_frames(
    mut reader: FrameReader,
    connection: Connection,
    address: String,
    inbox: mpsc::Sender<FromServer>,
) {
    loop {
        match reader.next().await {
            Ok(frame) => {
                if inbox.send(FromServer::Frame(frame)).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                // What the server said when it closed the connection counts more than what that did to the stream.
                let error = connection
                    .close_reason()
                    .map_or(ServerError::Lost(reason.clone()), |e| closed(&address, &e));
                connection.close(VarInt::from_u32(control::close::PROTOCOL), reason.as_bytes());
                // The driver may be gone already; then nobody wants to know.
                let _ = inbox.send(FromServer::Down(error)).await;
                return;
            }
        }
    }
}

async fn read_relayed(connection: Connection, socket: Arc<MuxSocket>) {
    while let Ok(frame) = connection.read_datagram().await {
        socket.handle_relayed(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_nonsense_is_refused() {
        let key = Identity::from_seed([3; 32]).peer_id();
        for good in ["example.org:5000", "192.0.2.1:5000", "[2001:db8::1]:5000"] {
            let pinned: ServerTarget = format!("{good}#{key}").parse().unwrap();
            assert_eq!((pinned.address.as_str(), pinned.key), (good, Some(key)));
            assert_eq!(good.parse::<ServerTarget>().unwrap().key, None);
        }
        for bad in [
            "",
            "example.org",
            ":5000",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "2001:db8::1:5000",
            "h:1#x",
        ] {
            assert!(bad.parse::<ServerTarget>().is_err(), "{bad}");
        }
    }
}
