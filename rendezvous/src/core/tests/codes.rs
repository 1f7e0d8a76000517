//! Codes are offered, claimed once and answered (`docs/protocol.md` §8).

use common::control;

use super::*;

fn claim(number: u32) -> control::Claim {
    control::Claim { number, pake: vec![1; 33] }
}

fn reply(number: u32, to: u8) -> control::Reply {
    control::Reply { number, peer: peer(to), pake: vec![2; 33], proof: vec![3; 32] }
}

impl World {
    /// Offers a code on `conn`, and returns its number.
    fn offer(&mut self, conn: ConnId) -> u32 {
        let said = self.tell(conn, control::Offer {});
        let [.., Output::Send(to, ToClient::Offered(offered))] = &said[..] else { panic!("{said:?}") };
        assert_eq!(*to, conn);
        offered.number
    }
}

fn no_offer(conn: ConnId, number: u32) -> Output {
    Output::Send(conn, control::NoOffer { number }.into())
}

#[test]
fn a_code_is_claimed_once_and_passes_one_reply_each_way() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.registered(1), world.registered(2), world.registered(3));
    let number = world.offer(a);
    let claimed = control::Claimed { number, peer: peer(2), pake: vec![1; 33] };
    assert_eq!(world.tell(b, claim(number)), [Output::Send(a, claimed.into())]);
    assert_eq!(world.tell(c, claim(number)), [no_offer(c, number)], "it is used up");
    assert_eq!(world.tell(c, reply(number, 1)), [], "not for strangers");
    let passed = |from| control::Reply { peer: peer(from), ..reply(number, 0) };
    assert_eq!(world.tell(a, reply(number, 2)), [Output::Send(b, passed(1).into())]);
    assert_eq!(world.tell(a, reply(number, 2)), [], "once");
    assert_eq!(world.tell(b, reply(number, 1)), [Output::Send(a, passed(2).into())]);
    assert_eq!(world.tell(b, reply(number, 1)), [], "over");
}

#[test]
fn a_code_ends_with_its_time_its_owner_and_its_successor() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    let first = world.offer(a);
    let second = world.offer(a);
    assert_eq!(world.tell(b, claim(first)) == [no_offer(b, first)], first != second);
    let mut world = World::new(Limits::default());
    let (a, b) = (world.registered(1), world.registered(2));
    let number = world.offer(a);
    assert_eq!(world.pass(Duration::from_secs(599)), []);
    assert_eq!(world.pass(Duration::from_secs(1)), [no_offer(a, number)]);
    let number = world.offer(a);
    world.tell(b, claim(number));
    assert_eq!(world.gone(a), [no_offer(b, number)]);
}

#[test]
fn nobody_uses_up_other_peoples_codes_in_masses() {
    let mut world = World::new(Limits::default());
    let offerers: Vec<_> = (10..30).map(|n| world.registered(n)).collect();
    let numbers: Vec<_> = offerers.iter().map(|conn| world.offer(*conn)).collect();
    let thief = world.registered(1);
    let stolen = numbers.iter().filter(|number| {
        let said = world.tell(thief, claim(**number));
        matches!(said[..], [Output::Send(_, ToClient::Claimed(_))])
    });
    assert_eq!(stolen.count(), 5);
}
