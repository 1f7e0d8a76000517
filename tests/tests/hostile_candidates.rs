//! A bad peer or a lying server names addresses: how many packets go to those that never answered, counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::stun::check::{self, KEY_LEN, Key, KeyName, Side, Size};
use common::traversal::signal::Aim;
use common::traversal::{
    Agent, Local, MAX_PATHS, Route, Signal, UNPROVEN_BURST, UNPROVEN_INTERVAL, may_check,
};
use common::traversal::{PUNCH_BURST, PUNCH_INTERVAL};

/// Checks to one address that never answers, in a row (`docs/protocol.md` §5).
const MAX_CHECKS: u32 = 24;

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn start() -> Instant {
    Instant::now()
}

fn key(side: Side) -> Key {
    Key::new(KeyName(1), side, &[1; KEY_LEN])
}

/// An agent that talks to nobody, and what it has sent to whom.
struct Victimless {
    agent: Agent,
    begin: Instant,
    now: Instant,
    sent: BTreeMap<SocketAddr, u32>,
}

impl Victimless {
    fn new() -> Self {
        let mut agent = Agent::new(1, 1);
        agent.add_key(key(Side::Dialer));
        let now = start();
        Self { agent, begin: now, now, sent: BTreeMap::new() }
    }

    /// What the multiplexer does with an address that somebody names.
    fn name(&mut self, addr: SocketAddr) {
        if may_check(addr, false) {
            self.agent.add_candidate(self.now, addr);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some(transmit) = self.agent.poll_transmit() {
                *self.sent.entry(transmit.to).or_default() += 1;
            }
            let Some(next) = self.agent.poll_timeout().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.agent.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn total(&self) -> u32 {
        self.sent.values().sum()
    }

    /// What may go to addresses that have not answered, all together.
    fn allowance(&self, (burst, interval): (u32, Duration)) -> u32 {
        let passed = (self.now - self.begin).as_millis() / interval.as_millis();
        burst + u32::try_from(passed).expect("not for ever") + 1
    }
}

#[test]
fn ten_thousand_candidates() {
    let mut victimless = Victimless::new();
    for n in 0..10_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        victimless.name(SocketAddr::from(([203, a, b, c], 9)));
        if n.is_multiple_of(100) {
            victimless.run(Duration::from_millis(200));
        }
    }
    victimless.run(Duration::from_secs(3_600));
    let most = victimless.sent.values().max().copied().unwrap_or(0);
    assert!(most <= MAX_CHECKS, "{most} to one address");
    let allowed = victimless.allowance((UNPROVEN_BURST, UNPROVEN_INTERVAL));
    assert!(victimless.total() <= allowed, "{} of {allowed}", victimless.total());
    assert!(victimless.agent.remotes().count() <= MAX_PATHS);
}

#[test]
fn many_ports_of_one_victim() {
    let mut victimless = Victimless::new();
    for port in 1..=10_000u16 {
        victimless.name(SocketAddr::from(([203, 0, 113, 9], port)));
        victimless.run(Duration::from_millis(20));
    }
    let allowed = victimless.allowance((UNPROVEN_BURST, UNPROVEN_INTERVAL));
    assert!(victimless.total() <= allowed, "{} of {allowed}", victimless.total());
}

#[test]
fn loopback_multicast_and_what_is_no_machine() {
    let mut victimless = Victimless::new();
    for text in [
        "127.0.0.1:80",
        "[::1]:80",
        "224.0.0.251:5353",
        "[ff02::fb]:5353",
        "255.255.255.255:9",
        "0.0.0.0:9",
        "[::]:9",
        "192.0.2.1:0",
    ] {
        victimless.name(text.parse().expect("an address"));
    }
    victimless.run(Duration::from_secs(60));
    assert_eq!(victimless.sent, BTreeMap::new());
}

/// Somebody who has the key sends requests that seem to come from a victim: it gets no more than one answer and one check
/// for each.
#[test]
fn forged_sources_get_no_more_than_was_sent() {
    let mut victimless = Victimless::new();
    let victim: SocketAddr = "203.0.113.9:9".parse().expect("an address");
    let mut requests = 0;
    for n in 0..2_000u32 {
        let mut id = [0; 12];
        id[8..].copy_from_slice(&n.to_be_bytes());
        let request = check::request(&key(Side::Acceptor), id, Size::Bare);
        victimless.agent.handle_datagram(victimless.now, Local::MAIN, victim, &request);
        requests += 1;
        victimless.run(Duration::from_millis(10));
    }
    victimless.run(Duration::from_secs(600));
    assert!(victimless.total() <= 2 * requests + MAX_CHECKS, "{} for {requests}", victimless.total());
    assert_eq!(victimless.agent.route(), Route::Relay);
}

/// Wishes of the peer for checks at ports, with a server that lies about where the peer is.
#[test]
fn wishes_for_checks_are_bounded_together() {
    let mut victimless = Victimless::new();
    victimless.agent.introduce(victimless.now, "203.0.113.9:9".parse().expect("an address"));
    victimless.agent.handle_connected(victimless.now, Duration::from_millis(25));
    for round in 0..10_000u16 {
        let ports = (0..16).map(|n| round.wrapping_mul(16).wrapping_add(n)).collect();
        victimless.agent.handle_signal(victimless.now, &Signal::Aim(Aim { ports, range: None }));
        victimless.run(Duration::from_millis(20));
    }
    let allowed = victimless.allowance((PUNCH_BURST, PUNCH_INTERVAL)) + MAX_CHECKS;
    assert!(victimless.total() <= allowed, "{} of {allowed}", victimless.total());
}
