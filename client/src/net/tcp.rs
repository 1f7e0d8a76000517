//! TCP to peers, for when UDP does not pass (`docs/protocol.md` §5.5): carries out what [`TcpPunch`] decides.
//!
//! Each connected peer has a task of this. It owns the sockets of the round under way and all TCP connections to the
//! peer, so that everything is closed when the task ends. What comes and goes on a connection are packets for the
//! multiplexer, which takes it for one more path.

mod port;
mod stream;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::address;
use common::identity::PeerId;
use common::stun::check::Side;
use common::traversal;
use common::traversal::cause::Passes;
use common::traversal::method::Method;
use common::traversal::tcp::{Action, Offer, Reach, StreamId, TcpOutlook, TcpPunch};
use quinn::Connection;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use super::mux::Via;
use super::socket::MuxSocket;
use super::{Handshake, clock};
use port::Port;
pub(super) use stream::StreamTable;

/// Offers of a peer that wait for its task; more are dropped, for the newest round is all that counts.
const MAX_OFFERS: usize = 4;
/// Connections and news of a round that wait.
const MAX_REPORTS: usize = 16;
/// Between attempts to connect to one endpoint of which the first was refused: by a NAT, perhaps, that the other side
/// had not sent through yet.
const RETRY: Duration = Duration::from_millis(100);

/// Whether TCP is used between peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpUse {
    /// Never.
    Never,
    /// When UDP has not led to a path.
    WhenUdpFails,
}

/// What the task of one peer needs.
pub(super) struct Context {
    pub(super) peer: PeerId,
    pub(super) side: Side,
    pub(super) socket: Arc<MuxSocket>,
    pub(super) connection: Connection,
    pub(super) handshake: watch::Receiver<Handshake>,
    /// The server, `HOST:PORT`, if there is one.
    pub(super) server: Option<String>,
    /// Whether it was not reached over UDP: there is no hope for that then.
    pub(super) is_tunnelled: Arc<AtomicBool>,
    pub(super) interfaces: fn() -> Vec<IpAddr>,
    /// Where the peer is told of our offers.
    pub(super) tell: watch::Sender<Option<Offer>>,
    pub(super) seed: u64,
}

/// Reaches the task of one peer; ends it when dropped.
#[derive(Debug)]
pub(crate) struct Handle {
    offers: mpsc::Sender<Offer>,
    vias: watch::Sender<Via>,
    outlook: watch::Receiver<TcpOutlook>,
    is_tunnelled: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Handle {
    /// Starts the task in `tasks`.
    pub(super) fn start(context: Context, tasks: &mut JoinSet<()>) -> Self {
        let (offers, offers_in) = mpsc::channel(MAX_OFFERS);
        let via =
            context.socket.with_mux(|mux| mux.path_of(context.peer)).map_or(Via::Relay, |path| path.via);
        let (vias, vias_in) = watch::channel(via);
        let is_tunnelled = Arc::clone(&context.is_tunnelled);
        let (tell, outlook) = watch::channel(TcpOutlook::default());
        let task = tasks.spawn(run(context, offers_in, vias_in, tell));
        Self { offers, vias, outlook, is_tunnelled, task }
    }

    /// How far it is.
    pub(super) fn outlook(&self) -> TcpOutlook {
        *self.outlook.borrow()
    }

    /// Something was learned on which the prospects depend.
    pub(super) fn look(&self) {
        self.vias.send_modify(|_| {});
    }

    /// Packets for the peer take another way.
    pub(super) fn set_via(&self, via: Via) {
        self.vias.send_replace(via);
    }

    /// The server is reached over a tunnel from now on, or over UDP.
    pub(super) fn set_tunnelled(&self, is_tunnelled: bool) {
        self.is_tunnelled.store(is_tunnelled, Ordering::Relaxed);
        // The task looks again.
        self.vias.send_modify(|_| {});
    }

    /// The peer has made an offer.
    pub(super) fn handle_offer(&self, offer: Offer) {
        // One too many is as good as lost; rounds are repeated.
        let _ = self.offers.try_send(offer);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the tasks of a round report, with its number.
enum Report {
    /// The port, where it may be reached, and whether the server was reached from it.
    Prepared(Arc<Port>, Vec<SocketAddr>, Passes),
    Connected(TcpStream, SocketAddr),
}

/// The sockets of a round; dropping it closes those that are not connected.
struct Round {
    number: u32,
    port: Option<Arc<Port>>,
    tasks: JoinSet<()>,
}

struct Task {
    context: Context,
    punch: TcpPunch,
    round: Option<Round>,
    reports: mpsc::Sender<(u32, Report)>,
    streams: BTreeMap<StreamId, AbortHandle>,
    carriers: JoinSet<StreamId>,
}

async fn run(
    mut context: Context,
    mut offers: mpsc::Receiver<Offer>,
    mut vias: watch::Receiver<Via>,
    outlook: watch::Sender<TcpOutlook>,
) {
    if context.handshake.wait_for(|state| *state != Handshake::Early).await.is_err() {
        return;
    }
    let (reports, mut reports_in) = mpsc::channel(MAX_REPORTS);
    let punch = TcpPunch::new(context.connection.rtt(), context.seed);
    let (streams, carriers) = (BTreeMap::new(), JoinSet::new());
    let mut task = Task { context, punch, round: None, reports, streams, carriers };
    vias.mark_changed();
    loop {
        let timeout = task.settle();
        outlook.send_if_modified(|old| std::mem::replace(old, task.punch.outlook()) != *old);
        let timer = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = vias.changed() => match changed {
                Ok(()) => {
                    let via = *vias.borrow_and_update();
                    task.handle_via(via);
                }
                Err(_) => return,
            },
            offer = offers.recv() => match offer {
                Some(offer) => task.punch.handle_offer(clock::now(), offer),
                None => return,
            },
            Some((round, report)) = reports_in.recv() => task.handle_report(round, report),
            Some(ended) = task.carriers.join_next() => {
                if let Ok(id) = ended {
                    task.streams.remove(&id);
                }
            }
            () = timer => {}
        }
    }
}

impl Task {
    /// Lets time pass and does what is to be done; returns when to do so again.
    fn settle(&mut self) -> Option<Instant> {
        self.punch.set_rtt(self.context.connection.rtt());
        self.look(clock::now());
        self.punch.handle_timeout(clock::now());
        while let Some(action) = self.punch.poll_action() {
            match action {
                Action::Prepare(round) => self.prepare(round),
                Action::Tell(offer) => drop(self.context.tell.send_replace(Some(offer))),
                Action::Connect(addrs) => self.connect(addrs),
                Action::Close => {
                    self.round = None;
                    let proven = |id| self.context.socket.with_mux(|mux| mux.is_proven(id));
                    close(&self.streams, |id| !proven(id));
                }
                Action::Leave => close(&self.streams, |_| true),
            }
        }
        self.punch.poll_timeout()
    }

    /// Learns what is to be hoped of UDP and of TCP.
    fn look(&mut self, now: Instant) {
        if let Some(outlook) = self.context.socket.with_mux(|mux| mux.outlook(self.context.peer)) {
            self.punch.set_prospect(now, outlook.tcp_prospect());
            if let Method::Hopeless(_) = outlook.method {
                self.punch.hurry(now);
            }
        }
    }

    fn handle_via(&mut self, via: Via) {
        let reach = match via {
            Via::Relay => Reach::Relay,
            Via::Tcp => Reach::Tcp,
            Via::Udp | Via::Lan => Reach::Udp,
        };
        self.punch.handle_reach(clock::now(), reach);
        if self.context.is_tunnelled.load(Ordering::Relaxed) {
            self.punch.hurry(clock::now());
        }
        // Both sides may have several connections and like different ones best: one of them decides.
        if via == Via::Tcp && self.context.side == Side::Dialer {
            let in_use = self.context.socket.with_mux(|mux| mux.stream_in_use(self.context.peer));
            close(&self.streams, |id| in_use.is_some_and(|in_use| in_use != id));
        }
    }

    fn prepare(&mut self, number: u32) {
        let mut tasks = JoinSet::new();
        let server = self.context.server.clone();
        let (interfaces, reports) = (self.context.interfaces, self.reports.clone());
        tasks.spawn(async move {
            match Port::prepare(server, interfaces).await {
                Ok((port, addrs, passes)) => {
                    let report = Report::Prepared(Arc::new(port), addrs, passes);
                    // The peer may be gone.
                    let _ = reports.send((number, report)).await;
                }
                Err(error) => debug!(%error, "no port for TCP"),
            }
        });
        self.round = Some(Round { number, port: None, tasks });
    }

    fn handle_report(&mut self, number: u32, report: Report) {
        let Some(round) = self.round.as_mut().filter(|round| round.number == number) else { return };
        match report {
            Report::Prepared(port, addrs, passes) => {
                if passes != Passes::Unknown {
                    self.context.socket.with_mux(|mux| mux.set_tcp_passes(clock::now(), passes));
                }
                let reports = self.reports.clone();
                round.port = Some(Arc::clone(&port));
                round.tasks.spawn(async move {
                    // Strangers who come in numbers are turned away: what counts comes once more.
                    let report =
                        |stream, from| drop(reports.try_send((number, Report::Connected(stream, from))));
                    port.accept(report).await;
                });
                self.punch.handle_prepared(clock::now(), number, addrs);
            }
            Report::Connected(stream, remote) => self.carry(stream, remote),
        }
    }

    fn connect(&mut self, addrs: Vec<SocketAddr>) {
        let Some(round) = &mut self.round else { return };
        let Some(port) = round.port.clone() else { return };
        let server_is_loopback = self.context.socket.with_mux(|mux| mux.has_loopback_server());
        let addrs = addrs.into_iter().map(address::canonical);
        let addrs: Vec<_> = addrs.filter(|addr| traversal::may_check(*addr, server_is_loopback)).collect();
        let (number, reports) = (round.number, self.reports.clone());
        round.tasks.spawn(async move {
            let attempts = addrs.into_iter().map(|to| attempt(&port, to, number, &reports));
            // All are begun in order, one right after the other: a NAT may give out its ports in that order too.
            futures_util::future::join_all(attempts).await;
        });
    }

    fn carry(&mut self, stream: TcpStream, remote: SocketAddr) {
        let socket = &self.context.socket;
        let Some(id) = socket.with_mux(|mux| mux.add_stream(self.context.peer, remote)) else { return };
        let (carrier, open) = (stream::carry(stream, Arc::clone(socket), id), id);
        let task = self.carriers.spawn(async move {
            carrier.await;
            open
        });
        self.streams.insert(id, task);
        socket.with_mux(|mux| mux.check_stream(clock::now(), id));
    }
}

/// Ends some of the connections.
fn close(streams: &BTreeMap<StreamId, AbortHandle>, which: impl Fn(StreamId) -> bool) {
    streams.iter().filter(|(id, _)| which(**id)).for_each(|(_, task)| task.abort());
}

/// Connects to one endpoint, until it succeeds or the round is over.
async fn attempt(port: &Port, to: SocketAddr, number: u32, reports: &mpsc::Sender<(u32, Report)>) {
    loop {
        match port.connect(to).await {
            Ok(stream) => {
                // The peer may be gone.
                let _ = reports.send((number, Report::Connected(stream, to))).await;
                return;
            }
            Err(error) => debug!(%error, "a TCP connection to a peer failed"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
