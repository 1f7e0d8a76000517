//! An office's HTTP proxy: connects to port 443, wherever it is, and does nothing else (RFC 9110 §9.3.6).

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};

use super::netns::Netns;

/// Port on which it listens.
pub const PORT: u16 = 3_128;
/// The one port that it connects to.
const ALLOWED_PORT: u16 = 443;
/// Longest request that it reads, in bytes.
const MAX_REQUEST: u64 = 8_192;
/// Connections that it carries in its life: a scene's programs need a few.
const MAX_CONNECTIONS: usize = 256;

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    netns: Arc<Netns>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts to listen at `ip` in a namespace.
    ///
    /// # Errors
    /// When the port cannot be bound there.
    pub fn start(netns: Arc<Netns>, ip: IpAddr) -> Result<Self> {
        let addr = SocketAddr::new(ip, PORT);
        let listener = netns.run(|| TcpListener::bind(addr))?.context("the proxy cannot listen")?;
        let ending = Arc::new(AtomicBool::new(false));
        let (place, is_ending) = (Arc::clone(&netns), Arc::clone(&ending));
        let thread = std::thread::spawn(move || {
            // Whoever connects on from here does so in the proxy's namespace.
            let _ = place.run(|| serve(&listener, &is_ending));
        });
        Ok(Self { addr, netns, ending, thread: Some(thread) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Wakes the thread, which waits for connections.
        let _ = self.netns.run(|| TcpStream::connect(self.addr));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, ending: &AtomicBool) {
    std::thread::scope(|scope| {
        let mut open = Vec::new();
        for client in listener.incoming().flatten().take(MAX_CONNECTIONS) {
            if ending.load(Ordering::Relaxed) {
                break;
            }
            if let Ok(handle) = client.try_clone() {
                open.push(handle);
            }
            scope.spawn(move || {
                // Threads begin in their parent's namespace. A connection that breaks concerns its ends alone.
                let _ = carry(client);
            });
        }
        for client in open {
            let _ = client.shutdown(Shutdown::Both);
        }
    });
}

fn carry(mut client: TcpStream) -> std::io::Result<()> {
    let Some(target) = asked_for(&client)? else {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    };
    let mut server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(move || pass_on(&mut from_client, &mut to_server));
        pass_on(&mut server, &mut client);
    });
    Ok(())
}

fn pass_on(from: &mut TcpStream, to: &mut TcpStream) {
    let _ = std::io::copy(from, to);
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// Reads a request; the target, if it is one to connect to a port that is allowed.
fn asked_for(client: &TcpStream) -> std::io::Result<Option<SocketAddr>> {
    let mut lines = BufReader::with_capacity(1, client.take(MAX_REQUEST));
    let mut first = String::new();
    lines.read_line(&mut first)?;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(target_of(&first))
}

fn target_of(request: &str) -> Option<SocketAddr> {
    let target = request.strip_prefix("CONNECT ")?.split(' ').next()?;
    target.parse().ok().filter(|target: &SocketAddr| target.port() == ALLOWED_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_https_is_connected_to() {
        let target = target_of("CONNECT 203.0.113.1:443 HTTP/1.1\r\n");
        assert_eq!(target, Some("203.0.113.1:443".parse().unwrap()));
        for wrong in ["CONNECT 203.0.113.1:5000 HTTP/1.1", "GET http://x/ HTTP/1.1", "CONNECT", ""] {
            assert_eq!(target_of(wrong), None, "{wrong}");
        }
    }
}
