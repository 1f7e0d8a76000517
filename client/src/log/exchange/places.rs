//! Short names of rooms on one stream: in the order in which a side first names them, each has the number of those before it
//! (`docs/protocol.md` §7.4). Both ends count alike.

use std::collections::BTreeMap;

use super::syncing::MAX_COMPARED;
use crate::log::ConversationId;

const _: () = assert!(MAX_COMPARED <= u16::MAX as usize);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Places {
    rooms: Vec<ConversationId>,
    places: BTreeMap<ConversationId, u16>,
}

impl Places {
    /// A room is named in full. Beyond [`MAX_COMPARED`] rooms it gets no place.
    pub(super) fn name(&mut self, room: ConversationId) {
        if self.rooms.len() == MAX_COMPARED || self.places.contains_key(&room) {
            return;
        }
        if let Ok(place) = u16::try_from(self.rooms.len()) {
            self.rooms.push(room);
            self.places.insert(room, place);
        }
    }

    /// The place of a room, if it has one.
    pub(super) fn of(&self, room: ConversationId) -> Option<u16> {
        self.places.get(&room).copied()
    }

    /// The room at a place.
    pub(super) fn at(&self, place: u16) -> Option<ConversationId> {
        self.rooms.get(usize::from(place)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(number: u16) -> ConversationId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        ConversationId::from_bytes(bytes)
    }

    #[test]
    fn rooms_have_places_in_the_order_of_their_first_names() {
        let mut places = Places::default();
        for number in [3, 1, 3, 2] {
            places.name(room(number));
        }
        assert_eq!([3, 1, 2, 4].map(|number| places.of(room(number))), [Some(0), Some(1), Some(2), None]);
        assert_eq!(
            [0, 1, 2, 3].map(|place| places.at(place)),
            [Some(room(3)), Some(room(1)), Some(room(2)), None]
        );
    }

    #[test]
    fn places_are_bounded() {
        let mut places = Places::default();
        (0..=u16::try_from(MAX_COMPARED).unwrap()).for_each(|number| places.name(room(number)));
        assert_eq!(places.rooms.len(), MAX_COMPARED);
        assert_eq!(places.of(room(u16::try_from(MAX_COMPARED).unwrap())), None);
    }
}
