//! TCP listeners, and what a connection turns out to be.
//!
//! The first byte tells: a TLS record, in which the same choice comes once more, the magic of framed packets, or
//! else HTTP. The certificate is made at the start and says nothing: clients do not look at it, since the QUIC
//! connection inside proves the server's key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::tunnel::MAGIC;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::gate::{Gate, Pass};
use super::poll::{self, Polls};
use super::{Inlet, Tunnel, Tunnels, http, stream};
use crate::limits::Limits;
use crate::server::clock;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a connection may take to say what it is, TLS included.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after a failed accept: usually there are no file descriptors left, and more tries do not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What is read ahead of one connection.
const READ_AHEAD: usize = 4 * 1024;
/// Name in the certificate, which nobody looks at.
const CERTIFICATE_NAME: &str = "localhost";

/// What all listeners of a server share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) polls: Polls,
    connections: Arc<Gate>,
    tls: Tls,
}

/// rustls' acceptor has no `Debug`.
struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Host {
    /// Room for as many as `limits` say.
    pub(crate) fn new(tunnels: Arc<Tunnels>, limits: &Limits) -> io::Result<Arc<Self>> {
        let gate = || Gate::new(limits.max_tunnels, limits.max_tunnels_per_address);
        let polls = Polls::new(Arc::clone(&tunnels), gate());
        Ok(Arc::new(Self { tunnels, polls, connections: gate(), tls: Tls(acceptor()?) }))
    }
}

/// A TCP socket that listens on `addr`.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Elsewhere than on Windows it lets a server return to a port that old connections still wait on.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until it is dropped, which ends them all.
pub(crate) async fn run(listener: TcpListener, inlet: Inlet, host: Arc<Host>) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(poll::SWEEP_INTERVAL);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => match host.connections.enter(from) {
                    Some(pass) => {
                        connections.spawn(serve(stream, from, inlet.clone(), Arc::clone(&host), pass));
                    }
                    None => {
                        host.tunnels.refused.fetch_add(1, Ordering::Relaxed);
                    }
                },
                Err(error) => {
                    warn!(%error, "a TCP connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = sweep.tick() => host.polls.sweep(clock::now()),
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a tunnel's task failed");
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, source: SocketAddr, inlet: Inlet, host: Arc<Host>, _pass: Pass) {
    // Packets are not to wait for more of them.
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::with_capacity(READ_AHEAD, stream);
    let opening = timeout(OPENING_TIMEOUT, first_byte(&mut stream)).await;
    match opening {
        Ok(Ok(TLS_HANDSHAKE)) => {
            let Ok(Ok(stream)) = timeout(OPENING_TIMEOUT, host.tls.0.accept(stream)).await else { return };
            let mut stream = BufReader::with_capacity(READ_AHEAD, stream);
            if let Ok(Ok(first)) = timeout(OPENING_TIMEOUT, first_byte(&mut stream)).await {
                open(first, stream, source, inlet, host).await;
            }
        }
        Ok(Ok(first)) => open(first, stream, source, inlet, host).await,
        Ok(Err(_)) | Err(_) => debug!(%source, "a TCP connection said nothing"),
    }
}

/// The first byte, left where it is.
async fn first_byte(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<u8> {
    stream.fill_buf().await?.first().copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Serves a connection of which the first byte is known.
async fn open<S>(first: u8, mut stream: S, source: SocketAddr, inlet: Inlet, host: Arc<Host>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if first != MAGIC[0] {
        return http::run(stream, source, inlet, host).await;
    }
    let mut magic = [0; MAGIC.len()];
    if let Ok(Ok(_)) = timeout(OPENING_TIMEOUT, stream.read_exact(&mut magic)).await
        && magic == MAGIC
    {
        let (tunnel, outbox) = Tunnel::open(&host.tunnels, inlet, source);
        stream::run_framed(stream, tunnel, outbox).await;
    }
}

/// TLS with a certificate made for this run.
fn acceptor() -> io::Result<TlsAcceptor> {
    let certificate =
        rcgen::generate_simple_self_signed([CERTIFICATE_NAME.to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
