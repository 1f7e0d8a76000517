//! One local TCP port that listens and connects at the same time, as a NAT's mapping of it is one for both.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use common::stream_frame;
use common::stun::binding;
use common::traversal::cause::Passes;
use common::traversal::tcp::{Observation, likely_endpoints};
use common::tunnel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::net::links;

/// How long the server may take to say what it sees; without its word the other addresses have to do.
const OBSERVE_TIME: Duration = Duration::from_millis(1_500);
/// Connections that the system holds until they are accepted. Strangers may come too: the port is open to them.
const BACKLOG: u32 = 8;
/// The wait after a failed accept: usually there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module. Dropping it closes everything but the connections that were handed out.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    v4: Option<TcpListener>,
    v6: Option<TcpListener>,
    /// Connections to the server, over which it told what it sees. They hold the NAT's mapping.
    observed: Vec<TcpStream>,
}

impl Port {
    /// Opens a fresh port and learns where it may be reached, likeliest first, and whether TCP passes to the server.
    pub(super) async fn prepare(
        server: Option<String>,
        interfaces: fn() -> Vec<IpAddr>,
    ) -> io::Result<(Self, Vec<SocketAddr>, Passes)> {
        let mut port = Self::open()?;
        let (mut addrs, passes) = match server {
            Some(server) => {
                let seen = port.seen_by(&server).await;
                let passes = if seen.is_empty() { Passes::No } else { Passes::Yes };
                (seen, passes)
            }
            None => (Vec::new(), Passes::Unknown),
        };
        let families = [port.v4.is_some(), port.v6.is_some()];
        for ip in interfaces().into_iter().filter(|ip| families[usize::from(ip.is_ipv6())]) {
            let addr = SocketAddr::new(ip, port.number);
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok((port, addrs, passes))
    }

    fn open() -> io::Result<Self> {
        let v4 = listen(Ipv4Addr::UNSPECIFIED.into(), 0);
        let number = v4.as_ref().ok().and_then(|v4| v4.local_addr().ok()).map_or(0, |addr| addr.port());
        // It is enough to have one of the families.
        let v6 = listen(Ipv6Addr::UNSPECIFIED.into(), number);
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => {
                let any = v4.as_ref().or(v6.as_ref()).expect("one of the two is there");
                let number = any.local_addr()?.port();
                Ok(Self { number, v4: v4.ok(), v6: v6.ok(), observed: Vec::new() })
            }
        }
    }

    /// Asks the server how this port looks. If a NAT changes the number, another port is looked at too: the NAT may
    /// count.
    async fn seen_by(&mut self, server: &str) -> Vec<SocketAddr> {
        let Some(server) = Self::resolve(server).await else { return Vec::new() };
        let Some((first, stream)) = observe(self.number, server).await else { return Vec::new() };
        self.observed.push(stream);
        let mut second = None;
        if !first.is_preserved()
            && let Some((observation, stream)) = observe(0, server).await
        {
            self.observed.push(stream);
            second = Some(observation);
        }
        likely_endpoints(first, second)
    }

    /// The server's address of the family in which NATs are, if there is a way to it.
    async fn resolve(server: &str) -> Option<SocketAddr> {
        let found = timeout(OBSERVE_TIME, lookup_host(server)).await.ok()?.ok()?;
        found.min_by_key(|addr| (!links::has_route(*addr), addr.is_ipv6()))
    }

    /// Connects to `to`, from this port.
    pub(super) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        connect(self.number, to).await
    }

    /// Hands over what connects to this port, without end.
    pub(super) async fn accept(&self, take: impl Fn(TcpStream, SocketAddr)) {
        loop {
            let accepted = tokio::select! {
                accepted = accept(self.v4.as_ref()) => accepted,
                accepted = accept(self.v6.as_ref()) => accepted,
            };
            match accepted {
                Ok((stream, from)) => take(stream, from),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// A socket that shares its port with others of ours.
fn shared(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if local.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.set_reuseaddr(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuseport(true)?;
    socket.bind(local)?;
    Ok(socket)
}

fn listen(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    shared(SocketAddr::new(ip, port))?.listen(BACKLOG)
}

async fn connect(from: u16, to: SocketAddr) -> io::Result<TcpStream> {
    let ip: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    shared(SocketAddr::new(ip, from))?.connect(to).await
}

/// What `server` sees of a connection from the port `from` (0: any), and the connection.
async fn observe(from: u16, server: SocketAddr) -> Option<(Observation, TcpStream)> {
    timeout(OBSERVE_TIME, ask(from, server)).await.ok()?.ok()?
}

/// Asks over a tunnel that carries nothing else (`docs/protocol.md` §4.7).
async fn ask(from: u16, server: SocketAddr) -> io::Result<Option<(Observation, TcpStream)>> {
    let mut stream = connect(from, server).await?;
    let id = rand::random();
    let mut question = BytesMut::from(&tunnel::MAGIC[..]);
    stream_frame::put(&mut question, &binding::request(id));
    stream.write_all(&question).await?;
    let mut answer = BytesMut::with_capacity(stream_frame::HEADER_LEN + binding::MAX_RESPONSE_LEN);
    loop {
        match stream_frame::take(&mut answer) {
            Ok(Some(packet)) => {
                let local_port = stream.local_addr()?.port();
                let public = binding::parse_response(&packet, id);
                return Ok(public.map(|public| (Observation { local_port, public }, stream)));
            }
            Ok(None) if stream.read_buf(&mut answer).await? > 0 => {}
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
