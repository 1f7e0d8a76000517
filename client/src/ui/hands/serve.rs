//! The running client's end: takes requests and carries them out.

use std::time::Duration;

use tokio::io::BufStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::line;
use super::request::{MAX_REQUEST_LEN, Reply, Request};
use super::socket::{Listener, Stream};
use super::worker::Worker;
use crate::data_dir::DataDir;
use crate::ui::Exit;
use crate::ui::ping::Plan;

/// Connections at the same time; more wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may say nothing.
const MAX_SILENCE: Duration = Duration::from_secs(30);
/// How long to wait after a connection could not be taken, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the command line until it is dropped.
#[derive(Debug)]
pub(in crate::ui) struct Serving {
    _task: JoinSet<()>,
}

impl Serving {
    /// Listens in `dir`, whose lock the caller holds. Without a socket the client works all the same; only the command
    /// line does not reach it.
    pub(in crate::ui) fn start(dir: &DataDir, worker: Worker) -> Self {
        let mut tasks = JoinSet::new();
        match Listener::bind(&dir.socket_path()) {
            Ok(listener) => drop(tasks.spawn(run(listener, worker))),
            Err(error) => tracing::warn!(%error, "commands such as `client send` do not reach this client"),
        }
        Self { _task: tasks }
    }
}

async fn run(listener: Listener, worker: Worker) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok(stream) => drop(connections.spawn(serve(stream, worker.clone()))),
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One request after the other, until the other end has enough.
async fn serve(stream: Stream, worker: Worker) {
    let mut stream = BufStream::new(stream);
    loop {
        let reply = match timeout(MAX_SILENCE, line::read::<Request>(&mut stream, MAX_REQUEST_LEN)).await {
            Err(_) | Ok(Ok(None)) => return,
            Ok(Ok(Some(Request::Ping { peer, plan }))) => match ping(&mut stream, &worker, &peer, plan).await
            {
                Some(reply) => reply,
                None => return,
            },
            Ok(Ok(Some(request))) => worker.perform(request).await,
            Ok(Err(error)) => Reply::failed(Exit::Failed, &error),
        };
        let is_over = reply.exit == Exit::Failed;
        if line::write(&mut stream, &reply).await.is_err() || is_over {
            return;
        }
    }
}

/// Sends a reply for each ping; returns the last one, or `None` when nobody reads any more.
async fn ping(stream: &mut BufStream<Stream>, worker: &Worker, peer: &str, plan: Plan) -> Option<Reply> {
    let mut tasks = JoinSet::new();
    let mut results = match worker.ping(peer, plan, &mut tasks).await {
        Ok(results) => results,
        Err(reply) => return Some(reply),
    };
    while let Some(pinged) = results.recv().await {
        let reply = Reply { pinged: Some(Box::new(pinged)), ..Reply::good(String::new(), String::new()) };
        line::write(stream, &reply).await.ok()?;
    }
    Some(Reply::good(String::new(), String::new()))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use common::identity::Identity;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::store::Store;
    use crate::ui::hands::request::MAX_REPLY_LEN;

    /// What is answered to these bytes.
    async fn answers(bytes: &[u8]) -> Vec<Exit> {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::from_seed([1; 32]);
        let store = Store::open(&dir.path().join("db"), identity.peer_id()).await.unwrap();
        let (near, far) = Stream::pair().unwrap();
        let mut near = BufStream::new(near);
        let mut exits = Vec::new();
        let talk = async {
            // The other end may have had enough before all is written.
            let _ = near.write_all(bytes).await;
            let _ = near.shutdown().await;
            while let Ok(Some(reply)) = line::read::<Reply>(&mut near, MAX_REPLY_LEN).await {
                exits.push(reply.exit);
            }
        };
        tokio::join!(talk, serve(far, Worker::Alone { store, identity }));
        exits
    }

    #[tokio::test]
    async fn what_is_no_request_ends_the_connection_with_an_error() {
        let status = b"{\"do\":\"status\"}\n";
        assert_eq!(answers(&status.repeat(2)).await, [Exit::Good, Exit::Good]);
        let unclear = b"{\"do\":\"send\",\"to\":\"nobody\",\"text\":\"x\"}\n";
        assert_eq!(answers(&[unclear, status.as_slice()].concat()).await, [Exit::Unclear, Exit::Good]);
        for bad in
            [b"garbage\n".as_slice(), b"{\"do\":\"explode\"}\n", b"\xff\n", b"{\"do\":\"status\"}", b"[[[[\n"]
        {
            assert_eq!(answers(&[bad, status.as_slice()].concat()).await, [Exit::Failed], "{bad:?}");
        }
        assert_eq!(answers(b"").await, []);
        let long = vec![b' '; MAX_REQUEST_LEN + 10];
        assert!(answers(&long).await.len() <= 1);
    }
}
