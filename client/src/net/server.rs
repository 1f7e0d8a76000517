//! The connection to the rendezvous: reaching it, knowing it again, and its control stream.

mod error;
mod keep;
mod place;
mod reach;
mod target;
mod ways;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use common::address;
use common::control::{self, Register, ToClient, ToServer, Welcome};
use common::frame::{self, Message as _};
use common::identity::{Identity, PeerId};
use common::tls::{self, Trust};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::socket::MuxSocket;
use super::tuning;
use super::tunnel::{Carrier, Route, Tunnels};
use error::closed;
pub use error::{ServerError, Tried};
use keep::Keeper;
use reach::Reached;
pub(crate) use reach::unreachable;
pub use target::{ParseServerError, ServerTarget};
pub(crate) use ways::{Way, ways_over_udp, ways_through_tunnels};

/// How long one way to the server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that wait to be written or handled.
const QUEUE_LEN: usize = 64;

/// A live connection to the server.
#[derive(Debug)]
pub(crate) struct ServerLink {
    pub(crate) connection: Connection,
    pub(crate) key: PeerId,
    /// How it was reached.
    pub(crate) route: Route,
    /// Its address, while the way is UDP.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) welcome: Welcome,
    frames: mpsc::Sender<ToServer>,
    doubt: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// What the tasks of a link report.
#[derive(Debug)]
pub(crate) enum FromServer {
    Frame(ToClient),
    /// The same connection goes another way; the server's address if that is UDP.
    Rerouted(Route, Option<SocketAddr>),
    Down(ServerError),
}

impl ServerLink {
    /// The way may not work any more, or a better one may: it is looked at now.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Queues a frame; a server that does not read any more loses its connection.
    pub(crate) fn send(&self, frame: impl Into<ToServer>) {
        if self.frames.try_send(frame.into()).is_err() {
            self.connection.close(VarInt::from_u32(control::close::PROTOCOL), b"the server does not read");
        }
    }
}

/// What it takes to reach a server.
pub(crate) struct Errand {
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: Arc<MuxSocket>,
    pub(crate) identity: Identity,
    pub(crate) target: ServerTarget,
    pub(crate) register: Register,
    /// Ways besides UDP; `None` for UDP alone.
    pub(crate) tunnels: Option<Tunnels>,
    /// Where the link's tasks report.
    pub(crate) inbox: mpsc::Sender<FromServer>,
}

/// Resolves, connects, registers.
pub(crate) async fn connect(errand: Errand) -> Result<ServerLink, ServerError> {
    // The key is looked at below rather than in the handshake, so that a changed one can be named.
    let crypto = tls::client_config(&errand.identity, control::ALPN, Trust::FirstUse);
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(tuning::server_transport());

    let reached = reach::reach(&errand, &config).await?;
    let Errand { socket, target, register, inbox, .. } = errand;
    let Reached { connection, route, .. } = &reached;
    let (connection, route) = (connection.clone(), *route);
    let address =
        Some(address::canonical(connection.remote_address())).filter(|_| route.carrier == Carrier::Udp);
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
        Err(_) => return Err(ServerError::Lost("it did not greet".to_owned())),
    };

    let (frames, queue) = mpsc::channel(QUEUE_LEN);
    let mut tasks = JoinSet::new();
    tasks.spawn(write_frames(send, queue));
    tasks.spawn(read_frames(reader, connection.clone(), target.address, inbox.clone()));
    tasks.spawn(read_relayed(connection.clone(), Arc::clone(&socket)));
    let doubt = Arc::new(Notify::new());
    if let Some(tunnels) = errand.tunnels {
        let keeper = Keeper::new(reached, socket, tunnels, frames.clone(), inbox, Arc::clone(&doubt));
        tasks.spawn(keeper.run());
    }
    Ok(ServerLink { connection, key, route, address, welcome, frames, doubt, _tasks: tasks })
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
