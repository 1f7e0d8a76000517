//! What this process, one of its threads, or another process has used.

#![expect(
    unsafe_code,
    reason = "processor time comes from getrusage, for which the standard library has no name"
)]

use std::time::Duration;

/// Processor time, user and system, of this process: finished threads and running ones.
#[must_use]
pub fn process_time() -> Duration {
    usage(libc::RUSAGE_SELF)
}

fn usage(who: libc::c_int) -> Duration {
    // SAFETY: `rusage` is plain old data, for which zeros are valid, and the call fills it through a valid pointer.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}

fn span(time: libc::timeval) -> Duration {
    // The kernel gives out no negative times.
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Resident memory of a process in KiB, where the system tells (Linux).
#[must_use]
pub fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory_is_there() {
        let before = process_time();
        let mut sum = 0u64;
        while process_time() < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process_time() > before);
        if cfg!(target_os = "linux") {
            assert!(resident_kib(std::process::id()).is_some_and(|kib| kib > 100));
        }
    }
}
