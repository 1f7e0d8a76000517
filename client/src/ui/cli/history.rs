//! `client history`: what was said, read from the database beside a running client or without one.

use common::identity::PeerId;

use crate::data_dir::DataDir;
use crate::log::ConversationId;
use crate::reading::short;
use crate::store::{Conversation, HistoryRow, Selection};
use crate::ui::args::History;
use crate::ui::names::{NameError, Names};
use crate::ui::show::{self, Colour};
use crate::ui::{Exit, Fatal, json, rooms, search, start};

/// Prints the history that `options` ask for.
pub(super) async fn print(is_json: bool, options: &History, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let names = Names::of(&store).await.map_err(Fatal::failed)?;
    let all = store.conversations().await.map_err(Fatal::failed)?;
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let colour = start::colour();
    let chosen = select(options, all, &names, store.me())?;
    for conversation in chosen {
        let selection = Selection { conversation: conversation.id, before: None, limit };
        let mut rows = store.history(selection).await.map_err(Fatal::failed)?;
        if options.blocked {
            search::open(&mut rows);
        }
        let is_one = options.conversation.is_some() || options.peer.is_some() || options.room.is_some();
        let title = (!is_one).then(|| title(&conversation, store.me(), &names));
        let lines = if is_json { as_json(&rows) } else { as_lines(title, &rows, &names, colour) };
        if !super::print(lines) {
            // Whoever reads has seen enough.
            break;
        }
    }
    store.close().await;
    Ok(Exit::Good)
}

/// The conversations that are asked for: one, or all.
fn select(
    options: &History,
    mut all: Vec<Conversation>,
    names: &Names,
    me: PeerId,
) -> Result<Vec<Conversation>, Fatal> {
    let unclear = |error: NameError| Fatal::with(Exit::Unclear)(&error);
    let wanted = match options {
        History { conversation: Some(text), .. } => rooms::find_conversation(text, &all, names)?,
        // Somebody who is no contact by the whole key.
        History { peer: Some(text), .. } => {
            let peer = text.parse().or_else(|_| names.find(text)).map_err(unclear)?;
            ConversationId::direct(me, peer)
        }
        History { room: Some(text), .. } => rooms::find(text, &all, me).map_err(unclear)?,
        _ => return Ok(all),
    };
    all.retain(|conversation| conversation.id == wanted);
    Ok(all)
}

fn title(conversation: &Conversation, me: PeerId, names: &Names) -> String {
    match conversation.other(me) {
        Some(peer) => format!("* with {} [{}]", names.shown(peer), peer.short()),
        None => {
            format!("* in #{} [{}]", search::title(conversation, me, names), short(&conversation.id))
        }
    }
}

fn as_json(rows: &[HistoryRow]) -> String {
    json::history_lines(rows, crate::net::unix_ms())
}

fn as_lines(title: Option<String>, rows: &[HistoryRow], names: &Names, colour: Colour) -> String {
    title.into_iter().chain(show::history_lines(rows, names, colour)).map(|line| line + "\n").collect()
}
