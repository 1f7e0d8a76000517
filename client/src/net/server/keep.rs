//! Keeps the control connection on the best way that works: from a tunnel to UDP when that passes, and from a way that
//! has ended to another. The connection stays the same; to the server it migrates (RFC 9000 §9).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::address;
use common::control::{Moved, ToServer};
use common::tunnel::PollId;
use quinn::VarInt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::reach::{Carrying, Reached};
use super::{CONNECT_TIMEOUT, FromServer};
use crate::net::socket::MuxSocket;
use crate::net::tunnel::{self, Carrier, Place, Route, Tunnel, Tunnels};

/// How soon after the start it is looked whether UDP passes after all: it may have lost the race by one lost packet.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// The longest wait between two looks; it doubles from the first.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(30);
/// How often the server is asked in one look, and how long each answer is waited for.
const ASKS: u32 = 3;
const ANSWER_WAIT: Duration = Duration::from_millis(400);
/// How long the server may take to go on over UDP, or over a new tunnel, when it is shown there.
const TRIAL: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(20);
/// How often a tunnel that has ended is opened again, and the wait before the second time, doubled each time.
const REOPENINGS: u32 = 4;
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// How often a connection over UDP is looked at: while nothing is sent, and while something is.
const WATCH_INTERVAL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(100));
/// How long the server may leave packets unanswered over UDP before it is asked whether that passes, at least ...
const MIN_SILENCE: Duration = Duration::from_millis(200);
/// ... and at most. In between it is three round trips.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// How long each question is waited for; in a connection with a longer round trip so much longer.
const QUICK_ASKS: [Duration; 3] =
    [Duration::from_millis(75), Duration::from_millis(50), Duration::from_millis(75)];
/// The round trip that these are made for.
const QUICK_RTT: Duration = Duration::from_millis(50);
/// How long one tunnel may take to open before the next is tried, in this case.
const QUICK_OPEN: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Keeper {
    reached: Reached,
    /// Where it is over UDP, while it is.
    server: SocketAddr,
    socket: Arc<MuxSocket>,
    tunnels: Tunnels,
    frames: mpsc::Sender<ToServer>,
    inbox: mpsc::Sender<FromServer>,
    /// Rung when somebody doubts the way.
    doubt: Arc<Notify>,
}

/// There is no way to the server any more.
struct Stranded;

impl Keeper {
    pub(super) fn new(
        reached: Reached,
        socket: Arc<MuxSocket>,
        tunnels: Tunnels,
        frames: mpsc::Sender<ToServer>,
        inbox: mpsc::Sender<FromServer>,
        doubt: Arc<Notify>,
    ) -> Self {
        Self { server: address::canonical(reached.name.addr), reached, socket, tunnels, frames, inbox, doubt }
    }

    /// Runs for as long as there is a way.
    pub(super) async fn run(mut self) {
        loop {
            let kept = match self.reached.route.carrier {
                Carrier::Udp => self.watch_udp().await,
                _ => self.keep_tunnel().await,
            };
            if let Err(Stranded) = kept {
                self.reached.connection.close(VarInt::from_u32(0), b"no way to the server");
                return;
            }
            let route = self.reached.route;
            let address = Some(self.server).filter(|_| route.carrier == Carrier::Udp);
            // Without the driver there is nobody left to tell.
            let _ = self.inbox.send(FromServer::Rerouted(route, address)).await;
        }
    }

    fn place(&self) -> &Place {
        &self.reached.place
    }

    /// The connection is on a tunnel: returns when it is on UDP, or on the tunnel opened anew.
    async fn keep_tunnel(&mut self) -> Result<(), Stranded> {
        let mut wait = FIRST_PROBE;
        loop {
            let Some(carrying) = &mut self.reached.carrying else { return Err(Stranded) };
            tokio::select! {
                error = carrying.ended() => {
                    debug!(%error, "the tunnel to the server has ended");
                    return self.reopen().await;
                }
                () = sleep(wait) => {}
                () = self.doubt.notified() => wait = FIRST_PROBE,
            }
            wait = (wait * 2).min(MAX_PROBE_WAIT);
            for server in self.find_udp().await {
                if self.try_udp(server).await {
                    return Ok(());
                }
            }
        }
    }

    /// The server's addresses that answer over UDP.
    async fn find_udp(&self) -> Vec<SocketAddr> {
        let question = self.socket.with_carriers(|carriers| carriers.probe(rand::random()));
        for _ in 0..ASKS {
            for server in &self.place().addresses {
                self.socket.send_datagram(*server, &question);
            }
            sleep(ANSWER_WAIT).await;
            let answered = self.socket.with_carriers(|carriers| carriers.answered().to_vec());
            if !answered.is_empty() {
                let known = self.place().addresses.iter().copied();
                return known.filter(|server| answered.contains(server)).collect();
            }
        }
        Vec::new()
    }

    /// Goes on over UDP if QUIC's packets pass there too, which are larger than the question was.
    async fn try_udp(&mut self, server: SocketAddr) -> bool {
        let addr = self.reached.name.addr;
        self.socket.with_carriers(|carriers| carriers.go_over_udp(addr, server));
        if !self.is_heard().await {
            self.socket.with_carriers(|carriers| carriers.go_through_tunnel(addr));
            self.show();
            return false;
        }
        self.reached.carrying = None;
        self.reached.route = Route::udp(self.place().port);
        self.server = server;
        true
    }

    /// Whether the server answers on the way that packets take now.
    async fn is_heard(&self) -> bool {
        self.show();
        let addr = self.reached.name.addr;
        let heard = async {
            while !self.socket.with_carriers(|carriers| carriers.is_heard(addr)) {
                sleep(GLANCE).await;
            }
        };
        timeout(TRIAL, heard).await.is_ok()
    }

    /// Makes QUIC send a packet, by which the server learns the way.
    fn show(&self) {
        // When the queue is full there are packets enough.
        let _ = self.frames.try_send(Moved {}.into());
    }

    /// Opens the tunnel again, or another one.
    async fn reopen(&mut self) -> Result<(), Stranded> {
        let mut pause = REOPEN_PAUSE;
        for _ in 0..REOPENINGS {
            let last = self.reached.route;
            if self.try_tunnel(last).await || self.try_tunnels().await {
                return Ok(());
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(Stranded)
    }

    /// Goes over to the first tunnel that carries.
    async fn try_tunnels(&mut self) -> bool {
        for (_, route) in tunnel::routes(self.place().port, &self.tunnels) {
            if self.try_tunnel(route).await {
                return true;
            }
        }
        false
    }

    async fn try_tunnel(&mut self, route: Route) -> bool {
        let id = PollId(rand::random());
        let opening = tunnel::open(route, self.place(), self.tunnels.proxy.as_ref(), id);
        let Ok(Ok(tunnel)) = timeout(CONNECT_TIMEOUT, opening).await else { return false };
        self.go_into(route, tunnel).await
    }

    /// Goes over to a tunnel that is open.
    async fn go_into(&mut self, route: Route, tunnel: Tunnel) -> bool {
        let addr = self.reached.name.addr;
        let outbox = self.socket.with_carriers(|carriers| carriers.reopen(addr));
        self.reached.carrying = Some(Carrying::start(Arc::clone(&self.socket), tunnel, addr, outbox));
        if self.is_heard().await {
            self.reached.route = route;
            return true;
        }
        false
    }

    /// The connection is on UDP: returns when that is silent and a tunnel carries instead.
    async fn watch_udp(&mut self) -> Result<(), Stranded> {
        let connection = self.reached.connection.clone();
        let counts = || (connection.stats().udp_rx.datagrams, connection.stats().udp_tx.datagrams);
        let (mut heard, mut sent) = counts();
        let mut silence = Duration::ZERO;
        let mut interval = WATCH_INTERVAL.0;
        loop {
            let is_doubted = tokio::select! {
                () = sleep(interval) => false,
                () = self.doubt.notified() => true,
            };
            let (now_heard, now_sent) = counts();
            let is_busy = now_sent != sent;
            if now_heard != heard {
                (heard, sent, silence) = (now_heard, now_sent, Duration::ZERO);
            } else if is_busy {
                silence += interval;
            }
            interval = if is_busy { WATCH_INTERVAL.1 } else { WATCH_INTERVAL.0 };
            let patience = (connection.rtt() * 3).clamp(MIN_SILENCE, MAX_SILENCE);
            if is_doubted || silence >= patience {
                if self.leave_silent_udp().await {
                    return Ok(());
                }
                (heard, sent) = counts();
                silence = Duration::ZERO;
            }
        }
    }

    /// Asks whether UDP passes, opens a tunnel meanwhile, and goes over to it if there is no answer.
    async fn leave_silent_udp(&mut self) -> bool {
        let opened = {
            let (opening, asking) = (self.open_quickly(), self.passes_udp());
            tokio::pin!(opening, asking);
            tokio::select! {
                passes = &mut asking => if passes { return false } else { opening.await },
                opened = &mut opening => if asking.await { return false } else { opened },
            }
        };
        if let Some((route, tunnel)) = opened
            && self.go_into(route, tunnel).await
        {
            return true;
        }
        self.find_udp().await.is_empty() && self.leave_udp().await
    }

    /// Whether the server answers over UDP within a moment.
    async fn passes_udp(&self) -> bool {
        let question = self.socket.with_carriers(|carriers| carriers.probe(rand::random()));
        for wait in self.quick_asks() {
            self.socket.send_datagram(self.server, &question);
            sleep(wait).await;
            if !self.socket.with_carriers(|carriers| carriers.answered().is_empty()) {
                return true;
            }
        }
        false
    }

    fn quick_asks(&self) -> [Duration; 3] {
        let slowness = self.reached.connection.rtt().div_duration_f64(QUICK_RTT).max(1.0);
        QUICK_ASKS.map(|wait| wait.mul_f64(slowness))
    }

    /// The first tunnel that opens, once the server has had the time for an answer over UDP.
    async fn open_quickly(&self) -> Option<(Route, Tunnel)> {
        sleep(self.quick_asks()[0]).await;
        for (_, route) in tunnel::routes(self.place().port, &self.tunnels) {
            let id = PollId(rand::random());
            let opening = tunnel::open(route, self.place(), self.tunnels.proxy.as_ref(), id);
            if let Ok(Ok(tunnel)) = timeout(QUICK_OPEN, opening).await {
                return Some((route, tunnel));
            }
        }
        None
    }

    async fn leave_udp(&mut self) -> bool {
        if self.try_tunnels().await {
            return true;
        }
        self.reached.carrying = None;
        let (addr, server) = (self.reached.name.addr, self.server);
        self.socket.with_carriers(|carriers| carriers.go_over_udp(addr, server));
        false
    }
}
