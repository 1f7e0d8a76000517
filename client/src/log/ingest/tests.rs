use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use common::identity::Identity;
use proptest::prelude::*;

use super::*;
use crate::log::{Content, DisplayOrder, Head, Message};

/// The graph in memory.
#[derive(Default)]
struct MemoryGraph {
    delivered: BTreeMap<MessageId, SignedMessage>,
    waiting: BTreeMap<MessageId, (SignedMessage, BTreeSet<MessageId>)>,
    room: Option<usize>,
}

impl Graph for MemoryGraph {
    type Error = Infallible;

    fn find(&mut self, id: MessageId) -> Result<Option<Known>, Infallible> {
        let delivered = self.delivered.get(&id).map(|message| Known::Delivered {
            conversation: message.message().conversation,
            depth: message.message().depth,
        });
        Ok(delivered.or_else(|| self.waiting.contains_key(&id).then_some(Known::Waiting)))
    }

    fn admit(&mut self, _: &SignedMessage) -> Result<Result<(), Invalid>, Infallible> {
        Ok(Ok(()))
    }

    fn deliver(&mut self, message: &SignedMessage) -> Result<(), Infallible> {
        assert!(message.message().parents.iter().all(|parent| self.delivered.contains_key(parent)));
        assert!(self.delivered.insert(message.id(), message.clone()).is_none(), "delivered twice");
        Ok(())
    }

    fn hold(&mut self, message: &SignedMessage, absent: &[MessageId]) -> Result<bool, Infallible> {
        if self.room.is_some_and(|room| self.waiting.len() >= room) {
            return Ok(false);
        }
        let entry = (message.clone(), absent.iter().copied().collect());
        self.waiting.insert(message.id(), entry);
        Ok(true)
    }

    fn release(&mut self, parent: MessageId) -> Result<Vec<SignedMessage>, Infallible> {
        for (_, absent) in self.waiting.values_mut() {
            absent.remove(&parent);
        }
        let free: Vec<_> =
            self.waiting.iter().filter(|(_, (_, absent))| absent.is_empty()).map(|(id, _)| *id).collect();
        Ok(free.iter().filter_map(|id| self.waiting.remove(id)).map(|(message, _)| message).collect())
    }

    fn abandon(&mut self, parent: MessageId) -> Result<Vec<MessageId>, Infallible> {
        let children: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (_, absent))| absent.contains(&parent))
            .map(|(id, _)| *id)
            .collect();
        self.waiting.retain(|id, _| !children.contains(id));
        Ok(children)
    }
}

impl MemoryGraph {
    fn take(&mut self, message: &SignedMessage) -> Ingest {
        let Ok(result) = ingest(self, message.clone());
        result
    }

    fn shown(&self) -> Vec<DisplayOrder> {
        let mut shown: Vec<_> = self.delivered.values().map(SignedMessage::order).collect();
        shown.sort();
        shown
    }
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn conversation() -> ConversationId {
    ConversationId::direct(identity(1).peer_id(), identity(2).peer_id())
}

fn head(message: &SignedMessage) -> Head {
    Head { id: message.id(), depth: message.message().depth, author: message.author() }
}

/// A message by the author with this seed on top of `parents`.
fn message(author: u8, parents: &[&SignedMessage], nonce: u64) -> SignedMessage {
    let heads: Vec<_> = parents.iter().map(|parent| head(parent)).collect();
    let content = Content::text(nonce.to_string());
    Message::compose(&identity(author), conversation(), &heads, content, nonce % 3, nonce).unwrap()
}

/// A message that claims a depth that its parents do not give it.
fn lying(parents: &[&SignedMessage], nonce: u64) -> SignedMessage {
    let heads: Vec<_> = parents.iter().map(|parent| Head { depth: 40, ..head(parent) }).collect();
    Message::compose(&identity(1), conversation(), &heads, Content::text(String::new()), 0, nonce).unwrap()
}

/// A graph in which every message has up to three parents among those before it.
fn graph_strategy() -> impl Strategy<Value = Vec<SignedMessage>> {
    let parents = proptest::collection::vec(any::<proptest::sample::Index>(), 0..3);
    proptest::collection::vec((1..=2_u8, parents), 1..25).prop_map(|specs| {
        let mut made: Vec<SignedMessage> = Vec::new();
        for (nonce, (author, parents)) in (0..).zip(specs) {
            let chosen: BTreeSet<usize> = match made.len() {
                0 => BTreeSet::new(),
                len => parents.iter().map(|index| index.index(len)).collect(),
            };
            let parents: Vec<_> = chosen.into_iter().map(|index| &made[index]).collect();
            let next = message(author, &parents, nonce);
            made.push(next);
        }
        made
    })
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_alike(
        (messages, arrivals) in graph_strategy().prop_flat_map(|messages| {
            let len = messages.len();
            let shuffled = Just((0..len).collect::<Vec<_>>()).prop_shuffle();
            let extra = proptest::collection::vec(0..len, 0..10);
            let order = (extra, shuffled).prop_map(|(extra, all)| [extra, all].concat());
            (Just(messages), order)
        }),
    ) {
        let mut in_order = MemoryGraph::default();
        for message in &messages {
            prop_assert_eq!(in_order.take(message).outcome, Outcome::Delivered);
        }
        let mut graph = MemoryGraph::default();
        let mut announced = Vec::new();
        for &index in &arrivals {
            let known = graph.find(messages[index].id()).unwrap().is_some();
            let result = graph.take(&messages[index]);
            prop_assert_eq!(known, result.outcome == Outcome::Duplicate);
            announced.extend(result.delivered.iter().map(SignedMessage::id));
        }
        prop_assert_eq!(graph.shown(), in_order.shown());
        prop_assert!(graph.waiting.is_empty());
        prop_assert_eq!(announced.len(), messages.len());
        for message in &messages {
            let at = |id| announced.iter().position(|&other| other == id).unwrap();
            for &parent in &message.message().parents {
                prop_assert!(at(parent) < at(message.id()), "a parent is announced first");
            }
        }
    }
}

#[test]
fn a_gap_names_what_is_missing_and_closes() {
    let a = message(1, &[], 0);
    let b = message(2, &[&a], 1);
    let c = message(1, &[&b], 2);
    let mut graph = MemoryGraph::default();
    assert_eq!(graph.take(&b).outcome, Outcome::Waiting { missing: vec![a.id()] });
    assert_eq!(graph.take(&c).outcome, Outcome::Waiting { missing: vec![] });
    assert_eq!(graph.take(&c).outcome, Outcome::Duplicate);
    let closed = graph.take(&a);
    assert_eq!(closed.outcome, Outcome::Delivered);
    assert_eq!(closed.delivered, [a, b, c]);
}

#[test]
fn a_wrong_depth_is_refused_with_all_that_descends_from_it() {
    let a = message(1, &[], 0);
    let wrong = lying(&[&a], 1);
    let child = message(2, &[&wrong], 2);
    let grandchild = message(1, &[&child], 3);
    let refused = Outcome::Invalid(Invalid::Depth { claimed: 41, actual: 2 });

    let mut graph = MemoryGraph::default();
    graph.take(&a);
    graph.take(&grandchild);
    graph.take(&child);
    assert_eq!(graph.take(&wrong).outcome, refused);
    assert!(graph.waiting.is_empty());

    let mut graph = MemoryGraph::default();
    for message in [&grandchild, &child, &wrong] {
        assert!(matches!(graph.take(message).outcome, Outcome::Waiting { .. }));
    }
    assert_eq!(graph.take(&a).delivered, [a]);
    assert!(graph.waiting.is_empty());
}

#[test]
fn parents_of_another_conversation_are_refused() {
    let elsewhere = ConversationId::direct(identity(1).peer_id(), identity(3).peer_id());
    let text = Content::text("x");
    let other = Message::compose(&identity(1), elsewhere, &[], text, 0, 0).unwrap();
    let mut graph = MemoryGraph::default();
    graph.take(&other);
    let mixed = message(1, &[&other], 1);
    assert_eq!(graph.take(&mixed).outcome, Outcome::Invalid(Invalid::ForeignParent));
}

#[test]
fn without_room_nothing_is_kept() {
    let a = message(1, &[], 0);
    let [b, c] = [1, 2].map(|nonce| message(2, &[&a], nonce));
    let mut graph = MemoryGraph { room: Some(1), ..MemoryGraph::default() };
    graph.take(&b);
    assert_eq!(graph.take(&c).outcome, Outcome::NoRoom);
    assert_eq!(graph.take(&a).delivered, [a, b]);
    assert_eq!(graph.take(&c).outcome, Outcome::Delivered);
}
