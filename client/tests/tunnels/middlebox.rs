//! What stands between a client and its server in networks that do not let UDP pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::PROXY_AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// A box that is there until it is dropped.
pub(crate) struct Middlebox {
    pub(crate) addr: SocketAddr,
    /// Connections or requests that it let pass.
    pub(crate) passed: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Middlebox {
    /// Breaks all connections and is gone.
    pub(crate) async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Where the system likes.
fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A firewall that passes TCP to `server` and knows no UDP.
pub(crate) async fn tcp_only(server: SocketAddr) -> Middlebox {
    tcp_only_at(anywhere(), server).await
}

/// The same at this address.
pub(crate) async fn tcp_only_at(addr: SocketAddr, server: SocketAddr) -> Middlebox {
    serve(addr, move |mut client, passed| async move {
        passed.fetch_add(1, Ordering::Relaxed);
        let mut upstream = TcpStream::connect(server).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    })
    .await
}

/// A proxy that connects to `server`, whatever name it is asked for, and does nothing else. With `authorization` only
/// for whoever shows it.
pub(crate) async fn connect_proxy(server: SocketAddr, authorization: Option<&'static str>) -> Middlebox {
    serve(anywhere(), move |client, passed| async move {
        let (upgraded, mut upgrades) = tokio::sync::mpsc::channel(1);
        let service = service_fn(|mut request: Request<Incoming>| {
            let shown = request.headers().get(PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok());
            let status = if request.method() != Method::CONNECT {
                StatusCode::METHOD_NOT_ALLOWED
            } else if authorization.is_some() && shown != authorization {
                StatusCode::PROXY_AUTHENTICATION_REQUIRED
            } else {
                passed.fetch_add(1, Ordering::Relaxed);
                let _ = upgraded.try_send(hyper::upgrade::on(&mut request));
                StatusCode::OK
            };
            let answer = Response::builder().status(status).body(Full::<Bytes>::default()).unwrap();
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection.serve_connection(TokioIo::new(client), service).with_upgrades().await;
        if let Ok(upgrade) = upgrades.try_recv() {
            let mut client = TokioIo::new(upgrade.await.unwrap());
            let mut upstream = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
        }
    })
    .await
}

/// A middlebox that understands plain HTTP only, and passes each request and each answer on when it has all of it, over
/// a connection of its own.
pub(crate) async fn buffering(server: SocketAddr) -> Middlebox {
    serve(anywhere(), move |client, passed| async move {
        let service = service_fn(|request: Request<Incoming>| {
            passed.fetch_add(1, Ordering::Relaxed);
            async move {
                let (parts, body) = request.into_parts();
                let whole = Request::from_parts(parts, Full::new(body.collect().await?.to_bytes()));
                let upstream = TokioIo::new(TcpStream::connect(server).await.unwrap());
                let (mut sender, connection) = hyper::client::conn::http1::handshake(upstream).await?;
                let asking = async {
                    let (parts, body) = sender.send_request(whole).await?.into_parts();
                    Ok::<_, hyper::Error>(Response::from_parts(
                        parts,
                        Full::new(body.collect().await?.to_bytes()),
                    ))
                };
                tokio::select! {
                    biased;
                    answer = asking => answer,
                    ended = connection => Err(ended.unwrap_err()),
                }
            }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection.serve_connection(TokioIo::new(client), service).await;
    })
    .await
}

async fn serve<F>(
    addr: SocketAddr,
    each: impl Fn(TcpStream, Arc<AtomicUsize>) -> F + Send + 'static,
) -> Middlebox
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&passed);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            connections.spawn(each(client, Arc::clone(&counter)));
        }
    });
    Middlebox { addr, passed, tasks }
}

/// UDP passes at `addr`, on its way to `server`, until this is dropped.
pub(crate) async fn udp(addr: SocketAddr, server: SocketAddr) -> JoinSet<()> {
    let front = Arc::new(UdpSocket::bind(addr).await.unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut flows: Vec<(SocketAddr, Arc<UdpSocket>)> = Vec::new();
        let mut back = JoinSet::new();
        let mut buffer = [0; 2000];
        loop {
            let (len, from) = front.recv_from(&mut buffer).await.unwrap();
            let known = flows.iter().find(|(client, _)| *client == from).map(|(_, flow)| Arc::clone(flow));
            let flow = match known {
                Some(flow) => flow,
                None => {
                    let flow = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                    flow.connect(server).await.unwrap();
                    flows.push((from, Arc::clone(&flow)));
                    let (answers, front) = (Arc::clone(&flow), Arc::clone(&front));
                    back.spawn(async move {
                        let mut buffer = [0; 2000];
                        while let Ok(len) = answers.recv(&mut buffer).await {
                            let _ = front.send_to(&buffer[..len], from).await;
                        }
                    });
                    flow
                }
            };
            let _ = flow.send(&buffer[..len]).await;
        }
    });
    tasks
}
