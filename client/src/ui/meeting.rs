//! How people find and know each other: links, keys that are compared, names. One set of wishes for all front ends,
//! carried out with the engine of the running client or, as far as possible, on the store alone.

mod perform;
mod show;
mod typed;

use common::identity::PeerId;
use serde::{Deserialize, Serialize};

pub(super) use perform::perform;
pub(super) use show::{Event, event, lines};
pub(super) use typed::{is_link, lifetime, parse};

use crate::engine::{FoundName, Link};
use crate::store::Invite;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wish {
    /// A link to this user, or into a room.
    MakeLink { room: Option<String>, uses: u32, lifetime_s: u64 },
    /// The links that were given out.
    Links,
    /// Takes a link back.
    Revoke { id: String },
    /// Follows a link.
    Follow { link: String },
    /// Whose a name is on the server, and what listed names begin so; `anew` if the user knows that its key has changed.
    FindName { name: String, anew: bool },
    /// This user's names on the server.
    OwnNames,
    /// Signs up under a name.
    TakeName { name: String, listed: bool },
    /// Gives a name back.
    DropName { name: String },
    /// Shows how the key of somebody can be compared, and keeps what came of it.
    Verify { who: String, proof: Proof },
}

/// What came of comparing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Proof {
    /// Nothing yet.
    None,
    /// The user says that it is the same.
    Yes,
    /// It is not, or it is not known any more.
    No,
    /// The number as the other side shows it.
    Number(String),
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A new link.
    Link { link: Link, uses: u32, room: Option<String> },
    /// Those that are remembered, each with the title of its room.
    Links(Vec<(Invite, Option<String>)>),
    /// It was taken back.
    Revoked { id: String },
    /// It is being followed.
    Following { link: Link },
    /// Something was given back.
    Done(String),
    /// Names on the server; `asked` is what was looked for, and nothing for this user's own.
    Names { asked: Option<String>, names: Vec<FoundName> },
    /// How a key can be compared.
    Safety(Safety),
}

/// See [`Outcome::Safety`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Safety {
    pub(super) peer: PeerId,
    /// The number of both keys.
    pub(super) number: String,
    /// The words of the session, if there is one.
    pub(super) words: Option<String>,
    /// When the keys were found to be the same, in Unix milliseconds.
    pub(super) verified_ms: Option<u64>,
    /// Whether that has just been said.
    pub(super) is_answer: bool,
}

impl Outcome {
    /// Whom a name means that was looked for, unless its key has changed.
    pub(super) fn found(&self) -> Option<&FoundName> {
        let Self::Names { asked: Some(asked), names } = self else { return None };
        names.iter().find(|found| found.name == *asked && found.was.is_none())
    }

    /// What a QR code of it would hold, and what stands above that.
    pub(super) fn qr(&self) -> Option<(String, String)> {
        match self {
            Self::Link { link, .. } => Some(("scan to follow the link".to_owned(), link.to_string())),
            Self::Safety(safety) if !safety.is_answer => {
                let title = "the number of both keys".to_owned();
                Some((title, crate::engine::safety_code(&safety.number)))
            }
            _ => None,
        }
    }
}
