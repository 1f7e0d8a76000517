//! The router: one thread that carries packets between TUN devices through the simulated [`Network`].
//!
//! The thread owns the network. Others ask it to do something with it by [`Router::with`]; there are no locks.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::network::{HostId, Network};
use super::sys::{self, Poller};
use super::tun::Tun;

/// Packets taken from one device before the others and the timers get their turn.
const BATCH: usize = 64;
/// Largest packet a TUN device can give.
const MAX_PACKET: usize = 65_536;
/// Requests that may wait for the router's thread.
const MAX_REQUESTS: usize = 64;

type Request = Box<dyn FnOnce(&mut Network, Duration) + Send>;

/// The time since a lab began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the lab's driver: the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The running router; it ends when this is dropped.
#[derive(Debug)]
pub struct Router {
    clock: Clock,
    requests: Option<SyncSender<Request>>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Router {
    /// Starts to carry packets.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(network: Network, tuns: Vec<(HostId, Tun)>) -> Result<Self> {
        let clock = Clock::start();
        let (requests, inbox) = sync_channel(MAX_REQUESTS);
        let (wake, woken) = UnixStream::pair().context("cannot make a pipe to the router")?;
        woken.set_nonblocking(true).context("cannot set up the pipe to the router")?;
        let mut driver = Driver { network, tuns, inbox, woken, clock };
        let thread = std::thread::Builder::new()
            .name("lab-router".to_owned())
            .spawn(move || driver.run())
            .context("cannot start the router's thread")?;
        Ok(Self { clock, requests: Some(requests), wake, thread: Some(thread) })
    }

    /// The router's clock, which all of the lab's times are on.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Does something with the network, on the router's thread, and returns what comes of it.
    ///
    /// # Errors
    /// When the router has ended.
    pub fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Network, Duration) -> R + Send + 'static,
    ) -> Result<R> {
        let (reply, answer) = sync_channel(1);
        let request: Request = Box::new(move |network, now| {
            // Nobody waits any more when the asking thread has panicked.
            let _ = reply.send(work(network, now));
        });
        let ended = || anyhow!("the router has ended");
        self.requests.as_ref().ok_or_else(ended)?.send(request).map_err(|_| ended())?;
        (&self.wake).write_all(&[1]).context("cannot wake the router")?;
        answer.recv().map_err(|_| ended())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        drop(self.requests.take());
        // A router that cannot be woken has ended already.
        let _ = (&self.wake).write_all(&[1]);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; a second one here would abort the process.
            let _ = thread.join();
        }
    }
}

/// What the router's thread owns.
struct Driver {
    network: Network,
    tuns: Vec<(HostId, Tun)>,
    inbox: Receiver<Request>,
    woken: UnixStream,
    clock: Clock,
}

impl Driver {
    fn run(&mut self) {
        sys::make_punctual();
        let mut fds: Vec<_> = self.tuns.iter().map(|(_, tun)| tun.as_fd()).collect();
        fds.push(self.woken.as_fd());
        let wake_place = self.tuns.len();
        let mut poller = Poller::new(fds);
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let now = self.clock.now();
            deliver(&mut self.network, &self.tuns, now);
            let wait = self.network.poll_timeout().map(|at| at.saturating_sub(self.clock.now()));
            let Ok(ready) = poller.wait(wait) else { return };
            for place in ready {
                if place == wake_place {
                    if !answer(&mut self.network, &self.inbox, &self.woken, self.clock) {
                        self.network.tap().end_capture();
                        return;
                    }
                } else {
                    take(&mut self.network, &self.tuns, place, &mut buffer, self.clock);
                }
            }
        }
    }
}

/// Takes what one device has, up to a batch.
fn take(network: &mut Network, tuns: &[(HostId, Tun)], place: usize, buffer: &mut [u8], clock: Clock) {
    let (host, tun) = &tuns[place];
    for _ in 0..BATCH {
        match tun.recv(buffer) {
            Ok(Some(len)) => {
                let now = clock.now();
                // What was due before this packet came must reach the NATs before it.
                deliver(network, tuns, now);
                network.handle_packet(now, *host, &buffer[..len]);
            }
            Ok(None) => return,
            Err(_) => return network.count_dropped("device unreadable"),
        }
    }
}

/// Hands over everything that is due.
fn deliver(network: &mut Network, tuns: &[(HostId, Tun)], now: Duration) {
    network.handle_timeout(now);
    while let Some((host, packet)) = network.poll_transmit() {
        let tun = tuns.iter().find(|(id, _)| *id == host).map(|(_, tun)| tun);
        if tun.is_none_or(|tun| tun.send(&packet).is_err()) {
            network.count_dropped("device unwritable");
        }
    }
}

/// Serves the requests that wait; false when nobody can make any more.
fn answer(network: &mut Network, inbox: &Receiver<Request>, mut woken: &UnixStream, clock: Clock) -> bool {
    let mut bytes = [0; MAX_REQUESTS];
    // One byte a request, but all requests are served on each: reading too few or too many is harmless.
    let _ = woken.read(&mut bytes);
    loop {
        match inbox.try_recv() {
            Ok(request) => request(network, clock.now()),
            Err(std::sync::mpsc::TryRecvError::Empty) => return true,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
        }
    }
}
