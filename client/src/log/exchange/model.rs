//! The ways in which a few peers can pass on a few messages, with crashes and a cut: all states of a small room that the
//! bounds allow are visited, over the same rules that run in earnest ([`ingest`](crate::log::ingest), [`Syncing`](super::syncing),
//! [`Intake`](super::intake), [`difference`](crate::log::difference)). The model adds what they are driven by: queues of
//! frames, what survives a crash, and which step comes next. What is on its way on one stream arrives in its order; on
//! several, in any.
//!
//! In every state: nothing is shown twice or before its parents, and what somebody was told to be delivered is durable
//! there. In every state in which nothing is under way: all have the same messages, nothing waits, and every author knows
//! that all have them. No way leads back to where it was, so that none goes on for ever.

mod deeds;
mod part;
mod peer;
mod search;
mod world;

use search::{ANY, Bounds, Branches, explore, walk};
use world::{Fault, World};

/// What is visited each time: all that three peers can write, what is under way comes in any order, and nothing happens
/// meanwhile.
const USUAL: Bounds =
    Bounds { messages: 4, crashes: 2, cuts: 1, among: 1, overtaken: ANY, branches: Branches::None };

/// All states that three peers can come to.
fn visit(bounds: Bounds) {
    println!("{bounds:?}: {} states", explore(World::new(3, bounds, Fault::None)));
}

#[test]
fn four_messages_two_crashes_and_a_cut() {
    visit(USUAL);
}

/// A crash or a cut while a message is on its way, and while others write, come back, or are cut off.
#[test]
fn two_troubles_at_a_time() {
    visit(Bounds { messages: 2, crashes: 1, among: 2, ..USUAL });
    visit(Bounds { messages: 3, crashes: 1, among: 2, overtaken: 0, ..USUAL });
}

/// A message comes by several ways, as it does in large rooms.
#[test]
fn handed_on_by_others() {
    visit(Bounds { messages: 3, crashes: 1, branches: Branches::All, ..USUAL });
    visit(Bounds { messages: 2, crashes: 1, cuts: 0, among: 2, branches: Branches::All, ..USUAL });
}

/// Far more than that: the last two take hours and gigabytes.
#[test]
#[ignore = "takes hours"]
fn all_at_length() {
    visit(Bounds { branches: Branches::All, ..USUAL });
    visit(Bounds { among: 2, overtaken: 0, ..USUAL });
    visit(Bounds { messages: 3, among: 2, ..USUAL });
    visit(Bounds { among: 2, overtaken: 1, ..USUAL });
}

/// Larger rooms, by chance: five peers, twelve messages, four crashes, three cuts. `HOBNOB_SEEDS` says how many.
#[test]
fn many_messages_by_chance() {
    let seeds = std::env::var("HOBNOB_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let bounds = |seed| Bounds {
        messages: 12,
        crashes: 4,
        cuts: 3,
        among: ANY,
        overtaken: ANY,
        branches: if seed % 2 == 0 { Branches::None } else { Branches::All },
    };
    let steps: usize = (0..seeds).map(|seed| walk(World::new(5, bounds(seed), Fault::None), seed)).sum();
    println!("{steps} steps");
}

/// Each rule that is broken on purpose is found out.
#[test]
fn broken_rules_are_found() {
    let small = Bounds { messages: 2, crashes: 1, cuts: 0, among: 2, ..USUAL };
    for (fault, branches) in [
        (Fault::AcksEarly, Branches::None),
        (Fault::NeverAsks, Branches::None),
        (Fault::ForgetsOutbox, Branches::None),
        (Fault::TrustsOthers, Branches::All),
        (Fault::DropsEarly, Branches::None),
    ] {
        let bounds = Bounds { branches, ..small };
        let found = std::panic::catch_unwind(|| explore(World::new(3, bounds, fault)));
        assert!(found.is_err(), "{fault:?} is not found");
    }
    explore(World::new(3, small, Fault::None));
}

/// A rule that is broken only where something came before what was next is found by that alone.
#[test]
fn what_order_hides_is_found_by_order() {
    let one = Bounds { messages: 2, crashes: 0, cuts: 0, among: 2, overtaken: 0, ..USUAL };
    explore(World::new(3, one, Fault::DropsEarly));
    let any = Bounds { overtaken: ANY, ..one };
    assert!(std::panic::catch_unwind(|| explore(World::new(3, any, Fault::DropsEarly))).is_err());
}
