//! A process that is killed between any two instructions keeps every message that it confirmed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use client::log::{Content, ConversationId, MessageId};
use client::store::Store;
use common::identity::{Identity, PeerId};

/// Tells the process that it is the one to be killed, and where its database is.
const VICTIM: &str = "HOBNOB_TEST_VICTIM";

fn me() -> Identity {
    Identity::from_seed([1; 32])
}

fn other() -> PeerId {
    Identity::from_seed([2; 32]).peer_id()
}

/// Writes messages for ever and prints the id of each one that is confirmed. Does nothing unless started by
/// [`killed_processes_keep_what_they_confirmed`].
#[tokio::test]
async fn victim() {
    let Ok(path) = std::env::var(VICTIM) else { return };
    let store = Store::open(Path::new(&path), me().peer_id()).await.unwrap();
    let conversation = ConversationId::direct(me().peer_id(), other());
    for nonce in 0.. {
        let content = Content::text(nonce.to_string());
        let row = store.compose(&me(), conversation, &[other()], content, 1, nonce).await.unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "id {}", row.id()).unwrap();
        stdout.flush().unwrap();
    }
}

#[tokio::test]
async fn killed_processes_keep_what_they_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut confirmed: Vec<MessageId> = Vec::new();
    for round in 0..10_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first id shows that it is at work; after a little while it is killed wherever it is.
        let first = lines.by_ref().map_while(Result::ok).find_map(|line| id(&line)).unwrap();
        confirmed.push(first);
        tokio::time::sleep(Duration::from_millis(5 + round * 7)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        confirmed.extend(lines.map_while(Result::ok).filter_map(|line| id(&line)));

        let store = Store::open(&path, me().peer_id()).await.unwrap();
        let kept = store.outbox(other(), 0, 1_000_000).await.unwrap();
        let kept: Vec<_> = kept.into_iter().map(|row| row.id).collect();
        let mut at = kept.iter();
        assert!(confirmed.iter().all(|id| at.any(|kept| kept == id)), "all are there, and in order");
        assert!(kept.len() <= confirmed.len() + usize::try_from(round).unwrap() + 1);
        assert_eq!(store.heads(ConversationId::direct(me().peer_id(), other())).await.unwrap().len(), 1);
        store.close().await;
    }
}

fn id(line: &str) -> Option<MessageId> {
    line.rsplit_once("id ")?.1.parse().ok()
}
