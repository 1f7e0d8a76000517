//! What one peer has: durable messages, and the ends of its streams, which a crash takes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use common::identity::Identity;

use super::super::intake::Intake;
use super::super::syncing::Syncing;
use crate::log::difference::Node;
use crate::log::ingest::{Graph, Ingest, Invalid, Known, ingest};
use crate::log::wire::HeadsHash;
use crate::log::{Content, ConversationId, Head, Message, MessageId, SignedMessage};

/// A set of messages, by their numbers.
pub(super) type Set = u32;

/// A message by its number, its author and its parents.
type Place = (u8, u8, Vec<MessageId>);

thread_local! {
    /// Every message that was ever made: signing takes longer than everything else.
    static MADE: RefCell<BTreeMap<Place, Rc<SignedMessage>>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn members(set: Set) -> impl Iterator<Item = u8> {
    let mut left = set;
    std::iter::from_fn(move || {
        let number = u8::try_from(left.trailing_zeros()).expect("at most 32");
        left &= left.checked_sub(1)?;
        Some(number)
    })
}

fn key(peer: usize) -> Identity {
    Identity::from_seed([u8::try_from(peer).unwrap() + 1; 32])
}

pub(super) fn room() -> ConversationId {
    ConversationId::from_bytes([9; 32])
}

/// The messages that were written so far on one way through the model, by number, and by whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Book(pub(super) Vec<Rc<SignedMessage>>, Vec<u8>);

impl Book {
    /// `author` writes on top of `heads`.
    pub(super) fn compose(&mut self, author: u8, heads: Set) -> u8 {
        let number = u8::try_from(self.0.len()).unwrap();
        let parents: Vec<_> = members(heads).map(|head| &self.0[usize::from(head)]).collect();
        let place = (number, author, parents.iter().map(|parent| parent.id()).collect());
        let message = MADE.with_borrow_mut(|made| {
            let make = || {
                let heads: Vec<_> = parents
                    .iter()
                    .map(|m| Head { id: m.id(), depth: m.message().depth, author: m.author() })
                    .collect();
                // Labels run backwards, as those of people with wrong clocks do.
                let label = 100 - u64::from(number);
                let text = Content::text("m");
                let author = key(author.into());
                Rc::new(Message::compose(&author, room(), &heads, text, label, number.into()).unwrap())
            };
            made.entry(place).or_insert_with(make).clone()
        });
        self.0.push(message);
        self.1.push(author);
        number
    }

    pub(super) fn number(&self, id: MessageId) -> u8 {
        let place = self.0.iter().position(|message| message.id() == id).expect("only what was written");
        u8::try_from(place).unwrap()
    }

    pub(super) fn id(&self, number: u8) -> MessageId {
        self.0[usize::from(number)].id()
    }

    fn parents(&self, number: u8) -> Set {
        let parents = &self.0[usize::from(number)].message().parents;
        parents.iter().fold(0, |set, parent| set | 1 << self.number(*parent))
    }

    pub(super) fn author(&self, number: u8) -> u8 {
        self.1[usize::from(number)]
    }

    /// How many have written: the first so many.
    pub(super) fn authors(&self) -> u8 {
        self.1.iter().map(|author| author + 1).max().unwrap_or(0)
    }

    fn depth(&self, number: u8) -> u64 {
        self.0[usize::from(number)].message().depth
    }
}

/// One end of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) syncing: Syncing,
    pub(super) intake: Intake,
    /// Something has changed that the other side may not know.
    pub(super) has_news: bool,
}

/// What a peer has on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    /// What is part of the conversation, in order of arrival.
    pub(super) order: Vec<u8>,
    /// What waits, and for which parents.
    pub(super) waiting: Vec<(u8, Set)>,
    /// Own messages that each peer has not acknowledged.
    pub(super) outbox: Vec<Set>,
}

impl Disk {
    pub(super) fn delivered(&self) -> Set {
        self.order.iter().fold(0, |set, number| set | 1 << number)
    }

    pub(super) fn held(&self) -> Set {
        self.waiting.iter().fold(0, |set, (number, _)| set | 1 << number)
    }

    pub(super) fn row(&self, number: u8) -> i64 {
        let place = self.order.iter().position(|other| *other == number).expect("it is here");
        i64::try_from(place).unwrap() + 1
    }

    pub(super) fn at(&self, row: i64) -> u8 {
        self.order[usize::try_from(row).unwrap() - 1]
    }

    pub(super) fn heads(&self, book: &Book) -> Set {
        self.order.iter().fold(self.delivered(), |heads, number| heads & !book.parents(*number))
    }

    pub(super) fn summary(&self, book: &Book) -> HeadsHash {
        HeadsHash::of(members(self.heads(book)).map(|head| book.id(head)).collect())
    }

    /// Parents that are missing and do not wait themselves.
    pub(super) fn missing(&self, book: &Book) -> Vec<MessageId> {
        let absent = self.waiting.iter().fold(0, |set, (_, absent)| set | absent);
        members(absent & !self.held()).map(|number| book.id(number)).collect()
    }

    /// What `Store::position` says: heads, and messages at doubling distances above the deepest.
    pub(super) fn position(&self, book: &Book) -> Set {
        let heads = self.heads(book);
        let deepest = members(heads).map(|head| book.depth(head)).max().unwrap_or(0);
        let mut position = heads;
        let mut distance = 1;
        while distance < deepest {
            let above = self.order.iter().filter(|number| book.depth(**number) <= deepest - distance);
            let last = above.max_by_key(|number| book.0[usize::from(**number)].order());
            position |= last.map_or(0, |number| 1 << number);
            distance *= 2;
        }
        position
    }

    pub(super) fn node(&self, book: &Book, number: u8) -> Option<Node> {
        let is_here = self.order.contains(&number);
        is_here.then(|| Node { depth: book.depth(number), row: self.row(number) })
    }

    pub(super) fn parents_of(&self, book: &Book, row: i64) -> Vec<Node> {
        members(book.parents(self.at(row))).filter_map(|parent| self.node(book, parent)).collect()
    }

    pub(super) fn take(&mut self, book: &Book, number: u8) -> Ingest {
        let message = SignedMessage::clone(&book.0[usize::from(number)]);
        let Ok(taken) = ingest(&mut Transaction { disk: self, book }, message);
        taken
    }
}

struct Transaction<'a> {
    disk: &'a mut Disk,
    book: &'a Book,
}

impl Graph for Transaction<'_> {
    type Error = Infallible;

    fn find(&mut self, id: MessageId) -> Result<Option<Known>, Infallible> {
        let number = self.book.number(id);
        let delivered = Known::Delivered { conversation: room(), depth: self.book.depth(number) };
        let held = self.disk.held() & (1 << number) != 0;
        Ok(self.disk.order.contains(&number).then_some(delivered).or(held.then_some(Known::Waiting)))
    }

    fn admit(&mut self, _: &SignedMessage) -> Result<Result<(), Invalid>, Infallible> {
        Ok(Ok(()))
    }

    fn deliver(&mut self, message: &SignedMessage) -> Result<(), Infallible> {
        let number = self.book.number(message.id());
        let here = self.disk.delivered();
        assert_eq!(here & (1 << number), 0, "{number} is shown twice");
        assert_eq!(self.book.parents(number) & !here, 0, "{number} is shown before its parents");
        self.disk.order.push(number);
        Ok(())
    }

    fn hold(&mut self, message: &SignedMessage, absent: &[MessageId]) -> Result<bool, Infallible> {
        let absent = absent.iter().fold(0, |set, id| set | 1 << self.book.number(*id));
        self.disk.waiting.push((self.book.number(message.id()), absent));
        self.disk.waiting.sort_unstable();
        Ok(true)
    }

    fn release(&mut self, parent: MessageId) -> Result<Vec<SignedMessage>, Infallible> {
        let parent = 1 << self.book.number(parent);
        self.disk.waiting.iter_mut().for_each(|(_, absent)| *absent &= !parent);
        let free = self.disk.waiting.extract_if(.., |(_, absent)| *absent == 0);
        Ok(free.map(|(number, _)| SignedMessage::clone(&self.book.0[usize::from(number)])).collect())
    }

    fn abandon(&mut self, _: MessageId) -> Result<Vec<MessageId>, Infallible> {
        unreachable!("nobody lies here")
    }
}
