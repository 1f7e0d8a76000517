//! Network namespaces with names, so that a person can look into them with `ip netns exec`.
//!
//! A name carries the id of the process that made it. What a killed lab left behind is removed by the next one.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

use super::sys;

/// What the names of all namespaces of the lab begin with.
const PREFIX: &str = "hobnob-";
/// Where `ip` keeps named namespaces.
const NAMED: &str = "/run/netns";

static SERIAL: AtomicUsize = AtomicUsize::new(0);

/// A network namespace, removed when it is dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace whose name ends in `role`.
    ///
    /// # Errors
    /// When `ip` fails, most often for want of privileges.
    pub fn create(role: &str) -> Result<Self> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{serial}-{role}", std::process::id());
        ip(&["netns", "add", &name], "")?;
        let open = File::open(Path::new(NAMED).join(&name));
        let file = match open {
            Ok(file) => Arc::new(file),
            Err(error) => {
                remove(&name);
                return Err(error).with_context(|| format!("cannot open the namespace {name}"));
            }
        };
        Ok(Self { name, file })
    }

    /// The name to use with `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure in the namespace: sockets that it makes stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R> {
        // Entering changes a thread for good, so it is one that ends afterwards.
        let joined =
            std::thread::scope(|scope| scope.spawn(|| sys::enter(&self.file).map(|()| work())).join());
        let entered = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        entered.with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    /// Makes a command start in the namespace. The process dies with the thread that starts it.
    pub fn confine(&self, command: &mut Command) {
        sys::confine(command, Arc::clone(&self.file));
    }

    /// Runs lines of `ip` commands in the namespace.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn configure(&self, lines: &str) -> Result<()> {
        ip(&["-n", &self.name, "-batch", "-"], lines)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of labs that no longer run.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir(NAMED) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            remove(&name);
        }
    }
}

/// The namespaces that this process has now.
#[must_use]
pub fn ours() -> Vec<String> {
    let own = format!("{PREFIX}{}-", std::process::id());
    let Ok(entries) = std::fs::read_dir(NAMED) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&own)).collect()
}

fn remove(name: &str) {
    // A namespace that is already gone is as good as one removed; a lasting one is swept by the next lab.
    let quiet = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
    drop(quiet);
}

fn ip(args: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run `ip` (package iproute2)")?;
    let mut stdin = child.stdin.take().context("no pipe to `ip`")?;
    stdin.write_all(input.as_bytes()).context("cannot write to `ip`")?;
    drop(stdin);
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        bail!("`ip {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Why namespaces cannot be made here.
///
/// # Errors
/// The reason, in one line.
pub fn check() -> Result<()> {
    ensure!(sys::is_root(), "the lab needs root (namespaces and TUN devices)");
    ensure!(Path::new("/dev/net/tun").exists(), "the lab needs /dev/net/tun");
    let probe = Netns::create("probe").context("the lab cannot make network namespaces")?;
    super::tun::Tun::open(&probe, &[]).context("the lab cannot make TUN devices")?;
    Ok(())
}
