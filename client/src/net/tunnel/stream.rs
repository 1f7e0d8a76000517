//! Tunnels that are one connection: packets in frames on a byte stream, or messages of a WebSocket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use common::stream_frame::{MAX_PACKET_LEN, PacketCodec};
use common::tunnel::{MAGIC, PATH};
use futures_util::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, future};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::codec::Framed;

use super::TunnelError;
use super::dial::Io;
use crate::net::socket::MuxSocket;

/// Packets both ways.
trait PacketStream: Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Send {}

impl<T: Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Send> PacketStream for T {}

/// Packets both ways, on anything.
pub(crate) struct Packets(Pin<Box<dyn PacketStream>>);

/// Packets in frames on `stream`.
pub(super) async fn framed(mut stream: Box<dyn Io>) -> Result<Packets, TunnelError> {
    stream.write_all(&MAGIC).await.map_err(TunnelError::failed)?;
    Ok(Packets(Box::pin(Framed::new(stream, PacketCodec))))
}

/// Packets as binary messages of a WebSocket (RFC 6455).
pub(super) async fn websocket(stream: Box<dyn Io>, host: &str, port: u16) -> Result<Packets, TunnelError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_LEN))
        .max_frame_size(Some(MAX_PACKET_LEN))
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_PACKET_LEN);
    let url = format!("wss://{host}:{port}{PATH}");
    let (socket, _) =
        client_async_with_config(url, stream, Some(config)).await.map_err(TunnelError::failed)?;
    let packets = socket
        .map_err(io::Error::other)
        .try_filter_map(|message| {
            future::ready(Ok(if let Message::Binary(packet) = message { Some(packet) } else { None }))
        })
        .sink_map_err(|error: tungstenite::Error| io::Error::other(error))
        .with(|packet| future::ready(Ok::<_, io::Error>(Message::Binary(packet))));
    Ok(Packets(Box::pin(packets)))
}

/// Carries packets between the tunnel and QUIC until either ends.
pub(super) async fn carry(
    packets: Packets,
    socket: Arc<MuxSocket>,
    addr: SocketAddr,
    mut outbox: mpsc::Receiver<Bytes>,
) -> TunnelError {
    let (mut sink, mut packets) = packets.0.split();
    let down = async {
        loop {
            match packets.next().await {
                Some(Ok(packet)) => socket.handle_tunnelled(addr, packet),
                Some(Err(error)) => return error,
                None => return io::ErrorKind::UnexpectedEof.into(),
            }
        }
    };
    let up = async {
        while let Some(packet) = outbox.recv().await {
            sink.feed(packet).await?;
            while let Ok(packet) = outbox.try_recv() {
                sink.feed(packet).await?;
            }
            sink.flush().await?;
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        error = down => TunnelError::failed(error),
        ended = up => match ended {
            Ok(()) => TunnelError::Failed("it is not needed any more".to_owned()),
            Err(error) => TunnelError::failed(error),
        },
    }
}
