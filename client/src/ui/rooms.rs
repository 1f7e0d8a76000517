//! Which room is meant by what is typed.

use common::identity::PeerId;
use common::text;

use super::names::{NameError, Names};
use super::plain::Place;
use super::{Exit, Fatal};
use crate::log::{ConversationId, Standing};
use crate::reading::short;
use crate::store::Conversation;

/// What a room is called where there are people as well.
pub(super) fn title(room: &Conversation) -> String {
    let name = room.room.as_ref().map_or("", |names| names.name.as_str());
    match text::one_line(name, text::MAX_NAME) {
        empty if empty.is_empty() => format!("#{}", short(&room.id)),
        name => format!("#{name}"),
    }
}

/// How somebody stands to a room; `None` if they do not belong to it.
pub(super) fn standing(room: &Conversation, peer: PeerId) -> Option<Standing> {
    room.members.iter().find(|(member, _)| *member == peer).map(|(_, standing)| *standing)
}

/// The room of `conversations` that `typed` names, as [`find_named`]; those to which `me` does not belong any more only if no
/// other is meant.
pub(super) fn find(
    typed: &str,
    conversations: &[Conversation],
    me: PeerId,
) -> Result<ConversationId, NameError> {
    let is_ours = |it: &&Conversation| standing(it, me).is_some();
    let named = |it: &Conversation| Some((it.id, it.room.as_ref()?.name.clone()));
    match find_named(typed, conversations.iter().filter(is_ours).filter_map(named)) {
        Err(NameError::NoRoom(_)) => find_named(typed, conversations.iter().filter_map(named)),
        found => found,
    }
}

/// The room that `typed` names: by its whole name, else by the beginning of the name, else by that of its id.
pub(super) fn find_named(
    typed: &str,
    rooms: impl Iterator<Item = (ConversationId, String)>,
) -> Result<ConversationId, NameError> {
    // Where there may be people as well `#` says that it is a room.
    let plain = |name: &str| name.trim_start_matches('#').to_lowercase();
    let wanted = plain(typed.trim());
    let rooms: Vec<_> = rooms.map(|(id, name)| (id, text::one_line(&name, text::MAX_NAME))).collect();
    let those = |is_meant: &dyn Fn(ConversationId, &str) -> bool| -> Vec<_> {
        rooms.iter().filter(|(id, name)| !wanted.is_empty() && is_meant(*id, &plain(name))).collect()
    };
    let mut found = those(&|_, name| name == wanted);
    if found.is_empty() {
        found = those(&|_, name| name.starts_with(&wanted));
    }
    if found.is_empty() {
        found = those(&|id, _| id.to_string().starts_with(&wanted));
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
    let room = find(typed, conversations, names.me());
    if typed.starts_with('#') {
        return room.map(Place::Room);
    }
    match (typed.parse().or_else(|_| names.find(typed)), room) {
        (Err(NameError::Nobody(_)), Ok(room)) => Ok(Place::Room(room)),
        (Err(NameError::Nobody(_)), Err(error @ NameError::Ambiguous { .. })) => Err(error),
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

    const ME: PeerId = PeerId::from_bytes([9; 32]);

    fn room(number: u8, name: Option<&str>) -> Conversation {
        Conversation {
            id: ConversationId::from_bytes([number; 32]),
            room: name.map(|name| RoomNames { name: name.to_owned(), topic: String::new() }),
            members: vec![(ME, Standing::Member)],
            unread: 0,
        }
    }

    #[test]
    fn rooms_are_found_by_what_is_clear() {
        let mut all = vec![
            room(1, Some("Club")),
            room(2, Some("Clubhouse")),
            room(3, Some("Choir")),
            room(4, None),
            room(5, Some("\u{200b}")),
            room(6, Some("Club")),
        ];
        all[5].members.clear();
        let find = |typed: &str| find(typed, &all, ME);
        assert_eq!(find("club"), Ok(all[0].id), "and not the one that was left");
        assert_eq!(find(" CHO"), Ok(all[2].id));
        assert_eq!(find(&all[1].id.to_string()), Ok(all[1].id));
        assert_eq!((find("0202"), find("#choir"), find("06")), (Ok(all[1].id), Ok(all[2].id), Ok(all[5].id)));
        assert!(matches!(find("c"), Err(NameError::Ambiguous { candidates, .. }) if candidates.len() == 3));
        for nothing in ["", "#", "x", &all[3].id.to_string()] {
            assert!(matches!(find(nothing), Err(NameError::NoRoom(_))), "{nothing}");
        }
    }

    #[test]
    fn a_room_is_meant_only_where_nobody_is() {
        let mut names = Names::new(ME);
        for (number, name) in [(1, "Anna"), (2, "Annabel"), (3, "Carl")] {
            names.set(PeerId::from_bytes([number; 32]), name);
        }
        let all = [
            room(1, Some("Anarchists")),
            room(2, Some("Carl")),
            room(3, Some("Work")),
            room(4, Some("Work")),
        ];
        let find = |typed: &str| find_place(typed, &all, &names);
        assert!(matches!(find("an"), Err(NameError::Ambiguous { .. })), "not the room");
        assert_eq!(find("ana"), Ok(Place::Room(all[0].id)));
        assert_eq!(find("carl"), Ok(Place::Person(PeerId::from_bytes([3; 32]))));
        assert_eq!(find("#carl"), Ok(Place::Room(all[1].id)));
        let Err(NameError::Ambiguous { candidates, .. }) = find("work") else { panic!("there are two") };
        assert_eq!(candidates, ["Work (03030303)", "Work (04040404)"]);
        assert!(matches!(find("zoe"), Err(NameError::Nobody(_))));
    }
}
