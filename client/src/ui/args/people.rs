//! What to want of others.

use crate::ui::wish::{Wish, span_ms};

/// A person.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Person {
    /// Whom: a name, or a key or its beginning
    peer: String,
}

/// Options of `client block`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Block {
    /// Whom: a name, or a key or its beginning; without it the blocked are listed
    peer: Option<String>,
}

/// Options of `client mute`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Mute {
    /// Whom: a name, a key or its beginning, or a room; without it the muted are listed
    whom: Option<String>,

    /// For how long, such as 30m, 2h, 3d, 1w [default: until it is unmuted]
    #[arg(value_name = "TIME", value_parser = span)]
    span_ms: Option<u64>,
}

/// Options of `client unmute`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Unmute {
    /// Whom: a name, a key or its beginning, or a room
    whom: String,
}

/// Options of `client invisible`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Invisible {
    /// Who sees you all the same
    #[arg(long, value_name = "PEER")]
    but: Vec<String>,
}

/// Options of `client presence`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Presence {
    /// Who: a name, or a key or its beginning
    peer: String,

    /// Whether they see when you are online
    #[arg(value_parser = ["on", "off"])]
    state: String,
}

/// Options of `client set`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Set {
    /// Which setting; without it all are listed
    name: Option<String>,

    /// What to set it to
    value: Option<String>,
}

fn span(text: &str) -> Result<u64, String> {
    span_ms(text).ok_or_else(|| "write a time such as 30m, 2h, 3d or 1w".to_owned())
}

impl From<&Block> for Wish {
    fn from(options: &Block) -> Self {
        options.peer.clone().map_or(Self::Blocked, |peer| Self::Block { peer })
    }
}

impl From<&Mute> for Wish {
    fn from(options: &Mute) -> Self {
        let span_ms = options.span_ms;
        options.whom.clone().map_or(Self::Muted, |whom| Self::Mute { whom, span_ms })
    }
}

impl From<&Unmute> for Wish {
    fn from(options: &Unmute) -> Self {
        Self::Unmute { whom: options.whom.clone() }
    }
}

impl From<&Invisible> for Wish {
    fn from(options: &Invisible) -> Self {
        Self::Invisible { but: options.but.clone() }
    }
}

impl From<&Presence> for Wish {
    fn from(options: &Presence) -> Self {
        Self::Presence { peer: options.peer.clone(), is_shown: options.state == "on" }
    }
}

impl From<&Set> for Wish {
    fn from(options: &Set) -> Self {
        match (options.name.clone(), options.value.clone()) {
            (Some(name), Some(value)) => Self::Set { name, value },
            (name, _) => Self::Settings { name },
        }
    }
}

impl Person {
    /// What is wanted of them.
    pub(in crate::ui) fn wish(&self, wish: fn(String) -> Wish) -> Wish {
        wish(self.peer.clone())
    }
}
