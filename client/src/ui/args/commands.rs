//! What there is to do besides chatting.

use std::path::PathBuf;
use std::time::Duration;

use super::{people, talking};
use crate::archive::Format;
use crate::log::MessageId;
use crate::net::ServerTarget;

/// Messages of each conversation that `client history` shows unless told otherwise.
const HISTORY_LIMIT: usize = 100;

/// Things to do besides chatting.
#[derive(Debug, clap::Subcommand)]
pub(in crate::ui) enum Subcommand {
    /// Send a message; it waits if nobody is there
    Send(Send),
    /// Show what was said, also while a client runs
    History(History),
    /// Find messages: words, pre*, "a phrase", from:NAME, in:NAME, after:DATE, before:DATE
    Search(Search),
    /// Write what was said into a file
    Export(Export),
    /// Verify an export: signatures, and that what can be read is what was signed
    Verify(Verify),
    /// Take back what an export holds
    Import(Import),
    /// Copy the database, also while a client runs
    Backup(Backup),
    /// List whom you know
    Contacts,
    /// List the rooms you are in
    Rooms,
    /// Make a room
    Room(talking::NewRoom),
    /// List who is in a room
    Members(talking::Room),
    /// Show what a room is about, or change it
    Topic(talking::Topic),
    /// Put somebody out of a room
    Remove(talking::Remove),
    /// Leave a room, or decline an invitation
    Leave(talking::Room),
    /// Answer a message
    Reply(talking::MessageText),
    /// Change a message of yours
    Edit(talking::MessageText),
    /// Take a message of yours back
    Delete(talking::Message),
    /// Set a sign beside a message; again: take it away
    React(talking::React),
    /// List your messages that are not delivered
    Unsent,
    /// Take back a message that has gone to nobody
    Cancel(talking::Cancel),
    /// Give somebody your own name
    Rename(Rename),
    /// List who is in the local network
    Nearby,
    /// Tell how somebody is connected, and why not better
    Why(Why),
    /// Measure round trips to somebody, and the path of each
    Ping(Ping),
    /// Make a link that leads to you or into a room, or invite somebody you know into a room
    Invite(Invite),
    /// List the links that you have given out
    Invites,
    /// Take a link back
    Revoke(Revoke),
    /// Follow a link, also as a newcomer, or take the invitation to a room
    Join(Join),
    /// Names by which people are found on the server
    #[command(subcommand)]
    Name(NameCommand),
    /// Compare keys with somebody: words, number, QR code
    VerifyContact(VerifyContact),
    /// Find out what this network lets pass, what its NAT does, and what that means for connecting
    Netcheck(Netcheck),
    /// Have nothing to do with somebody: to them you are offline
    Block(people::Block),
    /// Have to do with them again
    Unblock(people::Person),
    /// Not be called by what somebody says, or what is said in a room
    Mute(people::Mute),
    /// Be called again
    Unmute(people::Unmute),
    /// Be there for nobody, or for those you choose
    Invisible(people::Invisible),
    /// Be there for everybody again
    Visible,
    /// Say whether a contact sees when you are online
    Presence(people::Presence),
    /// List the settings, or change one
    Set(people::Set),
    /// Show what is known of somebody
    Whois(people::Person),
    /// Show whether a client runs, and what is not delivered yet
    Status,
    /// Print completions for a shell
    Completions(Completions),
    /// Print the man page, or write all of them into a directory
    Man(Man),
}

/// Options of `client send`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Send {
    /// To whom: a name, a key or its beginning, or a room
    pub(in crate::ui) to: String,

    /// What; - reads it from the standard input
    #[arg(required = true)]
    pub(in crate::ui) text: Vec<String>,
}

/// Options of `client history`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct History {
    /// With whom or in which room: a name, a key or its beginning, or the id of a conversation [default: everywhere]
    #[arg(value_name = "WHO", conflicts_with_all = ["peer", "room"])]
    pub(in crate::ui) conversation: Option<String>,

    /// With whom: a name, or a key or its beginning
    #[arg(long, value_name = "P")]
    pub(in crate::ui) peer: Option<String>,

    /// In which room: its name or the beginning of it, or its id
    #[arg(long, value_name = "ROOM", conflicts_with = "peer")]
    pub(in crate::ui) room: Option<String>,

    /// The newest N messages of each conversation; 0 for all
    #[arg(long, value_name = "N", default_value_t = HISTORY_LIMIT)]
    pub(in crate::ui) limit: usize,

    /// Also what blocked people said
    #[arg(long)]
    pub(in crate::ui) blocked: bool,
}

/// Options of `client search`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "DATE is 2026-11-21, 2026-11, 2026, today, yesterday, 3d, 2w or 12h, in UTC; after: includes it, before: does not. Quote phrases for the shell as well: '\"slow river\" from:anna'."
)]
pub(in crate::ui) struct Search {
    /// What to look for
    #[arg(required = true)]
    pub(in crate::ui) query: Vec<String>,

    /// At most N messages, newest first
    #[arg(long, value_name = "N", default_value_t = crate::ui::search::PAGE)]
    pub(in crate::ui) limit: usize,

    /// Only what arrived before the message with this id
    #[arg(long, value_name = "ID")]
    pub(in crate::ui) before: Option<MessageId>,
}

/// Options of `client export`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Export {
    /// With whom: a name, a key or its beginning, or the id of a conversation [default: everybody]
    #[arg(conflicts_with = "all")]
    pub(in crate::ui) conversation: Option<String>,

    /// Everything; this is the default
    #[arg(long)]
    all: bool,

    /// jsonl can be verified and imported; text and html are to be read
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub(in crate::ui) format: Format,

    /// Where to, a file that does not exist [default: the standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::ui) output: Option<PathBuf>,

    /// Replace people, addresses, numbers, links and mentions by words, and cut times to the day; no signatures
    #[arg(long)]
    pub(in crate::ui) anonymise: bool,
}

/// Options of `client verify`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Verify {
    /// The export; of text and HTML only the seal can be verified
    pub(in crate::ui) file: PathBuf,
}

/// Options of `client import`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Import {
    /// The export, in the format jsonl
    pub(in crate::ui) file: PathBuf,

    /// Leave damaged lines out and go on, instead of stopping at the first
    #[arg(long)]
    pub(in crate::ui) skip_damaged: bool,
}

/// Options of `client backup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "To go back, end the client, and put the copy in the place of hobnob.db in the data directory, beside the file `identity` that it belongs to; remove hobnob.db-wal and hobnob.db-shm. Copying hobnob.db itself does as well while no client runs, and only then."
)]
pub(in crate::ui) struct Backup {
    /// Where to, a file that does not exist
    pub(in crate::ui) file: PathBuf,
}

/// Options of `client netcheck`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Takes a few seconds, fifteen at most. It may run beside a client: it uses sockets and a key of its own. The exit code is 3 if the server was not reached. What was found is remembered for this network in networks.json in the data directory."
)]
pub(in crate::ui) struct Netcheck {
    /// The rendezvous to reach, as HOST:PORT or HOST:PORT#KEY
    #[arg(long, value_name = "HOST:PORT[#KEY]")]
    pub(in crate::ui) server: Option<ServerTarget>,

    /// A STUN server to ask as well; repeatable, at most four. One with a second address (RFC 5780) tells most
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_stun)]
    pub(in crate::ui) stun: Vec<String>,

    /// Measure how long the NAT remembers a socket that is silent: takes about twice that time, at most ten minutes
    #[arg(long)]
    pub(in crate::ui) lifetime: bool,

    /// Do not ask the router for ports
    #[arg(long)]
    pub(in crate::ui) no_port_mapping: bool,
}

/// `HOST:PORT`, as for a server without a key.
pub(in crate::ui) fn parse_stun(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no STUN server: write HOST:PORT, for example stun.example.org:3478");
    let target: ServerTarget = text.parse().map_err(|_| wrong())?;
    if target.key.is_none() { Ok(target.address) } else { Err(wrong()) }
}

/// Options of `client completions`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Completions {
    /// Which
    #[arg(value_enum)]
    pub(in crate::ui) shell: clap_complete::Shell,
}

/// Options of `client man`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Man {
    /// A directory for the pages of all commands
    pub(in crate::ui) directory: Option<PathBuf>,
}

/// Options of `client invite`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Invite {
    /// Into which room: its name or its id [default: to you]
    pub(in crate::ui) room: Option<String>,

    /// Whom, by name or key: they are invited without a link
    #[arg(conflicts_with_all = ["uses", "time", "qr"])]
    pub(in crate::ui) peer: Option<String>,

    /// How many people may come by the link
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::ui) uses: u32,

    /// How long it holds: 30m, 12h, 7d, 4w
    #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = crate::ui::meeting::lifetime)]
    pub(in crate::ui) time: Duration,

    /// Show it as a QR code as well
    #[arg(long)]
    pub(in crate::ui) qr: bool,
}

/// Options of `client revoke`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Revoke {
    /// The link, by the id that `client invites` shows
    pub(in crate::ui) id: String,
}

/// Options of `client join`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without a running client this starts one, at the server that the link names, and the chat goes on there. Others on this machine may see command lines: - keeps the link out of them."
)]
pub(in crate::ui) struct Join {
    /// The link, or a room by name or id; - reads a line from the standard input
    pub(in crate::ui) target: String,
}

/// Commands of `client name`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::ui) enum NameCommand {
    /// Take a name; it is yours until you give it back, or have not been there for a year
    Take {
        /// Letters and digits, and - _ . between them
        name: String,
        /// Whoever types its beginning finds it; else it is found only by who knows all of it
        #[arg(long)]
        listed: bool,
    },
    /// Give a name back
    Drop {
        /// Which
        name: String,
    },
    /// Ask whose a name is, and what listed names begin so
    Find {
        /// The name or its beginning
        name: String,
        /// The key has changed since it was found first, and that is right
        #[arg(long)]
        new: bool,
    },
    /// List your names
    List,
}

/// Options of `client verify-contact`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct VerifyContact {
    /// Whom: a name, or a key or its beginning
    pub(in crate::ui) peer: String,

    /// yes or no, or the number that the other side shows [default: only show what to compare]
    pub(in crate::ui) proof: Vec<String>,

    /// Show the number as a QR code as well
    #[arg(long)]
    pub(in crate::ui) qr: bool,
}

/// Options of `client rename`.
#[derive(Debug, clap::Args)]
pub(in crate::ui) struct Rename {
    /// Whom: a name, or a key or its beginning
    pub(in crate::ui) peer: String,

    /// Your name for them; without it theirs shows again
    #[arg(default_value = "", hide_default_value = true)]
    pub(in crate::ui) name: String,
}

/// Options of `client ping`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Through the client that runs, or alone with --server before the command. Without --count it ends with Ctrl-C. The exit code is 1 if there was no answer at all."
)]
pub(in crate::ui) struct Ping {
    /// Whom: a name, or a key or its beginning
    pub(in crate::ui) peer: String,

    /// Between requests: 20ms, 0.5s and the like, from 10ms to 10s [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = crate::ui::ping::parse_interval)]
    pub(in crate::ui) interval: Option<Duration>,

    /// End after N requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::ui) count: Option<u64>,
}

/// Options of `client why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Through the client that runs, or alone with --server before the command.")]
pub(in crate::ui) struct Why {
    /// Whom: a name, or a key or its beginning
    pub(in crate::ui) peer: String,
}
