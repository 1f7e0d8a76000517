//! Durable messages between two real engines over loopback, with databases on a real disk.
//!
//! The alternative to group commit is one commit for each message; the alternative to a message's round trip is the
//! least that it could cost: an echo over one quinn stream and two writes to disk that are waited for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use client::engine::{self, Engine, Event};
use client::net::{ServerTarget, TcpUse, Via};
use client::store::{self, State};
use common::identity::{Identity, PeerId};
use rendezvous::{Limits, Server};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bulk::own_socket;
use super::plain::{self, Setup};
use super::stats::{Samples, median_ratio};
use super::{Figure, Report, Target, ms};
use crate::world::now;

/// What is sent: 65 bytes, a usual line of chat.
pub(super) const TEXT: &str = "sixty-five bytes are what a usual line in a chat comes to, or so.";
/// Senders at the same time, for group commit to have something to group.
const LANES: u64 = 512;
/// Messages of the measurement with one commit each.
const SINGLE: u64 = 200;
/// Round trips of one run.
const ROUND_TRIPS: u64 = 100;
/// A page of the database, and how many of them the write-ahead log has before it starts over.
const PAGE: usize = 4096;
const WAL_PAGES: u64 = 1000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One engine and the number of its messages that were delivered.
struct Side {
    engine: Engine,
    delivered: watch::Receiver<u64>,
    connected: watch::Receiver<Option<PeerId>>,
    direct: watch::Receiver<bool>,
}

/// Measures `runs` times, `messages` in each, in a new directory below `dir`.
///
/// # Errors
/// If something does not work.
pub fn run(runs: u64, messages: u64, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rates = Rates::default();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let dir = TempDir::new_in(dir).context("no room for databases")?;
        runtime.block_on(one_run(dir.path(), messages, &mut rates, &mut ours, &mut bare))?;
    }
    rates.summarise(report);
    round_trips(&ours, &bare, report);
    Ok(())
}

#[derive(Default)]
struct Rates {
    one_way: Vec<f64>,
    both_ways: Vec<f64>,
    single: Vec<f64>,
}

impl Rates {
    fn summarise(&self, report: &mut Report) {
        let median = |values: &[f64]| values.iter().copied().collect::<Samples>().median();
        let single = ("committed one by one", median(&self.single));
        let mut add = |name: &str, values: &[f64]| {
            report.add(Figure::new("messages", name, "/s", median(values)).beside(single.0, single.1));
        };
        add("durable and delivered, one way", &self.one_way);
        add("durable and delivered, both ways", &self.both_ways);
        report.add(
            Figure::new("messages", "group commit", "x single", median_ratio(&self.one_way, &self.single))
                .target(Target::AtLeast(40.0)),
        );
    }
}

fn round_trips(ours: &[f64], bare: &[f64], report: &mut Report) {
    let (mine, theirs): (Samples, Samples) = (ours.iter().copied().collect(), bare.iter().copied().collect());
    for percent in [50, 99] {
        let name = format!("sent until known to be delivered, p{percent}");
        report.add(
            Figure::new("messages", name, "ms", mine.percentile(percent))
                .beside("echo and two writes to disk", theirs.percentile(percent)),
        );
    }
    report.add(
        Figure::new("messages", "round trip", "x echo and two writes", mine.median() / theirs.median())
            .target(Target::AtMost(1.15)),
    );
}

async fn one_run(
    dir: &Path,
    messages: u64,
    rates: &mut Rates,
    ours: &mut Vec<f64>,
    bare: &mut Vec<f64>,
) -> anyhow::Result<()> {
    let socket = own_socket()?;
    let address = format!("127.0.0.1:{}", socket.local_addr()?.port());
    let server = Server::with_sockets(&Identity::from_seed([7; 32]), Limits::default(), vec![socket])?;
    let target = ServerTarget { address, key: Some(server.peer_id()) };
    let mut tasks = JoinSet::new();
    let mut a = start(dir, 1, &target, &mut tasks).await?;
    let mut b = start(dir, 2, &target, &mut tasks).await?;
    for side in [&mut a, &mut b] {
        timeout(PATIENCE, side.connected.wait_for(Option::is_some)).await.context("no connection")??;
        timeout(PATIENCE, side.direct.wait_for(|direct| *direct)).await.context("no direct path")??;
    }
    let (to_b, to_a) = (b.engine.me(), a.engine.me());
    rates.single.push(rate(SINGLE, async { flood(&a, to_b, SINGLE, 1).await }).await?);
    rates.one_way.push(rate(messages, async { flood(&a, to_b, messages, LANES).await }).await?);
    let both = async {
        tokio::try_join!(flood(&a, to_b, messages, LANES), flood(&b, to_a, messages, LANES)).map(drop)
    };
    rates.both_ways.push(rate(2 * messages, both).await?);

    let mut echo = Echo::start(dir).await?;
    for _ in 0..ROUND_TRIPS {
        let start = now();
        flood(&a, to_b, 1, 1).await?;
        ours.push(ms(start.elapsed()));
        bare.push(ms(echo.once().await?));
    }
    a.engine.shutdown().await;
    b.engine.shutdown().await;
    server.shutdown().await;
    Ok(())
}

async fn start(dir: &Path, n: u8, target: &ServerTarget, tasks: &mut JoinSet<()>) -> anyhow::Result<Side> {
    let config = config(dir.join(format!("{n}.db")), Identity::from_seed([n; 32]), target.clone())?;
    let (engine, mut events) = Engine::start(config).await?;
    let (delivered_in, delivered) = watch::channel(0);
    let (connected_in, connected) = watch::channel(None);
    let (direct_in, direct) = watch::channel(false);
    tasks.spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                Event::State { state: State::Delivered, .. } => delivered_in.send_modify(|count| *count += 1),
                Event::Connected { peer, .. } => drop(connected_in.send_replace(Some(peer))),
                Event::Path(change) => drop(direct_in.send_replace(change.via != Via::Relay)),
                _ => {}
            }
        }
    });
    Ok(Side { engine, delivered, connected, direct })
}

/// An engine's settings on real sockets.
pub(super) fn config(
    database: std::path::PathBuf,
    identity: Identity,
    server: ServerTarget,
) -> anyhow::Result<engine::Config> {
    Ok(engine::Config {
        identity,
        database,
        store: store::Options::default(),
        name: "bench".to_owned(),
        server: Some(server),
        meet: true,
        join: None,
        tunnels: None,
        links: client::net::links::bind(0)?,
        bind_extra: super::bare::real_sockets(),
        surroundings: client::net::Surroundings::default(),
        tcp: TcpUse::Never,
        wall_clock: client::net::unix_ms,
        seed: rand::random(),
    })
}

/// Messages per second of `work`.
async fn rate(messages: u64, work: impl Future<Output = anyhow::Result<()>> + Send) -> anyhow::Result<f64> {
    let start = now();
    timeout(PATIENCE, work).await.context("messages were not delivered in time")??;
    Ok(messages as f64 / start.elapsed().as_secs_f64())
}

/// Sends `count` messages in `lanes` at the same time and waits until all are known to be delivered.
async fn flood(side: &Side, to: PeerId, count: u64, lanes: u64) -> anyhow::Result<()> {
    let mut delivered = side.delivered.clone();
    let before = *delivered.borrow_and_update();
    let mut tasks = JoinSet::new();
    for lane in 0..lanes.min(count) {
        let engine = side.engine.clone();
        tasks.spawn(async move {
            for _ in (lane..count).step_by(usize::try_from(lanes)?) {
                engine.send(to, TEXT).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    delivered.wait_for(|now| *now >= before + count).await?;
    Ok(())
}

/// The bare cost of a durable message.
struct Echo {
    _pair: plain::Pair,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    disk: Disk,
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Echo {
    async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (from, to) = (own_socket()?, own_socket()?);
        let address = ([127, 0, 0, 1], to.local_addr()?.port()).into();
        let pair = plain::pair([from, to], address, &Setup::ours(|_| ())).await?;
        let other = pair.acceptor.clone();
        let mut other_disk = Disk::open(&dir.join("other.log"))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut send, mut recv) = other.accept_bi().await?;
            let mut message = [0; TEXT.len()];
            loop {
                recv.read_exact(&mut message).await?;
                other_disk.write().await?;
                send.write_all(&message).await?;
            }
        });
        let (send, recv) = pair.dialler.open_bi().await?;
        let disk = Disk::open(&dir.join("own.log"))?;
        Ok(Self { _pair: pair, send, recv, disk, _tasks: tasks })
    }

    async fn once(&mut self) -> anyhow::Result<Duration> {
        let start = now();
        self.disk.write().await?;
        self.send.write_all(TEXT.as_bytes()).await?;
        self.recv.read_exact(&mut [0; TEXT.len()]).await?;
        Ok(start.elapsed())
    }
}

/// A file of pages that are written one after the other and over again, as a write-ahead log's are.
pub(super) struct Disk {
    file: Arc<File>,
    page: u64,
}

impl Disk {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: Arc::new(File::create(path)?), page: 0 })
    }

    pub(super) async fn write(&mut self) -> anyhow::Result<()> {
        let (file, page) = (Arc::clone(&self.file), self.page);
        self.page = (page + 1) % WAL_PAGES;
        let write = move || {
            file.write_all_at(&[7; PAGE], page * PAGE as u64)?;
            file.sync_data()
        };
        Ok(tokio::task::spawn_blocking(write).await??)
    }
}
