//! The room: peers, the streams between them, and the steps that can come next.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::part::{Bytes, Grid, Part};
use super::peer::{Book, Disk, End, Set, members};
use super::search::{ANY, Bounds};
use crate::log::wire::HeadsHash;

/// A frame on its way. Sets of ids are sets of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    Message(u8),
    Want(Set),
    Summary(HeadsHash),
    Have(Set),
}

/// What can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Somebody writes a message.
    Write(u8),
    /// What is on its way from one to another arrives: everything that came together is one commit.
    Arrive(usize, usize),
    /// The same, and the receiver dies after the commit, before anybody hears of it.
    ArriveAndCrash(usize, usize),
    /// The same, and the stream breaks after the commit.
    ArriveAndCut(usize, usize),
    /// One whose streams have been quiet for a while tells the others what the room comes to.
    Tell(usize),
    /// All has been quiet for longer, and one whose new messages wait for another's word says once more what the room comes to.
    Remind(usize, usize),
    /// One dies, with what it has not written to its disk and what is on its way to and from it.
    Crash(usize),
    /// It comes back.
    Restart(usize),
    /// The stream between two breaks, with what is on its way.
    Cut(usize, usize),
    /// And is there again.
    Heal(usize, usize),
}

/// How many crashes, cuts, steps among others and overtakings may still be.
pub(super) type Left = [u8; 4];

/// Whether the sender hears that what it sent was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    No,
}

/// A rule that is broken on purpose, to see that it is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// None.
    None,
    /// What is acknowledged is written to the disk later.
    AcksEarly,
    /// Nobody asks for what it lacks.
    NeverAsks,
    /// Who comes back sends nothing of its outbox.
    ForgetsOutbox,
    /// What somebody else hands on counts as delivered.
    TrustsOthers,
    /// What comes before its parents is acknowledged and dropped.
    DropsEarly,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) book: Book,
    /// What may still happen.
    pub(super) bounds: Bounds,
    pub(super) fault: Fault,
    pub(super) disks: Vec<Part<Disk>>,
    pub(super) is_up: Vec<bool>,
    /// What fell among what is under way.
    among: u8,
    /// How often something overtook something else that is under way.
    overtaken: u8,
    /// Streams that are cut.
    pub(super) cut: Option<(usize, usize)>,
    /// Ends by owner and other side.
    pub(super) ends: Grid<Option<Part<End>>>,
    /// Frames by sender and receiver.
    pub(super) queues: Grid<Part<Vec<Frame>>>,
    /// What of all that is under way can come next; follows from the rest.
    moves: Vec<Step>,
}

impl World {
    /// So many peers, all connected.
    pub(super) fn new(count: usize, bounds: Bounds, fault: Fault) -> Self {
        let disk = Disk { outbox: vec![0; count], ..Disk::default() };
        let mut world = Self {
            book: Book::default(),
            bounds,
            fault,
            disks: (0..count).map(|_| Part::new(disk.clone())).collect(),
            is_up: vec![true; count],
            among: 0,
            overtaken: 0,
            cut: None,
            ends: Grid::new(count, None),
            queues: Grid::new(count, Part::default()),
            moves: Vec::new(),
        };
        for a in 0..count {
            for b in a + 1..count {
                world.connect(a, b);
            }
        }
        // They know each other for a while.
        world.moves = world.under_way();
        while let Some(step) = world.moves.first() {
            world.take(*step);
        }
        world
    }

    /// A number that is the same for the same state, and hardly ever for another; whatever may still happen.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = Bytes::default();
        self.book.0.iter().for_each(|message| message.id().hash(&mut hasher));
        let Self { disks, is_up, cut, ends, queues, .. } = self;
        (disks, is_up, cut, ends, queues).hash(&mut hasher);
        hasher.finish()
    }

    /// How much may still happen.
    pub(super) fn left(&self) -> Left {
        let Bounds { crashes, cuts, among, overtaken, .. } = self.bounds;
        [crashes, cuts, among - self.among, overtaken - self.overtaken]
    }

    /// All that can come next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = self.moves.clone();
        if self.overtaken == self.bounds.overtaken {
            steps.truncate(1);
        }
        if !steps.is_empty() && self.among == self.bounds.among {
            return steps;
        }
        let first: Vec<_> = steps
            .iter()
            .filter_map(|step| if let Step::Arrive(from, to) = *step { Some((from, to)) } else { None })
            .collect();
        let peers = 0..self.disks.len();
        steps.extend(self.authors().filter(|author| self.is_up[usize::from(*author)]).map(Step::Write));
        steps.extend(peers.clone().filter(|peer| !self.is_up[*peer]).map(Step::Restart));
        if self.bounds.crashes > 0 {
            steps.extend(peers.clone().filter(|peer| self.is_up[*peer]).map(Step::Crash));
            steps.extend(first.iter().map(|(from, to)| Step::ArriveAndCrash(*from, *to)));
        }
        match self.cut {
            Some((a, b)) => steps.push(Step::Heal(a, b)),
            None if self.bounds.cuts > 0 => {
                let pairs = peers.clone().flat_map(|a| (a + 1..peers.end).map(move |b| (a, b)));
                steps.extend(pairs.map(|(a, b)| Step::Cut(a, b)));
                steps.extend(first.iter().map(|(from, to)| Step::ArriveAndCut(*from, *to)));
            }
            None => {}
        }
        steps
    }

    /// Steps of what is under way: all that arrives; those who tell of news when nothing else happens to them; those who wait
    /// when nothing else happens.
    fn under_way(&self) -> Vec<Step> {
        let arrivals = self.queues.pairs(|queue| !queue.is_empty());
        let news = self.ends.pairs(|end| end.as_ref().is_some_and(|end| end.has_news));
        let is_quiet = |peer| !arrivals.iter().any(|(from, to)| [*from, *to].contains(&peer));
        let mut tellers: Vec<_> = news.into_iter().map(|(peer, _)| peer).collect();
        tellers.dedup();
        tellers.retain(|peer| is_quiet(*peer));
        let arrivals = arrivals.into_iter().map(|(from, to)| Step::Arrive(from, to));
        let moves: Vec<_> = arrivals.chain(tellers.into_iter().map(Step::Tell)).collect();
        if !moves.is_empty() {
            return moves;
        }
        let waits = |end: &Option<Part<End>>| end.as_ref().is_some_and(|end| end.syncing.is_held_back());
        self.ends.pairs(waits).into_iter().map(|(a, b)| Step::Remind(a, b)).collect()
    }

    /// Who may write next: all who have, and one who has not. What the others are called makes no difference.
    fn authors(&self) -> Range<u8> {
        if self.book.0.len() == usize::from(self.bounds.messages) {
            return 0..0;
        }
        let known = self.book.authors();
        0..u8::try_from(self.disks.len()).expect("a small room").min(known + 1)
    }

    pub(super) fn take(&mut self, step: Step) {
        let is_move = self.moves.contains(&step);
        if is_move && self.bounds.overtaken != ANY {
            self.overtaken += u8::from(self.moves[0] != step);
        }
        if !is_move && self.bounds.among != ANY {
            self.among += 1;
        }
        self.carry_out(step);
        self.moves = self.under_way();
        if self.moves.is_empty() {
            (self.among, self.overtaken) = (0, 0);
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Write(author) => self.write(author),
            Step::Arrive(from, to) => self.arrive(from, to, Heard::Yes),
            Step::ArriveAndCrash(from, to) => {
                self.arrive(from, to, Heard::No);
                self.carry_out(Step::Crash(to));
            }
            Step::ArriveAndCut(from, to) => {
                self.arrive(from, to, Heard::No);
                self.carry_out(Step::Cut(from.min(to), from.max(to)));
            }
            Step::Tell(peer) => (0..self.disks.len()).for_each(|other| self.tell(peer, other)),
            Step::Remind(from, to) => self.remind(from, to),
            Step::Crash(peer) => {
                self.bounds.crashes -= 1;
                self.is_up[peer] = false;
                (0..self.disks.len()).for_each(|other| self.disconnect(peer, other));
            }
            Step::Restart(peer) => {
                self.is_up[peer] = true;
                (0..self.disks.len()).for_each(|other| self.connect(peer, other));
            }
            Step::Cut(a, b) => {
                self.bounds.cuts -= 1;
                self.cut = Some((a, b));
                self.disconnect(a, b);
            }
            Step::Heal(a, b) => {
                self.cut = None;
                self.connect(a, b);
            }
        }
    }

    /// What must hold in every state; what must hold when nothing is under way.
    pub(super) fn check(&self) {
        for (author, disk) in self.disks.iter().enumerate() {
            for (reader, open) in disk.outbox.iter().enumerate().filter(|(reader, _)| *reader != author) {
                let own = members(disk.delivered())
                    .filter(|number| usize::from(self.book.author(*number)) == author);
                let there = self.disks[reader].delivered() | self.disks[reader].held();
                let lost = own.filter(|number| (open | there) & (1 << number) == 0).count();
                assert_eq!(lost, 0, "{reader} has acknowledged what it has not got");
            }
        }
        let is_whole = self.cut.is_none() && self.is_up.iter().all(|is_up| *is_up);
        if is_whole && self.moves.is_empty() {
            let all = (1 << self.book.0.len()) - 1;
            for (peer, disk) in self.disks.iter().enumerate() {
                assert_eq!(disk.delivered(), all, "{peer} lacks messages for ever");
                assert!(disk.waiting.is_empty(), "at {peer} messages wait for ever");
                assert!(
                    disk.outbox.iter().all(|open| *open == 0),
                    "{peer} never learns that all have its messages"
                );
            }
        }
    }
}
