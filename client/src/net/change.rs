//! Notices that the network under this machine has changed: another address, another way out, or a sleep.
//!
//! The kernel rings (netlink, on Linux), and in any case somebody looks every few seconds; what counts is whether the
//! [`View`] differs then. No news is lost by ringing too often.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{clock, links};

/// Between looks when nothing rings: on systems without a bell, and for sleep, which no bell tells of.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// A change comes as a burst of addresses and routes. The look waits this long for the rest of it.
const SETTLE: Duration = Duration::from_millis(20);
/// The wall clock got ahead of the monotonic one by this much: the machine slept, and the monotonic clock with it.
const SLEPT: Duration = Duration::from_secs(4);

/// Where news of a changed network comes from.
#[derive(Debug, Clone, Default)]
pub enum Changes {
    /// There is none.
    #[default]
    Never,
    /// This machine's kernel.
    System,
    /// Somebody who marks this channel as changed.
    Told(watch::Receiver<()>),
}

impl Changes {
    /// A receiver that changes whenever the network does. A watcher that this needs lives in `tasks`.
    pub(crate) fn listen(self, tasks: &mut JoinSet<()>) -> watch::Receiver<()> {
        match self {
            Self::Never => watch::channel(()).1,
            Self::Told(news) => news,
            Self::System => {
                let (sender, news) = watch::channel(());
                tasks.spawn(watch_system(sender));
                news
            }
        }
    }
}

/// Waits for the next change; for ever if whoever tells of them is gone.
pub(crate) async fn next(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is visible of a network from inside the machine.
#[derive(Debug, PartialEq, Eq)]
struct View {
    addrs: Vec<IpAddr>,
    way_out: [Option<IpAddr>; 2],
}

/// The last look at the network and the clocks.
#[derive(Debug)]
struct Look {
    at: Instant,
    wall_ms: u64,
    view: View,
}

impl Look {
    fn now() -> Self {
        let view = View { addrs: links::interface_addrs(), way_out: links::way_out() };
        Self { at: clock::now(), wall_ms: clock::unix_ms(), view }
    }

    /// Whether between the `older` look and this one the network changed or the machine slept.
    fn differs_from(&self, older: &Self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let passed = millis(self.at.saturating_duration_since(older.at));
        let ahead = self.wall_ms.saturating_sub(older.wall_ms).saturating_sub(passed);
        self.view != older.view || ahead > millis(SLEPT)
    }
}

async fn watch_system(news: watch::Sender<()>) {
    let mut bell = bell::Bell::new();
    let mut last = Look::now();
    while !news.is_closed() {
        // Rung or not, it is time to look.
        if tokio::time::timeout(LOOK_INTERVAL, bell.ring()).await.is_ok() {
            tokio::time::sleep(SETTLE).await;
            bell.mute();
        }
        let look = Look::now();
        if look.differs_from(&last) {
            news.send_replace(());
        }
        last = look;
    }
}

#[cfg(target_os = "linux")]
mod bell {
    use std::io;

    use netlink_sys::protocols::NETLINK_ROUTE;
    use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

    /// Groups of rtnetlink(7): links, addresses and routes of both families.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// Rings when the kernel changes a link, an address or a route. What it says is not read: the look tells.
    pub(super) struct Bell(Option<TokioSocket>);

    impl Bell {
        /// A bell; one that never rings where the system does not allow it.
        pub(super) fn new() -> Self {
            let open = || -> io::Result<TokioSocket> {
                let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
                socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
                Ok(socket)
            };
            Self(open().ok())
        }

        /// Waits until it rings.
        pub(super) async fn ring(&mut self) {
            let Some(socket) = &mut self.0 else { return std::future::pending().await };
            // An overrun (ENOBUFS) means that much has changed. Anything else would come at once for ever.
            match socket.recv_from(&mut Vec::with_capacity(8192)).await {
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => self.0 = None,
                Ok(_) | Err(_) => {}
            }
        }

        /// Forgets the rest of a burst.
        pub(super) fn mute(&mut self) {
            let Some(socket) = &mut self.0 else { return };
            while socket.socket_mut().recv(&mut Vec::with_capacity(8192), nix::libc::MSG_DONTWAIT).is_ok() {}
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod bell {
    /// Never rings: looking every few seconds has to do.
    pub(super) struct Bell;

    impl Bell {
        pub(super) const fn new() -> Self {
            Self
        }

        pub(super) async fn ring(&mut self) {
            std::future::pending().await
        }

        pub(super) const fn mute(&mut self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(after: u64, wall_ms: u64, addr: u8) -> Look {
        thread_local!(static START: Instant = clock::now());
        let view = View { addrs: vec![[192, 0, 2, addr].into()], way_out: [None; 2] };
        Look { at: START.with(|start| *start + Duration::from_millis(after)), wall_ms, view }
    }

    #[test]
    fn a_new_address_and_a_sleep_are_changes_and_a_clock_set_right_is_none() {
        let before = look(0, 1_000_000, 1);
        assert!(!look(5_000, 1_005_000, 1).differs_from(&before));
        assert!(look(5_000, 1_005_000, 2).differs_from(&before));
        assert!(look(5_000, 1_600_000, 1).differs_from(&before), "ten minutes of sleep");
        assert!(!look(5_000, 1_006_500, 1).differs_from(&before), "a second and a half of drift");
        assert!(!look(5_000, 400_000, 1).differs_from(&before), "set back");
    }
}
