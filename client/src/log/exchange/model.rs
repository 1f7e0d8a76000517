//! The ways in which a few peers can pass on a few messages, with crashes and a cut: all states of a small room that the
//! bounds allow are visited, over the same rules that run in earnest ([`ingest`](crate::log::ingest), [`Syncing`](super::syncing),
//! [`Intake`](super::intake), [`difference`](crate::log::difference)). The model adds what they are driven by: queues of
//! frames, what survives a crash, and which step comes next.
//!
//! In every state: nothing is shown twice or before its parents, and what somebody was told to be delivered is durable
//! there. In every state in which nothing is under way: all have the same messages, nothing waits, and every author knows
//! that all have them. No way leads back to where it was, so that none goes on for ever.

mod peer;
mod search;
mod world;

use search::{Bounds, Order, explore, walk};
use world::{Fault, World};

/// Who writes the first, second, third and fourth message: all ways there are, but for who is called what.
const SCRIPTS: [[u8; 4]; 14] = [
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [0, 0, 1, 0],
    [0, 1, 0, 0],
    [0, 1, 1, 1],
    [0, 0, 1, 1],
    [0, 1, 0, 1],
    [0, 1, 1, 0],
    [0, 0, 1, 2],
    [0, 1, 0, 2],
    [0, 1, 2, 0],
    [0, 1, 1, 2],
    [0, 1, 2, 1],
    [0, 1, 2, 2],
];

/// All states that three peers can come to, by each of these scripts; returns how many they are.
fn visit<'a>(scripts: impl IntoIterator<Item = &'a [u8]>, bounds: Bounds) -> usize {
    scripts.into_iter().map(|script| explore(World::new(3, script, bounds, Fault::None))).sum()
}

/// Two messages and a crash, and one with a cut: what is on its way on several streams arrives in any order.
#[test]
fn few_messages_in_any_order() {
    let any = Bounds { order: Order::Any, ..Bounds::default() };
    let states = visit([&[0, 1][..]], Bounds { crashes: 1, ..any })
        + visit([&[0][..]], Bounds { crashes: 1, cuts: 1, ..any });
    println!("{states} states");
}

/// Four messages by all who can write them, two crashes and a cut, one of these among whatever is under way.
#[test]
fn four_messages_two_crashes_and_a_cut() {
    let bounds = Bounds { crashes: 2, cuts: 1, order: Order::One { among: 1 } };
    println!("{} states", visit(SCRIPTS.iter().map(|script| &script[..]), bounds));
}

/// The same with two at a time, by one script.
#[test]
fn four_messages_with_two_troubles_at_a_time() {
    let bounds = Bounds { crashes: 2, cuts: 1, order: Order::One { among: 2 } };
    println!("{} states", visit([&[0, 1, 0, 2][..]], bounds));
}

/// Larger rooms, by chance: five peers, twelve messages, four crashes, three cuts. `HOBNOB_SEEDS` says how many.
#[test]
fn many_messages_by_chance() {
    let seeds = std::env::var("HOBNOB_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let script = [0, 1, 2, 3, 4, 0, 0, 2, 1, 4, 3, 0];
    let bounds = Bounds { crashes: 4, cuts: 3, order: Order::Any };
    let steps: usize = (0..seeds).map(|seed| walk(World::new(5, &script, bounds, Fault::None), seed)).sum();
    println!("{steps} steps");
}

/// Each rule that is broken on purpose is found out.
#[test]
fn broken_rules_are_found() {
    let bounds = Bounds { crashes: 1, cuts: 0, order: Order::One { among: 2 } };
    for fault in [Fault::AcksEarly, Fault::NeverAsks, Fault::ForgetsOutbox] {
        let found = std::panic::catch_unwind(|| explore(World::new(3, &[0, 1], bounds, fault)));
        assert!(found.is_err(), "{fault:?} is not found");
    }
    explore(World::new(3, &[0, 1], bounds, Fault::None));
}
