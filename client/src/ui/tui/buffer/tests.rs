use super::*;
use crate::ui::tui::state::tests::{id, row};
use proptest::prelude::*;

fn heights(items: &[Item], at: usize) -> usize {
    items[at].message().map_or(1, |row| row.body.len())
}

/// Messages of one line each, by depth.
fn filled(depths: impl IntoIterator<Item = u64>) -> Buffer {
    let mut buffer = Buffer::default();
    for depth in depths {
        assert!(buffer.insert(row(depth, "x")), "{depth} is new");
    }
    buffer
}

fn depths(buffer: &Buffer) -> Vec<u64> {
    buffer.rows().map(|row| row.order.depth).collect()
}

fn seen(buffer: &Buffer, height: usize) -> Vec<u64> {
    let seen = buffer.seen(height, &heights);
    buffer.items()[seen.items].iter().filter_map(Item::message).map(|row| row.order.depth).collect()
}

#[test]
fn messages_stand_in_order_and_are_replaced_by_what_they_became() {
    let mut buffer = filled([1, 3, 2]);
    assert_eq!(depths(&buffer), [1, 2, 3]);
    assert!(!buffer.insert(Row { body: "changed".to_owned(), ..row(2, "x") }));
    assert_eq!(depths(&buffer), [1, 2, 3]);
    assert_eq!(buffer.row(id(2)).unwrap().body, "changed");
    buffer.note(5, "note".to_owned(), false);
    buffer.insert(row(3, "again"));
    buffer.insert(row(4, "x"));
    assert_eq!(depths(&buffer), [1, 2, 3, 4]);
    assert!(matches!(buffer.items()[3], Item::Note { .. }), "what comes later stands below a note");
}

#[test]
fn what_is_read_stays_in_place_while_more_comes() {
    let mut buffer = filled(10..20);
    assert_eq!(seen(&buffer, 4), [16, 17, 18, 19]);
    buffer.scroll(true, 3, 4, &heights);
    assert_eq!(seen(&buffer, 4), [13, 14, 15, 16]);
    buffer.insert(row(20, "x"));
    buffer.insert(row(9, "x"));
    assert_eq!(seen(&buffer, 4), [13, 14, 15, 16]);
    buffer.add_page((1..9).map(|depth| row(depth, "x")).collect(), true);
    assert_eq!(seen(&buffer, 4), [13, 14, 15, 16]);
    buffer.scroll(false, 100, 4, &heights);
    assert!(buffer.is_at_newest());
    buffer.scroll(true, 100, 4, &heights);
    assert_eq!(seen(&buffer, 4), [1, 2, 3, 4]);
}

#[test]
fn pages_are_asked_for_once_and_until_there_are_no_more() {
    let mut buffer = Buffer::default();
    assert_eq!(buffer.next_page(), Some(None));
    assert_eq!(buffer.next_page(), None);
    buffer.add_page(vec![row(5, "x"), row(6, "x")], false);
    assert_eq!(buffer.next_page(), Some(Some(row(5, "x").order)));
    buffer.add_page(vec![row(4, "x")], true);
    assert_eq!(depths(&buffer), [4, 5, 6]);
    assert_eq!(buffer.next_page(), None);
}

#[test]
fn memory_is_bounded_and_the_newest_can_be_had_again() {
    let mut buffer = filled(1..3000);
    assert!(buffer.items().len() <= MAX_SETTLED + PAGE);
    buffer.scroll(true, 10, 4, &heights);
    for depth in 3000..20_000 {
        buffer.insert(row(depth, "x"));
    }
    assert_eq!(buffer.items().len(), MAX_ITEMS);
    assert!(!buffer.is_at_newest());
    assert!(buffer.scroll_to_newest(), "what was left out has to be loaded");
    assert_eq!(buffer.next_page(), Some(None));
}

#[test]
fn a_message_that_is_not_kept_is_asked_for() {
    let mut buffer = filled(100..110);
    assert_eq!(buffer.choose_order(row(105, "x").order), None);
    assert_eq!(seen(&buffer, 2), [104, 105]);
    let before = buffer.choose_order(row(7, "x").order).unwrap();
    assert!(before > row(7, "x").order && before < row(8, "x").order);
    buffer.add_page((1..8).map(|depth| row(depth, "x")).collect(), true);
    assert_eq!(seen(&buffer, 2), [6, 7]);
    assert!(!buffer.is_at_newest(), "newer ones are not there");
}

#[test]
fn chosen_messages_are_brought_into_sight() {
    let mut buffer = filled(1..10);
    for depth in (1..10).rev() {
        buffer.select(true, 3, &heights);
        assert_eq!(buffer.selected, Some(id(depth)));
        assert!(seen(&buffer, 3).contains(&depth), "{depth}");
    }
    for depth in 2..10 {
        buffer.select(false, 3, &heights);
        assert!(seen(&buffer, 3).contains(&depth), "{depth}");
    }
    buffer.select(false, 3, &heights);
    assert_eq!(buffer.selected, None);
}

proptest! {
    #[test]
    fn the_pane_is_full_wherever_one_scrolls(
        lens in proptest::collection::vec(1usize..6, 1..30),
        steps in proptest::collection::vec((any::<bool>(), 1usize..12), 0..30),
        height in 1usize..8,
    ) {
        let mut buffer = Buffer::default();
        for (len, depth) in lens.iter().zip(1..) {
            buffer.insert(row(depth, &"x".repeat(*len)));
        }
        let all: usize = lens.iter().sum();
        for (is_up, lines) in steps {
            buffer.scroll(is_up, lines, height, &heights);
            let seen = buffer.seen(height, &heights);
            let (bottom, hidden) = buffer.bottom(lens.len() - 1);
            let lines = lens[seen.items].iter().sum::<usize>() - hidden - seen.skipped;
            prop_assert_eq!(lines, height.min(all), "at {} {}", bottom, hidden);
        }
    }
}
