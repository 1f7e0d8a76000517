//! `client rooms`.

use crate::data_dir::DataDir;
use crate::log::Standing;
use crate::net::unix_ms;
use crate::reading::short;
use crate::ui::names::Names;
use crate::ui::search::title;
use crate::ui::{Exit, Fatal, json, rooms};

/// Lists the rooms that are known here.
pub(super) async fn print(is_json: bool, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let names = Names::of(&store).await.map_err(Fatal::failed)?;
    let conversations = store.conversations().await.map_err(Fatal::failed)?;
    store.close().await;
    let mut listed = Vec::new();
    let mut text = String::new();
    for it in conversations.iter().filter(|it| it.room.is_some()) {
        let title = title(it, store.me(), &names);
        let members: Vec<_> = it.members.iter().map(|(member, _)| names.shown(*member)).collect();
        let (standing, state) = match rooms::standing(it, store.me()) {
            None => (None, ", not yours any more"),
            Some(Standing::Invited) => (Some(Standing::Invited), ", you are invited"),
            Some(standing) => (Some(standing), ""),
        };
        text += &format!("{} [{}] {}{state}\n", rooms::title(it), short(&it.id), members.join(", "));
        let members = it.members.iter().map(|(member, _)| member.to_string()).collect();
        listed.push(json::Room {
            conversation: it.id.to_string(),
            title,
            standing: standing.map(|standing| standing.to_string()),
            members,
            unread: it.unread,
        });
    }
    if listed.is_empty() {
        text += "you are in no room\n";
    }
    super::print(if is_json { json::write(json::Event::Rooms { rooms: listed }, unix_ms()) } else { text });
    Ok(Exit::Good)
}
