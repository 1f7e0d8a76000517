use super::*;

const RTT: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn start() -> Instant {
    Instant::now()
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000))
}

fn relayed(now: Instant) -> TcpPunch {
    let mut punch = TcpPunch::new(RTT, 1);
    punch.handle_reach(now, Reach::Relay);
    punch
}

fn actions(punch: &mut TcpPunch) -> Vec<Action> {
    std::iter::from_fn(|| punch.poll_action()).collect()
}

/// Lets time pass until the machine says something.
fn wait(now: &mut Instant, punch: &mut TcpPunch) -> Vec<Action> {
    while let Some(at) = punch.poll_timeout() {
        *now = at.max(*now);
        punch.handle_timeout(*now);
        let done = actions(punch);
        if !done.is_empty() {
            return done;
        }
    }
    Vec::new()
}

/// One way between the two in the tests of pairs.
const ONE_WAY: Duration = Duration::from_millis(50);

/// Plays a round between two sides whose ports are ready after `prepare`; returns when each connects.
fn play(prepare: [Duration; 2]) -> [Instant; 2] {
    let begin = start();
    let mut sides = [relayed(begin), relayed(begin)];
    let mut inputs: Vec<(Instant, usize, Option<Offer>)> = Vec::new();
    let mut connected = [None; 2];
    let mut now = begin;
    while connected.contains(&None) {
        for side in 0..2 {
            for action in actions(&mut sides[side]) {
                match action {
                    Action::Prepare(_) => inputs.push((now + prepare[side], side, None)),
                    Action::Tell(offer) => inputs.push((now + ONE_WAY, 1 - side, Some(offer))),
                    Action::Connect(_) => connected[side] = Some(now),
                    Action::Close | Action::Leave => panic!("{action:?} in a round that goes well"),
                }
            }
        }
        let timers = sides.iter().filter_map(TcpPunch::poll_timeout);
        now = timers.chain(inputs.iter().map(|(at, ..)| *at)).min().expect("something is to come");
        for (_, side, offer) in inputs.extract_if(.., |(at, ..)| *at <= now) {
            let round = sides[side].round;
            match offer {
                Some(offer) => sides[side].handle_offer(now, offer),
                None => sides[side].handle_prepared(now, round, vec![addr(1)]),
            }
        }
        sides.iter_mut().for_each(|side| side.handle_timeout(now));
    }
    connected.map(|at| at.expect("the loop ended with that"))
}

#[test]
fn both_connect_at_the_same_moment_whoever_is_ready_first() {
    for prepare in [[10, 10], [10, 30], [0, 300], [300, 0], [50, 101]] {
        let [a, b] = play(prepare.map(Duration::from_millis));
        assert_eq!(a, b, "{prepare:?}");
    }
}

#[test]
fn udp_is_given_its_time_first() {
    let mut now = start();
    let begin = now;
    let mut punch = relayed(now);
    assert_eq!(wait(&mut now, &mut punch), [Action::Prepare(1)]);
    assert_eq!(now - begin, PATIENCE);

    let mut punch = relayed(begin);
    punch.handle_reach(begin + RTT, Reach::Udp);
    assert_eq!(wait(&mut now, &mut punch), [Action::Leave]);
    assert_eq!(punch.poll_timeout(), None);

    let mut punch = relayed(begin);
    punch.hurry(begin);
    punch.handle_timeout(begin);
    assert_eq!(actions(&mut punch), [Action::Prepare(1)]);
}

#[test]
fn an_offer_is_taken_up_at_once_and_an_old_one_is_not() {
    let now = start();
    let mut punch = relayed(now);
    punch.handle_offer(now, Offer { round: 7, addrs: vec![addr(2); 99] });
    assert_eq!(actions(&mut punch), [Action::Prepare(7)]);
    punch.handle_offer(now, Offer { round: 3, addrs: vec![] });
    punch.handle_prepared(now, 6, vec![addr(9)]);
    assert_eq!(actions(&mut punch), []);
    punch.handle_prepared(now, 7, vec![addr(1)]);
    assert_eq!(actions(&mut punch), [Action::Tell(Offer { round: 7, addrs: vec![addr(1)] })]);
    let mut at = now;
    assert_eq!(wait(&mut at, &mut punch), [Action::Connect(vec![addr(2); MAX_ADDRS])]);
    assert_eq!(at - now, RTT / 2);
}

#[test]
fn rounds_that_fail_are_repeated_a_few_times() {
    let mut now = start();
    let mut punch = relayed(now);
    let mut rounds = Vec::new();
    loop {
        let done = wait(&mut now, &mut punch);
        rounds.extend(done.iter().filter_map(|action| match action {
            Action::Prepare(round) => Some(*round),
            _ => None,
        }));
        if done.is_empty() {
            break;
        }
    }
    assert_eq!(rounds, [1, 2, 3, 4, 5]);
}

#[test]
fn a_peer_cannot_bring_about_rounds_without_end() {
    let now = start();
    let mut punch = relayed(now);
    let mut prepared = 0;
    for round in 1..100 {
        punch.handle_offer(now, Offer { round, addrs: vec![addr(2)] });
        prepared += actions(&mut punch).iter().filter(|a| matches!(a, Action::Prepare(_))).count();
    }
    assert_eq!(prepared, ROUND_BURST as usize);
    punch.handle_offer(now + ROUND_INTERVAL, Offer { round: 100, addrs: vec![addr(2)] });
    assert!(actions(&mut punch).contains(&Action::Prepare(100)));
}

#[test]
fn winning_closes_what_is_left_and_losing_begins_again() {
    let now = start();
    let mut punch = relayed(now);
    punch.hurry(now);
    punch.handle_timeout(now);
    punch.handle_reach(now, Reach::Tcp);
    assert_eq!(actions(&mut punch), [Action::Prepare(1), Action::Close]);
    assert_eq!(punch.poll_timeout(), None);
    punch.handle_reach(now, Reach::Relay);
    punch.handle_reach(now + GRACE / 2, Reach::Tcp);
    assert_eq!(punch.poll_timeout(), None);
    punch.handle_reach(now, Reach::Relay);
    punch.handle_timeout(now + GRACE);
    assert_eq!(actions(&mut punch), [Action::Prepare(2)]);
}

/// Until nothing more is tried; returns how many rounds that took.
fn give_up(now: &mut Instant, punch: &mut TcpPunch) -> usize {
    let mut rounds = 0;
    while punch.outlook().state != TcpState::GivenUp {
        rounds += wait(now, punch).iter().filter(|action| matches!(action, Action::Prepare(_))).count();
    }
    rounds
}

#[test]
fn a_lost_path_over_udp_begins_again_what_was_given_up() {
    let mut now = start();
    let mut punch = relayed(now);
    assert_eq!(give_up(&mut now, &mut punch), 1 + PAUSES.len());
    punch.handle_reach(now, Reach::Udp);
    assert_eq!(wait(&mut now, &mut punch), [Action::Leave]);
    let lost = now;
    punch.handle_reach(lost, Reach::Relay);
    assert!(matches!(wait(&mut now, &mut punch)[..], [Action::Prepare(_)]));
    assert_eq!(now - lost, LOST_PATIENCE);
}

#[test]
fn a_round_for_which_nothing_is_left_waits_until_there_is() {
    let mut now = start();
    let mut punch = relayed(now);
    for round in 1..=ROUND_BURST {
        punch.handle_offer(now, Offer { round, addrs: vec![] });
    }
    assert_eq!(actions(&mut punch).iter().filter(|action| matches!(action, Action::Prepare(_))).count(), 8);
    punch.handle_reach(now, Reach::Udp);
    punch.handle_reach(now, Reach::Relay);
    actions(&mut punch);
    let lost = now;
    assert_eq!(wait(&mut now, &mut punch), [Action::Prepare(ROUND_BURST + 1)]);
    assert!(now - lost <= LOST_PATIENCE + ROUND_INTERVAL);
}

#[test]
fn ports_given_out_in_order_are_guessed() {
    let seen =
        |local_port, port| Observation { local_port, public: SocketAddr::from(([192, 0, 2, 1], port)) };
    let ports = |first, second| -> Vec<u16> {
        likely_endpoints(first, second).iter().map(SocketAddr::port).collect()
    };
    assert_eq!(ports(seen(9, 9), Some(seen(10, 10))), [9]);
    assert_eq!(ports(seen(9, 500), None), [500]);
    assert_eq!(ports(seen(9, 500), Some(seen(10, 501))), [502, 503, 504, 505, 506, 507, 500]);
    assert_eq!(ports(seen(9, 500), Some(seen(10, 502))), [504, 506, 508, 510, 512, 514, 500]);
    assert_eq!(ports(seen(9, 500), Some(seen(10, 9_000))), [500]);
    assert_eq!(ports(seen(9, 65_530), Some(seen(10, 65_533))), [65_530]);
}

#[test]
fn streams_are_known_by_addresses_of_their_own() {
    for id in [0, 1, u32::MAX].map(StreamId) {
        assert_eq!(StreamId::of(id.addr()), Some(id));
    }
    assert_eq!(StreamId::of("192.0.2.1:1".parse().unwrap()), None);
    assert_eq!(StreamId::of("[fd68:6f62::1]:1".parse().unwrap()), None);
}

#[test]
fn without_hope_one_short_round_has_to_do_until_there_is_some() {
    let mut now = start();
    let mut punch = relayed(now);
    punch.set_prospect(now, Prospect::Poor);
    punch.hurry(now);
    let begin = now;
    assert_eq!(wait(&mut now, &mut punch), [Action::Prepare(1)]);
    punch.handle_prepared(now, 1, vec![addr(1)]);
    punch.handle_offer(now, Offer { round: 1, addrs: vec![addr(2)] });
    assert!(matches!(actions(&mut punch)[..], [Action::Tell(_)]));
    assert!(matches!(wait(&mut now, &mut punch)[..], [Action::Connect(_)]));
    assert_eq!(wait(&mut now, &mut punch), [Action::Close]);
    assert_eq!(now - begin, RTT / 2 + SHORT_CONNECT_TIME + RTT);
    assert_eq!(punch.outlook(), TcpOutlook { state: TcpState::GivenUp, failed: 1 });
    assert_eq!(punch.poll_timeout(), None);
    punch.set_prospect(now, Prospect::Fair);
    assert_eq!(punch.outlook().state, TcpState::Waiting);
    assert_eq!(wait(&mut now, &mut punch), [Action::Prepare(2)]);
}
