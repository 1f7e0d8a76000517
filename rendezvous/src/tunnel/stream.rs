//! Tunnels that are one connection: packets in frames on a byte stream, or messages of a WebSocket.

use std::time::Duration;

use bytes::Bytes;
use common::stream_frame::{MAX_PACKET_LEN, PacketCodec};
use futures_util::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::codec::Framed;

use super::Tunnel;

/// A tunnel out of which nothing has come for so long is closed. The control connection is given up sooner.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Carries packets in frames on `stream` until it ends.
pub(super) async fn run_framed<S>(stream: S, tunnel: Tunnel, outbox: mpsc::Receiver<Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    carry(Framed::new(stream, PacketCodec), tunnel, outbox).await;
}

/// Carries packets as binary messages of a WebSocket (RFC 6455) whose opening handshake is over.
pub(super) async fn run_websocket<S>(stream: S, tunnel: Tunnel, outbox: mpsc::Receiver<Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_LEN))
        .max_frame_size(Some(MAX_PACKET_LEN))
        .read_buffer_size(4 * MAX_PACKET_LEN)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_PACKET_LEN);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let packets = socket
        .with(|packet| future::ready(Ok::<_, tungstenite::Error>(Message::Binary(packet))))
        .try_filter_map(|message| {
            future::ready(Ok(if let Message::Binary(packet) = message { Some(packet) } else { None }))
        });
    carry(packets, tunnel, outbox).await;
}

async fn carry<S, E>(stream: S, tunnel: Tunnel, mut outbox: mpsc::Receiver<Bytes>)
where
    S: Stream<Item = Result<Bytes, E>> + Sink<Bytes> + Unpin,
{
    let (mut sink, mut packets) = stream.split();
    let up = async {
        while let Ok(Some(Ok(packet))) = timeout(IDLE_TIMEOUT, packets.next()).await {
            if tunnel.arrived(packet).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        while let Some(packet) = outbox.recv().await {
            if sink.feed(packet).await.is_err() {
                return;
            }
            while let Ok(packet) = outbox.try_recv() {
                if sink.feed(packet).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
