//! Reads an export and believes nothing in it: every line is bounded, every signature verified, and what can be read is
//! compared with what was signed.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use bytes::Bytes;
use common::identity::PeerId;
use data_encoding::BASE64;

use super::Seal;
use super::record::{Contact, Conversation, Message, Record, Start, VERSION, readable};
use crate::log::{ConversationId, MessageError, MessageId, SignedMessage};
use crate::store::{Contact as Known, Restore, State};

/// Longest line in bytes: the longest message with its signed form and its states.
pub const MAX_LINE: usize = 512 * 1024;
/// Members that a conversation may have.
const MAX_MEMBERS: usize = 1024;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Longer than [`MAX_LINE`].
    #[error("the line has more than {MAX_LINE} bytes")]
    TooLong,
    /// No record.
    #[error("this is no line of an export: {0}")]
    Syntax(String),
    /// The first line is not that of an export.
    #[error("this is no export of Hobnob: it does not begin with the line that all of them have")]
    NoExport,
    /// Written by a newer version.
    #[error("the export has format {0}; this version reads format {VERSION}")]
    Version(u32),
    /// Without signatures.
    #[error("the export is anonymised: it has no signatures, and cannot be verified or imported")]
    Anonymised,
    /// A record that may stand only once, or not there.
    #[error("this line does not belong here")]
    Misplaced,
    /// A key, an id or a state that is none.
    #[error("{0:?} is no {1}")]
    Field(String, &'static str),
    /// The message was not signed by its author.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// What can be read is not what was signed.
    #[error("the {0} is not the one that was signed")]
    Altered(&'static str),
    /// The seal is not what the owner would have made.
    #[error("the seal does not fit: something was changed, added or left out since the export")]
    Seal,
    /// The last line is missing, or counts other messages.
    #[error("the export is cut off, or lines are missing")]
    CutOff,
}

impl Damage {
    /// Whether there is no sense in reading on.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::NoExport | Self::Version(_) | Self::Anonymised | Self::CutOff)
    }
}

/// A line that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The first line.
    Start {
        /// Who exported it.
        owner: PeerId,
    },
    /// Somebody whom the owner knows.
    Contact(Known),
    /// A conversation begins.
    Conversation,
    /// A message.
    Message(Box<Restore>),
    /// All messages have been.
    End,
    /// The owner has signed all of it.
    Seal,
}

/// Reads an export line by line.
#[derive(Debug)]
pub struct Checker<R> {
    input: R,
    line: u64,
    owner: Option<PeerId>,
    ended: bool,
    seal: Seal,
    is_sealed: bool,
    current: Option<(ConversationId, Vec<PeerId>)>,
    messages: u64,
    damaged: u64,
    seen: BTreeSet<MessageId>,
    missing: BTreeSet<MessageId>,
}

impl<R: BufRead> Checker<R> {
    /// Will read `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: 0,
            owner: None,
            ended: false,
            seal: Seal::default(),
            is_sealed: false,
            current: None,
            messages: 0,
            damaged: 0,
            seen: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    /// The number of the line that was read last; the first is 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Messages that were in order so far.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that others name as their parents and that are not in the file.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Whether the owner has signed all of it.
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The next line; `None` after the last. Damage that is not final concerns one line.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Result<Checked, Damage>>> {
        let Some(line) = self.next_line()? else {
            let is_whole = self.ended || std::mem::replace(&mut self.ended, true);
            let first = if self.owner.is_some() { Damage::CutOff } else { Damage::NoExport };
            return Ok((!is_whole).then_some(Err(first)));
        };
        let checked = line.and_then(|line| {
            let record = serde_json::from_slice(&line).map_err(|error| Damage::Syntax(error.to_string()));
            match record {
                Err(_) if self.owner.is_none() => Err(Damage::NoExport),
                record => {
                    let checked = self.check(record?);
                    self.seal.add(&line);
                    checked
                }
            }
        });
        self.damaged += u64::from(checked.is_err());
        Ok(Some(checked))
    }

    fn next_line(&mut self) -> io::Result<Option<Result<Vec<u8>, Damage>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
        if (&mut self.input).take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.last() != Some(&b'\n') && line.len() > MAX_LINE {
            self.input.skip_until(b'\n')?;
            return Ok(Some(Err(Damage::TooLong)));
        }
        Ok(Some(Ok(line)))
    }

    fn check(&mut self, record: Record) -> Result<Checked, Damage> {
        match record {
            Record::Start(start) if self.owner.is_none() => {
                let owner = check_start(&start)?;
                self.owner = Some(owner);
                Ok(Checked::Start { owner })
            }
            Record::Start(_) => Err(Damage::Misplaced),
            Record::Seal { signature } if self.ended && !self.is_sealed => {
                let owner = self.owner.ok_or(Damage::NoExport)?;
                self.is_sealed = self.seal.is_by(owner, &signature);
                if self.is_sealed { Ok(Checked::Seal) } else { Err(Damage::Seal) }
            }
            Record::Seal { .. } => Err(Damage::Misplaced),
            _ if self.owner.is_none() => Err(Damage::NoExport),
            _ if self.ended => Err(Damage::Misplaced),
            Record::Contact(contact) => check_contact(contact).map(Checked::Contact),
            Record::Conversation(conversation) => {
                self.current = None;
                self.current = Some(check_conversation(&conversation)?);
                Ok(Checked::Conversation)
            }
            Record::Message(message) => self.check_message(&message),
            Record::End { messages } => {
                self.ended = true;
                // Damaged lines are told by themselves.
                let known = self.messages..=self.messages + self.damaged;
                if known.contains(&messages) { Ok(Checked::End) } else { Err(Damage::CutOff) }
            }
        }
    }

    fn check_message(&mut self, record: &Message) -> Result<Checked, Damage> {
        let signed = record.signed.as_deref().ok_or(Damage::Anonymised)?;
        let bytes = BASE64.decode(signed.as_bytes()).map_err(|error| Damage::Syntax(error.to_string()))?;
        let message = SignedMessage::decode(Bytes::from(bytes))?;
        let content = message.message();
        if message.id().to_string() != record.id {
            return Err(Damage::Altered("id"));
        }
        if content.author.to_string() != record.from {
            return Err(Damage::Altered("author"));
        }
        if content.label_ms != record.sent_ms {
            return Err(Damage::Altered("time"));
        }
        if readable(&content.content) != record.text.as_deref() {
            return Err(Damage::Altered("text"));
        }
        let (conversation, members) = self.current.as_ref().ok_or(Damage::Misplaced)?;
        if content.conversation != *conversation || conversation.to_string() != record.conversation {
            return Err(Damage::Altered("conversation"));
        }
        let mut states = Vec::new();
        for reached in &record.states {
            let state = State::from_word(&reached.state);
            states.push((peer(&reached.peer)?, state.ok_or_else(|| field(&reached.state, "state"))?));
        }
        let members = members.clone();
        for parent in content.parents.iter().filter(|parent| !self.seen.contains(parent)) {
            self.missing.insert(*parent);
        }
        self.missing.remove(&message.id());
        self.seen.insert(message.id());
        self.messages += 1;
        let received_ms = record.received_ms;
        Ok(Checked::Message(Box::new(Restore {
            members,
            received_ms,
            states,
            signed: message.bytes().clone(),
        })))
    }
}

fn check_start(start: &Start) -> Result<PeerId, Damage> {
    match start {
        Start { anonymised: true, .. } => Err(Damage::Anonymised),
        Start { hobnob_export: VERSION, owner, .. } => peer(owner),
        Start { hobnob_export, .. } => Err(Damage::Version(*hobnob_export)),
    }
}

fn check_contact(contact: Contact) -> Result<Known, Damage> {
    Ok(Known {
        peer: peer(&contact.peer)?,
        given_name: contact.given_name,
        own_name: contact.own_name,
        first_met_ms: contact.first_met_ms,
        last_seen_ms: contact.last_seen_ms,
        endpoints: Vec::new(),
    })
}

fn check_conversation(conversation: &Conversation) -> Result<(ConversationId, Vec<PeerId>), Damage> {
    if conversation.members.len() > MAX_MEMBERS {
        return Err(Damage::Syntax(format!("more than {MAX_MEMBERS} members")));
    }
    let id = conversation.id.parse().map_err(|_| field(&conversation.id, "conversation"))?;
    Ok((id, conversation.members.iter().map(|member| peer(member)).collect::<Result<_, _>>()?))
}

fn peer(text: &str) -> Result<PeerId, Damage> {
    text.parse().map_err(|_| field(text, "key"))
}

fn field(text: &str, what: &'static str) -> Damage {
    Damage::Field(common::text::one_line(text, 80), what)
}

#[cfg(test)]
mod tests;
