//! Pairs of agents in virtual time, over a network that is a delay and a filter.

use std::collections::BTreeMap;

use super::*;
use crate::stun::check::{KEY_LEN, Side, Size};

const ONE_WAY: Duration = Duration::from_millis(40);

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn start() -> Instant {
    Instant::now()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The way from the main socket.
fn main(remote: SocketAddr) -> Way {
    Way { local: Local::MAIN, remote }
}

/// Two agents, each at one address, and the datagrams between them.
struct Pair {
    start: Instant,
    now: Instant,
    agents: [Agent; 2],
    addrs: [SocketAddr; 2],
    in_flight: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    count: u64,
    /// Whether a datagram from agent `.0` to an address passes.
    passes: Box<dyn FnMut(usize, SocketAddr, Duration) -> bool>,
    sent: BTreeMap<SocketAddr, u32>,
    events: [Vec<(Duration, Event)>; 2],
}

impl Pair {
    fn new(passes: impl FnMut(usize, SocketAddr, Duration) -> bool + 'static) -> Self {
        let start = start();
        let agent = |side, tag| {
            let mut agent = Agent::new(tag, u64::from(tag));
            agent.add_key(Key::new(KeyName(1), side, &[1; KEY_LEN]));
            agent
        };
        Self {
            start,
            now: start,
            agents: [agent(Side::Dialer, 7), agent(Side::Acceptor, 8)],
            addrs: [addr("192.0.2.1:1000"), addr("198.51.100.2:2000")],
            in_flight: BTreeMap::new(),
            count: 0,
            passes: Box::new(passes),
            sent: BTreeMap::new(),
            events: [Vec::new(), Vec::new()],
        }
    }

    fn introduce(&mut self) {
        for i in 0..2 {
            let other = self.addrs[1 - i];
            self.agents[i].add_candidate(self.now, other);
        }
        self.drain();
    }

    fn drain(&mut self) {
        let elapsed = self.now - self.start;
        for i in 0..2 {
            while let Some(transmit) = self.agents[i].poll_transmit() {
                *self.sent.entry(transmit.to).or_default() += 1;
                if (self.passes)(i, transmit.to, elapsed) && transmit.to == self.addrs[1 - i] {
                    self.count += 1;
                    self.in_flight
                        .insert((self.now + ONE_WAY, self.count), (1 - i, self.addrs[i], transmit.bytes));
                }
            }
            while let Some(event) = self.agents[i].poll_event() {
                self.events[i].push((elapsed, event));
            }
        }
    }

    fn run(&mut self, for_ms: u64) {
        let end = self.now + Duration::from_millis(for_ms);
        loop {
            let timeout = self.agents.iter().filter_map(Agent::poll_timeout).min();
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let Some(next) = [timeout, arrival].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = next.max(self.now);
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, from, bytes) = entry.remove();
                self.agents[to].handle_datagram(self.now, Local::MAIN, from, &bytes);
            }
            for agent in &mut self.agents {
                agent.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    /// Both sides send a packet every 10 ms.
    fn run_busy(&mut self, for_ms: u64) {
        for _ in 0..for_ms / 10 {
            for agent in &mut self.agents {
                agent.handle_sent(self.now, 1200);
            }
            self.drain();
            self.run(10);
        }
    }

    fn routes(&self) -> [Route; 2] {
        [self.agents[0].route(), self.agents[1].route()]
    }

    fn direct(&self) -> [Route; 2] {
        [Route::Direct(main(self.addrs[1])), Route::Direct(main(self.addrs[0]))]
    }
}

#[test]
fn a_direct_path_is_used_one_round_trip_after_the_introduction() {
    let mut pair = Pair::new(|_, _, _| true);
    pair.introduce();
    pair.run(79);
    assert_eq!(pair.routes(), [Route::Relay; 2]);
    pair.run(1);
    assert_eq!(pair.routes(), pair.direct());
    let heard = Duration::from_millis(40);
    assert!(
        pair.events
            .iter()
            .all(|events| events.iter().any(|(at, e)| *at == heard && matches!(e, Event::Heard(_))))
    );
}

#[test]
fn a_filter_that_opens_with_the_first_outgoing_packet_costs_nothing() {
    // The first packet of agent 1 is lost in agent 0's NAT, as it would be if it came too early.
    let mut lost = 0;
    let mut pair = Pair::new(move |from, _, _| {
        lost += u32::from(from == 1);
        from != 1 || lost > 1
    });
    pair.introduce();
    pair.run(130);
    assert_eq!(pair.routes(), pair.direct());
}

#[test]
fn an_idle_pair_checks_every_fifteen_seconds() {
    let mut pair = Pair::new(|_, _, _| true);
    pair.introduce();
    pair.run(1_000);
    pair.sent.clear();
    pair.run(60_000);
    assert!(pair.sent.values().all(|sent| *sent <= 9), "{:?}", pair.sent);
    assert_eq!(pair.routes(), pair.direct());
}

#[test]
fn a_path_that_dies_under_load_is_doubled_then_left_and_taken_again() {
    let dead = 2_000..6_000;
    let mut pair = Pair::new(move |_, _, at| !dead.contains(&at.as_millis()));
    pair.introduce();
    pair.run_busy(1_990);
    assert_eq!(pair.routes(), pair.direct());
    pair.run_busy(200);
    assert!(
        pair.routes().iter().all(|route| matches!(route, Route::Both(_) | Route::Relay)),
        "{:?}",
        pair.routes()
    );
    pair.run_busy(300);
    assert_eq!(pair.routes(), [Route::Relay; 2]);
    pair.run_busy(5_500);
    assert_eq!(pair.routes(), pair.direct());
}

#[test]
fn a_peer_behind_a_rebound_nat_is_followed() {
    let mut pair = Pair::new(|_, _, _| true);
    pair.introduce();
    pair.run_busy(1_000);
    pair.addrs[0] = addr("192.0.2.1:1999");
    pair.run_busy(600);
    assert_eq!(pair.agents[1].route(), Route::Direct(main(pair.addrs[0])));
    assert_eq!(pair.agents[0].route(), Route::Direct(main(pair.addrs[1])));
}

#[test]
fn an_address_that_never_answers_gets_a_bounded_number_of_checks() {
    let mut pair = Pair::new(|_, _, _| false);
    pair.introduce();
    pair.run(3_600_000);
    assert_eq!(pair.sent.values().copied().collect::<Vec<_>>(), [path::MAX_UNANSWERED; 2]);
    assert_eq!(pair.agents[0].poll_timeout(), None);
}

#[test]
fn many_candidates_are_bounded_and_do_not_push_out_a_working_one() {
    let mut pair = Pair::new(|_, _, _| true);
    pair.introduce();
    pair.run(100);
    for port in 1..1000 {
        let junk = SocketAddr::from(([203, 0, 113, 9], port));
        pair.agents[0].add_candidate(pair.now, junk);
    }
    assert_eq!(pair.agents[0].remotes().count(), MAX_PATHS);
    pair.run(1_000);
    assert_eq!(pair.routes(), pair.direct());
}

#[test]
fn a_local_path_is_preferred_to_a_public_one() {
    let mut agent = Agent::new(1, 1);
    let mut peer = Agent::new(2, 2);
    agent.add_key(Key::new(KeyName(1), Side::Dialer, &[1; KEY_LEN]));
    peer.add_key(Key::new(KeyName(1), Side::Acceptor, &[1; KEY_LEN]));
    let now = start();
    let (public, lan) = (addr("198.51.100.2:2000"), addr("192.168.1.2:2000"));
    agent.add_candidate(now, public);
    agent.add_candidate(now, lan);
    let mut answer = |agent: &mut Agent, now| {
        while let Some(request) = agent.poll_transmit() {
            peer.handle_datagram(now, Local::MAIN, addr("192.0.2.1:1"), &request.bytes);
            let response = std::iter::from_fn(|| peer.poll_transmit()).find(|t| t.bytes[0] == 1).unwrap();
            agent.handle_datagram(now, Local::MAIN, request.to, &response.bytes);
        }
    };
    answer(&mut agent, now + Duration::from_millis(5));
    assert_eq!(agent.route(), Route::Direct(main(lan)));
}

#[test]
fn a_wrong_key_or_a_stranger_changes_nothing() {
    let mut agent = Agent::new(1, 1);
    let now = start();
    agent.add_key(Key::new(KeyName(1), Side::Dialer, &[1; KEY_LEN]));
    let forged = Key::new(KeyName(1), Side::Acceptor, &[2; KEY_LEN]);
    let request = check::request(&forged, [0; 12], Size::Bare);
    assert!(!agent.handle_datagram(now, Local::MAIN, addr("203.0.113.5:5"), &request));
    assert_eq!((agent.poll_transmit(), agent.poll_event()), (None, None));
    assert_eq!(agent.remotes().count(), 0);
}

#[test]
fn victims_addresses_are_not_checked() {
    for text in ["224.0.0.1:5", "255.255.255.255:5", "0.0.0.0:5", "192.0.2.1:0", "127.0.0.1:5", "[ff02::1]:5"]
    {
        assert!(!may_check(addr(text), false), "{text}");
    }
    assert!(may_check(addr("127.0.0.1:5"), true));
    assert!(may_check(addr("192.168.0.7:5"), false));
}

#[test]
fn addresses_of_others_are_not_flooded_however_many_are_named() {
    let mut pair = Pair::new(|_, _, _| false);
    for round in 0..100u16 {
        for port in 1..50 {
            let victim = SocketAddr::from(([203, 0, 113, 9], round * 50 + port));
            pair.agents[0].add_candidate(pair.now, victim);
        }
        pair.drain();
        pair.run(100);
    }
    let total: u32 = pair.sent.values().sum();
    let allowed = UNPROVEN_BURST + 10_000 / u32::try_from(UNPROVEN_INTERVAL.as_millis()).unwrap();
    assert!(total <= allowed + 1, "{total} checks, {allowed} allowed");
}

#[test]
fn a_ping_and_its_acknowledgement_are_no_conversation() {
    let mut pair = Pair::new(|_, _, _| true);
    pair.introduce();
    pair.run(1_000);
    let sent = |pair: &mut Pair, packets, len| {
        pair.sent.clear();
        for _ in 0..packets {
            pair.agents[0].handle_sent(pair.now, len);
            pair.drain();
            pair.run(20);
        }
        pair.run(1_000);
        pair.sent.values().sum::<u32>()
    };
    assert_eq!(sent(&mut pair, 3, 40), 0);
    assert!(sent(&mut pair, 10, 40) > 4, "acknowledgements of a transfer");
    assert!(sent(&mut pair, 1, 120) > 0, "a message");
}

#[test]
fn junk_does_not_delay_the_good_candidate() {
    let when = |junk: u16, is_first: bool| {
        // The peer begins late, when the junk has used up what may be sent to strangers.
        let mut pair = Pair::new(|_, _, _| true);
        let name = |pair: &mut Pair| {
            for port in 1..=junk {
                let addr = SocketAddr::from(([203, 0, 113, 9], port));
                pair.agents[0].add_candidate(pair.now, addr);
            }
        };
        let good = pair.addrs[1];
        if is_first {
            name(&mut pair);
        }
        pair.agents[0].add_candidate(pair.now, good);
        if !is_first {
            name(&mut pair);
        }
        pair.drain();
        pair.run(1_000);
        let back = pair.addrs[0];
        pair.agents[1].add_candidate(pair.now, back);
        pair.drain();
        pair.run(3_000);
        let direct = pair.direct();
        assert_eq!(pair.routes(), direct);
        let routed = |events: &[(Duration, Event)]| {
            events.iter().find(|(_, event)| matches!(event, Event::Routed(_))).map(|(at, _)| *at)
        };
        pair.events.each_ref().map(|events| routed(events))
    };
    assert_eq!(when(64, true), when(0, true));
    assert_eq!(when(64, false), when(0, true));
}

#[test]
fn two_sides_that_put_a_path_to_rest_do_not_wake_each_other_for_ever() {
    let now = start();
    let mut path = Path::new(now, main(addr("192.0.2.1:1000")), Duration::from_secs(30));
    assert!(path.take_due(now, None).is_some());
    path.rest(now);
    let soon = now + Duration::from_millis(80);
    path.trigger(soon);
    assert!(path.take_due(soon, None).is_none(), "the peer's last check before it rests as well");
    let later = now + Duration::from_secs(10);
    path.trigger(later);
    assert!(path.take_due(later, None).is_some(), "the peer takes it up again");
}
