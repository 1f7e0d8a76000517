//! A tunnel of HTTP requests without TLS, for networks that pass nothing else and hold answers back until they are
//! complete: packets go up in the bodies of POST and come down in the answers to GET.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::stream_frame;
use common::tunnel::{MAX_BODY_LEN, MAX_BODY_PACKETS, POLL_SECONDS, PollId};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::dial;
use super::proxy::{self, Proxy};
use super::{Place, TunnelError};
use crate::net::socket::MuxSocket;

/// How long an answer may take beyond the time that the server holds it back.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(POLL_SECONDS + 15);
/// Failures in a row after which the tunnel has ended.
const MAX_FAILURES: u32 = 3;
/// The wait after a failure, times their number.
const PAUSE: Duration = Duration::from_millis(300);

/// What a tunnel of requests needs.
pub(crate) struct Polling {
    /// Host and port, as in the field `Host`.
    authority: String,
    addresses: Vec<SocketAddr>,
    proxy: Option<Proxy>,
    id: PollId,
}

impl Polling {
    pub(super) fn new(place: &Place, port: u16, proxy: Option<&Proxy>, id: PollId) -> Self {
        let addresses = place.addresses.iter().map(|addr| SocketAddr::new(addr.ip(), port)).collect();
        Self { authority: format!("{}:{port}", place.host), addresses, proxy: proxy.cloned(), id }
    }

    /// Carries packets between the tunnel and QUIC until either ends.
    pub(super) async fn carry(
        self,
        socket: Arc<MuxSocket>,
        addr: SocketAddr,
        outbox: mpsc::Receiver<Bytes>,
    ) -> TunnelError {
        let (up, down) = (Requests::new(&self, Method::POST), Requests::new(&self, Method::GET));
        tokio::select! {
            error = send_up(up, outbox) => error,
            error = take_down(down, socket, addr) => error,
        }
    }
}

async fn send_up(mut requests: Requests<'_>, mut outbox: mpsc::Receiver<Bytes>) -> TunnelError {
    let mut packets = Vec::new();
    while outbox.recv_many(&mut packets, MAX_BODY_PACKETS).await > 0 {
        let mut body = BytesMut::new();
        for packet in packets.drain(..) {
            stream_frame::put(&mut body, &packet);
        }
        if let Err(error) = requests.ask(body.freeze()).await {
            return error;
        }
    }
    TunnelError::Failed("it is not needed any more".to_owned())
}

async fn take_down(mut requests: Requests<'_>, socket: Arc<MuxSocket>, addr: SocketAddr) -> TunnelError {
    loop {
        let mut answer = match requests.ask(Bytes::new()).await {
            Ok(answer) => BytesMut::from(answer),
            Err(error) => return error,
        };
        while let Some(packet) = match stream_frame::take(&mut answer) {
            Ok(packet) => packet,
            Err(error) => return TunnelError::failed(error),
        } {
            socket.handle_tunnelled(addr, packet);
        }
    }
}

/// Requests of one kind, one after the other, on a connection that is made again when it is gone.
struct Requests<'a> {
    polling: &'a Polling,
    method: Method,
    number: u64,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection while there is a request.
    driver: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
}

impl<'a> Requests<'a> {
    fn new(polling: &'a Polling, method: Method) -> Self {
        Self { polling, method, number: 0, connection: None }
    }

    /// Asks until there is an answer. What was lost on the way is asked again: packets that come twice do no harm.
    async fn ask(&mut self, body: Bytes) -> Result<Bytes, TunnelError> {
        let mut failures = 0;
        loop {
            let is_fresh = self.connection.is_none();
            let asked = timeout(ANSWER_TIMEOUT, self.try_ask(body.clone())).await;
            let error = match asked {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => TunnelError::Failed("no answer in time".to_owned()),
            };
            self.connection = None;
            // A connection that was idle may have been closed by the other side, which says nothing.
            if is_fresh {
                failures += 1;
                if failures == MAX_FAILURES {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE * failures).await;
            }
        }
    }

    async fn try_ask(&mut self, body: Bytes) -> Result<Bytes, TunnelError> {
        let request = self.request(body)?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(dial(self.polling).await?),
        };
        let Connection { sender, driver } = connection;
        let asking = async {
            sender.ready().await.map_err(TunnelError::failed)?;
            let answer = sender.send_request(request).await.map_err(TunnelError::failed)?;
            match answer.status() {
                StatusCode::OK => {}
                status if self.polling.proxy.is_some() => return Err(proxy::refusal(status)),
                status => return Err(TunnelError::failed(status)),
            }
            let body = Limited::new(answer.into_body(), MAX_BODY_LEN).collect().await;
            Ok(body.map_err(TunnelError::failed)?.to_bytes())
        };
        tokio::select! {
            biased;
            answer = asking => answer,
            _ = driver => Err(TunnelError::Failed("the connection has ended".to_owned())),
        }
    }

    fn request(&mut self, body: Bytes) -> Result<Request<Full<Bytes>>, TunnelError> {
        let Polling { authority, proxy, id, .. } = self.polling;
        self.number += 1;
        let path = id.path(self.number);
        let uri = if proxy.is_some() { format!("http://{authority}{path}") } else { path };
        let mut request = Request::builder()
            .method(&self.method)
            .uri(uri)
            .header(HOST, authority)
            .header(CACHE_CONTROL, "no-store");
        if self.method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
        }
        if let Some(authorization) = proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref()) {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(TunnelError::failed)
    }
}

async fn dial(polling: &Polling) -> Result<Connection, TunnelError> {
    let stream = match &polling.proxy {
        Some(proxy) => dial::to_proxy(proxy).await?,
        None => dial::tcp(polling.addresses.clone()).await?,
    };
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(TunnelError::failed)?;
    Ok(Connection { sender, driver: Box::pin(driver) })
}
