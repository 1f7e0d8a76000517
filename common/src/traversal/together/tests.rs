use std::net::Ipv4Addr;

use super::super::tools::Output;
use super::*;

const ONE_WAY: Duration = Duration::from_millis(40);

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn moment() -> Instant {
    Instant::now()
}

fn addr(host: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, host), port).into()
}

/// A round at the side `host`, against the side `other`, and the STUN requests that it sent.
fn start(now: Instant, host: u8, other: u8) -> (Together, Tools, Vec<TransactionId>) {
    let mut tools = Tools::new(1, u64::from(host));
    let together = Together::start(now, &mut tools, addr(other, 9), addr(9, 3478), ONE_WAY);
    let ids = tools.out.drain(..).filter_map(|output| match output {
        Output::Stun { id, .. } => Some(id),
        _ => None,
    });
    let ids = ids.collect();
    (together, tools, ids)
}

/// Answers the first `count` requests: the sockets are seen at ports from 100 on.
fn answer(
    together: &mut Together,
    tools: &mut Tools,
    now: Instant,
    ids: &[TransactionId],
    count: u16,
    host: u8,
) {
    for (port, id) in (100..100 + count).zip(ids) {
        together.handle_sample(now, tools, *id, addr(host, port));
    }
}

fn told(tools: &mut Tools) -> Vec<Vec<u16>> {
    let ports = tools.out.drain(..).filter_map(|output| match output {
        Output::Signal(Signal::Aim(aim)) => Some(aim.ports),
        _ => None,
    });
    ports.collect()
}

/// When checks go where, until the round ends.
fn checks(together: &mut Together, tools: &mut Tools, begin: Instant) -> Vec<(Duration, SocketAddr)> {
    let (mut now, mut sent) = (begin, Vec::new());
    while together.handle_timeout(now, tools) {
        sent.extend(tools.out.drain(..).filter_map(|output| match output {
            Output::Check { to, .. } => Some((now - begin, to)),
            _ => None,
        }));
        now = together.timeout().max(now);
    }
    sent
}

#[test]
fn each_socket_meets_its_counterpart_a_little_earlier_or_later() {
    let now = moment();
    let (mut ours, mut tools, ids) = start(now, 1, 2);
    answer(&mut ours, &mut tools, now, &ids, 15, 1);
    assert_eq!(told(&mut tools), [(100..115).collect::<Vec<u16>>()]);
    // The other side's list was here before: the moment is when ours has arrived there.
    let theirs: Vec<u16> = (200..215).collect();
    assert!(ours.handle_ports(now, now, &theirs));
    assert!(!ours.handle_ports(now, now, &theirs), "the next round's");
    let sent = checks(&mut ours, &mut tools, now);
    assert_eq!(sent.len(), 15 * CHECKS_MS.len());
    let first = |port: u16| sent.iter().find(|(_, to)| *to == addr(2, port)).unwrap().0;
    // The side with the smaller endpoint is later by the first of each two offsets.
    let ms = |ms| ONE_WAY + Duration::from_millis(ms);
    assert_eq!([first(200), first(201), first(202), first(213)], [ms(0), ms(1), ms(0), ms(14)]);
}

#[test]
fn lists_of_other_lengths_and_hostile_ports_make_fewer_pairs() {
    let now = moment();
    for (theirs, count) in [(vec![], 0), (vec![0; 16], 0), (vec![7, 0, 9], 2), ((1..=99).collect(), 12)] {
        let (mut ours, mut tools, ids) = start(now, 1, 2);
        answer(&mut ours, &mut tools, now, &ids, 12, 1);
        assert!(told(&mut tools).is_empty(), "three answers may still come");
        assert!(ours.handle_timeout(now + STRAGGLERS, &mut tools));
        assert_eq!(told(&mut tools)[0].len(), 12);
        let late = ids[14];
        ours.handle_sample(now + STRAGGLERS, &mut tools, late, addr(1, 114));
        assert!(told(&mut tools).is_empty(), "what comes later is not told any more");
        ours.handle_ports(now + STRAGGLERS, now + STRAGGLERS, &theirs);
        let sent = checks(&mut ours, &mut tools, now + STRAGGLERS);
        assert_eq!(sent.len(), count * CHECKS_MS.len(), "{theirs:?}");
        assert!(sent.iter().all(|(_, to)| to.ip() == addr(2, 1).ip() && to.port() != 0));
    }
}

#[test]
fn a_round_without_answers_ends() {
    let now = moment();
    let (mut ours, mut tools, _) = start(now, 1, 2);
    ours.handle_ports(now, now, &[200]);
    assert_eq!(checks(&mut ours, &mut tools, now), []);
    assert_eq!(ours.timeout(), now + EXCHANGE);
}
