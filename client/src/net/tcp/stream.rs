//! One TCP connection to a peer as a path: packets in frames (`docs/protocol.md` §2.1).
//!
//! QUIC has its own congestion control and sends again what is lost. So nothing queues here for long: what the
//! connection does not take is dropped.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use common::stream_frame;
use common::traversal::tcp::StreamId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::clock;
use super::super::socket::MuxSocket;

/// Packets that wait for a connection; more are dropped.
const MAX_QUEUE: usize = 64;
/// Bytes that are written at once, about.
const BATCH: usize = 16 << 10;
/// Bytes that the system may hold unsent: enough not to run dry, little enough that packets are not late.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 32 << 10;
/// Bytes read at once, about.
const READ_LEN: usize = 64 << 10;
/// A path in use is checked every 15 seconds; one that is silent for this long is nobody's.
const SILENCE: Duration = Duration::from_secs(60);

/// The connections, by the addresses that stand for them.
#[derive(Debug, Default)]
pub(in super::super) struct StreamTable(Mutex<HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>>);

impl StreamTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a packet on the connection that `to` stands for. One that is gone or full loses it, as any network may.
    pub(in super::super) fn send(&self, to: SocketAddr, packet: Vec<u8>) {
        if let Some(queue) = self.lock().get(&to) {
            let _ = queue.try_send(packet);
        }
    }
}

/// A connection in the tables; out of them when dropped.
struct Open {
    socket: Arc<MuxSocket>,
    id: StreamId,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.socket.streams.lock().remove(&self.id.addr());
        self.socket.with_mux(|mux| mux.remove_stream(clock::now(), self.id));
    }
}

/// Carries packets both ways until the connection ends or nothing comes any more. It can be sent to from the moment
/// that this returns.
pub(super) fn carry(
    stream: TcpStream,
    socket: Arc<MuxSocket>,
    id: StreamId,
) -> impl Future<Output = ()> + Send {
    let (sender, queue) = mpsc::channel(MAX_QUEUE);
    socket.streams.lock().insert(id.addr(), sender);
    let open = Open { socket, id };
    async move {
        // Without these settings packets are later, that is all.
        let _ = stream.set_nodelay(true);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MAX_UNSENT);
        let (read, write) = stream.into_split();
        tokio::select! {
            () = read_packets(read, &open) => {}
            () = write_packets(write, queue) => {}
        }
    }
}

async fn read_packets(mut stream: impl AsyncRead + Unpin, open: &Open) {
    let mut buffer = BytesMut::with_capacity(READ_LEN);
    loop {
        match stream_frame::take(&mut buffer) {
            Ok(Some(packet)) => open.socket.handle_stream_packet(open.id, packet),
            Ok(None) => {
                buffer.reserve(READ_LEN / 2);
                if !matches!(timeout(SILENCE, stream.read_buf(&mut buffer)).await, Ok(Ok(1..))) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

async fn write_packets(mut stream: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut buffer = BytesMut::with_capacity(BATCH);
    while let Some(packet) = queue.recv().await {
        stream_frame::put(&mut buffer, &packet);
        while buffer.len() < BATCH
            && let Ok(packet) = queue.try_recv()
        {
            stream_frame::put(&mut buffer, &packet);
        }
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
}
