//! The system calls that the standard library does not offer. The only unsafe code of the crate.
#![expect(unsafe_code, reason = "namespaces, TUN devices, exact waiting and signals are bare system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Flags of a TUN device: IP packets without any header in front.
const TUN_FLAGS: libc::c_int = libc::IFF_TUN | libc::IFF_NO_PI;
/// Size of the kernel's `struct ifreq` on 64-bit systems; on 32-bit ones it is smaller, which does no harm.
const IFREQ_LEN: usize = 40;
/// Where `struct ifreq` has its flags: after the name.
const IFREQ_FLAGS: usize = libc::IFNAMSIZ;
/// Scheduling weight of the router's thread: delays are exact only if it runs when it wants to.
const ROUTER_NICE: libc::c_int = -15;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether this process may make namespaces.
#[must_use]
pub(super) fn is_root() -> bool {
    // SAFETY: no arguments, no memory, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Moves the calling thread into a network namespace.
pub(super) fn enter(netns: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call; only the calling thread is affected.
    check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Makes the command's process start in a network namespace and die with the thread that starts it.
pub(super) fn confine(command: &mut Command, netns: Arc<File>) {
    let prepare = move || {
        enter(&netns)?;
        // SAFETY: plain integers; a lab that is killed must not leave programs behind.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: between fork and exec the closure makes only two async-signal-safe system calls.
    unsafe { command.pre_exec(prepare) };
}

/// Turns an open `/dev/net/tun` into the device of that name in the calling thread's namespace.
pub(super) fn attach_tun(device: &File, name: &str) -> io::Result<()> {
    let mut request = [0u8; IFREQ_LEN];
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "device name too long"));
    }
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = libc::c_short::try_from(TUN_FLAGS).map_err(io::Error::other)?;
    request[IFREQ_FLAGS..IFREQ_FLAGS + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the buffer is as large as the structure that the kernel reads and writes, and outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) })
}

/// Makes later reads and writes return at once when they would wait.
pub(super) fn set_nonblocking(file: &File) -> io::Result<()> {
    // SAFETY: integers only, on a descriptor that is open for both calls.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    check(flags)?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })
}

/// Lets the calling thread wake to the microsecond, before other threads where that is allowed.
pub(super) fn make_punctual() {
    // SAFETY: integers only. Failure leaves the defaults, which are merely less exact.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        libc::setpriority(libc::PRIO_PROCESS, 0, ROUTER_NICE);
    }
}

/// A set of descriptors to wait for.
#[derive(Debug)]
pub(super) struct Poller<'a> {
    fds: Vec<libc::pollfd>,
    _open: Vec<BorrowedFd<'a>>,
}

impl<'a> Poller<'a> {
    /// Will wait until one of these can be read.
    pub(super) fn new(open: Vec<BorrowedFd<'a>>) -> Self {
        let poll =
            |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        Self { fds: open.iter().map(poll).collect(), _open: open }
    }

    /// Waits, at most that long, and returns the places of those that can be read.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<usize>> {
        let spec = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
        });
        let spec_ptr = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let count = libc::nfds_t::try_from(self.fds.len()).map_err(io::Error::other)?;
        // SAFETY: the array has `count` entries, its descriptors are borrowed for as long as `self` lives, and
        // the time is either null or outlives the call.
        let result = unsafe { libc::ppoll(self.fds.as_mut_ptr(), count, spec_ptr, std::ptr::null()) };
        if let Err(error) = check(result) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(Vec::new()) } else { Err(error) };
        }
        Ok((0..self.fds.len()).filter(|at| self.fds[*at].revents != 0).collect())
    }
}

/// Asks a process to end.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: integers only; the caller owns the child and has not yet waited for it, so the id is not reused.
    check(unsafe { libc::kill(pid, libc::SIGTERM) })
}

/// From now on the first Ctrl-C only sets a flag, so that waits can end and everything is put away; the
/// second ends the process.
pub(super) fn catch_interrupts() -> io::Result<()> {
    extern "C" fn note(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: all zeroes is a valid `sigaction`; the handler only stores to an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND;
            check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))?;
        }
    }
    Ok(())
}

/// Whether Ctrl-C was pressed since [`catch_interrupts`].
#[must_use]
pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
