use common::identity::Identity;
use proptest::prelude::*;

use super::*;
use crate::log::MessageId;

fn peer(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

/// A room's events as they are made, each with the events that its author knew.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
}

impl Story {
    /// A room of peers 1, 2 and 3, of whom 1 and 2 own it; returns the number of its last event.
    fn of_three() -> (Self, i64) {
        let mut story = Self::default();
        let mut last = story.add(1, Act::Create { name: "room".to_owned() }, &[]);
        for other in [2, 3] {
            last = story.add(1, Act::Add(peer(other)), &[last]);
            last = story.add(other, Act::Accept, &[last]);
        }
        last = story.add(1, Act::Appoint(peer(2), Role::Owner), &[last]);
        (story, last)
    }

    fn add(&mut self, author: u8, act: Act, parents: &[i64]) -> i64 {
        let number = i64::try_from(self.events.len()).unwrap() + 1;
        let past: BTreeSet<i64> = self
            .events
            .iter()
            .filter(|event| parents.contains(&event.number))
            .flat_map(|event| event.past.iter().copied().chain([event.number]))
            .collect();
        let depth = 1 + self
            .events
            .iter()
            .filter(|event| past.contains(&event.number))
            .map(|event| event.order.depth)
            .max()
            .unwrap_or(0);
        let id = MessageId::of(&[u8::try_from(number).unwrap()]);
        let order = DisplayOrder { depth, label_ms: 0, id };
        self.events.push(Event { number, order, author: peer(author), act, past });
        number
    }

    fn room(&self) -> Room {
        Room::resolve(&self.events)
    }

    fn standing(&self, seed: u8) -> Option<Standing> {
        self.room().members.get(&peer(seed)).copied()
    }
}

#[test]
fn a_room_begins_and_grows() {
    let (mut story, last) = Story::of_three();
    assert_eq!(story.standing(1), Some(Standing::Owner));
    assert_eq!(story.standing(2), Some(Standing::Owner));
    assert_eq!(story.standing(3), Some(Standing::Member));
    let invited = story.add(3, Act::Add(peer(4)), &[last]);
    assert_eq!(story.standing(4), Some(Standing::Invited));
    story.add(4, Act::Leave, &[invited]);
    assert_eq!(story.standing(4), None, "declined");
}

#[test]
fn removal_wins_over_what_the_removed_did_meanwhile() {
    let (mut story, last) = Story::of_three();
    story.add(3, Act::Add(peer(4)), &[last]);
    story.add(3, Act::Topic("mine".to_owned()), &[last]);
    assert_eq!(story.standing(4), Some(Standing::Invited));
    story.add(1, Act::Remove(peer(3)), &[last]);
    assert_eq!(story.standing(3), None);
    assert_eq!(story.standing(4), None, "whom the removed invited meanwhile is not invited");
    assert_eq!(story.room().topic, "");
}

#[test]
fn removal_wins_over_a_concurrent_invitation_and_a_later_one_wins_over_it() {
    let (mut story, last) = Story::of_three();
    let removed = story.add(1, Act::Remove(peer(3)), &[last]);
    story.add(2, Act::Add(peer(3)), &[last]);
    assert_eq!(story.standing(3), None);
    let again = story.add(2, Act::Add(peer(3)), &[removed]);
    assert_eq!(story.standing(3), Some(Standing::Invited), "what was accepted before does not count");
    story.add(3, Act::Accept, &[again]);
    assert_eq!(story.standing(3), Some(Standing::Member));
}

#[test]
fn of_owners_who_remove_each_other_the_older_one_stays() {
    let (mut story, last) = Story::of_three();
    story.add(2, Act::Remove(peer(1)), &[last]);
    story.add(1, Act::Remove(peer(2)), &[last]);
    story.add(2, Act::Remove(peer(3)), &[last]);
    assert_eq!(story.standing(1), Some(Standing::Owner));
    assert_eq!(story.standing(2), None);
    assert_eq!(story.standing(3), Some(Standing::Member), "what the removed owner did meanwhile is void");
}

#[test]
fn a_room_outlives_its_owners() {
    let (mut story, last) = Story::of_three();
    let left = story.add(1, Act::Leave, &[last]);
    story.add(2, Act::Leave, &[left]);
    assert_eq!(story.standing(3), Some(Standing::Owner));
}

#[test]
fn rights_are_as_documented() {
    let (mut story, last) = Story::of_three();
    story.add(1, Act::Add(peer(4)), &[last]);
    let room = story.room();
    let may = |seed: u8, act: Act| room.allows(peer(seed), &Content::Room(act));
    assert!(!room.allows(peer(4), &Content::text("too early")));
    assert!(room.allows(peer(3), &Content::text("hello")));
    assert!(!room.allows(peer(5), &Content::text("stranger")));
    assert!(may(4, Act::Accept) && may(4, Act::Leave) && !may(3, Act::Accept));
    assert!(may(3, Act::Add(peer(5))) && !may(3, Act::Add(peer(4))) && !may(4, Act::Add(peer(5))));
    assert!(may(1, Act::Remove(peer(3))) && !may(3, Act::Remove(peer(1))));
    assert!(may(2, Act::Appoint(peer(3), Role::Owner)) && !may(3, Act::Appoint(peer(3), Role::Owner)));
    assert!(may(3, Act::Topic(String::new())) && !may(3, Act::Rename("x".to_owned())));
}

#[test]
fn a_room_has_an_end() {
    let mut story = Story::default();
    let mut last = story.add(0, Act::Create { name: "full".to_owned() }, &[]);
    for seed in 1..=u8::try_from(MAX_MEMBERS).unwrap() {
        last = story.add(0, Act::Add(peer(seed)), &[last]);
    }
    assert_eq!(story.room().members.len(), MAX_MEMBERS);
    assert!(!story.room().allows(peer(0), &Content::Room(Act::Add(peer(200)))));
}

fn any_act() -> impl Strategy<Value = (u8, Act)> {
    (1..6_u8, 1..6_u8, 0..8_u8).prop_map(|(author, other, kind)| {
        let other = peer(other);
        let act = match kind {
            0 => Act::Add(other),
            1 | 2 => Act::Remove(other),
            3 => Act::Accept,
            4 => Act::Leave,
            5 => Act::Appoint(other, Role::Owner),
            6 => Act::Appoint(other, Role::Member),
            _ => Act::Topic("x".to_owned()),
        };
        (author, act)
    })
}

proptest! {
    /// Whatever happens concurrently, and in whatever order it is told and numbered.
    #[test]
    fn the_same_events_make_the_same_room(
        acts in proptest::collection::vec((any_act(), proptest::collection::vec(any::<proptest::sample::Index>(), 1..3)), 1..25),
        seed: u64,
    ) {
        let (mut story, _) = Story::of_three();
        for ((author, act), parents) in acts {
            let known = story.events.len();
            let parents: Vec<i64> =
                parents.iter().map(|index| i64::try_from(index.index(known)).unwrap() + 1).collect();
            story.add(author, act, &parents);
        }
        let room = story.room();
        // Other numbers, in another order.
        let renumber = |number: i64| 1000 - number;
        let mut other: Vec<Event> = story.events.iter().cloned().map(|event| Event {
            number: renumber(event.number),
            past: event.past.iter().map(|number| renumber(*number)).collect(),
            ..event
        }).collect();
        let turn = usize::try_from(seed % other.len() as u64).unwrap();
        other.rotate_left(turn);
        let mut again = Room::resolve(&other);
        again.removals = again.removals.iter().map(|number| renumber(*number)).collect();
        prop_assert_eq!(&again, &room);
        // Nobody belongs to it after a removal that holds and that nobody has undone.
        for event in story.events.iter().filter(|event| room.removals.contains(&event.number)) {
            let Act::Remove(out) = event.act else { unreachable!() };
            let is_undone = story.events.iter().any(|later| later.act == Act::Add(out) && later.is_after(event));
            prop_assert!(is_undone || !room.members.contains_key(&out));
        }
        prop_assert!(room.members.is_empty() || room.members.values().any(|s| *s == Standing::Owner)
            || room.members.values().all(|s| *s == Standing::Invited));
    }
}
