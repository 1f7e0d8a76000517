//! The task that owns the [`Core`]: feeds it with what the connections bring, and carries out what it decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::address::TUNNELS;
use common::control::{Names, ToClient, close};
use common::frame::Message;
use quinn::{Connection, Endpoint, Incoming, SendStream, VarInt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, warn};

use super::connection::{self, Input};
use super::unvalidated::Unvalidated;
use super::{clock, names};
use crate::core::{Arrival, ConnId, Core, CoreStats, NameChange, Output, Verdict};
use crate::tunnel::Tunnels;

/// Inputs that wait for the hub. Each connection has at most two of them under way.
pub(super) const INPUTS: usize = 1024;
/// Inputs that are handled between two looks at the clock.
const BATCH: usize = 128;
/// How often some of the connections are looked at for a new address, since QUIC does not tell.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// In how many of these steps all connections are looked at.
const SWEEP_STEPS: usize = 8;
/// How long the end waits for clients to hear of it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What the driver counts itself.
#[derive(Debug, Default)]
pub(super) struct HubCounters {
    /// Packets dropped because the receiver's queue was full, or they did not fit its path.
    pub(super) dropped_full: AtomicU64,
    /// Endpoints that have ended.
    pub(super) endpoints_lost: AtomicU64,
}

/// What the hub and other parts of the driver work on together.
pub(super) struct Shared {
    pub(super) counters: Arc<HubCounters>,
    pub(super) unvalidated: Arc<Unvalidated>,
    pub(super) tunnels: Arc<Tunnels>,
}

/// See the module.
pub(super) struct Hub {
    core: Core,
    endpoints: Vec<Endpoint>,
    conns: BTreeMap<ConnId, Entry>,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
    stats: watch::Sender<CoreStats>,
    shared: Shared,
    /// Where the connections among those are that are in their handshake.
    unproved: BTreeMap<ConnId, SocketAddr>,
    /// Where changes of names go; `None` while it ends.
    names: Option<mpsc::Sender<names::Request>>,
    /// Where the next sweep goes on.
    swept: ConnId,
}

struct Entry {
    connection: Connection,
    /// `None` until the client opens its stream.
    send: Option<SendStream>,
}

impl Entry {
    /// Where its packets come from over UDP; `None` while they come through a tunnel.
    fn endpoint(&self) -> Option<SocketAddr> {
        Some(self.connection.remote_address()).filter(|addr| TUNNELS.tag(*addr).is_none())
    }
}

/// All endpoints have failed: the sockets are gone.
#[derive(Debug, thiserror::Error)]
#[error("the network sockets failed")]
pub struct SocketsLost;

impl Hub {
    pub(super) fn new(
        mut core: Core,
        endpoints: Vec<Endpoint>,
        stats: watch::Sender<CoreStats>,
        shared: Shared,
        database: Option<rusqlite::Connection>,
    ) -> Self {
        let (sender, inputs) = mpsc::channel(INPUTS);
        let mut tasks = JoinSet::new();
        let (names, requests) = names::queue();
        tasks.spawn(names::run(database, requests, sender.clone()));
        core.handle_day(clock::today());
        for endpoint in &endpoints {
            tasks.spawn(accept(endpoint.clone(), sender.clone()));
        }
        Self {
            core,
            endpoints,
            conns: BTreeMap::new(),
            inputs,
            sender,
            tasks,
            stats,
            shared,
            unproved: BTreeMap::new(),
            names: Some(names),
            swept: ConnId(0),
        }
    }

    /// Runs until `stop` is sent or dropped, then takes leave of all clients.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), SocketsLost> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut lost = 0;
        loop {
            let timer = self.core.poll_timeout();
            tokio::select! {
                _ = &mut stop => break,
                _ = self.inputs.recv_many(&mut batch, BATCH) => {}
                () = until(timer) => self.core.handle_timeout(clock::now()),
                _ = sweep.tick(), if !self.conns.is_empty() => self.sweep(),
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                }
            }
            let now = clock::now();
            for input in batch.drain(..) {
                lost += usize::from(matches!(input, Input::EndpointLost));
                self.handle(now, input);
            }
            self.carry_out();
            self.publish();
            if lost == self.endpoints.len() {
                return Err(SocketsLost);
            }
        }
        self.drain().await;
        Ok(())
    }

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Incoming(incoming) => self.arrival(now, incoming),
            Input::Connected(conn, peer, connection) => {
                debug!(conn = conn.0, peer = %peer.short(), from = %connection.remote_address(), "connected");
                self.proved(conn);
                self.conns.insert(conn, Entry { connection, send: None });
                self.core.handle_connected(now, conn, peer);
                self.look(now, conn);
            }
            Input::Opened(conn, send) => {
                if let Some(entry) = self.conns.get_mut(&conn) {
                    entry.send = Some(send);
                }
            }
            Input::Stream(conn, bytes) => {
                self.look(now, conn);
                self.core.handle_stream(now, conn, &bytes);
                // At once, so that the next input of this batch finds a closed connection closed.
                self.carry_out();
            }
            Input::Datagram(conn, datagram) => {
                self.look(now, conn);
                self.core.handle_datagram(now, conn, datagram);
                self.carry_out();
            }
            Input::Closed(conn) => {
                debug!(conn = conn.0, "gone");
                self.proved(conn);
                self.conns.remove(&conn);
                self.core.handle_closed(now, conn);
            }
            Input::Saved { changes, answer, is_saved } => {
                self.core.handle_saved(&changes, answer, is_saved);
            }
            Input::EndpointLost => {
                // Without its address, which is no business of whoever reads the log.
                warn!("an endpoint has ended, its socket failed");
                self.shared.counters.endpoints_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn arrival(&mut self, now: Instant, incoming: Box<Incoming>) {
        let addr = incoming.remote_address();
        let arrival = match (TUNNELS.tag(addr), self.shared.tunnels.source(addr)) {
            (None, _) => Arrival::over_udp(addr, incoming.remote_address_validated()),
            (Some(_), Some(from)) => Arrival { from, validated: true, endpoint: None },
            // The tunnel has gone meanwhile.
            (Some(_), None) => return incoming.ignore(),
        };
        match self.core.handle_arrival(now, arrival) {
            (Verdict::Accept, conn) => {
                if !arrival.validated {
                    self.shared.unvalidated.add(arrival.from);
                    self.unproved.insert(conn, arrival.from);
                }
                self.tasks.spawn(connection::run(conn, incoming, self.sender.clone()));
            }
            // The core asks for a Retry only where the address is not proved, and then QUIC allows one.
            (Verdict::Retry, _) => drop(incoming.retry()),
            (Verdict::Refuse, _) => incoming.refuse(),
        }
    }

    /// The handshake of a connection is over: its address is proved, or nothing more is sent there.
    fn proved(&mut self, conn: ConnId) {
        if let Some(addr) = self.unproved.remove(&conn) {
            self.shared.unvalidated.remove(addr);
        }
    }

    /// Tells the core where a connection comes from now.
    fn look(&mut self, now: Instant, conn: ConnId) {
        if let Some(entry) = self.conns.get(&conn) {
            self.core.handle_observed(now, conn, entry.endpoint());
        }
    }

    fn sweep(&mut self) {
        let now = clock::now();
        self.core.handle_day(clock::today());
        let share = self.conns.len().div_ceil(SWEEP_STEPS);
        let mut rest = self.conns.range(self.swept..);
        for (conn, entry) in rest.by_ref().take(share) {
            self.core.handle_observed(now, *conn, entry.endpoint());
        }
        self.swept = rest.next().map_or(ConnId(0), |(conn, _)| *conn);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Save { changes, answer } => self.save(changes, answer),
                Output::Send(conn, message) => self.send(conn, &message),
                Output::Datagram(conn, datagram) => self.datagram(conn, datagram),
                Output::Close(conn, code, reason) => {
                    debug!(conn = conn.0, code, reason, "closed");
                    if let Some(entry) = self.conns.remove(&conn) {
                        entry.connection.close(VarInt::from_u32(code), reason.as_bytes());
                    }
                }
            }
        }
    }

    fn send(&mut self, conn: ConnId, message: &ToClient) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let written = entry.send.as_mut().is_some_and(|send| write(send, &message.to_bytes()));
        if !written {
            // Half a frame may be out, so nothing sensible can follow. It is gone, or does not read.
            let reason = b"does not read what it is sent";
            entry.connection.close(VarInt::from_u32(close::PROTOCOL), reason);
        }
    }

    fn save(&mut self, changes: Vec<NameChange>, answer: Option<(ConnId, Names)>) {
        let Some(queue) = &self.names else { return };
        let Err(TrySendError::Full(unsaved) | TrySendError::Closed(unsaved)) =
            queue.try_send(names::Request { changes, answer })
        else {
            return;
        };
        self.core.handle_saved(&unsaved.changes, unsaved.answer, false);
    }

    fn datagram(&self, conn: ConnId, datagram: Bytes) {
        let Some(Entry { connection, .. }) = self.conns.get(&conn) else { return };
        // Newer packets are dropped rather than older ones: the inner connection's order stays.
        let fits = connection.datagram_send_buffer_space() >= datagram.len();
        if !fits || connection.send_datagram(datagram).is_err() {
            self.shared.counters.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish(&self) {
        self.stats.send_replace(self.core.stats());
    }

    /// Ends all connections and waits, not for ever, until the clients have heard of it.
    async fn drain(mut self) {
        info!(connections = self.conns.len(), "shutting down");
        for endpoint in &self.endpoints {
            endpoint.close(VarInt::from_u32(close::SHUTDOWN), b"the server shuts down");
        }
        self.conns.clear();
        // What is queued is still written.
        self.names = None;
        // Tasks that wait for room in the queue must not wait for ever.
        self.inputs.close();
        while self.inputs.try_recv().is_ok() {}
        let idle = async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(DRAIN_TIMEOUT, idle).await.is_err() {
            debug!("not all clients confirmed the end in time");
        }
    }
}

/// Hands over what one endpoint accepts.
async fn accept(endpoint: Endpoint, hub: mpsc::Sender<Input>) {
    while let Some(incoming) = endpoint.accept().await {
        if hub.send(Input::Incoming(Box::new(incoming))).await.is_err() {
            return;
        }
    }
    // During a shutdown nobody listens any more.
    let _ = hub.send(Input::EndpointLost).await;
}

/// Writes all of `bytes` or tells that they do not fit. The stream's send window is the queue.
fn write(send: &mut SendStream, mut bytes: &[u8]) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    while !bytes.is_empty() {
        match pin!(send.write(bytes)).poll(&mut context) {
            Poll::Ready(Ok(written)) => bytes = &bytes[written..],
            Poll::Ready(Err(_)) | Poll::Pending => return false,
        }
    }
    true
}

async fn until(timer: Option<Instant>) {
    match timer {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The addresses that endpoints listen on.
pub(super) fn local_addrs(endpoints: &[Endpoint]) -> std::io::Result<Vec<SocketAddr>> {
    endpoints.iter().map(Endpoint::local_addr).collect()
}
