//! Which room is meant by what is typed.

use common::text;

use super::names::{NameError, Names};
use super::plain::Place;
use super::{Exit, Fatal};
use crate::log::ConversationId;
use crate::reading::short;
use crate::store::Conversation;

/// The room of `conversations` that `typed` names, as [`find_named`].
pub(super) fn find(typed: &str, conversations: &[Conversation]) -> Result<ConversationId, NameError> {
    find_named(typed, conversations.iter().filter_map(|it| Some((it.id, it.room.as_ref()?.name.as_str()))))
}

/// The room that `typed` names: by its whole name, else by the beginning of the name, else by that of its id.
pub(super) fn find_named<'a>(
    typed: &str,
    rooms: impl Iterator<Item = (ConversationId, &'a str)>,
) -> Result<ConversationId, NameError> {
    // Where there may be people as well `#` says that it is a room.
    let plain = |name: &str| name.trim_start_matches('#').to_lowercase();
    let wanted = plain(typed.trim());
    let rooms: Vec<_> = rooms.map(|(id, name)| (id, text::one_line(name, text::MAX_NAME))).collect();
    let those = |is_meant: &dyn Fn(ConversationId, &str) -> bool| -> Vec<_> {
        rooms.iter().filter(|(id, name)| is_meant(*id, &plain(name))).collect()
    };
    let mut found = those(&|_, name| name == wanted);
    if found.is_empty() && !wanted.is_empty() {
        found = those(&|_, name| name.starts_with(&wanted));
        if found.is_empty() {
            found = those(&|id, _| id.to_string().starts_with(&wanted));
        }
    }
    let text = text::one_line(typed, text::MAX_NAME);
    match found.as_slice() {
        [(id, _)] => Ok(*id),
        [] => Err(NameError::NoRoom(text)),
        several => {
            let candidates = several.iter().map(|(id, name)| format!("{name} ({})", short(id))).collect();
            Err(NameError::Ambiguous { text, candidates })
        }
    }
}

/// Where `typed` leads: people first, unless `#` before it says that it is a room.
pub(super) fn find_place(
    typed: &str,
    conversations: &[Conversation],
    names: &Names,
) -> Result<Place, NameError> {
    if typed.starts_with('#') {
        return find(typed, conversations).map(Place::Room);
    }
    match (typed.parse().or_else(|_| names.find(typed)), find(typed, conversations)) {
        (Err(_), Ok(room)) => Ok(Place::Room(room)),
        (peer, _) => peer.map(Place::Person),
    }
}

/// The conversation that `typed` means: by its id, or as [`find_place`].
pub(super) fn find_conversation(
    typed: &str,
    conversations: &[Conversation],
    names: &Names,
) -> Result<ConversationId, Fatal> {
    let unclear = |error: &dyn std::fmt::Display| Fatal::with(Exit::Unclear)(&error);
    let is_known = |id| conversations.iter().any(|conversation| conversation.id == id);
    if let Ok(id) = typed.parse()
        && is_known(id)
    {
        return Ok(id);
    }
    match find_place(typed, conversations, names).map_err(|error| unclear(&error))? {
        Place::Room(room) => Ok(room),
        Place::Person(peer) => {
            let direct = ConversationId::direct(names.me(), peer);
            let nothing = || unclear(&format!("nothing was said with {} yet", names.shown(peer)));
            is_known(direct).then_some(direct).ok_or_else(nothing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RoomNames;

    #[test]
    fn rooms_are_found_by_what_is_clear() {
        let room = |number: u8, name: Option<&str>| Conversation {
            id: ConversationId::from_bytes([number; 32]),
            room: name.map(|name| RoomNames { name: name.to_owned(), topic: String::new() }),
            members: Vec::new(),
            unread: 0,
        };
        let all = [room(1, Some("Club")), room(2, Some("Clubhouse")), room(3, Some("Choir")), room(4, None)];
        assert_eq!(find("club", &all), Ok(all[0].id));
        assert_eq!(find(" CHO", &all), Ok(all[2].id));
        assert_eq!(find(&all[1].id.to_string(), &all), Ok(all[1].id));
        assert_eq!((find("0202", &all), find("#choir", &all)), (Ok(all[1].id), Ok(all[2].id)));
        assert!(
            matches!(find("c", &all), Err(NameError::Ambiguous { candidates, .. }) if candidates.len() == 3)
        );
        for nothing in ["", "x", &all[3].id.to_string()] {
            assert!(matches!(find(nothing, &all), Err(NameError::NoRoom(_))), "{nothing}");
        }
    }
}
