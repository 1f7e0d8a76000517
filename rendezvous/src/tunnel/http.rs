//! HTTP/1.1 (RFC 9112) on the server's port, for nothing but `WebSocket` and polls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::tunnel::{MAX_BODY_LEN, PATH, PollId};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::listener::Host;
use super::poll::Polling;
use super::{Ended, Inlet, Tunnel, stream};
use crate::server::clock;

/// How long the head of a request may take, also the first byte of the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long its body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head.
const MAX_HEAD_LEN: usize = 16 * 1024;
/// Fields in it.
const MAX_FIELDS: usize = 64;

type Answer = Response<Full<Bytes>>;

/// A connection that asked for a WebSocket and will be one.
type Upgraded = mpsc::Sender<OnUpgrade>;

/// Serves one connection until it ends.
pub(super) async fn run<S>(stream: S, source: SocketAddr, inlet: Inlet, host: Arc<Host>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (upgraded, mut upgrades) = mpsc::channel(1);
    let service = service_fn(|request| {
        let (host, inlet, upgraded) = (Arc::clone(&host), inlet.clone(), upgraded.clone());
        async move { Ok::<_, Infallible>(answer(request, source, &inlet, &host, &upgraded).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_LEN)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // What breaks the protocol of this connection ends it, and concerns nobody else.
    let _ = connection.await;
    if let Ok(upgrade) = upgrades.try_recv()
        && let Ok(stream) = upgrade.await
    {
        let (tunnel, outbox) = Tunnel::open(&host.tunnels, inlet, source);
        stream::run_websocket(TokioIo::new(stream), tunnel, outbox).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    source: SocketAddr,
    inlet: &Inlet,
    host: &Host,
    upgraded: &Upgraded,
) -> Answer {
    if request.uri().path() == PATH {
        return websocket(request, upgraded);
    }
    let Some(id) = PollId::of_path(request.uri().path()) else { return refuse(StatusCode::NOT_FOUND) };
    let Some(polling) = host.polls.get(clock::now(), id, source, inlet) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE);
    };
    match *request.method() {
        Method::GET => with_body(polling.down().await),
        Method::POST => match up(&polling, request.into_body()).await {
            Ok(()) => with_body(Bytes::new()),
            Err(Ended) => refuse(StatusCode::BAD_REQUEST),
        },
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn up(polling: &Polling, body: Incoming) -> Result<(), Ended> {
    if body.size_hint().lower() > MAX_BODY_LEN as u64 {
        return Err(Ended);
    }
    let body = timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_LEN).collect()).await;
    polling.up(body.map_err(|_| Ended)?.map_err(|_| Ended)?.to_bytes()).await
}

/// The opening handshake of a WebSocket (RFC 6455 §4.2).
fn websocket(mut request: Request<Incoming>, upgraded: &Upgraded) -> Answer {
    let headers = request.headers();
    let is_websocket = request.method() == Method::GET
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket) else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    let accept = derive_accept_key(key.as_bytes());
    // There is one upgrade in a connection, and it ends the requests.
    let _ = upgraded.try_send(hyper::upgrade::on(&mut request));
    let mut answer = plain(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

/// Whether a field with a list of tokens has this one (RFC 9110 §5.6.1).
fn has_token(headers: &HeaderMap, name: &hyper::header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// An answer after which the connection ends: whoever is refused is no tunnel, and its place is wanted.
fn refuse(status: StatusCode) -> Answer {
    let mut answer = plain(status);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// A complete answer that nobody on the way may keep or change.
fn with_body(body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    answer
}
