//! The one connection that writes, and the group commit in front of it.
//!
//! Requests queue in a bounded channel. One task takes all that are there, runs them in one transaction on the
//! blocking pool, commits once, and only then answers. Each request has its own savepoint: one that fails leaves its
//! neighbours alone.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::StoreError;
use super::fault::{Faults, Point};
use super::search;

/// Requests that may queue; whoever asks then waits.
const MAX_QUEUED: usize = 1024;
/// Requests that one transaction takes: enough that `fsync` hardly counts, few enough that the first of them does
/// not wait long.
const MAX_BATCH: usize = 512;

/// A request to the writer.
trait Job: Send {
    /// Works inside the transaction. An error undoes this request alone.
    fn work(&mut self, conn: &Connection) -> Result<(), StoreError>;

    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

/// The sending end of the writer's queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Command>,
}

enum Command {
    Work(Box<dyn Job>),
    Close,
}

struct Request<W, A, T> {
    work: Option<W>,
    after: A,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, A, T> Job for Request<W, A, T>
where
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    A: FnOnce(&T) + Send,
    T: Send,
{
    fn work(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let done = work(conn);
        let result = done.as_ref().map(|_| ()).map_err(Clone::clone);
        self.done = Some(done);
        result
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (self.done, commit) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        if let Ok(value) = &result {
            (self.after)(value);
        }
        // Whoever asked may be gone; what was asked for is done all the same.
        let _ = self.reply.send(result);
    }
}

impl Writer {
    /// Starts the writer on a connection that is set up.
    pub(super) fn start(conn: Connection, faults: Option<Arc<dyn Faults>>) -> (Self, JoinHandle<()>) {
        let (queue, commands) = mpsc::channel(MAX_QUEUED);
        #[expect(clippy::disallowed_methods, reason = "the store owns its one task and joins it in `close`")]
        let task = tokio::spawn(run(conn, commands, faults));
        (Self { queue }, task)
    }

    /// Runs `work` inside a transaction and returns after its commit; `after` runs once committed, even if the
    /// caller is gone by then.
    pub(super) async fn write<T, W, A>(&self, work: W, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.enqueue(work, after).await?.await.map_err(|_| StoreError::Closed)?
    }

    /// Queues `work`; the answer comes through the receiver, which may be dropped.
    pub(super) async fn enqueue<T, W, A>(
        &self,
        work: W,
        after: A,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Request { work: Some(work), after, done: None, reply };
        self.queue.send(Command::Work(Box::new(job))).await.map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    /// Lets the writer finish what is queued and end.
    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Command::Close).await;
    }
}

async fn run(mut conn: Connection, mut commands: mpsc::Receiver<Command>, faults: Option<Arc<dyn Faults>>) {
    let mut taken = Vec::with_capacity(MAX_BATCH);
    loop {
        if commands.recv_many(&mut taken, MAX_BATCH).await == 0 {
            break;
        }
        let mut closing = false;
        let mut jobs = Vec::with_capacity(taken.len());
        for command in taken.drain(..) {
            match command {
                Command::Work(job) => jobs.push(job),
                Command::Close => closing = true,
            }
        }
        let faults = faults.clone();
        // One batch at a time, on the blocking pool: a paused clock waits for it.
        match spawn_blocking(move || (batch(&conn, jobs, faults.as_deref()), conn)).await {
            Ok((Ok(()), returned)) => conn = returned,
            Ok((Err(Died), _)) | Err(_) => return,
        }
        if closing {
            break;
        }
    }
    commands.close();
    // Jobs that came after the close are dropped, which answers them with `Closed`.
    let closed = spawn_blocking(move || conn.close().map_err(|(_, error)| error)).await;
    if let Ok(Err(error)) = closed {
        tracing::warn!(%error, "the database did not close in good order");
    }
}

/// A fault point said to die.
struct Died;

fn batch(conn: &Connection, mut jobs: Vec<Box<dyn Job>>, faults: Option<&dyn Faults>) -> Result<(), Died> {
    let reach = |point| match faults {
        Some(faults) if faults.dies(point) => Err(Died),
        _ => Ok(()),
    };
    if jobs.is_empty() {
        return Ok(());
    }
    reach(Point::Begin)?;
    let mut outcome = execute(conn, "BEGIN IMMEDIATE");
    for job in &mut jobs {
        if outcome.is_err() {
            break;
        }
        outcome = guarded(conn, job.as_mut());
        reach(Point::Work)?;
    }
    outcome = outcome.and_then(|()| search::catch_up(conn, usize::MAX).map(drop));
    reach(Point::Commit)?;
    outcome = outcome.and_then(|()| execute(conn, "COMMIT"));
    if outcome.is_err() && !conn.is_autocommit() {
        // Nothing of the batch may stay behind. If this fails too, the next BEGIN says so.
        let _ = execute(conn, "ROLLBACK");
    }
    reach(Point::Committed)?;
    for job in jobs {
        job.answer(outcome.clone());
    }
    Ok(())
}

/// Runs one request inside a savepoint. An error means that the whole transaction is lost.
fn guarded(conn: &Connection, job: &mut dyn Job) -> Result<(), StoreError> {
    execute(conn, "SAVEPOINT job")?;
    let worked = job.work(conn);
    if let Err(error) = worked {
        // After some errors (a full disk, a failed read) SQLite itself rolls everything back.
        if conn.is_autocommit() {
            return Err(error);
        }
        execute(conn, "ROLLBACK TO job")?;
    }
    execute(conn, "RELEASE job")
}

fn execute(conn: &Connection, sql: &str) -> Result<(), StoreError> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}
