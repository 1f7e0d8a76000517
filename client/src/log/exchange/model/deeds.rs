//! What the peers do: they write, connect, hear each other, tell and remind, as the two halves of a stream do in earnest.

use std::convert::Infallible;

use super::super::Note;
use super::super::syncing::{Answer, Next};
use super::part::Part;
use super::peer::{End, Set, members, room};
use super::search::Branches;
use super::world::{Fault, Frame, Heard, World};
use crate::log::MessageId;
use crate::log::difference::{Node, difference};
use crate::log::wire::HeadsHash;
use crate::store::{Ingested, Lacking};

/// Messages of a backlog that are sent at once.
const PAGE: usize = 2;

impl World {
    pub(super) fn write(&mut self, author: u8) {
        let peer = usize::from(author);
        let heads = self.disks[peer].heads(&self.book);
        let number = self.book.compose(author, heads);
        let disk = self.disks[peer].edit();
        disk.order.push(number);
        let row = disk.row(number);
        for other in (0..self.disks.len()).filter(|other| *other != peer) {
            self.disks[peer].edit().outbox[other] |= 1 << number;
            if let Some(end) = self.ends[(peer, other)].as_mut().map(Part::edit) {
                end.has_news = true;
                if !end.syncing.defer(room(), row) {
                    self.queue(peer, other).push(Frame::Message(number));
                }
            }
        }
        self.pump_all(peer);
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.ends[(from, to)] = None;
            self.queues[(from, to)] = Part::default();
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
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
        self.ends[(from, to)] = Some(Part::new(end));
        self.queues[(from, to)] = Part::new(frames);
    }

    pub(super) fn tell(&mut self, from: usize, to: usize) {
        let hash = self.disks[from].summary(&self.book);
        let Some(end) = self.ends[(from, to)].as_mut().map(Part::edit) else { return };
        end.has_news = false;
        let news = end.syncing.news(vec![(room(), hash)]);
        let summaries = news.into_iter().map(|(_, hash)| Frame::Summary(hash));
        self.queues[(from, to)].edit().extend(summaries);
        self.pump(from, to);
    }

    pub(super) fn remind(&mut self, from: usize, to: usize) {
        let hash = self.disks[from].summary(&self.book);
        let Some(end) = self.ends[(from, to)].as_mut().map(Part::edit) else { return };
        let told = end.syncing.reminders(&[(room(), hash)]);
        self.queue(from, to).extend(told.into_iter().map(|(_, hash)| Frame::Summary(hash)));
    }

    /// Everything on its way from one to another is read together.
    pub(super) fn arrive(&mut self, from: usize, to: usize, heard: Heard) {
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
                let outcome = self.disks[to].edit().take(&self.book, *number).outcome;
                if self.fault == Fault::DropsEarly {
                    self.disks[to].edit().waiting.retain(|(waiting, _)| waiting != number);
                }
                Ingested {
                    id: self.book.id(*number),
                    conversation: Some(room()),
                    outcome,
                    delivered: Vec::new(),
                }
            })
            .collect();
        let has_grown = self.disks[to].order.len() > before;
        let new = self.disks[to].order[before..].to_vec();
        if self.fault == Fault::AcksEarly {
            self.disks[to].edit().order.truncate(before);
        }
        let Some(end) = self.ends[(to, from)].as_mut().map(Part::edit) else { return };
        let notes = end.intake.judge(&results);
        for end in self.ends.row_mut(to).iter_mut().flatten().filter(|_| has_grown) {
            end.edit().has_news = true;
        }
        for note in notes {
            let frame = match note {
                Note::Compare(_) => Some(self.position(to)),
                // An acknowledgement changes nothing but what the sender knows: when it comes matters only if it is lost.
                Note::Ack(ids) if heard == Heard::Yes => {
                    let set = self.set(&ids);
                    self.disks[from].edit().outbox[to] &= !set;
                    None
                }
                note => self.said(note),
            };
            self.queue(to, from).extend(frame);
        }
        if self.fault != Fault::AcksEarly {
            new.into_iter().for_each(|number| self.hand_on(from, to, number));
        }
    }

    /// What its author has brought goes on to the others, as if they were further away.
    fn hand_on(&mut self, from: usize, to: usize, number: u8) {
        if self.bounds.branches == Branches::None || usize::from(self.book.author(number)) != from {
            return;
        }
        for other in (0..self.disks.len()).filter(|other| *other != from) {
            let Some(end) = self.ends[(to, other)].as_mut().map(Part::edit) else { continue };
            if end.syncing.is_level(room()) {
                self.queue(to, other).push(Frame::Message(number));
            }
            if self.fault == Fault::TrustsOthers {
                self.disks[from].edit().outbox[other] &= !(1 << number);
            }
        }
    }

    fn queue(&mut self, from: usize, to: usize) -> &mut Vec<Frame> {
        self.queues[(from, to)].edit()
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
        let Some(end) = self.ends[(to, from)].as_mut().map(Part::edit) else { return };
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
        if let Some(end) = self.ends[(to, from)].as_mut().map(Part::edit) {
            end.syncing.begin(room(), lacking, Vec::new());
        }
    }

    fn pump_all(&mut self, peer: usize) {
        (0..self.disks.len()).for_each(|other| self.pump(peer, other));
    }

    /// What of a backlog is ready goes out.
    fn pump(&mut self, from: usize, to: usize) {
        if !self.ends[(from, to)].as_ref().is_some_and(|end| end.syncing.is_ready()) {
            return;
        }
        let disk = &self.disks[from];
        let Some(end) = self.ends[(from, to)].as_mut().map(Part::edit) else { return };
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
            let queue = self.queues[(from, to)].edit();
            queue.extend(rows.into_iter().map(|row| Frame::Message(disk.at(row))));
            end.has_news |= !end.syncing.is_ready();
        }
    }
}
