//! The one connection that writes, and the group commit in front of it.
//!
//! Requests queue in two bounded channels: those for which a user waits go ahead of those that come from peers. One task
//! takes what is there, runs it in one transaction on the blocking pool, commits once, and only then answers. A request that
//! fails leaves its neighbours alone: they are run again without it. A backlog that comes in is committed in pieces, and
//! what need not be in a commit is done between two, so that whoever types waits for one of these and not for the whole.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::StoreError;
use super::fault::{Faults, Point};
use super::fold::{self, Folder};
use super::search;
use super::sql::execute;

/// Requests that may queue in each channel; whoever asks then waits.
const MAX_QUEUED: usize = 1024;
/// Requests ahead that one transaction takes: enough that `fsync` hardly counts, few enough that the first of them does
/// not wait long.
const MAX_BATCH: usize = 512;
/// So many requests ahead are no longer what somebody types: they are indexed in their own commit.
const MIN_GROUP: usize = 16;
/// Messages from peers that one transaction takes if nobody comes who waits: while somebody is at work here, and otherwise.
const MAX_BEHIND: (usize, usize) = (64, 128);
/// Messages that are indexed together, likewise: each time costs a piece of index that has to be merged with others later.
const INDEXED_TOGETHER: (usize, usize) = (128, 256);
/// After so many things that were done for nobody who waited nobody is at work here.
const ATTENDED: usize = 64;
/// Messages that wait for their indexing at most, however much is typed.
const MAX_UNINDEXED: usize = 1024;
/// Messages after which the write-ahead log is folded into the file (see `fold.rs`), before `SQLite` does it by itself in
/// somebody's commit.
const FOLDED_TOGETHER: usize = 512;

/// A request to the writer.
trait Job: Send {
    /// Works inside the transaction; once more if it was rolled back.
    fn work(&mut self, conn: &Connection) -> Result<(), StoreError>;

    /// Answers, after the commit or instead of it.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

/// The sending end of the writer's queues.
#[derive(Clone)]
pub(super) struct Writer {
    ahead: mpsc::Sender<Command>,
    behind: mpsc::Sender<Piece>,
}

enum Command {
    Work(Box<dyn Job>),
    Close,
}

/// Work that can wait for users'.
struct Piece {
    /// How many messages it is about.
    messages: usize,
    job: Box<dyn Job>,
}

struct Request<W, A, T> {
    work: W,
    after: A,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, A, T> Job for Request<W, A, T>
where
    W: Fn(&Connection) -> Result<T, StoreError> + Send,
    A: FnOnce(&T) + Send,
    T: Send,
{
    fn work(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let done = (self.work)(conn);
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
    pub(super) fn start(
        conn: Connection,
        folder: Folder,
        faults: Option<Arc<dyn Faults>>,
    ) -> (Self, JoinHandle<()>) {
        let (ahead, commands) = mpsc::channel(MAX_QUEUED);
        let (behind, pieces) = mpsc::channel(MAX_QUEUED);
        let task = Task {
            conn,
            ahead: commands,
            behind: pieces,
            next: VecDeque::new(),
            unindexed: 0,
            unattended: ATTENDED,
            unfolded: 0,
            is_rest_due: false,
            faults,
        };
        #[expect(clippy::disallowed_methods, reason = "the store owns its one task and joins it in `close`")]
        let task = tokio::spawn(run(task, folder));
        (Self { ahead, behind }, task)
    }

    /// Runs `work` inside a transaction, ahead of what comes from peers, and returns after its commit; `after` runs once
    /// committed, even if the caller is gone by then. What `work` does is undone and done again if a neighbour fails.
    pub(super) async fn write<T, W, A>(&self, work: W, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (job, answer) = request(work, after);
        self.ahead.send(Command::Work(job)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Queues `work` on so many messages behind what users wait for; the answer comes through the receiver, which may be
    /// dropped.
    pub(super) async fn enqueue<T, W, A>(
        &self,
        messages: usize,
        work: W,
        after: A,
    ) -> Result<Answer<T>, StoreError>
    where
        T: Send + 'static,
        W: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (job, answer) = request(work, after);
        self.behind.send(Piece { messages, job }).await.map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    /// Lets the writer finish what is queued and end.
    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.ahead.send(Command::Close).await;
    }
}

/// Where an answer comes from.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

fn request<T, W, A>(work: W, after: A) -> (Box<dyn Job>, Answer<T>)
where
    T: Send + 'static,
    W: Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    A: FnOnce(&T) + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Request { work, after, done: None, reply }), answer)
}

/// What the writer works with.
struct Task {
    conn: Connection,
    ahead: mpsc::Receiver<Command>,
    behind: mpsc::Receiver<Piece>,
    /// Pieces that were taken out of their queue and are next.
    next: VecDeque<Piece>,
    /// Messages that search does not find yet, or more than there are.
    unindexed: usize,
    /// Things done since somebody waited.
    unattended: usize,
    /// Messages since folding the write-ahead log began, or more than there were.
    unfolded: usize,
    /// Most of the log is folded, and the rest is this writer's.
    is_rest_due: bool,
    faults: Option<Arc<dyn Faults>>,
}

async fn run(mut task: Task, mut folder: Folder) {
    while let Some(jobs) = task.wait(&mut folder).await {
        // One thing at a time, on the blocking pool: a paused clock waits for it.
        match spawn_blocking(move || (task.work(jobs), task)).await {
            Ok((Ok(()), returned)) => task = returned,
            Ok((Err(Died), _)) | Err(_) => return folder.close().await,
        }
        if task.unfolded >= FOLDED_TOGETHER && !folder.is_under_way() {
            task.unfolded = 0;
            folder.begin();
        }
    }
    folder.close().await;
    let closed = spawn_blocking(move || task.conn.close().map_err(|(_, error)| error)).await;
    if let Ok(Err(error)) = closed {
        tracing::warn!(%error, "the database did not close in good order");
    }
}

/// A fault point said to die.
struct Died;

impl Task {
    /// Waits until something is to be done; returns the requests ahead. `None` once all is done and the queues are closed.
    async fn wait(&mut self, folder: &mut Folder) -> Option<Vec<Box<dyn Job>>> {
        let mut jobs = Vec::new();
        if folder.is_finished() {
            folder.done().await;
            self.is_rest_due = true;
        }
        if self.next.is_empty() && self.unindexed == 0 && !self.is_rest_due {
            tokio::select! {
                biased;
                Some(command) = self.ahead.recv() => self.take(command, &mut jobs),
                Some(piece) = self.behind.recv() => self.next.push_back(piece),
                () = folder.done(), if folder.is_under_way() => self.is_rest_due = true,
                else => return None,
            }
        }
        while jobs.len() < MAX_BATCH
            && let Ok(command) = self.ahead.try_recv()
        {
            self.take(command, &mut jobs);
        }
        Some(jobs)
    }

    fn take(&mut self, command: Command, jobs: &mut Vec<Box<dyn Job>>) {
        match command {
            Command::Work(job) => jobs.push(job),
            // What is queued is still done; what comes later is answered with `Closed`.
            Command::Close => {
                self.ahead.close();
                self.behind.close();
            }
        }
    }

    /// Does one thing, so that who comes meanwhile waits for that alone.
    fn work(&mut self, jobs: Vec<Box<dyn Job>>) -> Result<(), Died> {
        self.unattended = if jobs.is_empty() { self.unattended.saturating_add(1) } else { 0 };
        let has_pieces = !self.next.is_empty() || !self.behind.is_empty();
        let is_due = self.unindexed >= self.at_once(INDEXED_TOGETHER) || self.is_rest_due;
        if !jobs.is_empty() || (has_pieces && !is_due) {
            return self.batch(jobs);
        }
        if self.is_rest_due {
            self.fold();
        } else if self.unindexed > 0 {
            self.index();
        }
        Ok(())
    }

    /// How much is done at once of what nobody waits for.
    const fn at_once(&self, (attended, unattended): (usize, usize)) -> usize {
        if self.unattended < ATTENDED { attended } else { unattended }
    }

    /// Runs `jobs`, and pieces behind them: as many as there are jobs, or until somebody waits, but one in any case.
    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Result<(), Died> {
        let most = self.at_once(MAX_BEHIND);
        let room = if jobs.is_empty() { most } else { jobs.len().min(most) };
        let is_group = jobs.len() >= MIN_GROUP;
        self.reach(Point::Begin)?;
        let mut outcome = execute(&self.conn, "BEGIN IMMEDIATE");
        let mut is_sound = outcome.is_err() || self.together(&mut jobs)?;
        let mut messages = 0;
        while messages == 0 || (is_sound && messages < room && self.ahead.is_empty()) {
            let Some(mut piece) = self.next.pop_front().or_else(|| self.behind.try_recv().ok()) else {
                break;
            };
            if outcome.is_ok() && is_sound {
                is_sound = self.together(std::slice::from_mut(&mut piece.job))?;
            }
            messages += piece.messages.max(1);
            jobs.push(piece.job);
        }
        if !is_sound {
            outcome = self.each(&mut jobs)?;
        }
        self.unindexed += jobs.len() + messages;
        self.unfolded += jobs.len() + messages;
        if is_group || self.unindexed > MAX_UNINDEXED {
            outcome = outcome.and_then(|()| search::catch_up(&self.conn, usize::MAX).map(drop));
            self.unindexed = 0;
        }
        self.reach(Point::Commit)?;
        if self.faults.as_ref().is_some_and(|faults| faults.is_disk_full()) {
            outcome = outcome.and(Err(StoreError::Full));
        }
        outcome = outcome.and_then(|()| execute(&self.conn, "COMMIT"));
        if outcome.is_err() && !self.conn.is_autocommit() {
            // Nothing of the batch may stay behind. If this fails too, the next BEGIN says so.
            let _ = execute(&self.conn, "ROLLBACK");
        }
        self.reach(Point::Committed)?;
        for job in jobs {
            job.answer(outcome.clone());
        }
        Ok(())
    }

    /// Runs requests without savepoints, which cost as much as the requests. `false` if one failed that had changed
    /// something.
    fn together(&self, jobs: &mut [Box<dyn Job>]) -> Result<bool, Died> {
        for job in jobs {
            let before = self.conn.total_changes();
            let worked = job.work(&self.conn);
            self.reach(Point::Work)?;
            if worked.is_err() && (self.conn.is_autocommit() || self.conn.total_changes() != before) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins anew and runs each request inside a savepoint.
    fn each(&self, jobs: &mut [Box<dyn Job>]) -> Result<Result<(), StoreError>, Died> {
        let undone = if self.conn.is_autocommit() { Ok(()) } else { execute(&self.conn, "ROLLBACK") };
        let mut outcome = undone.and_then(|()| execute(&self.conn, "BEGIN IMMEDIATE"));
        for job in jobs {
            outcome = outcome.and_then(|()| guarded(&self.conn, job.as_mut()));
            self.reach(Point::Work)?;
        }
        Ok(outcome)
    }

    /// Indexes some of what the last commits left. A power cut may undo that; opening the store does it again then.
    fn index(&mut self) {
        let together = self.at_once(INDEXED_TOGETHER);
        let lazily = || {
            execute(&self.conn, "PRAGMA synchronous = NORMAL")?;
            let transaction = self.conn.unchecked_transaction()?;
            let count = search::catch_up(&transaction, together)?;
            transaction.commit()?;
            Ok(count)
        };
        let done: Result<usize, StoreError> = lazily();
        let restored = execute(&self.conn, "PRAGMA synchronous = FULL");
        self.unindexed = match restored.and(done) {
            Ok(count) if count == together => self.unindexed.saturating_sub(together).max(1),
            Ok(_) => 0,
            Err(error) => {
                tracing::warn!(%error, "new messages are not indexed yet");
                0
            }
        };
    }

    /// Folds the rest of the write-ahead log into the file.
    fn fold(&mut self) {
        if let Err(error) = fold::fold(&self.conn) {
            tracing::warn!(%error, "the write-ahead log stays as it is");
        }
        self.unfolded = 0;
        self.is_rest_due = false;
    }

    fn reach(&self, point: Point) -> Result<(), Died> {
        match &self.faults {
            Some(faults) if faults.dies(point) => Err(Died),
            _ => Ok(()),
        }
    }
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
