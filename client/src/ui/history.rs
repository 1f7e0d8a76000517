//! `client history`: what was said, read from the database beside a running client or without one.

use std::io::{self, Write};

use common::identity::PeerId;

use super::args::{Args, History};
use super::names::Names;
use super::show::{self, Colour};
use super::{Exit, Fatal, json};
use crate::data_dir::DataDir;
use crate::log::ConversationId;
use crate::store::{HistoryRow, Selection, Store, StoreError};

/// Prints the history that `options` ask for.
pub(super) fn run(args: &Args, options: &History) -> Result<Exit, Fatal> {
    let dir = DataDir::existing(&args.data_dir()?);
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Fatal::failed)?;
    runtime.block_on(print(args.json, options, &dir))
}

async fn print(is_json: bool, options: &History, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = Store::open_read_only(&dir.database()).await.map_err(explain)?;
    let mut names = Names::new(store.me());
    for contact in store.contacts().await.map_err(Fatal::failed)? {
        names.set(contact.peer, &contact.name());
    }
    let peers = match &options.peer {
        Some(text) => vec![find(&names, text)?],
        None => everybody(&store).await?,
    };
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let colour = super::start::colour();
    for peer in peers {
        let conversation = ConversationId::direct(store.me(), peer);
        let selection = Selection { conversation, before: None, limit };
        let rows = store.history(selection).await.map_err(Fatal::failed)?;
        let lines = if is_json { as_json(&rows) } else { as_lines(peer, &rows, options, &names, colour) };
        if io::stdout().lock().write_all(lines.as_bytes()).is_err() {
            // Whoever reads has seen enough.
            break;
        }
    }
    store.close().await;
    Ok(Exit::Good)
}

fn explain(error: StoreError) -> Fatal {
    match error {
        StoreError::Missing(path) => {
            let place = path.parent().unwrap_or(&path).display();
            Fatal::failed(format!("there is no history in {place} yet"))
        }
        error => Fatal::failed(error),
    }
}

/// A contact, or anybody by the whole key.
fn find(names: &Names, text: &str) -> Result<PeerId, Fatal> {
    text.parse().or_else(|_| names.find(text)).map_err(Fatal::failed)
}

async fn everybody(store: &Store) -> Result<Vec<PeerId>, Fatal> {
    let conversations = store.conversations().await.map_err(Fatal::failed)?;
    let others = |members: Vec<PeerId>| members.into_iter().find(|peer| *peer != store.me());
    Ok(conversations.into_iter().filter_map(|conversation| others(conversation.members)).collect())
}

fn as_json(rows: &[HistoryRow]) -> String {
    rows.iter().map(|row| json::history_line(row, crate::net::unix_ms())).collect()
}

fn as_lines(peer: PeerId, rows: &[HistoryRow], options: &History, names: &Names, colour: Colour) -> String {
    let mut lines = String::new();
    if options.peer.is_none() {
        lines += &format!("* with {} [{}]\n", names.shown(peer), peer.short());
    }
    for row in rows {
        lines += &show::history_line(row, names, colour);
        lines.push('\n');
    }
    lines
}
