//! Sockets beside the main ones, each with a NAT mapping of its own: for methods against hard NATs, and to see what NAT
//! there is.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use quinn::AsyncUdpSocket;
use quinn::udp::RecvMeta;

use super::super::mux::SocketId;
use super::lock;

/// Sockets that may be open at the same time. One peer's try takes [`MAX_MAPPINGS`](common::traversal::MAX_MAPPINGS),
/// and one peer tries what takes many at a time; paths that were found keep one each.
const MAX_SOCKETS: usize = 640;

/// Binds a UDP socket on a port of the system's choice, of the family of the address that it will send to.
pub type Bind = Arc<dyn Fn(SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> + Send + Sync>;

/// See [`Bind`].
#[derive(Clone)]
pub struct BindExtra(pub Bind);

impl fmt::Debug for BindExtra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindExtra")
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Extras {
    bind: BindExtra,
    open: Mutex<BTreeMap<SocketId, Arc<dyn AsyncUdpSocket>>>,
}

impl Extras {
    pub(super) fn new(bind: BindExtra) -> Self {
        Self { bind, open: Mutex::default() }
    }

    /// The socket `id`, opened if it is not open yet; whether it was.
    pub(super) fn get(&self, id: SocketId, to: SocketAddr) -> io::Result<(Arc<dyn AsyncUdpSocket>, bool)> {
        let mut open = lock(&self.open);
        if let Some(socket) = open.get(&id) {
            return Ok((Arc::clone(socket), true));
        }
        if open.len() == MAX_SOCKETS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let socket = (self.bind.0)(to)?;
        open.insert(id, Arc::clone(&socket));
        Ok((socket, false))
    }

    /// Closes the sockets that are not to stay.
    pub(super) fn retain(&self, mut stays: impl FnMut(SocketId) -> bool) {
        lock(&self.open).retain(|id, _| stays(*id));
    }

    /// Receives from whichever socket has something.
    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<(SocketId, usize)> {
        let mut received = Poll::Pending;
        lock(&self.open).retain(|id, socket| {
            if received.is_ready() {
                return true;
            }
            match socket.poll_recv(cx, bufs, metas) {
                Poll::Ready(Ok(count)) => received = Poll::Ready((*id, count)),
                // A socket that is broken is opened anew when it is needed.
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => {}
            }
            true
        });
        received
    }
}
