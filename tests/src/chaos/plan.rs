//! What happens in one world, drawn from one seed.

use std::time::Duration;

use client::store::Point;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::nat::Profile;
use crate::simnet::Link;
use crate::world::Access;

/// How long things go wrong, in virtual seconds.
const TROUBLE_SECS: std::ops::Range<u64> = 60..240;
/// How many things are done or go wrong in that time.
const STEPS: std::ops::Range<usize> = 20..70;
/// How often a disk is full, in a crowd.
const FULL_DISKS: std::ops::Range<usize> = 1..6;
/// The longest absence of anything, in virtual seconds.
const MAX_ABSENCE_SECS: f64 = 90.0;
/// Longest text, in bytes: several packets.
const MAX_TEXT: usize = 8_000;

/// Seeds from here on are of worlds whose people are all in one room.
pub const ROOMS: u64 = 1 << 32;
/// Seeds from here on are of more people, in a room if the seed is even, whose disks get full.
pub const CROWDS: u64 = 2 * ROOMS;

/// One world and its fate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all of it comes from.
    pub seed: u64,
    /// Two or three homes, of which the first talks to each of the others; or three to five in a room; in a crowd up to eight.
    pub homes: Vec<HomePlan>,
    /// Whether they are all in one room.
    pub is_room: bool,
    /// Links that are not perfect.
    pub links: Vec<LinkPlan>,
    /// Whether trouble begins before the people have met.
    pub early: bool,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
    /// When everything heals, counted from the beginning as the steps are.
    pub end: Duration,
}

/// A home.
#[derive(Debug, Clone)]
pub struct HomePlan {
    /// How it is connected.
    pub access: Access,
    /// Whether its wall clock is ten years slow, right or ten years fast: -1, 0 or 1.
    pub clock: i8,
}

/// One direction of a link of the core; the end of the list of homes stands for the server.
#[derive(Debug, Clone, Copy)]
pub struct LinkPlan {
    /// From which home.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// How it is.
    pub link: Link,
}

/// Something that happens at some time.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Counted from the beginning.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What can happen. Homes are numbered; what makes no sense at the time (killing who is dead) does nothing.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// Messages are written, one after the other.
    Say {
        /// By whom.
        who: usize,
        /// To whom.
        to: usize,
        /// How many.
        count: usize,
        /// How long each of them is at least.
        len: usize,
    },
    /// A message is written and the client killed while it is being committed.
    SayAndKill {
        /// By whom.
        who: usize,
        /// To whom.
        to: usize,
        /// Turns that the client gets after the call and before its end.
        turns: usize,
    },
    /// Somebody sets the room's topic.
    Topic(usize),
    /// Somebody puts a sign beside the last message that is there.
    React(usize),
    /// The client dies when its store comes to this point, whenever that is.
    Die {
        /// Whose.
        who: usize,
        /// Where.
        point: Point,
        /// How many times the point is passed before.
        passes: usize,
        /// When it is started again, counted from its death.
        absence: Duration,
    },
    /// The client is killed.
    Kill(usize),
    /// The client is ended in good order.
    Leave(usize),
    /// The client is started.
    Start(usize),
    /// The server is killed.
    KillServer,
    /// The server is started.
    StartServer,
    /// A NAT of the home forgets its mappings.
    Rebind {
        /// Whose.
        who: usize,
        /// Which of its NATs.
        nat: usize,
    },
    /// The home gets another public address.
    MoveHome(usize),
    /// The machine gets another address in its own network.
    MoveHost(usize),
    /// No packets between two homes.
    CutPair(usize, usize),
    /// Packets again.
    HealPair(usize, usize),
    /// The machine is off the network.
    Cut(usize),
    /// And on it again.
    Heal(usize),
    /// No UDP through the home's NAT.
    BlockUdp(usize),
    /// UDP again.
    AllowUdp(usize),
    /// The home's disk has no room.
    FillDisk(usize),
    /// It has room again.
    EmptyDisk(usize),
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_crowd = seed >= CROWDS;
        let is_room = if is_crowd { seed.is_multiple_of(2) } else { seed >= ROOMS };
        let count = match (is_crowd, is_room) {
            (true, _) => rng.random_range(4..=8),
            (false, true) => rng.random_range(3..=5),
            (false, false) if rng.random_bool(0.2) => 3,
            (false, false) => 2,
        };
        let homes = (0..count).map(|_| home(&mut rng)).collect();
        let links = links(&mut rng, count);
        // Of three, the lobby could pair the two that do not talk.
        let early = rng.random_bool(0.15) && count == 2;
        let span = Duration::from_secs(rng.random_range(TROUBLE_SECS));
        let mut draft = Draft { rng, count, is_room, span, steps: Vec::new() };
        for _ in 0..draft.rng.random_range(STEPS) {
            draft.step();
        }
        if is_room {
            draft.never_together();
        }
        if is_crowd {
            draft.full_disks();
        }
        let mut steps = draft.steps;
        steps.sort_by_key(|step| step.at);
        let end = steps.last().map_or(span, |step| step.at.max(span));
        Self { seed, homes, is_room, links, early, steps, end }
    }

    /// The pairs that talk.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        (1..self.homes.len()).map(|other| (0, other))
    }
}

fn home(rng: &mut StdRng) -> HomePlan {
    let access = if rng.random_bool(0.8) {
        let easy = Access::easy();
        easy[rng.random_range(0..easy.len())].1.clone()
    } else {
        let hard = [Profile::symmetric_random(), Profile::symmetric_sequential(), Profile::adm_apdf()];
        Access::Nat(hard[rng.random_range(0..hard.len())])
    };
    HomePlan { access, clock: rng.random_range(-1..=1) }
}

fn links(rng: &mut StdRng, homes: usize) -> Vec<LinkPlan> {
    let mut links = Vec::new();
    let is_bad_world = rng.random_bool(0.7);
    for from in 0..=homes {
        for to in (0..=homes).filter(|to| *to != from) {
            links.push(LinkPlan { from, to, link: link(rng, is_bad_world) });
        }
    }
    links
}

fn link(rng: &mut StdRng, is_bad: bool) -> Link {
    let link = Link::new(Duration::from_millis(rng.random_range(3..120)));
    if !is_bad {
        return link;
    }
    let link = link
        .lossy(rng.random_range(0.0..0.1))
        .duplicating(rng.random_range(0.0..0.05))
        .jittery(Duration::from_millis(rng.random_range(0..40)));
    if rng.random_bool(0.2) {
        link.limited(rng.random_range(8_000..200_000), rng.random_range(8_000..100_000))
    } else {
        link
    }
}

/// A plan that is being made.
struct Draft {
    rng: StdRng,
    count: usize,
    is_room: bool,
    span: Duration,
    steps: Vec<Step>,
}

impl Draft {
    fn moment(&mut self) -> Duration {
        self.span.mul_f64(self.rng.random())
    }

    /// Mostly short, at times long: each power of two is as likely as the next.
    fn absence(&mut self) -> Duration {
        Duration::from_secs_f64(MAX_ABSENCE_SECS / 2f64.powf(self.rng.random_range(0.0..9.0)))
    }

    fn who(&mut self) -> usize {
        self.rng.random_range(0..self.count)
    }

    /// Two that talk to each other, in either order.
    fn pair(&mut self) -> (usize, usize) {
        let other = self.rng.random_range(1..self.count);
        if self.is_room {
            let one = self.rng.random_range(0..other);
            return if self.rng.random() { (one, other) } else { (other, one) };
        }
        if self.rng.random() { (0, other) } else { (other, 0) }
    }

    fn add(&mut self, at: Duration, action: Action) {
        self.steps.push(Step { at, action });
    }

    fn for_a_while(&mut self, begin: Action, end: Action) {
        let (at, absence) = (self.moment(), self.absence());
        self.add(at, begin);
        self.add(at + absence, end);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..48 => self.say(),
            48..56 => self.say_and_kill(),
            56..64 => self.die(),
            64..72 => self.kill(),
            72..75 => {
                let who = self.who();
                self.for_a_while(Action::Leave(who), Action::Start(who));
            }
            75..79 => self.for_a_while(Action::KillServer, Action::StartServer),
            79..85 => {
                let (at, who, nat) = (self.moment(), self.who(), self.rng.random_range(0..2));
                self.add(at, Action::Rebind { who, nat });
            }
            85..88 => {
                let (at, who) = (self.moment(), self.who());
                self.add(at, Action::MoveHome(who));
            }
            88..91 => {
                let (at, who) = (self.moment(), self.who());
                self.add(at, Action::MoveHost(who));
            }
            91..95 => {
                let (a, b) = self.pair();
                self.for_a_while(Action::CutPair(a, b), Action::HealPair(a, b));
            }
            95..98 => {
                let who = self.who();
                self.for_a_while(Action::BlockUdp(who), Action::AllowUdp(who));
            }
            _ => {
                let who = self.who();
                self.for_a_while(Action::Cut(who), Action::Heal(who));
            }
        }
    }

    /// Two are away in turn: what one of them writes the other gets from somebody else, if at all before the end.
    fn never_together(&mut self) {
        let turns = self.rng.random_range(1..4_u32);
        let (one, other) = (self.count - 1, self.count - 2);
        for turn in 0..turns {
            let (here, away) = if turn % 2 == 0 { (one, other) } else { (other, one) };
            let at = self.span * turn / turns;
            self.add(at, Action::Leave(away));
            self.add(at, Action::Start(here));
        }
    }

    fn full_disks(&mut self) {
        for _ in 0..self.rng.random_range(FULL_DISKS) {
            let who = self.who();
            self.for_a_while(Action::FillDisk(who), Action::EmptyDisk(who));
        }
    }

    fn say(&mut self) {
        if self.is_room && self.rng.random_bool(0.2) {
            let (at, who) = (self.moment(), self.who());
            let change = if self.rng.random() { Action::Topic(who) } else { Action::React(who) };
            self.add(at, change);
        }
        let (at, (who, to)) = (self.moment(), self.pair());
        let count = if self.rng.random_bool(0.2) { self.rng.random_range(2..12) } else { 1 };
        let len = if self.rng.random_bool(0.2) { self.rng.random_range(0..MAX_TEXT) } else { 0 };
        self.add(at, Action::Say { who, to, count, len });
        // Somebody answers at the same moment, or nearly.
        if self.rng.random_bool(0.3) {
            let later = Duration::from_millis(self.rng.random_range(0..300));
            self.add(at + later, Action::Say { who: to, to: who, count: 1, len: 0 });
        }
    }

    fn say_and_kill(&mut self) {
        let (at, (who, to), turns) = (self.moment(), self.pair(), self.rng.random_range(0..6));
        self.add(at, Action::SayAndKill { who, to, turns });
        let absence = self.absence();
        self.add(at + absence, Action::Start(who));
    }

    fn die(&mut self) {
        let (at, (who, to), passes) = (self.moment(), self.pair(), self.rng.random_range(0..4));
        let point = Point::ALL[self.rng.random_range(0..Point::ALL.len())];
        let absence = self.absence();
        self.add(at, Action::Die { who, point, passes, absence });
        // So that there is something to die of.
        self.add(at, Action::Say { who, to, count: 1, len: 0 });
        self.add(at, Action::Say { who: to, to: who, count: 2, len: 0 });
    }

    fn kill(&mut self) {
        let (at, who) = (self.moment(), self.who());
        self.add(at, Action::Kill(who));
        let absence = self.absence();
        self.add(at + absence, Action::Start(who));
        if self.rng.random_bool(0.3) {
            for other in (0..self.count).filter(|other| *other != who) {
                let later = Duration::from_millis(self.rng.random_range(0..200));
                self.add(at + later, Action::Kill(other));
                let absence = self.absence();
                self.add(at + absence, Action::Start(other));
            }
        }
    }
}
