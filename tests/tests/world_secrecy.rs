//! What the server sees, and what a server that lies can do: deny its service, and nothing more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use client::engine::Event;
use common::control::{self, CheckKey, InstanceId, Introduce, SessionId, ToClient, ToServer, Welcome};
use common::frame::{self, Message as _};
use common::identity::{Identity, PeerId};
use common::tls::{self, EarlyData};
use quinn::{Connection, Endpoint, EndpointConfig, SendStream, ServerConfig, TokioRuntime};
use tests::nat::Profile;
use tests::world::{Access, Client, Home, World};
use tokio::task::JoinSet;

const SECRET: &str = "the cave is behind the waterfall";
/// Part of a message that would give it away.
const TELLTALE: usize = 8;

fn easy() -> Access {
    Access::Nat(Profile::eim_apdf_random())
}

async fn two(world: &mut World, access: &Access) -> ([Home; 2], [Client; 2]) {
    let homes = [world.home(access), world.home(access)];
    let mut alice = world.client(&homes[0]).await;
    let mut bob = world.client(&homes[1]).await;
    alice.wait_connected().await;
    bob.wait_connected().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    (homes, [alice, bob])
}

/// Whether a packet holds some part of the secret.
fn tells(payload: &[u8]) -> bool {
    SECRET.as_bytes().windows(TELLTALE).any(|part| payload.windows(TELLTALE).any(|window| window == part))
}

#[tokio::test(start_paused = true)]
async fn no_packet_holds_plaintext() {
    for (access, is_relayed) in [(easy(), false), (Access::Nat(Profile::symmetric_random()), true)] {
        let mut world = World::new(31);
        let seen = Arc::new(Mutex::new((0_u32, 0_u32)));
        let tap = Arc::clone(&seen);
        world.net.tap(move |packet| {
            let mut seen = tap.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.0 += 1;
            seen.1 += u32::from(tells(&packet.payload));
        });
        let (_, [alice, mut bob]) = two(&mut world, &access).await;
        let relayed = world.server_stats().core.relayed_bytes;
        for _ in 0..20 {
            alice.engine.send(bob.id(), SECRET).await.unwrap();
            assert_eq!(bob.wait_text().await, SECRET);
        }
        let relayed = world.server_stats().core.relayed_bytes - relayed;
        let (packets, telltales) = *seen.lock().unwrap();
        assert_eq!(relayed > 20 * SECRET.len() as u64, is_relayed, "{relayed} bytes");
        assert!(packets > 40 && telltales == 0, "{telltales} of {packets}");
    }
    assert!(tells(format!("xx{SECRET}").as_bytes()), "the test can see what it looks for");
}

#[tokio::test(start_paused = true)]
async fn in_direct_mode_the_server_carries_no_chat() {
    const COUNT: usize = 200;
    const LEN: usize = 1_000;
    let mut world = World::new(32);
    let (homes, [alice, mut bob]) = two(&mut world, &easy()).await;
    // Long enough that nothing of the beginning is on its way any more.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = world.server_stats().core;
    world.net.reset_counters();
    for _ in 0..COUNT {
        alice.engine.send(bob.id(), &"x".repeat(LEN)).await.unwrap();
    }
    for _ in 0..COUNT {
        bob.wait_text().await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = world.server_stats().core;
    assert_eq!((after.relayed, after.relayed_bytes), (before.relayed, before.relayed_bytes));
    let count = |from, to| world.net.delivered(from, to).bytes;
    let direct = count(homes[0].host, homes[1].host);
    let through: u64 =
        homes.iter().map(|h| count(h.host, world.server_host) + count(world.server_host, h.host)).sum();
    assert!(direct > (COUNT * LEN) as u64, "{direct} bytes went directly");
    assert!(through < 2_000, "{through} bytes went to and from the server");
}

/// What the lying server tells two newcomers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Whoever dials is told another key than that of the peer it reaches.
    ToDialler,
    /// Whoever is dialled is told another key than that of the dialling peer.
    ToDialled,
    /// The truth, to show that this server works otherwise.
    None,
}

/// A rendezvous that introduces the first two clients to each other in its own way, and relays between them.
struct Liar {
    lie: Lie,
    clients: Vec<(PeerId, Connection, SendStream)>,
}

fn lying_server(world: &World, lie: Lie, tasks: &mut JoinSet<()>) {
    let crypto = tls::server_config(world.server_identity(), control::ALPN, EarlyData::Refuse);
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        Some(ServerConfig::with_crypto(Arc::new(crypto))),
        world.net.bind(world.server_host, world.server_addr().port()),
        Arc::new(TokioRuntime),
    );
    let endpoint = endpoint.expect("a simulated socket works");
    tasks.spawn(async move {
        let mut liar = Liar { lie, clients: Vec::new() };
        while liar.clients.len() < 2 {
            let connection = endpoint.accept().await.expect("open").await.expect("a handshake");
            liar.greet(connection).await;
        }
        liar.introduce().await;
        liar.relay().await;
    });
}

impl Liar {
    /// Takes a client in, up to the point where it waits in the lobby.
    async fn greet(&mut self, connection: Connection) {
        let peer = tls::peer_id(&connection).expect("a key");
        let (mut send, mut recv) = connection.accept_bi().await.expect("a control stream");
        let observed = Some(connection.remote_address());
        let welcome = Welcome { observed, probes: Vec::new(), features: Vec::new() };
        send.write_all(&ToClient::from(welcome).to_bytes()).await.expect("a client that reads");
        let mut buffer = BytesMut::new();
        loop {
            while let Some(frame) = frame::take(&mut buffer).expect("frames") {
                if let ToServer::Lobby(_) = frame {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    // Nothing more is read; the stream stays open.
                    return self.clients.push((peer, connection, send));
                }
            }
            let chunk = recv.read_chunk(4096, true).await.expect("a client that lives").expect("more");
            buffer.extend_from_slice(&chunk.bytes);
        }
    }

    async fn introduce(&mut self) {
        let stranger = Identity::from_seed([66; 32]).peer_id();
        let keys = [self.clients[0].0, self.clients[1].0];
        for (i, (_, _, send)) in self.clients.iter_mut().enumerate() {
            let dial = i == 0;
            let lied_to = self.lie == if dial { Lie::ToDialler } else { Lie::ToDialled };
            let introduce = Introduce {
                session: SessionId(7),
                peer: if lied_to { stranger } else { keys[1 - i] },
                instance: InstanceId(1),
                endpoints: Vec::new(),
                key: CheckKey([7; 16]),
                dial,
                lobby: true,
            };
            send.write_all(&ToClient::from(introduce).to_bytes()).await.expect("a client that reads");
        }
    }

    async fn relay(&self) {
        let (a, b) = (&self.clients[0].1, &self.clients[1].1);
        tokio::join!(forward(a, b), forward(b, a));
    }
}

async fn forward(from: &Connection, to: &Connection) {
    while let Ok(datagram) = from.read_datagram().await {
        let datagram: Bytes = datagram;
        let _ = to.send_datagram(datagram);
    }
}

/// Counts the kinds of events of a client within a minute.
async fn minute(client: &mut Client) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let end = tokio::time::sleep(Duration::from_secs(60));
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return counts,
            event = client.events.recv() => {
                let kind = match event.expect("the engine runs") {
                    Event::Connected { .. } => "connected",
                    Event::Message { .. } => "message",
                    Event::Paired { .. } => "paired",
                    _ => "other",
                };
                *counts.entry(kind).or_default() += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lying_server_cannot_show_anybody_as_somebody_else() {
    for lie in [Lie::None, Lie::ToDialler, Lie::ToDialled] {
        let mut world = World::new(33);
        world.kill_server();
        let mut tasks = JoinSet::new();
        lying_server(&world, lie, &mut tasks);
        let hard = Access::Nat(Profile::symmetric_random());
        let (a, b) = (world.home(&hard), world.home(&hard));
        let (mut alice, mut bob) = (world.client(&a).await, world.client(&b).await);
        let (at_alice, at_bob) = tokio::join!(minute(&mut alice), minute(&mut bob));
        for seen in [at_alice, at_bob] {
            assert_eq!(seen.get("paired"), Some(&1), "{lie:?}");
            assert_eq!(seen.contains_key("connected"), lie == Lie::None, "{lie:?}: {seen:?}");
        }
        for client in [&alice, &bob] {
            let known = client.engine.people().await.unwrap().len();
            assert_eq!(known, usize::from(lie == Lie::None), "nobody is remembered who was not proven");
        }
    }
}
