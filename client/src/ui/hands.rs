//! One running client, many hands: commands that change something or ask how things stand are carried out by the
//! client that uses the data directory, and by this process if there is none.
//!
//! [`Serving`] is the running client's end, [`Hand`] the command line's. Commands that only read open the database
//! beside the running client and need neither.

mod import;
mod line;
mod request;
mod serve;
mod socket;
mod wish;
mod worker;

use std::io;
use std::time::Duration;

use tokio::io::BufStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

pub(super) use request::{Entry, Reply, Request, Tally};
pub(super) use serve::Serving;
pub(super) use worker::Worker;

use super::ping::Pinged;
use super::{Exit, Fatal};
use crate::data_dir::{DataDir, DataDirError, DirLock};
use crate::store::Store;

/// How long a client that is just starting, or another command that writes, is waited for.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// How often it is tried meanwhile.
const STEP: Duration = Duration::from_millis(50);
/// How long a request may take: an import of many messages in one.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(60);

/// Does what the command line asks for.
#[derive(Debug)]
pub(super) enum Hand {
    /// Through the client that runs.
    Running(Box<BufStream<socket::Stream>>),
    /// In this process, which keeps others away meanwhile.
    Alone { worker: Box<Worker>, _lock: DirLock },
}

impl Hand {
    /// Reaches the running client, or opens the store. Without an identity there is nobody to act for.
    pub(super) async fn reach(dir: &DataDir) -> Result<Self, Fatal> {
        let mut waited = Duration::ZERO;
        loop {
            match dir.lock() {
                Ok(lock) => return Self::alone(dir, lock).await,
                Err(busy @ DataDirError::Locked { .. }) => match socket::connect(&dir.socket_path()).await {
                    Ok(stream) => return Ok(Self::Running(Box::new(BufStream::new(stream)))),
                    Err(_) if waited < MAX_WAIT => {}
                    Err(error) => {
                        let message = format!("{busy}; it does not take requests ({error})");
                        return Err(Fatal::with(Exit::Busy)(&message));
                    }
                },
                Err(error) => return Err(Fatal::failed(error)),
            }
            sleep(STEP).await;
            waited += STEP;
        }
    }

    async fn alone(dir: &DataDir, lock: DirLock) -> Result<Self, Fatal> {
        let identity = dir.identity().map_err(Fatal::failed)?;
        let store = Store::open(&dir.database(), identity.peer_id()).await.map_err(Fatal::failed)?;
        let worker = Box::new(Worker::Alone { store, identity });
        Ok(Self::Alone { worker, _lock: lock })
    }

    /// Has `request` carried out. A client that ends meanwhile may have done so or not.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Reply, Fatal> {
        let stream = match self {
            Self::Alone { worker, .. } => return Ok(worker.perform(request).await),
            Self::Running(stream) => stream,
        };
        let answer = async {
            line::write(stream, &request).await?;
            let reply = line::read(stream, request::MAX_REPLY_LEN).await?;
            reply.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        let explain = |error: &dyn std::fmt::Display| {
            Fatal::failed(format!("the running client did not answer: {error}; look at what it has done"))
        };
        match timeout(MAX_ANSWER_TIME, answer).await {
            Ok(answer) => answer.map_err(|error| explain(&error)),
            Err(late) => Err(explain(&late)),
        }
    }

    /// Has `request` carried out, which has many results, until nobody listens to them any more.
    pub(super) async fn stream(
        &mut self,
        request: Request,
        results: mpsc::Sender<Pinged>,
    ) -> Result<(), Fatal> {
        let mut reply = self.ask(request).await?;
        while let Some(pinged) = reply.pinged.take() {
            if results.send(*pinged).await.is_err() {
                return Ok(());
            }
            reply = self.more().await?;
        }
        if reply.exit == Exit::Good { Ok(()) } else { Err(Fatal { exit: reply.exit, message: reply.text }) }
    }

    /// The next reply to the same request.
    async fn more(&mut self) -> Result<Reply, Fatal> {
        let Self::Running(stream) = self else { return Ok(Reply::good(String::new(), String::new())) };
        let reply = timeout(MAX_ANSWER_TIME, line::read(stream, request::MAX_REPLY_LEN)).await;
        let reply = reply.map_err(Fatal::failed)?.map_err(Fatal::failed)?;
        reply.ok_or_else(|| Fatal::failed("the running client has ended"))
    }

    /// Finishes what is being written.
    pub(super) async fn close(self) {
        if let Self::Alone { worker, .. } = self {
            worker.store().close().await;
        }
    }
}
