//! The rule that takes a message in: deliver it, keep it back until its parents are there, or refuse it.
//!
//! The rule is written against [`Graph`], which the store implements inside a transaction and the tests in memory,
//! so that both run the same code.

use std::collections::VecDeque;

use super::id::{ConversationId, MessageId};
use super::message::{MessageError, SignedMessage};

/// What is known of a message by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is part of the conversation.
    Delivered {
        /// Which conversation.
        conversation: ConversationId,
        /// Its verified depth.
        depth: u64,
    },
    /// It is kept, but some ancestor is missing.
    Waiting,
}

/// What becomes of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is part of the conversation now.
    Delivered,
    /// It is kept until `missing`, some of its parents, arrive: a gap. Parents that wait themselves are not listed.
    Waiting {
        /// Parents of which nothing is known.
        missing: Vec<MessageId>,
    },
    /// It was here already.
    Duplicate,
    /// It can never be part of the conversation.
    Invalid(Invalid),
    /// There is no room for it now; it may be offered again later. Nothing was kept.
    Postponed(Quota),
    /// It would have to wait, and who handed it in has as many messages waiting as are allowed. Nothing was kept.
    NoRoom,
}

/// What is used up (`docs/protocol.md` §7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Quota {
    /// What somebody may write who was never answered.
    #[error(
        "they have written as much as somebody may who was never answered; the rest comes once you answer"
    )]
    Unanswered,
    /// What is kept of a room before its invitation is accepted.
    #[error("as much of the room is kept as may be before its invitation is accepted; the rest comes then")]
    Unaccepted,
    /// What is kept of all that nobody asked for.
    #[error("strangers have written as much as they may together; answer, accept or leave what is there")]
    Strangers,
    /// What the user lets the database grow to.
    #[error("the database is as large as you let it get; /set disk changes that")]
    Disk,
}

/// Why a message can never be part of a conversation. All of them are its author's or its bearer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its bytes are no message.
    #[error(transparent)]
    Malformed(#[from] MessageError),
    /// The conversation is not known here.
    #[error("the conversation is not known here")]
    UnknownConversation,
    /// Whoever handed it in is no member of the conversation.
    #[error("the bearer is not a member of the conversation")]
    BearerNotMember,
    /// The author is no member of the conversation.
    #[error("the author is not a member of the conversation")]
    AuthorNotMember,
    /// The author may not do this, as far as the message's own past goes.
    #[error("the author may not do this in the room")]
    NotAllowed,
    /// The room has had as many events as it may have.
    #[error("the room cannot change any more")]
    TooManyEvents,
    /// The author has said as much in the room as one member may.
    #[error("its author has said as much in the room as one member may")]
    TooMuch,
    /// A parent belongs to another conversation.
    #[error("a parent belongs to another conversation")]
    ForeignParent,
    /// The depth is not one more than that of the deepest parent.
    #[error("the depth is {claimed} and should be {actual}")]
    Depth {
        /// What the author wrote.
        claimed: u64,
        /// What the parents say.
        actual: u64,
    },
}

/// The messages that are known already, and what is to be done with new ones.
pub trait Graph {
    /// What can go wrong underneath.
    type Error;

    /// What is known of a message.
    ///
    /// # Errors
    /// Whatever goes wrong underneath; so with all methods here.
    fn find(&mut self, id: MessageId) -> Result<Option<Known>, Self::Error>;

    /// Whether the author may say this, by what is in the message's past; all its parents are delivered.
    ///
    /// # Errors
    /// See [`Graph::find`].
    fn admit(&mut self, message: &SignedMessage) -> Result<Result<(), Invalid>, Self::Error>;

    /// Makes a message part of its conversation; all its parents are.
    ///
    /// # Errors
    /// See [`Graph::find`].
    fn deliver(&mut self, message: &SignedMessage) -> Result<(), Self::Error>;

    /// Keeps a message back until all of `absent`, those of its parents that are not delivered, are delivered.
    /// `false` if there is no room for it.
    ///
    /// # Errors
    /// See [`Graph::find`].
    fn hold(&mut self, message: &SignedMessage, absent: &[MessageId]) -> Result<bool, Self::Error>;

    /// Takes out the messages that waited for `parent` and wait for nothing else.
    ///
    /// # Errors
    /// See [`Graph::find`].
    fn release(&mut self, parent: MessageId) -> Result<Vec<SignedMessage>, Self::Error>;

    /// Drops the messages that wait for `parent`, for it will never come; returns their ids.
    ///
    /// # Errors
    /// See [`Graph::find`].
    fn abandon(&mut self, parent: MessageId) -> Result<Vec<MessageId>, Self::Error>;
}

/// What came of [`ingest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// What became of the message itself.
    pub outcome: Outcome,
    /// Messages that became part of the conversation: the message itself and those that waited for it, each after
    /// its parents.
    pub delivered: Vec<SignedMessage>,
}

/// Takes in one message, whose signature was checked, and everything that waited for
/// it.
///
/// # Errors
/// Whatever goes wrong in `graph`.
pub fn ingest<G: Graph>(graph: &mut G, message: SignedMessage) -> Result<Ingest, G::Error> {
    let id = message.id();
    if graph.find(id)?.is_some() {
        return Ok(Ingest { outcome: Outcome::Duplicate, delivered: Vec::new() });
    }
    let parents = Parents::look_up(graph, &message)?;
    if !parents.absent.is_empty() {
        let outcome = match graph.hold(&message, &parents.absent)? {
            true => Outcome::Waiting { missing: parents.missing },
            false => Outcome::NoRoom,
        };
        return Ok(Ingest { outcome, delivered: Vec::new() });
    }
    if let Err(invalid) = judge(graph, &parents, &message)? {
        abandon_all(graph, id)?;
        return Ok(Ingest { outcome: Outcome::Invalid(invalid), delivered: Vec::new() });
    }
    graph.deliver(&message)?;
    let delivered = release_all(graph, message)?;
    Ok(Ingest { outcome: Outcome::Delivered, delivered })
}

/// The verdict once all parents are delivered.
fn judge<G: Graph>(
    graph: &mut G,
    parents: &Parents,
    message: &SignedMessage,
) -> Result<Result<(), Invalid>, G::Error> {
    match parents.judge(message) {
        Ok(()) => graph.admit(message),
        invalid => Ok(invalid),
    }
}

/// What is known of the parents of one message.
struct Parents {
    /// Parents that are not delivered.
    absent: Vec<MessageId>,
    /// Those of them that do not even wait.
    missing: Vec<MessageId>,
    /// Whether a parent belongs to another conversation.
    foreign: bool,
    /// Depth that the message must have.
    depth: u64,
}

impl Parents {
    fn look_up<G: Graph>(graph: &mut G, message: &SignedMessage) -> Result<Self, G::Error> {
        let mut parents = Self { absent: Vec::new(), missing: Vec::new(), foreign: false, depth: 1 };
        for &parent in &message.message().parents {
            match graph.find(parent)? {
                Some(Known::Delivered { conversation, depth }) => {
                    parents.foreign |= conversation != message.message().conversation;
                    parents.depth = parents.depth.max(depth + 1);
                }
                Some(Known::Waiting) => parents.absent.push(parent),
                None => {
                    parents.absent.push(parent);
                    parents.missing.push(parent);
                }
            }
        }
        Ok(parents)
    }

    /// Whether the place in the graph is right.
    fn judge(&self, message: &SignedMessage) -> Result<(), Invalid> {
        if self.foreign {
            return Err(Invalid::ForeignParent);
        }
        let claimed = message.message().depth;
        if claimed != self.depth {
            return Err(Invalid::Depth { claimed, actual: self.depth });
        }
        Ok(())
    }
}

/// Delivers whatever waited for `first`, and what waited for that, and so on.
fn release_all<G: Graph>(graph: &mut G, first: SignedMessage) -> Result<Vec<SignedMessage>, G::Error> {
    let mut delivered = vec![first];
    let mut next = 0;
    while next < delivered.len() {
        let mut free = graph.release(delivered[next].id())?;
        free.sort_by_key(SignedMessage::order);
        for message in free {
            let parents = Parents::look_up(graph, &message)?;
            if judge(graph, &parents, &message)?.is_ok() {
                graph.deliver(&message)?;
                delivered.push(message);
            } else {
                abandon_all(graph, message.id())?;
            }
        }
        next += 1;
    }
    Ok(delivered)
}

/// Drops whatever descends from a message that will never be delivered.
fn abandon_all<G: Graph>(graph: &mut G, invalid: MessageId) -> Result<(), G::Error> {
    let mut queue = VecDeque::from([invalid]);
    while let Some(parent) = queue.pop_front() {
        queue.extend(graph.abandon(parent)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
