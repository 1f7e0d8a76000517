//! Two clients and the frames that a server would pass on between them.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::identity::Identity;

fn peer(number: u8) -> PeerId {
    Identity::from_seed([number; 32]).peer_id()
}

/// Passes on a frame of `from` as the server does.
fn pass_on(frame: Option<ToServer>, from: PeerId) -> ToClient {
    match frame.expect("something to pass on") {
        ToServer::Offer(_) => Offered { number: 4 }.into(),
        ToServer::Claim(Claim { number, pake }) => Claimed { number, peer: from, pake }.into(),
        ToServer::Reply(reply) => Reply { peer: from, ..reply }.into(),
        other => panic!("{other:?} has nothing to do with codes"),
    }
}

/// The news of both sides after `claim` was tried on a fresh offer.
fn meet(claim: impl Fn(&Code) -> Code) -> (Option<News>, Option<News>) {
    let (a, b) = (peer(1), peer(2));
    let (mut offerer, mut claimer) = (Meetings::new(a), Meetings::new(b));
    let secret = Secret::random(&mut StdRng::seed_from_u64(7));
    let offered = offerer.offer(secret).send;
    let Some(News::Offered(code)) = offerer.handle_frame(&pass_on(offered, a)).news else {
        panic!("no code")
    };
    let claimed = claimer.claim(&claim(&code)).send;
    let answered = offerer.handle_frame(&pass_on(claimed, b)).send;
    let proved = claimer.handle_frame(&pass_on(answered, a));
    let met = offerer.handle_frame(&pass_on(proved.send, b));
    (met.news, proved.news)
}

#[test]
fn the_same_words_make_both_meet() {
    let (offerer, claimer) = meet(Clone::clone);
    assert_eq!(offerer, Some(News::Met { peer: peer(2), dial: false }));
    assert_eq!(claimer, Some(News::Met { peer: peer(1), dial: true }));
}

#[test]
fn other_words_end_it_on_both_sides() {
    let (offerer, claimer) =
        meet(|code| format!("{}-abandon-abandon-abandon", code.number).parse().expect("three words"));
    assert_eq!(offerer, Some(News::Failed(Failure::Guessed)));
    assert_eq!(claimer, Some(News::Failed(Failure::Wrong)));
}

#[test]
fn who_passes_the_frames_on_cannot_put_another_key_in_between() {
    let (a, b, server) = (peer(1), peer(2), peer(3));
    let (mut offerer, mut claimer) = (Meetings::new(a), Meetings::new(b));
    let offered = offerer.offer(Secret::random(&mut StdRng::seed_from_u64(7))).send;
    let Some(News::Offered(code)) = offerer.handle_frame(&pass_on(offered, a)).news else {
        panic!("no code")
    };
    let claimed = claimer.claim(&code).send;
    let answered = offerer.handle_frame(&pass_on(claimed, server)).send;
    let news = claimer.handle_frame(&pass_on(answered, server)).news;
    assert_eq!(news, Some(News::Failed(Failure::Wrong)));
}

#[test]
fn a_reflected_message_proves_nothing() {
    let (mut offerer, a) = (Meetings::new(peer(1)), peer(1));
    let offered = offerer.offer(Secret::random(&mut StdRng::seed_from_u64(7))).send;
    offerer.handle_frame(&pass_on(offered, a));
    let (_, pake) = start(Role::Claimer, &Secret("abandon".to_owned()));
    let claimed = Claimed { number: 4, peer: peer(2), pake };
    let Some(ToServer::Reply(reply)) = offerer.handle_frame(&claimed.into()).send else {
        panic!("no answer")
    };
    let reflected = Reply { peer: peer(2), ..reply };
    assert_eq!(offerer.handle_frame(&reflected.into()).news, Some(News::Failed(Failure::Guessed)));
}

#[test]
fn codes_are_read_as_people_type_them() {
    let code: Code = "4-amused-cabin-wolf".parse().unwrap();
    assert_eq!("  4 Amused CABIN wolf ".parse(), Ok(code.clone()));
    assert_eq!(code.to_string(), "4-amused-cabin-wolf");
    for wrong in ["", "4", "amused-cabin-wolf", "4-amused-cabin", "4-amused-cabin-wolf-wolf"] {
        assert_eq!(wrong.parse::<Code>(), Err(ParseCodeError::Shape), "{wrong}");
    }
    assert!(matches!("4-amused-cabin-wolff".parse::<Code>(), Err(ParseCodeError::Word(_))));
}

#[test]
fn a_lost_server_ends_everything_once() {
    let mut meetings = Meetings::new(peer(1));
    assert!(meetings.handle_server_down().news.is_none());
    meetings.offer(Secret::random(&mut StdRng::seed_from_u64(7)));
    assert_eq!(meetings.handle_server_down().news, Some(News::Failed(Failure::Lost)));
    assert!(meetings.handle_server_down().news.is_none());
}

#[test]
fn no_more_than_a_few_at_once() {
    let mut meetings = Meetings::new(peer(1));
    let code = |number| Code { number, secret: Secret("a-b-c".to_owned()) };
    for number in 0..4 {
        assert!(meetings.claim(&code(number)).send.is_some());
    }
    assert_eq!(meetings.claim(&code(9)).news, Some(News::Failed(Failure::TooMany)));
}
