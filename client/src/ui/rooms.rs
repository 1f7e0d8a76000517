//! Which room is meant by what is typed.

use common::text;

use super::names::NameError;
use crate::log::ConversationId;
use crate::store::Conversation;

/// The room that `typed` names: by its id, else by the whole name, else by the beginning of the name.
pub(super) fn find(typed: &str, conversations: &[Conversation]) -> Result<ConversationId, NameError> {
    let wanted = typed.trim().to_lowercase();
    let rooms: Vec<_> = conversations
        .iter()
        .filter_map(|it| Some((it.id, text::one_line(&it.room.as_ref()?.name, text::MAX_NAME))))
        .collect();
    let those = |matches: &dyn Fn(&str) -> bool| -> Vec<_> {
        rooms.iter().filter(|(_, name)| matches(&name.to_lowercase())).cloned().collect()
    };
    let mut found: Vec<_> = rooms.iter().filter(|(id, _)| id.to_string() == wanted).cloned().collect();
    if found.is_empty() {
        found = those(&|name| name == wanted);
    }
    if found.is_empty() && !wanted.is_empty() {
        found = those(&|name| name.starts_with(&wanted));
    }
    let text = text::one_line(typed, text::MAX_NAME);
    match found.as_slice() {
        [(id, _)] => Ok(*id),
        [] => Err(NameError::Nobody(text)),
        several => {
            let shown = |(id, name): &(ConversationId, String)| format!("{name} ({})", &id.to_string()[..8]);
            Err(NameError::Ambiguous { text, candidates: several.iter().map(shown).collect() })
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
        assert!(
            matches!(find("c", &all), Err(NameError::Ambiguous { candidates, .. }) if candidates.len() == 3)
        );
        for nothing in ["", "x", &all[3].id.to_string()] {
            assert!(matches!(find(nothing, &all), Err(NameError::Nobody(_))), "{nothing}");
        }
    }
}
