//! What a person who writes notices while a backlog comes in: two real engines over loopback, with databases on a real
//! disk.
//!
//! One side has written messages before the other was ever there. From the moment they are connected the other side's user
//! writes too, and waits each time until the line is stored, and until the engine shows it. The alternative is the least that
//! could be: a page that is written to the same disk and waited for, between the same lines.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use client::engine::{Engine, Event};
use client::log::{Content, ConversationId, MessageId};
use client::net::ServerTarget;
use client::store::Store;
use common::identity::{Identity, PeerId};
use rendezvous::{Limits, Server};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::bulk::own_socket;
use super::messages::{Disk, TEXT, config};
use super::stats::Samples;
use super::{Figure, Report, Target, ms};
use crate::world::now;

/// Between two lines that are typed: somebody who hurries.
const TYPING: Duration = Duration::from_millis(50);
/// Messages that are written at the same time before the engines begin.
const TOGETHER: u64 = 512;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Lines that wait to be shown.
const QUEUE_LEN: usize = 1024;

/// Measures with so many messages, in a new directory below `dir`.
///
/// # Errors
/// If something does not work.
pub fn run(messages: u64, dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = TempDir::new_in(dir).context("no room for databases")?;
    let found = runtime.block_on(measure(dir.path(), messages))?;
    report.add(Figure::new("backlog", "taken in", "/s", found.rate).target(Target::AtLeast(5_000.0)));
    let bare: Samples = found.bare.into_iter().map(ms).collect();
    for (what, times) in [("stored", found.stored), ("shown", found.shown)] {
        let times: Samples = times.into_iter().map(ms).collect();
        for (percent, name) in [(50, "p50"), (99, "p99"), (100, "longest")] {
            let name = format!("a line is {what}, {name} of {}", times.len());
            report.add(
                Figure::new("backlog", &name, "ms", times.percentile(percent))
                    .beside("a page written to disk", bare.percentile(percent))
                    .target(Target::AtMost(16.0)),
            );
        }
    }
    Ok(())
}

struct Found {
    /// Messages of the backlog that were shown in a second.
    rate: f64,
    /// How long lines took until they were durable.
    stored: Vec<Duration>,
    /// How long a page took between them.
    bare: Vec<Duration>,
    /// How long they took until they were shown.
    shown: Vec<Duration>,
}

/// When the engine showed what.
enum Shown {
    Connected,
    Own(MessageId, Instant),
    Theirs,
}

async fn measure(dir: &Path, messages: u64) -> anyhow::Result<Found> {
    let [away, me] = [1, 2].map(|seed| Identity::from_seed([seed; 32]));
    let [theirs, mine] = ["theirs", "mine"].map(|name| dir.join(name));
    write_before(&theirs, &away, me.peer_id(), messages).await?;

    let socket = own_socket()?;
    let address = format!("127.0.0.1:{}", socket.local_addr()?.port());
    let server = Server::with_sockets(&Identity::from_seed([7; 32]), Limits::default(), vec![socket])?;
    let target = ServerTarget { address, key: Some(server.peer_id()) };
    let mut tasks = JoinSet::new();
    let (other, mut unread) = Engine::start(config(theirs, away.clone(), target.clone())?).await?;
    tasks.spawn(async move { while unread.recv().await.is_some() {} });
    let (engine, mut events) = Engine::start(config(mine, me, target)?).await?;
    let (sender, shown) = mpsc::channel(QUEUE_LEN);
    tasks.spawn(async move {
        while let Some(event) = events.recv().await {
            let shown = match event {
                Event::Connected { .. } => Shown::Connected,
                Event::Message { message, .. } if message.own => Shown::Own(message.id(), now()),
                Event::Message { .. } => Shown::Theirs,
                _ => continue,
            };
            if sender.send(shown).await.is_err() {
                return;
            }
        }
    });
    let disk = Disk::open(&dir.join("bare.log"))?;
    let found = timeout(PATIENCE, typing(&engine, away.peer_id(), shown, messages, disk)).await;
    let found = found.context("the backlog did not come in time")??;
    engine.shutdown().await;
    other.shutdown().await;
    server.shutdown().await;
    Ok(found)
}

/// The backlog, in a store that nobody is connected with.
async fn write_before(path: &Path, from: &Identity, to: PeerId, messages: u64) -> anyhow::Result<()> {
    let store = Store::open(path, from.peer_id()).await?;
    let (conversation, to) = (ConversationId::direct(from.peer_id(), to), [to]);
    for first in (0..messages).step_by(usize::try_from(TOGETHER)?) {
        let lines = (first..messages.min(first + TOGETHER))
            .map(|nonce| store.compose(from, conversation, &to, Content::text(TEXT), first, nonce));
        futures_util::future::try_join_all(lines).await?;
    }
    store.close().await;
    Ok(())
}

/// Writes lines from the moment of connection until the whole backlog is shown.
async fn typing(
    engine: &Engine,
    to: PeerId,
    mut events: mpsc::Receiver<Shown>,
    messages: u64,
    mut disk: Disk,
) -> anyhow::Result<Found> {
    while !matches!(events.recv().await.context("the engine has ended")?, Shown::Connected) {}
    let begin = now();
    let (mut stored, mut written, mut seen, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let taken_in = async {
        let mut left = messages;
        while left > 0 {
            match events.recv().await.context("the engine has ended")? {
                Shown::Theirs => left -= 1,
                Shown::Own(id, at) => seen.push((id, at)),
                Shown::Connected => {}
            }
        }
        anyhow::Ok(begin.elapsed())
    };
    let lines = async {
        loop {
            let start = now();
            let row = engine.send(to, TEXT).await?;
            stored.push(start.elapsed());
            written.push((row.id(), start));
            let start = now();
            disk.write().await?;
            bare.push(start.elapsed());
            sleep(TYPING).await;
        }
    };
    let took = tokio::select! {
        took = taken_in => took?,
        failed = lines => return failed,
    };
    let start_of = |id: MessageId| written.iter().find(|(line, _)| *line == id).map(|(_, start)| *start);
    let shown = seen.iter().filter_map(|(id, at)| Some(at.saturating_duration_since(start_of(*id)?)));
    Ok(Found { rate: messages as f64 / took.as_secs_f64(), shown: shown.collect(), stored, bare })
}
