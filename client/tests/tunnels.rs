//! Two clients meet and talk where UDP does not pass: over TCP, through proxies, through middleboxes that pass plain
//! HTTP alone, and on to UDP when it passes again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tunnels/middlebox.rs"]
mod middlebox;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use client::engine::{Config, Engine, Event};
use client::log::Content;
use client::net::{Carrier, ServerError, ServerTarget, Tunnels};
use client::store::Options;
use common::identity::{Identity, PeerId};
use quinn::AsyncUdpSocket;
use rendezvous::server::IdentitySource;
use rendezvous::{Limits, Server};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a test waits for something that should come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server() -> Server {
    let binds = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let identity = IdentitySource::Given(Identity::from_seed([200; 32]));
    let config = rendezvous::Config {
        binds,
        bind_tcp: Vec::new(),
        alt_binds: Vec::new(),
        identity,
        limits: Limits::default(),
    };
    Server::bind(config).await.unwrap()
}

/// A client and what it said.
struct Person {
    engine: Engine,
    events: mpsc::Receiver<Event>,
    dir: TempDir,
}

impl Person {
    /// Somebody without UDP.
    async fn without_udp(seed: u8, server: &str, tunnels: Tunnels) -> Self {
        Self::start(TempDir::new().unwrap(), seed, server, tunnels, Vec::new()).await
    }

    async fn start(
        dir: TempDir,
        seed: u8,
        server: &str,
        tunnels: Tunnels,
        links: Vec<Arc<dyn AsyncUdpSocket>>,
    ) -> Self {
        let config = Config {
            identity: Identity::from_seed([seed; 32]),
            database: dir.path().join("store"),
            store: Options::default(),
            name: format!("person {seed}"),
            server: Some(server.parse::<ServerTarget>().unwrap()),
            meet: false,
            join: None,
            tunnels: Some(tunnels),
            links,
            bind_extra: client::net::BindExtra(Arc::new(client::net::links::bind_extra)),
            surroundings: client::net::Surroundings::default(),
            tcp: client::net::TcpUse::Never,
            wall_clock: client::net::unix_ms,
            seed: u64::from(seed),
        };
        let (engine, events) = Engine::start(config).await.unwrap();
        Self { engine, events, dir }
    }

    async fn wait<T>(&mut self, what: &str, mut find: impl FnMut(Event) -> Option<T>) -> T {
        let finding = async {
            loop {
                let event = self.events.recv().await.expect("the engine lives");
                if let Event::ServerDown { error, .. } = &event {
                    assert!(what == "trouble", "waiting for {what}: {error}");
                }
                if let Some(found) = find(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, finding).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    async fn carrier(&mut self) -> Carrier {
        self.wait("the server", |event| match event {
            Event::ServerUp { route, observed, .. } => {
                assert_eq!(observed.is_some(), route.carrier == Carrier::Udp);
                Some(route.carrier)
            }
            _ => None,
        })
        .await
    }

    async fn rerouted(&mut self) -> Carrier {
        self.wait("another way", |event| match event {
            Event::ServerRerouted(route) => Some(route.carrier),
            _ => None,
        })
        .await
    }

    async fn partner(&mut self) -> PeerId {
        self.wait("a partner", |event| match event {
            Event::Connected { peer, .. } => Some(peer),
            _ => None,
        })
        .await
    }

    async fn hears(&mut self, text: &str) {
        self.wait(text, |event| match event {
            Event::Message { message, .. } if message.content == Content::text(text) => Some(()),
            _ => None,
        })
        .await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the test measures how long people wait")]
fn now() -> Instant {
    Instant::now()
}

/// Two people meet over `carrier` and say a line each; how long all of it took.
async fn meet(server: &str, tunnels: &Tunnels, carrier: Carrier) -> Duration {
    let begun = now();
    let mut anna = Person::without_udp(1, server, tunnels.clone()).await;
    let mut ben = Person::without_udp(2, server, tunnels.clone()).await;
    assert_eq!((anna.carrier().await, ben.carrier().await), (carrier, carrier));
    let (to_ben, to_anna) = (anna.partner().await, ben.partner().await);
    anna.engine.send(to_ben, "hello Ben").await.unwrap();
    ben.hears("hello Ben").await;
    ben.engine.send(to_anna, "hello Anna").await.unwrap();
    anna.hears("hello Anna").await;
    let took = begun.elapsed();
    anna.engine.shutdown().await;
    ben.engine.shutdown().await;
    took
}

#[tokio::test]
async fn over_tls_where_only_tcp_passes() {
    let server = server().await;
    let firewall = middlebox::tcp_only(server.tcp_addrs()[0]).await;
    let took = meet(&firewall.addr.to_string(), &Tunnels::default(), Carrier::Tls).await;
    println!("TCP alone: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(server.stats().core.relayed > 0, "without UDP there is no other path");
}

#[tokio::test]
async fn through_a_proxy_that_only_connects() {
    let server = server().await;
    let key = server.peer_id();
    for (proxy_user, authorization) in [("", None), ("ann:p%40ss@", Some("Basic YW5uOnBAc3M="))] {
        let proxy = middlebox::connect_proxy(server.tcp_addrs()[0], authorization).await;
        let tunnels = Tunnels {
            proxy: Some(format!("http://{proxy_user}{}", proxy.addr).parse().unwrap()),
            last: None,
        };
        // A name that only the proxy knows.
        let took = meet(&format!("rendezvous.invalid:443#{key}"), &tunnels, Carrier::WebSocket).await;
        println!("HTTP CONNECT, {} user: {took:?}", if proxy_user.is_empty() { "no" } else { "with" });
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(proxy.passed.load(Ordering::Relaxed) >= 2);
    }
}

#[tokio::test]
async fn through_a_middlebox_that_buffers_plain_http() {
    let server = server().await;
    let web = middlebox::buffering(server.tcp_addrs()[0]).await;
    let took = meet(&web.addr.to_string(), &Tunnels::default(), Carrier::Http).await;
    println!("buffered HTTP: {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn plain_http_through_a_proxy() {
    let server = server().await;
    let web = middlebox::buffering(server.tcp_addrs()[0]).await;
    let tunnels = Tunnels { proxy: Some(web.addr.to_string().parse().unwrap()), last: None };
    let address = format!("rendezvous.invalid:80#{}", server.peer_id());
    let took = meet(&address, &tunnels, Carrier::Http).await;
    println!("buffered HTTP by a proxy: {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn what_worked_is_tried_first_the_next_time() {
    let server = server().await;
    let web = middlebox::buffering(server.tcp_addrs()[0]).await;
    let mut dir = TempDir::new().unwrap();
    let mut took = Vec::new();
    for _ in 0..2 {
        let begun = now();
        let address = web.addr.to_string();
        let mut anna = Person::start(dir, 1, &address, Tunnels::default(), Vec::new()).await;
        assert_eq!(anna.carrier().await, Carrier::Http);
        took.push(begun.elapsed());
        anna.engine.shutdown().await;
        dir = anna.dir;
    }
    println!("first {:?}, then {:?}", took[0], took[1]);
    assert!(took[0] > Duration::from_secs(1) && took[1] < Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn to_udp_when_it_passes_and_back_when_it_does_not_with_the_same_connection() {
    let server = server().await;
    let firewall = middlebox::tcp_only(server.tcp_addrs()[0]).await;
    let address = firewall.addr.to_string();
    let links = client::net::links::bind(0).unwrap();
    let mut anna = Person::start(TempDir::new().unwrap(), 1, &address, Tunnels::default(), links).await;
    let mut ben = Person::without_udp(2, &address, Tunnels::default()).await;
    assert_eq!((anna.carrier().await, ben.carrier().await), (Carrier::Tls, Carrier::Tls));
    let (to_ben, to_anna) = (anna.partner().await, ben.partner().await);

    let udp = middlebox::udp(firewall.addr, server.local_addrs()[0]).await;
    assert_eq!(anna.rerouted().await, Carrier::Udp);
    anna.engine.send(to_ben, "over UDP").await.unwrap();
    ben.hears("over UDP").await;
    drop(udp);
    ben.engine.send(to_anna, "over TCP again").await.unwrap();
    assert_eq!(anna.rerouted().await, Carrier::Tls);
    anna.hears("over TCP again").await;
    assert_eq!(server.stats().core.registrations, 2, "nobody had to come back");
}

#[tokio::test]
async fn a_tunnel_that_breaks_is_opened_again_under_the_same_connection() {
    let server = server().await;
    let upstream = server.tcp_addrs()[0];
    let firewall = middlebox::tcp_only(upstream).await;
    let address = firewall.addr;
    let mut anna = Person::without_udp(1, &address.to_string(), Tunnels::default()).await;
    assert_eq!(anna.carrier().await, Carrier::Tls);
    firewall.close().await;
    let _again = middlebox::tcp_only_at(address, upstream).await;
    assert_eq!(anna.rerouted().await, Carrier::Tls);
    assert_eq!(server.stats().core.registrations, 1);
}

#[tokio::test]
async fn the_user_learns_what_the_proxy_wants() {
    let server = server().await;
    let proxy = middlebox::connect_proxy(server.tcp_addrs()[0], Some("Basic YW5uOnBAc3M=")).await;
    let tunnels = Tunnels { proxy: Some(proxy.addr.to_string().parse().unwrap()), last: None };
    let mut anna = Person::without_udp(1, "rendezvous.invalid:443", tunnels).await;
    let trouble = anna
        .wait("trouble", |event| match event {
            Event::ServerDown { error, .. } => Some(error),
            _ => None,
        })
        .await;
    assert!(matches!(trouble, ServerError::Proxy { .. }), "{trouble:?}");
    assert!(trouble.to_string().contains("wants a user and a password"), "{trouble}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_blamed_on_udp_alone() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut anna = Person::without_udp(1, &nobody.to_string(), Tunnels::default()).await;
    let trouble = anna
        .wait("trouble", |event| match event {
            Event::ServerDown { error, .. } => Some(error.to_string()),
            _ => None,
        })
        .await;
    assert!(trouble.contains("neither over UDP nor over TCP"), "{trouble}");
}
