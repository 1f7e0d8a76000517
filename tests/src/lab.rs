//! The namespace lab: the real binaries in Linux network namespaces, joined by one user-space router.
//!
//! Each namespace has one TUN device; one thread of this process holds all of them and runs the NAT model and
//! exact delays between them. It needs no kernel NAT and no netem, only root and `/dev/net/tun`. What the
//! programs do is judged from outside, by the packets that pass, and compared with what they say.
//!
//! Read in this order: [`network`] (what the internet does, without I/O), `router` (its driver), `scene` (a
//! server and homes, with programs in them), `trial` (two newcomers meet; what came of it), `matrix` (many
//! trials), `change` (what a conversation survives). Only Linux has namespaces: elsewhere the parts that need them are left out, and [`unavailable`]
//! says so.

pub mod access;
#[cfg(target_os = "linux")]
pub mod app;
#[cfg(target_os = "linux")]
pub mod change;
pub mod link;
#[cfg(target_os = "linux")]
pub mod matrix;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod network;
pub mod packet;
pub mod pcap;
#[cfg(target_os = "linux")]
pub mod physics;
#[cfg(target_os = "linux")]
pub mod proxy;
#[cfg(target_os = "linux")]
pub mod router;
#[cfg(target_os = "linux")]
pub mod scene;
#[cfg(target_os = "linux")]
mod sys;
pub mod tap;
#[cfg(target_os = "linux")]
pub mod trial;
#[cfg(target_os = "linux")]
pub mod tun;

/// Why the lab cannot run here, in one line; none when it can.
#[cfg(target_os = "linux")]
#[must_use]
pub fn unavailable() -> Option<String> {
    use std::sync::OnceLock;
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    REASON.get_or_init(|| netns::check().err().map(|error| format!("{error:#}"))).clone()
}

/// Why the lab cannot run here, in one line; none when it can.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn unavailable() -> Option<String> {
    Some("the lab needs Linux (network namespaces)".to_owned())
}

/// From now on the first Ctrl-C ends waits with an error, so that namespaces are removed; the second kills.
///
/// # Errors
/// When the system refuses the handler.
#[cfg(target_os = "linux")]
pub fn catch_interrupts() -> std::io::Result<()> {
    sys::catch_interrupts()
}

/// Whether Ctrl-C was pressed since [`catch_interrupts`].
#[cfg(target_os = "linux")]
#[must_use]
pub fn interrupted() -> bool {
    sys::interrupted()
}
