//! A program under test: started in a namespace, spoken to by lines, listened to by JSON events.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::netns::Netns;
use super::router::Clock;
use super::sys;

/// Lines of output kept of one program.
const MAX_LINES: usize = 200_000;
/// How often a wait looks whether Ctrl-C was pressed or the program has ended.
const GLANCE: Duration = Duration::from_millis(50);
/// Bytes of stderr that a report of failure quotes.
const QUOTED_STDERR: usize = 4_000;
/// Events that a report of failure quotes.
const QUOTED_EVENTS: usize = 20;

/// One line that a program printed on stdout.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which start of the program printed it, from 1.
    pub run: u32,
    /// When the lab read it.
    pub seen: Duration,
    /// The name of the event; empty when the line was none.
    pub name: String,
    /// The whole event; a plain string when the line was none.
    pub body: Value,
}

impl Event {
    /// A field that holds text; empty when there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn parse(run: u32, seen: Duration, line: &str) -> Self {
        let body = serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()));
        let name = body.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { run, seen, name, body }
    }
}

/// The events of a program, over all its runs.
#[derive(Debug, Default)]
struct Log {
    events: Mutex<Vec<Event>>,
    grown: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process with the thread that reads its output.
#[derive(Debug)]
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

/// A program and where it runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct App {
    name: String,
    binary: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    netns: Arc<Netns>,
    clock: Clock,
    log: Arc<Log>,
    process: Option<Process>,
    run: u32,
}

impl App {
    /// A program that is not started yet; `dir` takes its stderr and is its home directory.
    #[must_use]
    pub fn new(
        name: &str,
        binary: PathBuf,
        args: Vec<String>,
        dir: &Path,
        netns: Arc<Netns>,
        clock: Clock,
    ) -> Self {
        Self {
            name: name.to_owned(),
            binary,
            args,
            dir: dir.to_owned(),
            netns,
            clock,
            log: Arc::default(),
            process: None,
            run: 0,
        }
    }

    /// Its name in the scene.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its process while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    /// Where its stderr goes, over all runs.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        self.dir.join(format!("{}.stderr", self.name))
    }

    /// Starts it. It dies with the thread that calls this.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("{} runs already", self.name);
        }
        std::fs::create_dir_all(&self.dir).context("cannot make the program's directory")?;
        let stderr = OpenOptions::new().create(true).append(true).open(self.stderr_path())?;
        let mut command = Command::new(&self.binary);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        // The caller's own settings must not leak into what is tested.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy().to_uppercase();
            if name.starts_with("HOBNOB_") || name.starts_with("XDG_") || name.ends_with("_PROXY") {
                command.env_remove(key);
            }
        }
        command.env("HOME", &self.dir).current_dir(&self.dir);
        self.netns.confine(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.run += 1;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no pipe from the program")?;
        let (log, run, clock) = (Arc::clone(&self.log), self.run, self.clock);
        let reader = std::thread::spawn(move || read_events(stdout, &log, run, clock));
        self.process = Some(Process { child, stdin, reader: Some(reader) });
        Ok(())
    }

    /// Kills it with SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // Either fails only when the process is gone already.
        let _ = process.child.kill();
        let _ = process.child.wait();
        if let Some(reader) = process.reader.take() {
            let _ = reader.join();
        }
    }

    /// Asks it to end with SIGTERM and waits for that.
    ///
    /// # Errors
    /// When it does not end in time; it is killed then.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        if let Some(pid) = self.pid() {
            sys::terminate(pid).with_context(|| format!("cannot end {}", self.name))?;
            let deadline = self.clock.now() + patience;
            while self.is_running() {
                if self.clock.now() > deadline {
                    self.kill();
                    bail!("{} did not end within {patience:?}", self.name);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.kill();
        Ok(())
    }

    /// Whether its process lives.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.child.try_wait(), Ok(None)))
    }

    /// Writes a line to its stdin.
    ///
    /// # Errors
    /// When it no longer listens.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.process.as_mut().and_then(|process| process.stdin.as_mut());
        let stdin = stdin.with_context(|| format!("{} does not run", self.name))?;
        let told = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        told.with_context(|| format!("{} does not take lines", self.name))
    }

    /// The number of the present run, from 1.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// All events so far, over all runs.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.log.lock().clone()
    }

    /// Waits for an event of the present run that may have come already; `what` says which, for the report.
    ///
    /// # Errors
    /// When it does not come in time, the program ends, or Ctrl-C is pressed.
    pub fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_it: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        let deadline = self.clock.now() + patience;
        let mut next = 0;
        loop {
            let ended = !self.is_running();
            let mut events = self.log.lock();
            if events.len() == next {
                let (guard, _) =
                    self.log.grown.wait_timeout(events, GLANCE).unwrap_or_else(PoisonError::into_inner);
                events = guard;
            }
            let fresh = events[next..].iter().find(|event| event.run == self.run && is_it(event));
            if let Some(event) = fresh {
                return Ok(event.clone());
            }
            let nothing_new = events.len() == next;
            next = events.len();
            drop(events);
            if sys::interrupted() {
                bail!("interrupted");
            }
            if nothing_new && ended {
                bail!("{} ended before {what}", self.name);
            }
            if self.clock.now() > deadline {
                bail!("{}: no {what} within {patience:?}", self.name);
            }
        }
    }

    /// Waits for an event of that name.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_named(&mut self, name: &str, patience: Duration) -> Result<Event> {
        self.wait(&format!("event `{name}`"), patience, |event| event.name == name)
    }

    /// Its last events and the end of its stderr, for a report of failure.
    #[must_use]
    pub fn last_words(&self) -> String {
        let events = self.log.lock();
        let newest = &events[events.len().saturating_sub(QUOTED_EVENTS)..];
        let lines: Vec<String> =
            newest.iter().map(|event| format!("  {:>9.3?} {}", event.seen, event.body)).collect();
        let stderr = std::fs::read(self.stderr_path()).unwrap_or_default();
        let tail = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(QUOTED_STDERR)..]);
        format!("--- {}: stdout\n{}\n--- {}: stderr\n{tail}", self.name, lines.join("\n"), self.name)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_events(stdout: ChildStdout, log: &Log, run: u32, clock: Clock) {
    for line in BufReader::new(stdout).split(b'\n') {
        let Ok(line) = line else { return };
        let event = Event::parse(run, clock.now(), &String::from_utf8_lossy(&line));
        let mut events = log.lock();
        // A program that babbles is read on, so that it does not block, but not kept.
        if events.len() < MAX_LINES {
            events.push(event);
        }
        log.grown.notify_all();
    }
}

/// Waits until a process has bound a UDP port.
pub(super) fn wait_for_port(app: &mut App, port: u16, patience: Duration) -> Result<()> {
    let deadline = app.clock.now() + patience;
    let local = format!(":{port:04X} ");
    loop {
        let pid = app.pid().with_context(|| format!("{} does not run", app.name))?;
        let bound = ["udp", "udp6"].iter().any(|table| {
            let table = File::open(format!("/proc/{pid}/net/{table}"));
            table.is_ok_and(|table| {
                // The second column is the local address.
                BufReader::new(table).lines().map_while(Result::ok).any(|line| {
                    let mut columns = line.split_whitespace();
                    columns.nth(1).is_some_and(|address| format!("{address} ").ends_with(&local))
                })
            })
        });
        if bound {
            return Ok(());
        }
        if !app.is_running() {
            bail!("{} ended before it had bound port {port}\n{}", app.name, app.last_words());
        }
        if app.clock.now() > deadline || sys::interrupted() {
            bail!("{} has not bound port {port} within {patience:?}", app.name);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_events_are_kept_as_text() {
        let event = Event::parse(1, Duration::ZERO, r#"{"event":"path","at":1,"via":"udp"}"#);
        assert_eq!((event.name.as_str(), event.text("via")), ("path", "udp"));
        let noise = Event::parse(1, Duration::ZERO, "hello");
        assert_eq!((noise.name.as_str(), noise.body.as_str()), ("", Some("hello")));
    }
}
