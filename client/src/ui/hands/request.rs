//! What the command line asks of the running client, and what it gets: one JSON object a line in each direction.
//!
//! Both ends are the same user's and, as a rule, the same build; a request that the other end does not know is
//! answered with an error.

use serde::{Deserialize, Serialize};

use crate::ui::Exit;
use crate::ui::ping::{Pinged, Plan};
use crate::ui::{meeting, talking, wish};

/// Longest request in bytes.
pub(super) const MAX_REQUEST_LEN: usize = 1024 * 1024;
/// Longest reply in bytes.
pub(super) const MAX_REPLY_LEN: usize = 4 * 1024 * 1024;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(in crate::ui) enum Request {
    /// Writes a message.
    Send {
        /// To whom: a name or its beginning, or a key or its beginning.
        to: String,
        /// What.
        text: String,
    },
    /// Gives somebody this user's own name.
    Rename {
        /// Whom, as in `Send`.
        peer: String,
        /// The name; empty takes it away.
        name: String,
    },
    /// Lists whom this user knows, and how they are connected.
    Contacts,
    /// Takes back what an export holds.
    Import {
        /// The key of who exported it.
        owner: String,
        /// What is in it: a part, parents before their children.
        entries: Vec<Entry>,
    },
    /// Decides something about others, or tells what is decided and known.
    Wish {
        /// What.
        wish: wish::Wish,
    },
    /// Tells how things stand.
    Status,
    /// Lists who is in the local network.
    Nearby,
    /// Tells how somebody is connected, and why not better.
    Why {
        /// Whom, as in `Send`.
        peer: String,
    },
    /// Measures round trips. Many replies come, each with [`Reply::pinged`] but for the last.
    Ping {
        /// The key of whom.
        peer: String,
        /// How often, how many.
        plan: Plan,
    },
    /// See [`meeting::Wish`].
    Meeting(meeting::Wish),
    /// See [`talking::Wish`].
    Talking(talking::Wish),
}

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::ui) struct Entry {
    /// Its number.
    pub(in crate::ui) line: u64,
    /// The message or contact.
    pub(in crate::ui) what: Imported,
}

/// What is imported. It was checked before, and is checked again where it is taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::ui) enum Imported {
    /// Somebody.
    Contact { peer: String, given_name: String, own_name: String, first_met_ms: u64, last_seen_ms: u64 },
    /// A message.
    Message { members: Vec<String>, received_ms: u64, states: Vec<(String, String)>, signed: String },
}

/// What became of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::ui) struct Tally {
    /// Messages that are new.
    pub(in crate::ui) added: u64,
    /// Messages that were here already.
    pub(in crate::ui) known: u64,
    /// Messages that are kept until earlier ones, which are not in the file, have come.
    pub(in crate::ui) waiting: u64,
    /// Lines that cannot be taken in, and why.
    pub(in crate::ui) refused: Vec<(u64, String)>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::ui) struct Reply {
    /// How the command ends.
    pub(in crate::ui) exit: Exit,
    /// For people: lines without the last line break, safe to show.
    pub(in crate::ui) text: String,
    /// For scripts: events as `--json` prints them, a line each.
    pub(in crate::ui) events: String,
    /// What an import did.
    #[serde(default)]
    pub(in crate::ui) tally: Tally,
    /// What came of one ping; another reply follows.
    #[serde(default)]
    pub(in crate::ui) pinged: Option<Box<Pinged>>,
}

impl Reply {
    /// All is well.
    pub(super) fn good(text: String, events: String) -> Self {
        Self { exit: Exit::Good, text, events, tally: Tally::default(), pinged: None }
    }

    /// It did not work, for the reason that `error` gives.
    pub(super) fn failed(exit: Exit, error: &impl std::fmt::Display) -> Self {
        Self { exit, ..Self::good(error.to_string(), String::new()) }
    }
}
