//! `client history`: what was said, read from the database beside a running client or without one.

use common::identity::PeerId;

use crate::data_dir::DataDir;
use crate::log::ConversationId;
use crate::store::{HistoryRow, Selection, Store};
use crate::ui::args::History;
use crate::ui::names::Names;
use crate::ui::show::{self, Colour};
use crate::ui::{Exit, Fatal, json, search, start};

/// Prints the history that `options` ask for.
pub(super) async fn print(is_json: bool, options: &History, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let names = Names::of(&store).await.map_err(Fatal::failed)?;
    let peers = match &options.peer {
        Some(text) => vec![find(&names, text)?],
        None => everybody(&store).await?,
    };
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let colour = start::colour();
    for peer in peers {
        let conversation = ConversationId::direct(store.me(), peer);
        let selection = Selection { conversation, before: None, limit };
        let mut rows = store.history(selection).await.map_err(Fatal::failed)?;
        if options.blocked {
            search::open(&mut rows);
        }
        let lines = if is_json { as_json(&rows) } else { as_lines(peer, &rows, options, &names, colour) };
        if !super::print(lines) {
            // Whoever reads has seen enough.
            break;
        }
    }
    store.close().await;
    Ok(Exit::Good)
}

/// A contact, or anybody by the whole key.
fn find(names: &Names, text: &str) -> Result<PeerId, Fatal> {
    text.parse().or_else(|_| names.find(text)).map_err(Fatal::failed)
}

async fn everybody(store: &Store) -> Result<Vec<PeerId>, Fatal> {
    let conversations = store.conversations().await.map_err(Fatal::failed)?;
    Ok(conversations.into_iter().filter_map(|conversation| conversation.other(store.me())).collect())
}

fn as_json(rows: &[HistoryRow]) -> String {
    json::history_lines(rows, crate::net::unix_ms())
}

fn as_lines(peer: PeerId, rows: &[HistoryRow], options: &History, names: &Names, colour: Colour) -> String {
    let mut lines = String::new();
    if options.peer.is_none() {
        lines += &format!("* with {} [{}]\n", names.shown(peer), peer.short());
    }
    for line in show::history_lines(rows, names, colour) {
        lines += &line;
        lines.push('\n');
    }
    lines
}
