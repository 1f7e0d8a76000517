//! `docs/protocol.md` §4.8: whom a client does not admit cannot tell it from one that is not there.

use common::control::{Claim, MAX_WATCHED, NoOffer, Offer, Offered, Presence, Watch};

use super::*;

fn all_but(list: &[u8]) -> Admit {
    Admit { only: false, peers: list.iter().map(|&n| peer(n)).collect() }
}

fn only(list: &[u8]) -> Admit {
    Admit { only: true, ..all_but(list) }
}

fn watch(list: &[u8]) -> Watch {
    Watch { peers: list.iter().map(|&n| peer(n)).collect() }
}

fn failed(session: u64) -> Failed {
    Failed { session: SessionId(session), reason: FailedReason::Offline }
}

/// What was said to `conn`.
fn heard(said: Vec<Output>, conn: ConnId) -> Vec<Output> {
    let is_for =
        |output: &Output| matches!(output, Output::Send(to, _) | Output::Datagram(to, _) if *to == conn);
    said.into_iter().filter(is_for).collect()
}

#[test]
fn who_is_not_admitted_gets_the_answer_of_an_empty_place() {
    let mut world = World::new(Limits { max_sessions: 1, ..Limits::default() });
    let (a, b, c) = (world.registered(1), world.registered(2), world.registered(3));
    for admit in [all_but(&[1]), only(&[]), only(&[3])] {
        assert_eq!(world.tell(b, admit), []);
        let early = packet(7, 10);
        world.datagram(a, &early);
        assert_eq!(world.tell(a, connect(7, 2)), [Output::Send(a, failed(7).into())]);
        world.datagram(a, &early);
        assert_eq!(world.tell(a, connect(7, 9)), [Output::Send(a, failed(7).into())], "nobody has this key");
    }
    // Neither the session's name nor the limits tell more than for somebody who is not there.
    assert_eq!(world.tell(c, connect(1, 2)).len(), 2);
    for place in [2, 9] {
        assert_eq!(world.tell(a, connect(1, place)), [Output::Send(a, failed(1).into())]);
    }
    assert_eq!(world.tell(b, connect(2, 1)).len(), 2, "it may ask for those who do not find it");
}

#[test]
fn hiding_looks_like_leaving() {
    let story = |leave: &dyn Fn(&mut World, ConnId) -> Vec<Output>| {
        let mut world = World::new(Limits::default());
        let (a, b) = world.introduced(1);
        world.tell(b, connect(2, 1));
        world.tell(a, watch(&[2]));
        world.tell(b, watch(&[1]));
        let said = leave(&mut world, b);
        let after =
            [world.datagram(a, &packet(1, 9)), world.tell(a, connect(3, 2)), world.tell(a, watch(&[2]))];
        (heard(said, a), after.concat())
    };
    let left = story(&|world, b| world.gone(b));
    let hidden = story(&|world, b| [world.tell(b, all_but(&[1])), world.tell(b, watch(&[]))].concat());
    let invisible = story(&|world, b| [world.tell(b, only(&[])), world.tell(b, watch(&[]))].concat());
    let farewell = Presence { peer: peer(2), online: None, standing: false };
    assert_eq!(
        left.0,
        [end(1).into(), end(2).into(), farewell.into()].map(|frame: ToClient| Output::Send(ConnId(0), frame))
    );
    assert_eq!((&hidden, &invisible), (&left, &left));
}

#[test]
fn sessions_of_those_who_were_never_admitted_go_on() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    world.tell(b, only(&[]));
    assert_eq!(world.tell(b, connect(1, 1)).len(), 2);
    assert_eq!(world.tell(b, only(&[3])), [], "it has called them itself");
    assert_eq!(world.datagram(a, &packet(1, 9)).len(), 1);
}

#[test]
fn there_is_no_moment_in_which_the_hidden_are_found() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.connected(2));
    world.tell(b, Register { admit: only(&[]), ..register(2) });
    assert_eq!(world.tell(a, connect(1, 2)), [Output::Send(a, failed(1).into())]);
    world.tell(b, Admit::default());
    assert_eq!(world.tell(a, connect(2, 2)).len(), 2);
}

#[test]
fn the_lobby_pairs_only_those_who_admit_each_other() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    world.tell(a, all_but(&[2]));
    assert_eq!(world.tell(a, lobby()), []);
    assert_eq!(world.tell(b, lobby()), []);
    let said = world.tell(a, Admit::default());
    assert!(introduction(&said, a).lobby && introduction(&said, b).lobby, "looked at again: {said:?}");
}

#[test]
fn a_code_of_somebody_who_does_not_admit_the_claimer_is_none_and_stays() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.registered(1), world.registered(2), world.registered(3));
    world.tell(b, all_but(&[1]));
    let said = world.tell(b, Offer {});
    let [Output::Send(_, ToClient::Offered(Offered { number }))] = said[..] else { panic!("{said:?}") };
    let claim = Claim { number, pake: vec![1] };
    assert_eq!(world.tell(a, claim.clone()), [Output::Send(a, NoOffer { number }.into())]);
    assert!(matches!(world.tell(c, claim)[..], [Output::Send(to, ToClient::Claimed(_))] if to == b));
}

#[test]
fn long_lists_end_the_connection() {
    let many = |count: usize| Admit { only: false, peers: vec![peer(9); count] };
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.connected(2));
    assert_eq!(world.tell(a, many(MAX_WATCHED)), []);
    assert_eq!(closed(&world.tell(a, many(MAX_WATCHED + 1))), Some((a, close::PROTOCOL)));
    let said = world.tell(b, Register { admit: many(MAX_WATCHED + 1), ..register(2) });
    assert_eq!(closed(&said), Some((b, close::PROTOCOL)));
    assert_eq!(world.core.stats().registered, 0);
}

/// The server tells of nobody who has not said so; to ask for an introduction is another thing, and needs to be admitted.
#[test]
fn presence_needs_both() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.registered(1), world.registered(2), world.registered(3));
    assert_eq!(world.tell(a, watch(&[2, 3])), []);
    assert_eq!(world.tell(b, watch(&[3])), [], "b has not named a");
    let said = world.tell(c, watch(&[2]));
    assert_eq!((heard(said.clone(), b).len(), heard(said.clone(), c).len(), heard(said, a).len()), (1, 1, 0));
    world.tell(b, watch(&[1, 3]));
    let said = world.tell(b, watch(&[3]));
    let withdrawn = Presence { peer: peer(2), online: None, standing: false };
    assert_eq!(heard(said.clone(), a), [Output::Send(a, withdrawn.into())]);
    assert_eq!(heard(said, c), [], "c is told nothing new");
    assert_eq!(heard(world.gone(b), a), [], "what comes after is not a's business");
}
