//! What to do in conversations besides writing new messages.

use crate::ui::talking::Wish;

/// Options of `client room`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct NewRoom {
    /// What to call it
    name: String,
}

/// A room.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Room {
    /// Which: its name or its id, or the beginning of one
    room: String,
}

/// Options of `client remove`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Remove {
    /// Out of which room: its name or its id
    room: String,

    /// Whom: a name, or a key or its beginning
    peer: String,
}

/// Options of `client topic`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Topic {
    /// Of which room: its name or its id
    room: String,

    /// What it is about from now on; '' for nothing [default: only show it]
    topic: Option<String>,
}

/// Options of `client cancel`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Cancel {
    /// Which: the beginning of its id, which `client unsent` shows [default: the last]
    #[arg(default_value = "", hide_default_value = true)]
    id: String,
}

/// A message.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Message {
    /// With whom or in which room: a name, a key or its beginning, or an id
    whom: String,

    /// Which message: 1 is the last one, 2 the one before; or the beginning of its id
    which: String,
}

/// Options of `client reply` and `client edit`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct MessageText {
    #[command(flatten)]
    message: Message,

    /// What it is to say; - reads it from the standard input
    #[arg(required = true)]
    pub(in crate::ui) text: Vec<String>,
}

/// Options of `client react`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct React {
    #[command(flatten)]
    message: Message,

    /// The sign: an emoji or a short word
    sign: String,
}

impl From<&NewRoom> for Wish {
    fn from(options: &NewRoom) -> Self {
        Self::Create { name: options.name.clone() }
    }
}

impl From<&Remove> for Wish {
    fn from(options: &Remove) -> Self {
        Self::Remove { room: options.room.clone(), peer: options.peer.clone() }
    }
}

impl From<&Topic> for Wish {
    fn from(options: &Topic) -> Self {
        Self::Topic { room: options.room.clone(), topic: options.topic.clone() }
    }
}

impl From<&Cancel> for Wish {
    fn from(options: &Cancel) -> Self {
        Self::Cancel { id: options.id.clone() }
    }
}

impl From<&React> for Wish {
    fn from(options: &React) -> Self {
        let Message { whom, which } = &options.message;
        Self::React { whom: whom.clone(), which: which.clone(), sign: options.sign.clone() }
    }
}

impl From<&Message> for Wish {
    /// That it is taken back.
    fn from(options: &Message) -> Self {
        Self::Delete { whom: options.whom.clone(), which: options.which.clone() }
    }
}

impl Room {
    /// What is wanted of it.
    pub(in crate::ui) fn wish(&self, wish: fn(String) -> Wish) -> Wish {
        wish(self.room.clone())
    }
}

impl MessageText {
    /// That `text` answers it.
    pub(in crate::ui) fn reply(&self, text: String) -> Wish {
        let Message { whom, which } = &self.message;
        Wish::Reply { whom: whom.clone(), which: which.clone(), text }
    }

    /// That it says `text` from now on.
    pub(in crate::ui) fn edit(&self, text: String) -> Wish {
        let Message { whom, which } = &self.message;
        Wish::Edit { whom: whom.clone(), which: which.clone(), text }
    }
}
