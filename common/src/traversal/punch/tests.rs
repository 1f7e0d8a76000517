//! Bounds of what an agent does for a peer that it has only heard of. How well the methods work is tested over the NAT
//! model, in the crate `tests`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::nat::{Allocation, Mapping, PortRange};
use super::super::{Agent, Event, Local, MAX_MAPPINGS, PUNCH_BURST, PUNCH_INTERVAL, Transmit};
use super::*;
use crate::stun::check::{self, KEY_LEN, Key, KeyName, Side, Size};

const EASY: Nat = Nat::new(Mapping::Independent, Allocation::Unknown);
const RANDOM: Nat = Nat::new(Mapping::PortDependent, Allocation::Random(PortRange::ALL));
const COUNTER: Nat = Nat::new(Mapping::PortDependent, Allocation::Sequential { step: 1 });

#[expect(clippy::disallowed_methods, reason = "an instant to start from is all that is read")]
fn start() -> Instant {
    Instant::now()
}

fn key(side: Side) -> Key {
    Key::new(KeyName(1), side, &[1; KEY_LEN])
}

fn peer(port: u16) -> SocketAddr {
    ([198, 51, 100, 2], port).into()
}

/// An agent that was told of a peer which never answers.
struct Lonely {
    agent: Agent,
    now: Instant,
    sent: Vec<Transmit>,
    released: BTreeSet<Local>,
}

impl Lonely {
    fn new(mine: Nat, theirs: Nat) -> Self {
        let now = start();
        let mut agent = Agent::new(1, 1);
        agent.add_key(key(Side::Dialer));
        agent.set_nat(now, mine, &["203.0.113.1:5001".parse().unwrap()]);
        agent.introduce(now, peer(4000));
        agent.handle_connected(now, Duration::from_millis(25));
        agent.handle_signal(now, &Signal::Nat(theirs));
        let mut lonely = Self { agent, now, sent: Vec::new(), released: BTreeSet::new() };
        lonely.drain();
        lonely
    }

    fn drain(&mut self) {
        self.sent.extend(std::iter::from_fn(|| self.agent.poll_transmit()));
        while let Some(event) = self.agent.poll_event() {
            if let Event::Released(local) = event {
                self.released.insert(local);
            }
        }
    }

    /// Lets time pass; whenever the agent wants a turn it gets one, if `turns` says so.
    fn run(&mut self, time: Duration, turns: Turns) {
        let end = self.now + time;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now || self.sent.len() < 100_000, "a timer that never rests");
            self.now = self.now.max(at);
            if turns == Turns::Granted && self.agent.wants_turn().is_some() {
                self.agent.grant_turn(self.now);
            }
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Checks without padding to the peer's address, by port.
    fn guesses(&self) -> BTreeMap<u16, u32> {
        let mut ports = BTreeMap::new();
        let is_guess = |t: &&Transmit| t.to.ip() == peer(1).ip() && t.bytes.len() < check::PADDED_LEN;
        for transmit in self.sent.iter().filter(is_guess) {
            *ports.entry(transmit.to.port()).or_default() += 1;
        }
        ports
    }

    fn extra_sockets(&self) -> BTreeSet<Local> {
        self.sent.iter().map(|t| t.local).filter(|local| *local != Local::MAIN).collect()
    }

    fn aim(&mut self, ports: Vec<u16>, range: Option<PortRange>) {
        self.agent.handle_signal(self.now, &Signal::Aim(Aim { ports, range }));
        self.drain();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    Granted,
    Denied,
}

#[test]
fn no_port_is_guessed_twice_in_one_try_and_the_rate_is_kept() {
    let mut lonely = Lonely::new(EASY, RANDOM);
    lonely.aim(Vec::new(), Some(PortRange::ALL));
    lonely.run(Duration::from_secs(1), Turns::Granted);
    let in_a_second = lonely.guesses().len();
    assert!((680..=707).contains(&in_a_second), "{in_a_second}");
    lonely.run(Duration::from_secs(9), Turns::Granted);
    let guesses = lonely.guesses();
    assert!(guesses.values().all(|count| *count == 1));
    assert_eq!(guesses.len(), 2150);
}

#[test]
fn whoever_is_heard_ends_the_guessing_at_once() {
    let mut lonely = Lonely::new(EASY, RANDOM);
    lonely.aim(Vec::new(), Some(PortRange::ALL));
    lonely.run(Duration::from_millis(500), Turns::Granted);
    let before = lonely.guesses().len();
    let request = check::request(&key(Side::Acceptor), [9; 12], Size::Padded);
    assert!(lonely.agent.handle_datagram(lonely.now, Local::MAIN, peer(50_000), &request));
    lonely.drain();
    lonely.sent.retain(|transmit| transmit.bytes[..2] == [0, 1]);
    lonely.run(Duration::from_secs(1), Turns::Granted);
    assert_eq!(lonely.guesses().len(), before);
}

#[test]
fn the_first_hit_closes_all_other_sockets() {
    let mut lonely = Lonely::new(RANDOM, EASY);
    lonely.run(Duration::from_secs(1), Turns::Granted);
    let open = lonely.extra_sockets();
    assert_eq!((open.len(), lonely.released.len()), (MAX_MAPPINGS as usize, 0));
    let hit = *open.iter().nth(77).unwrap();
    let request = check::request(&key(Side::Acceptor), [9; 12], Size::Bare);
    assert!(lonely.agent.handle_datagram(lonely.now, hit, peer(4000), &request));
    lonely.drain();
    assert_eq!(lonely.released.len(), open.len() - 1);
    assert!(!lonely.released.contains(&hit));
    let closed = *lonely.released.first().unwrap();
    assert!(!lonely.agent.handle_datagram(lonely.now, closed, peer(4000), &request), "it is closed");
}

#[test]
fn many_packets_wait_for_their_turn() {
    for (mine, theirs) in [(RANDOM, EASY), (EASY, RANDOM)] {
        let mut lonely = Lonely::new(mine, theirs);
        lonely.aim(Vec::new(), Some(PortRange::ALL));
        lonely.run(Duration::from_secs(60), Turns::Denied);
        assert!(lonely.guesses().is_empty() && lonely.extra_sockets().is_empty());
        lonely.run(Duration::from_secs(1), Turns::Granted);
        assert!(!lonely.guesses().is_empty());
    }
}

/// Ten minutes of a peer that names its ports again and again, and of tries that find nobody.
#[test]
fn what_is_sent_to_somebody_who_never_answers_is_bounded() {
    for (mine, theirs) in [(EASY, RANDOM), (RANDOM, EASY), (COUNTER, COUNTER), (COUNTER, EASY)] {
        let mut lonely = Lonely::new(mine, theirs);
        for round in 0..1200u32 {
            lonely
                .aim(vec![u16::try_from(round).unwrap() + 1; 16], (round % 3 == 0).then_some(PortRange::ALL));
            let counter = Counter { round: 2 * round, port: 5000 };
            lonely.agent.handle_signal(lonely.now, &Signal::Counter(counter));
            lonely.run(Duration::from_millis(500), Turns::Granted);
        }
        let allowed = PUNCH_BURST + 600_000 / u32::try_from(PUNCH_INTERVAL.as_millis()).unwrap();
        let sent: u32 = lonely.guesses().values().sum();
        assert!(sent <= allowed, "{sent} packets, {allowed} allowed");
        let open = lonely.extra_sockets().len() - lonely.released.len();
        assert!(open <= MAX_MAPPINGS as usize, "{open} sockets are open");
    }
}

#[test]
fn without_wishes_of_the_peer_tries_become_rare() {
    let mut lonely = Lonely::new(RANDOM, EASY);
    lonely.run(Duration::from_secs(3600), Turns::Granted);
    // Two at once, then after 150 s, 300 s and so on.
    let tries = lonely.extra_sockets().len() / MAX_MAPPINGS as usize;
    assert!((3..=7).contains(&tries), "{tries}");
}
