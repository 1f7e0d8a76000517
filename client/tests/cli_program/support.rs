//! Runs the built program, and a rendezvous for it on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::identity::Identity;
use rendezvous::server::IdentitySource;
use rendezvous::{Config, Limits, Server};
use serde_json::Value;
use tokio::sync::oneshot;

/// How long anything may take: generous, for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

/// A rendezvous in this process.
pub(crate) struct Rendezvous {
    pub(crate) addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rendezvous {
    pub(crate) fn start(seed: u8, port: u16) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, addr) = channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let config = Config {
                    binds: vec![(Ipv4Addr::LOCALHOST, port).into()],
                    bind_tcp: Vec::new(),
                    alt_binds: Vec::new(),
                    identity: IdentitySource::Given(Identity::from_seed([seed; 32])),
                    limits: Limits::default(),
                };
                let server = Server::bind(config).await.unwrap();
                bound.send(server.local_addrs()[0]).unwrap();
                let _ = stopped.await;
                server.shutdown().await;
            });
        });
        Self { addr: addr.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A running client.
pub(crate) struct Client {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Lines that were read so far.
    pub(crate) seen: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HOBNOB_")) {
        command.env_remove(name);
    }
    // Whatever router this machine has is none of a test's business.
    command.env("HOBNOB_NO_PORT_MAPPING", "1");
    command.env("HOBNOB_NO_LAN", "1");
    command.arg("--data-dir").arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Client {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (queue, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if queue.send(line).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, seen: Vec::new(), errors: Some(errors) }
    }

    /// A client that prints events.
    pub(crate) fn json(dir: &Path, name: &str, server: &str) -> Self {
        Self::start(command(dir).args(["--json", "--name", name, "--server", server]))
    }

    pub(crate) fn type_line(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_ref()).unwrap();
        stdin.write_all(b"\n").unwrap();
        stdin.flush().unwrap();
    }

    fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more came after {:#?}", self.seen),
        }
    }

    pub(crate) fn wait_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.next_line() {
                Some(line) if wanted(&line) => return line,
                Some(_) => {}
                None => panic!("the client ended after {:#?}", self.seen),
            }
        }
    }

    pub(crate) fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let line = self.wait_line(|line| wanted(&serde_json::from_str(line).unwrap()));
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for the next event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.wait(|event| event["event"] == name)
    }

    pub(crate) fn state(&mut self, id: &Value, state: &str) {
        self.wait(|event| event["event"] == "state" && event["id"] == *id && event["state"] == state);
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end; returns the exit code and what was written to the error output.
    pub(crate) fn end(mut self) -> (ExitStatus, String, Vec<String>) {
        while self.next_line().is_some() {}
        let status = self.child.wait().unwrap();
        let errors = self.errors.take().unwrap().join().unwrap();
        (status, errors, std::mem::take(&mut self.seen))
    }

    /// Ends it in good order.
    pub(crate) fn terminate(self) -> Vec<String> {
        self.signal("TERM");
        let (status, errors, seen) = self.end();
        assert_eq!(status.code(), Some(0), "{errors}");
        seen
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Output and exit code of a run that ends by itself.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Directories for two people, and a rendezvous.
pub(crate) struct Setup {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) rendezvous: Rendezvous,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap(), rendezvous: Rendezvous::start(1, 0) }
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn server(&self) -> String {
        self.rendezvous.addr.to_string()
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::json(&self.dir(name), name, &self.server())
    }

    /// Two clients that have met and are connected; returns them with their keys.
    pub(crate) fn pair(&self) -> [(Client, Value); 2] {
        let mut clients = ["alice", "bob"].map(|name| self.client(name));
        let keys = clients.each_mut().map(|client| client.event("ready")["peer"].clone());
        for client in &mut clients {
            client.event("connected");
        }
        let ([a, b], [ka, kb]) = (clients, keys);
        [(a, ka), (b, kb)]
    }
}
