//! Questions to the server about names (`docs/protocol.md` §10).

use std::collections::BTreeMap;

use common::control::{
    DropName, FindName, MAX_FOUND_NAMES, NAMES_FEATURE, NameVerdict, NamedPeer, Names, TakeName,
};
use common::names::Name;
use tokio::sync::oneshot;

use super::{Driver, Server};

/// Questions that wait for an answer.
const MAX_ASKS: usize = 16;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameAsk {
    /// Takes a name for this key, or says anew whether it is listed.
    Take {
        /// Which.
        name: Name,
        /// Whether it is found by its beginning too.
        listed: bool,
    },
    /// Gives a name back.
    Drop(Name),
    /// Whose a name is.
    Find(Name),
    /// Whose it is, and what listed names begin so.
    Search(String),
    /// This key's own names.
    Own,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFailure {
    /// The server is not reached.
    #[error("names are kept by the server, and it is not reached now")]
    NoServer,
    /// The server knows nothing of names.
    #[error("this server keeps no names")]
    NotKept,
    /// Too many questions wait.
    #[error("{MAX_ASKS} questions wait for the server already")]
    Busy,
    /// It does not answer.
    #[error("the server did not answer in time")]
    Silent,
    /// Somebody has it.
    #[error("the name, or one that looks like it, is taken")]
    Taken,
    /// It is none.
    #[error("the server does not take this for a name")]
    Invalid,
    /// This key has enough.
    #[error("you have as many names as the server allows; give one back first")]
    TooMany,
    /// Too fast.
    #[error("too many questions about names from here; ask again later")]
    TooFast,
    /// The server is full.
    #[error("the server takes no more names")]
    Full,
    /// The server has trouble.
    #[error("the server could not do that now")]
    Unavailable,
    /// It belongs to somebody else, or to nobody.
    #[error("that name is not yours")]
    NotYours,
}

/// What comes back.
pub(crate) type NameReply = oneshot::Sender<Result<Vec<NamedPeer>, NameFailure>>;

/// Questions under way.
#[derive(Debug, Default)]
pub(super) struct Asks {
    next: u32,
    waiting: BTreeMap<u32, NameReply>,
}

impl Asks {
    /// The connection to the server has ended: whoever waits hears that nothing comes.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Driver {
    pub(super) fn ask_name(&mut self, ask: NameAsk, reply: NameReply) {
        self.names.waiting.retain(|_, waiting| !waiting.is_closed());
        let Server::Up(link) = &self.server else {
            let _ = reply.send(Err(NameFailure::NoServer));
            return;
        };
        let failure = match self.names.waiting.len() {
            _ if !link.welcome.features.iter().any(|feature| feature == NAMES_FEATURE) => {
                NameFailure::NotKept
            }
            MAX_ASKS.. => NameFailure::Busy,
            _ => {
                self.names.next = self.names.next.wrapping_add(1);
                let number = self.names.next;
                self.names.waiting.insert(number, reply);
                match ask {
                    NameAsk::Take { name, listed } => {
                        link.send(TakeName { ask: number, name: name.to_string(), listed });
                    }
                    NameAsk::Drop(name) => link.send(DropName { ask: number, name: name.to_string() }),
                    NameAsk::Find(name) => {
                        link.send(FindName { ask: number, text: name.to_string(), begins: false });
                    }
                    NameAsk::Search(text) => link.send(FindName { ask: number, text, begins: true }),
                    NameAsk::Own => link.send(FindName { ask: number, text: String::new(), begins: false }),
                }
                return;
            }
        };
        // Who does not wait any more needs no answer; so below.
        let _ = reply.send(Err(failure));
    }

    pub(super) fn handle_names(&mut self, answer: Names) {
        let Some(reply) = self.names.waiting.remove(&answer.ask) else { return };
        let Names { verdict, mut names, .. } = answer;
        names.truncate(MAX_FOUND_NAMES);
        let _ = reply.send(match NameVerdict::of(verdict) {
            NameVerdict::Done => Ok(names),
            NameVerdict::Taken => Err(NameFailure::Taken),
            NameVerdict::Invalid => Err(NameFailure::Invalid),
            NameVerdict::TooMany => Err(NameFailure::TooMany),
            NameVerdict::TooFast => Err(NameFailure::TooFast),
            NameVerdict::Full => Err(NameFailure::Full),
            NameVerdict::Unavailable => Err(NameFailure::Unavailable),
            NameVerdict::NotYours => Err(NameFailure::NotYours),
        });
    }
}
