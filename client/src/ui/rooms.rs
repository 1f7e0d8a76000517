//! Which room is meant by what is typed.

use common::text;

use super::names::NameError;
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
    let wanted = typed.trim().to_lowercase();
    let rooms: Vec<_> = rooms.map(|(id, name)| (id, text::one_line(name, text::MAX_NAME))).collect();
    let those = |is_meant: &dyn Fn(ConversationId, &str) -> bool| -> Vec<_> {
        rooms.iter().filter(|(id, name)| is_meant(*id, &name.to_lowercase())).collect()
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
        assert_eq!(find("0202", &all), Ok(all[1].id));
        assert!(
            matches!(find("c", &all), Err(NameError::Ambiguous { candidates, .. }) if candidates.len() == 3)
        );
        for nothing in ["", "x", &all[3].id.to_string()] {
            assert!(matches!(find(nothing, &all), Err(NameError::NoRoom(_))), "{nothing}");
        }
    }
}
