use super::*;

fn peer(n: usize) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

const fn always(_: PeerId) -> bool {
    true
}

/// The moments, in seconds, at which rounds begin within `secs`.
fn rounds(last_seen: &mut LastSeen, start: Instant, secs: u64) -> Vec<u64> {
    let mut begun = Vec::new();
    while let Some(due) = last_seen.poll_timeout(always, always) {
        let due = due.max(start);
        if due > start + Duration::from_secs(secs) {
            break;
        }
        let asked = last_seen.take_due(due, 1.0, always, always);
        begun.extend(asked.iter().map(|_| (due - start).as_secs()));
    }
    begun
}

fn now() -> Instant {
    crate::net::clock::now()
}

#[test]
fn two_have_the_same_key_and_different_sides_of_it() {
    let [a, b, c] = [1, 2, 3].map(|n| Identity::from_seed([n; 32]));
    let (ours, theirs) = (check_key(&a, b.peer_id()).unwrap(), check_key(&b, a.peer_id()).unwrap());
    assert_eq!((ours.name, ours.side), (theirs.name, theirs.side.other()));
    assert_ne!(check_key(&c, a.peer_id()).unwrap().name, ours.name);
    use common::stun::check::{Size, request, verify_request};
    assert!(verify_request(&theirs, &request(&ours, [7; 12], Size::Padded)));
    assert!(!verify_request(&ours, &request(&ours, [7; 12], Size::Padded)), "a reflected one");
}

#[test]
fn rounds_come_ever_more_rarely_and_begin_afresh_when_something_changes() {
    let start = now();
    let mut last_seen = LastSeen::new(start);
    assert_eq!(last_seen.poll_timeout(always, always), None);
    last_seen.set(peer(1), vec![at(1)]);
    assert_eq!(rounds(&mut last_seen, start, 3_600), [2, 62, 182, 422, 902, 1_502, 2_102, 2_702, 3_302]);
    let later = start + Duration::from_secs(3_700);
    last_seen.handle_closed(peer(1));
    assert_eq!(rounds(&mut last_seen, later, 100), [0, 60]);
}

#[test]
fn nobody_is_looked_for_while_the_server_answers_or_may_yet() {
    let start = now();
    let mut last_seen = LastSeen::new(start);
    last_seen.set(peer(1), vec![at(1)]);
    assert_eq!(last_seen.take_due(start, 1.0, always, always), []);
    last_seen.handle_server_up();
    assert_eq!(last_seen.poll_timeout(always, always), None);
    assert_eq!(last_seen.take_due(start + MAX_PAUSE, 1.0, always, always), []);
    last_seen.handle_server_down(start + MAX_PAUSE);
    assert_eq!(last_seen.take_due(start + MAX_PAUSE, 1.0, always, always), [(peer(1), vec![at(1)])]);

    let mut known_to_be_down = LastSeen::new(start);
    known_to_be_down.set(peer(1), vec![at(1)]);
    known_to_be_down.handle_server_down(start);
    assert_eq!(known_to_be_down.take_due(start, 1.0, always, always).len(), 1);
}

#[test]
fn only_those_are_looked_for_who_may_be_and_are_wanted() {
    let start = now() + HEAD_START;
    let mut last_seen = LastSeen::new(now());
    for n in 1..=4 {
        last_seen.set(peer(n), vec![at(1)]);
    }
    last_seen.set(peer(5), Vec::new());
    last_seen.leave(peer(4));
    // The first is shut out or connected, the second does not see us.
    let may_ask = |id| id != peer(1);
    let is_usual = |id| id != peer(2);
    let due = |last_seen: &mut LastSeen, secs| {
        let now = start + Duration::from_secs(secs);
        let due = last_seen.take_due(now, 1.0, is_usual, may_ask);
        due.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>()
    };
    assert_eq!(due(&mut last_seen, 1), [peer(3)]);
    assert!(last_seen.poll_timeout(is_usual, may_ask).is_some_and(|at| at > start + PAUSE / 2));
    last_seen.want(start + Duration::from_secs(5), peer(2));
    last_seen.want(start + Duration::from_secs(5), peer(3));
    assert_eq!(due(&mut last_seen, 5), [peer(2)], "the third is being looked for");
    assert!(last_seen.has_left(peer(4)) && last_seen.come_back(peer(4)));
    assert_eq!(due(&mut last_seen, 9), [peer(4)]);
    last_seen.retain(always, |id| id != peer(3));
    assert_eq!(due(&mut last_seen, 999), [peer(4)], "the third was forgotten");
}

#[test]
fn contacts_and_addresses_are_bounded_and_not_all_are_asked_at_once() {
    let start = now() + HEAD_START;
    let mut last_seen = LastSeen::new(now());
    for n in 0..100 {
        last_seen.set(peer(n), (0..9).map(at).collect());
    }
    // Whoever is seen again counts as seen last.
    last_seen.set(peer(70), vec![at(1)]);
    let mut asked = Vec::new();
    for secs in 1..=10 {
        let due = last_seen.take_due(start + Duration::from_secs(secs), 1.0, always, always);
        assert!(due.len() <= TURN.0 && due.iter().all(|(_, addrs)| addrs.len() <= MAX_ENDPOINTS));
        asked.extend(due.into_iter().map(|(peer, _)| peer));
    }
    assert_eq!(asked.len(), MAX_SOUGHT);
    assert_eq!(asked[..3], [peer(70), peer(99), peer(98)]);
}
