//! One task per connection: it takes in what a client sends and hands it to the hub, one piece at a time, so that
//! a fast client waits and the others do not.

use std::time::Duration;

use bytes::Bytes;
use common::control::Names;
use common::identity::PeerId;
use common::tls;
use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::core::{ConnId, NameChange};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of the control stream that are handed on at once.
const CHUNK_LEN: usize = 4 * 1024;

/// What the tasks tell the hub.
pub(super) enum Input {
    /// Somebody wants to connect.
    Incoming(Box<Incoming>),
    /// A handshake is complete.
    Connected(ConnId, PeerId, Connection),
    /// The client has opened its control stream.
    Opened(ConnId, SendStream),
    /// Bytes of the control stream.
    Stream(ConnId, Bytes),
    /// A datagram.
    Datagram(ConnId, Bytes),
    /// The connection is gone, or never came to be.
    Closed(ConnId),
    /// Changes of names are on the disk, or could not be kept.
    Saved { changes: Vec<NameChange>, answer: Option<(ConnId, Names)>, is_saved: bool },
    /// An endpoint has ended.
    EndpointLost,
}

/// The hub is gone; so should the task be.
struct HubGone;

/// Runs one connection to its end.
pub(super) async fn run(conn: ConnId, incoming: Box<Incoming>, hub: Sender<Input>) {
    if let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, handshake(incoming)).await {
        serve(conn, &connection, &hub).await;
    }
    // The hub ends after all these tasks, or with all of them.
    let _ = hub.send(Input::Closed(conn)).await;
}

async fn handshake(incoming: Box<Incoming>) -> Result<Connection, ConnectionError> {
    incoming.accept()?.await
}

async fn serve(conn: ConnId, connection: &Connection, hub: &Sender<Input>) {
    let Some(peer) = tls::peer_id(connection) else {
        connection.close(VarInt::from_u32(common::control::close::PROTOCOL), b"no key");
        return;
    };
    if hub.send(Input::Connected(conn, peer, connection.clone())).await.is_err() {
        return;
    }
    tokio::select! {
        _ = stream(conn, connection, hub) => {}
        _ = datagrams(conn, connection, hub) => {}
    }
}

async fn stream(conn: ConnId, connection: &Connection, hub: &Sender<Input>) -> Result<(), HubGone> {
    let Ok((send, mut recv)) = connection.accept_bi().await else { return Ok(()) };
    hub.send(Input::Opened(conn, send)).await.map_err(|_| HubGone)?;
    while let Some(bytes) = read(&mut recv).await {
        hub.send(Input::Stream(conn, bytes)).await.map_err(|_| HubGone)?;
    }
    Ok(())
}

/// The next bytes; `None` when the client has ended the stream, and thus its visit.
async fn read(recv: &mut RecvStream) -> Option<Bytes> {
    recv.read_chunk(CHUNK_LEN, true).await.ok().flatten().map(|chunk| chunk.bytes)
}

async fn datagrams(conn: ConnId, connection: &Connection, hub: &Sender<Input>) -> Result<(), HubGone> {
    while let Ok(datagram) = connection.read_datagram().await {
        hub.send(Input::Datagram(conn, datagram)).await.map_err(|_| HubGone)?;
    }
    Ok(())
}
