//! Sockets for a machine that asks over UDP, and the loop that runs it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use common::address::canonical;
use common::traversal::survey::Asks;
use common::traversal::{Local, Transmit};
use quinn::AsyncUdpSocket;
use quinn::udp::{self, RecvMeta};
use tokio::time::sleep_until;

use crate::net::clock;
use crate::net::socket::BindExtra;

/// Bytes of one receive: what the system may have joined into one buffer.
const BUFFER_LEN: usize = 64 * 1024;
/// Sockets that may be open.
const MAX_SOCKETS: usize = 64;

/// See the module.
pub(super) struct Sockets {
    bind: BindExtra,
    /// To where all of them send, as far as the address family goes.
    to: SocketAddr,
    open: BTreeMap<Local, Arc<dyn AsyncUdpSocket>>,
    buffer: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(bind: BindExtra, to: SocketAddr) -> Self {
        Self { bind, to, open: BTreeMap::new(), buffer: vec![0; BUFFER_LEN] }
    }

    /// Opens the socket `number` if it is not open, and returns its port.
    pub(super) fn open(&mut self, number: u32) -> io::Result<u16> {
        Ok(self.socket(Local(number))?.local_addr()?.port())
    }

    fn socket(&mut self, local: Local) -> io::Result<&Arc<dyn AsyncUdpSocket>> {
        if !self.open.contains_key(&local) {
            if self.open.len() == MAX_SOCKETS {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            self.open.insert(local, (self.bind.0)(self.to)?);
        }
        self.open.get(&local).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Runs `machine` to its end.
    pub(super) async fn run(&mut self, machine: &mut impl Asks) {
        loop {
            while let Some(transmit) = machine.poll_transmit() {
                self.send(&transmit);
            }
            let Some(until) = machine.poll_timeout() else { return };
            tokio::select! {
                (local, meta) = poll_fn(|cx| self.poll_recv(cx)) => {
                    let from = canonical(meta.addr);
                    for datagram in self.buffer[..meta.len].chunks(meta.stride.max(1)) {
                        machine.handle_datagram(clock::now(), local, from, datagram);
                    }
                }
                () = sleep_until(until.into()) => {}
            }
            // In either case: what arrives all the time must not hold up what is due.
            machine.handle_timeout(clock::now());
        }
    }

    /// A datagram that is not sent is lost, and repeated like any other.
    fn send(&mut self, transmit: &Transmit) {
        let Transmit { local, to, bytes } = transmit;
        if let Ok(socket) = self.socket(*local) {
            let datagram = udp::Transmit {
                destination: *to,
                ecn: None,
                contents: bytes,
                segment_size: None,
                src_ip: None,
            };
            let _ = socket.try_send(&datagram);
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<(Local, RecvMeta)> {
        for (local, socket) in &self.open {
            let mut meta = [RecvMeta::default()];
            // A second try, since an error such as a refused datagram of ours is told once.
            for _ in 0..2 {
                match socket.poll_recv(cx, &mut [IoSliceMut::new(&mut self.buffer)], &mut meta) {
                    Poll::Ready(Ok(count)) if count > 0 => return Poll::Ready((*local, meta[0])),
                    Poll::Ready(_) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}
