//! The room: peers, the streams between them, and the steps that can come next.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::super::Note;
use super::super::syncing::{Answer, Next};
use super::peer::{Book, Disk, End, Set, members, room};
use super::search::{Bounds, Order};
use crate::log::MessageId;
use crate::log::difference::{Node, difference};
use crate::log::wire::HeadsHash;
use crate::store::{Ingested, Lacking};

/// Messages of a backlog that are sent at once.
const PAGE: usize = 2;

/// A frame on its way. Sets of ids are sets of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Frame {
    Message(u8),
    Want(Set),
    Summary(HeadsHash),
    Have(Set),
}

/// What can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next message is written.
    Write,
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

/// Whether the sender hears that what it sent was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
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
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) book: Book,
    script: Vec<u8>,
    bounds: Bounds,
    fault: Fault,
    disks: Vec<Rc<Disk>>,
    is_up: Vec<bool>,
    /// What fell among what is under way.
    among: u8,
    /// Streams that are cut.
    cut: Option<(usize, usize)>,
    /// Ends by owner and other side.
    ends: Vec<Vec<Option<Rc<End>>>>,
    /// Frames by sender and receiver.
    queues: Vec<Vec<Rc<Vec<Frame>>>>,
}

impl World {
    /// So many peers, all connected; `script` says who writes, one after the other.
    pub(super) fn new(count: usize, script: &[u8], bounds: Bounds, fault: Fault) -> Self {
        let disk = Disk { outbox: vec![0; count], ..Disk::default() };
        let mut world = Self {
            book: Book::default(),
            script: script.to_vec(),
            bounds,
            fault,
            disks: (0..count).map(|_| Rc::new(disk.clone())).collect(),
            is_up: vec![true; count],
            among: 0,
            cut: None,
            ends: vec![vec![None; count]; count],
            queues: vec![vec![Rc::default(); count]; count],
        };
        for a in 0..count {
            for b in a + 1..count {
                world.connect(a, b);
            }
        }
        // They know each other for a while.
        while let Some(step) = world.moves().first() {
            world.take(*step);
        }
        world
    }

    /// A number that is the same for the same state, and hardly ever for another.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.book.0.iter().for_each(|message| message.id().hash(&mut hasher));
        let Self { bounds, among, disks, is_up, cut, ends, queues, .. } = self;
        (bounds, among, disks, is_up, cut, ends, queues).hash(&mut hasher);
        hasher.finish()
    }

    /// All that can come next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = self.moves();
        if let Order::One { among } = self.bounds.order {
            steps.truncate(1);
            if !steps.is_empty() && self.among == among {
                return steps;
            }
        }
        let first: Vec<_> = steps
            .iter()
            .filter_map(|step| if let Step::Arrive(from, to) = *step { Some((from, to)) } else { None })
            .collect();
        let peers = 0..self.disks.len();
        let written = self.book.0.len();
        if self.script.get(written).is_some_and(|author| self.is_up[usize::from(*author)]) {
            steps.push(Step::Write);
        }
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

    /// Steps of what is under way.
    fn moves(&self) -> Vec<Step> {
        let arrivals = self.under_way().map(|(from, to)| Step::Arrive(from, to));
        let is_quiet = |peer: &usize| !self.under_way().any(|(from, to)| from == *peer || to == *peer);
        let has_news = |peer: &usize| self.ends[*peer].iter().flatten().any(|end| end.has_news);
        let tellers = (0..self.disks.len()).filter(has_news).filter(is_quiet);
        let moves: Vec<_> = arrivals.chain(tellers.map(Step::Tell)).collect();
        if moves.is_empty() { self.reminders() } else { moves }
    }

    fn reminders(&self) -> Vec<Step> {
        let pairs = (0..self.disks.len()).flat_map(|a| (0..self.disks.len()).map(move |b| (a, b)));
        let waits = |(a, b): &(usize, usize)| {
            self.ends[*a][*b].as_ref().is_some_and(|end| end.syncing.is_held_back())
        };
        pairs.filter(waits).map(|(a, b)| Step::Remind(a, b)).collect()
    }

    /// Streams on which something is on its way.
    fn under_way(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = (0..self.disks.len()).flat_map(|a| (0..self.disks.len()).map(move |b| (a, b)));
        pairs.filter(|(from, to)| !self.queues[*from][*to].is_empty())
    }

    pub(super) fn take(&mut self, step: Step) {
        self.carry_out(step);
        if self.bounds.order != Order::Any {
            let is_move = matches!(step, Step::Arrive(..) | Step::Tell(_) | Step::Remind(..));
            self.among = if self.moves().is_empty() { 0 } else { self.among + u8::from(!is_move) };
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Write => self.write(),
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
                    .filter(|number| usize::from(self.script[usize::from(*number)]) == author);
                let there = self.disks[reader].delivered() | self.disks[reader].held();
                let lost = own.filter(|number| (open | there) & (1 << number) == 0).count();
                assert_eq!(lost, 0, "{reader} has acknowledged what it has not got");
            }
        }
        let is_whole = self.cut.is_none() && self.is_up.iter().all(|is_up| *is_up);
        if is_whole && self.moves().is_empty() {
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

    fn write(&mut self) {
        let author = self.script[self.book.0.len()];
        let peer = usize::from(author);
        let heads = self.disks[peer].heads(&self.book);
        let number = self.book.compose(author, heads);
        let disk = Rc::make_mut(&mut self.disks[peer]);
        disk.order.push(number);
        let row = disk.row(number);
        for other in (0..self.disks.len()).filter(|other| *other != peer) {
            Rc::make_mut(&mut self.disks[peer]).outbox[other] |= 1 << number;
            if let Some(end) = self.ends[peer][other].as_mut().map(Rc::make_mut) {
                end.has_news = true;
                if !end.syncing.defer(room(), row) {
                    self.queue(peer, other).push(Frame::Message(number));
                }
            }
        }
        self.pump_all(peer);
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.ends[from][to] = None;
            self.queues[from][to] = Rc::default();
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let is_cut = [Some((a, b)), Some((b, a))].contains(&self.cut) && self.cut.is_some();
        if a != b && self.is_up[a] && self.is_up[b] && !is_cut {
            self.open(a, b);
            self.open(b, a);
        }
    }

    /// What both halves of a stream begin with.
    fn open(&mut self, from: usize, to: usize) {
        let (disk, book) = (&self.disks[from], &self.book);
        let mut end = End::default();
        let mut frames = Vec::new();
        for (_, hash) in end.syncing.news(vec![(room(), disk.summary(book))]) {
            frames.push(Frame::Summary(hash));
        }
        end.syncing.wait_for(room());
        for note in end.intake.ask(disk.missing(book)) {
            frames.extend(self.said(note));
        }
        let open = if self.fault == Fault::ForgetsOutbox { 0 } else { disk.outbox[to] };
        for number in members(open) {
            if !end.syncing.defer(room(), disk.row(number)) {
                frames.push(Frame::Message(number));
            }
        }
        self.ends[from][to] = Some(Rc::new(end));
        self.queues[from][to] = Rc::new(frames);
    }

    fn tell(&mut self, from: usize, to: usize) {
        let hash = self.disks[from].summary(&self.book);
        let Some(end) = self.ends[from][to].as_mut().map(Rc::make_mut) else { return };
        end.has_news = false;
        let news = end.syncing.news(vec![(room(), hash)]);
        let summaries = news.into_iter().map(|(_, hash)| Frame::Summary(hash));
        Rc::make_mut(&mut self.queues[from][to]).extend(summaries);
        self.pump(from, to);
    }

    fn remind(&mut self, from: usize, to: usize) {
        let hash = self.disks[from].summary(&self.book);
        let Some(end) = self.ends[from][to].as_mut().map(Rc::make_mut) else { return };
        let told = end.syncing.reminders(&[(room(), hash)]);
        self.queue(from, to).extend(told.into_iter().map(|(_, hash)| Frame::Summary(hash)));
    }

    /// Everything on its way from one to another is read together.
    fn arrive(&mut self, from: usize, to: usize, heard: Heard) {
        let frames = std::mem::take(self.queue(from, to));
        let (mut messages, mut compared) = (Vec::new(), Vec::new());
        for frame in frames {
            match frame {
                Frame::Message(number) => messages.push(number),
                Frame::Want(set) => {
                    let found = members(set & self.disks[to].delivered());
                    self.queue(to, from).extend(found.map(Frame::Message));
                }
                Frame::Summary(_) | Frame::Have(_) => compared.push(frame),
            }
        }
        self.take_in(from, to, &messages, heard);
        for frame in compared {
            match frame {
                Frame::Summary(theirs) => self.compare(from, to, theirs),
                Frame::Have(set) => self.begin(from, to, set),
                Frame::Message(_) | Frame::Want(_) => {}
            }
        }
        self.pump_all(to);
    }

    fn take_in(&mut self, from: usize, to: usize, messages: &[u8], heard: Heard) {
        if messages.is_empty() {
            return;
        }
        let before = self.disks[to].order.len();
        let results: Vec<_> = messages
            .iter()
            .map(|number| {
                let outcome = Rc::make_mut(&mut self.disks[to]).take(&self.book, *number).outcome;
                Ingested {
                    id: self.book.id(*number),
                    conversation: Some(room()),
                    outcome,
                    delivered: Vec::new(),
                }
            })
            .collect();
        let has_grown = self.disks[to].order.len() > before;
        if self.fault == Fault::AcksEarly {
            Rc::make_mut(&mut self.disks[to]).order.truncate(before);
        }
        let Some(end) = self.ends[to][from].as_mut().map(Rc::make_mut) else { return };
        let notes = end.intake.judge(&results);
        for end in self.ends[to].iter_mut().flatten().filter(|_| has_grown) {
            Rc::make_mut(end).has_news = true;
        }
        for note in notes {
            let frame = match note {
                Note::Compare(_) => Some(self.position(to)),
                // An acknowledgement changes nothing but what the sender knows: when it comes matters only if it is lost.
                Note::Ack(ids) if heard == Heard::Yes => {
                    let set = self.set(&ids);
                    Rc::make_mut(&mut self.disks[from]).outbox[to] &= !set;
                    None
                }
                note => self.said(note),
            };
            self.queue(to, from).extend(frame);
        }
    }

    fn queue(&mut self, from: usize, to: usize) -> &mut Vec<Frame> {
        Rc::make_mut(&mut self.queues[from][to])
    }

    fn set(&self, ids: &[MessageId]) -> Set {
        ids.iter().fold(0, |set, id| set | 1 << self.book.number(*id))
    }

    fn position(&self, peer: usize) -> Frame {
        Frame::Have(self.disks[peer].position(&self.book))
    }

    /// What a note becomes on the wire.
    fn said(&self, note: Note) -> Option<Frame> {
        match note {
            Note::Want(ids) => (self.fault != Fault::NeverAsks).then(|| Frame::Want(self.set(&ids))),
            _ => None,
        }
    }

    fn compare(&mut self, from: usize, to: usize, theirs: HeadsHash) {
        let ours = self.disks[to].summary(&self.book);
        let Some(end) = self.ends[to][from].as_mut().map(Rc::make_mut) else { return };
        let answer = end.syncing.compare(room(), theirs, Some(ours)).expect("one room");
        let frame = match answer {
            Some(Answer::Have | Answer::Heads) if self.fault == Fault::NeverAsks => return,
            Some(Answer::Have) => self.position(to),
            Some(Answer::Heads) => Frame::Have(self.disks[to].heads(&self.book)),
            Some(Answer::Same) => Frame::Summary(theirs),
            None => return,
        };
        self.queue(to, from).push(frame);
    }

    /// `from` has said what it has: `to` finds out what it lacks.
    fn begin(&mut self, from: usize, to: usize, known: Set) {
        let (disk, book) = (&self.disks[to], &self.book);
        let nodes =
            |set: Set| -> Vec<Node> { members(set).filter_map(|number| disk.node(book, number)).collect() };
        let common = nodes(known);
        let lacking = if common.is_empty() {
            Lacking::Everything
        } else {
            let parents = |row| Ok::<_, Infallible>(disk.parents_of(book, row));
            let Ok(rows) = difference(&nodes(disk.heads(book)), &common, usize::MAX, parents);
            let mut rows = rows.expect("no bound");
            rows.sort_unstable();
            Lacking::Rows(rows)
        };
        if let Some(end) = self.ends[to][from].as_mut().map(Rc::make_mut) {
            end.syncing.begin(room(), lacking);
        }
    }

    fn pump_all(&mut self, peer: usize) {
        (0..self.disks.len()).for_each(|other| self.pump(peer, other));
    }

    /// What of a backlog is ready goes out.
    fn pump(&mut self, from: usize, to: usize) {
        let disk = &self.disks[from];
        let Some(end) = self.ends[from][to].as_mut().map(Rc::make_mut) else { return };
        while end.syncing.is_ready() {
            let rows = match end.syncing.next(PAGE) {
                None => Vec::new(),
                Some(Next::Rows(rows)) => rows,
                Some(Next::After(conversation, after)) => {
                    let all = after + 1..=i64::try_from(disk.order.len()).unwrap();
                    let rows: Vec<_> = all.take(PAGE).collect();
                    end.syncing.went_on(conversation, rows.last().copied());
                    rows
                }
            };
            let queue = Rc::make_mut(&mut self.queues[from][to]);
            queue.extend(rows.into_iter().map(|row| Frame::Message(disk.at(row))));
            end.has_news |= !end.syncing.is_ready();
        }
    }
}
