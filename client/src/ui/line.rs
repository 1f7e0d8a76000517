//! What a typed line means.

use super::commands::{self, Spec};
use super::meeting;
use super::wish::Wish;
use crate::log::ConversationId;

/// What is typed, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Empty,
    /// A message to whom the user talks to.
    Text(String),
    /// A command.
    Command(Command),
}

/// A command that front ends carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    HelpOn(&'static Spec),
    Peers,
    Path,
    Nearby { who: String },
    Why { name: String },
    Ping { name: String, count: u64 },
    History { limit: usize, is_open: bool },
    Search { query: String },
    Reply { which: String, text: String },
    Edit { which: String, text: String },
    Delete { which: String },
    React { which: String, sign: String },
    Message { to: String, text: String },
    To { name: String },
    Meet,
    Code { code: Option<String> },
    Name { peer: String, name: String },
    Act(Act),
    Wish(Wish),
    Meeting(meeting::Wish),
    Quit,
}

/// A command on rooms, or on messages that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Create {
        name: String,
    },
    List,
    Join {
        name: String,
    },
    /// Talks in a room; an invitation is not taken by that.
    Turn {
        room: ConversationId,
    },
    Accept,
    Leave,
    Invite {
        peer: String,
    },
    Remove {
        peer: String,
    },
    Topic {
        /// Nothing: it is shown.
        topic: Option<String>,
    },
    Names,
    Unsent,
    Cancel {
        target: String,
    },
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// There is no such command.
    #[error("there is no command /{0}{hint}; /help lists them, and //{0} sends /{0}", hint = hint(.1))]
    Unknown(String, Option<&'static str>),
    /// A command that lacks something or has too much.
    #[error("write {0}")]
    Usage(&'static str),
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean /{name}?"))
}

/// Lines that `/history` shows unless told otherwise.
const HISTORY_LIMIT: usize = 20;
/// Round trips that `/ping` measures unless told otherwise, and at most.
const PINGS: u64 = 4;
const MAX_PINGS: u64 = 1_000;
/// Characters of an unknown command that are repeated.
const MAX_SHOWN: usize = 20;
/// Letters in which a known command may differ to be guessed.
const MAX_DISTANCE: usize = 2;

/// Understands a line.
pub(super) fn parse(line: &str) -> Result<Line, LineError> {
    if line.trim().is_empty() {
        return Ok(Line::Empty);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Line::Text(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Line::Text(command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    parse_command(&name.to_lowercase(), rest.trim_start()).map(Line::Command)
}

fn help(rest: &str) -> Result<Command, LineError> {
    let name = rest.strip_prefix('/').unwrap_or(rest);
    match commands::find(name) {
        _ if name.is_empty() => Ok(Command::Help),
        Some(spec) => Ok(Command::HelpOn(spec)),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> LineError {
    LineError::Unknown(common::text::one_line(name, MAX_SHOWN), nearest(name))
}

fn parse_command(name: &str, rest: &str) -> Result<Command, LineError> {
    let spec = commands::find(name).ok_or_else(|| unknown(name))?;
    let usage = || LineError::Usage(spec.usage);
    if let Some(wish) = meeting::parse(spec.name, rest) {
        return wish.map(Command::Meeting).ok_or_else(usage);
    }
    let alone = |command: Command| if rest.trim().is_empty() { Ok(command) } else { Err(usage()) };
    match spec.name {
        "help" => help(rest.trim()),
        "peers" => alone(Command::Peers),
        "path" => alone(Command::Path),
        "meet" => alone(Command::Meet),
        "quit" => alone(Command::Quit),
        "code" => {
            let code = rest.trim();
            Ok(Command::Code { code: (!code.is_empty()).then(|| code.to_owned()) })
        }
        "nearby" => Ok(Command::Nearby { who: rest.trim().to_owned() }),
        "why" => Ok(Command::Why { name: unquote(rest.trim()).to_owned() }),
        "ping" => ping(rest.trim()).ok_or_else(usage),
        "history" => history(rest.trim()).ok_or_else(usage),
        "reply" => with_text(rest).map(|(which, text)| Command::Reply { which, text }).ok_or_else(usage),
        "edit" => with_text(rest).map(|(which, text)| Command::Edit { which, text }).ok_or_else(usage),
        "react" => with_text(rest)
            .map(|(which, sign)| Command::React { which, sign: sign.trim().to_owned() })
            .ok_or_else(usage),
        "delete" => match rest.trim() {
            "" => Err(usage()),
            which => Ok(Command::Delete { which: which.to_owned() }),
        },
        "search" => Ok(Command::Search { query: rest.trim().to_owned() }),
        "msg" => match take_name(rest) {
            Some((to, text)) if !text.trim().is_empty() => {
                Ok(Command::Message { to: to.to_owned(), text: text.to_owned() })
            }
            _ => Err(usage()),
        },
        "to" => match unquote(rest.trim()) {
            "" => Err(usage()),
            peer => Ok(Command::To { name: peer.to_owned() }),
        },
        "name" => match take_name(rest) {
            Some((peer, name)) => {
                Ok(Command::Name { peer: peer.to_owned(), name: unquote(name.trim()).to_owned() })
            }
            None => Err(usage()),
        },
        "rooms" => alone(Command::Act(Act::List)),
        "accept" => alone(Command::Act(Act::Accept)),
        "leave" => alone(Command::Act(Act::Leave)),
        "names" => alone(Command::Act(Act::Names)),
        "unsent" => alone(Command::Act(Act::Unsent)),
        "whois" | "block" | "unblock" | "mute" | "unmute" | "presence" | "invisible" | "visible" | "set" => {
            Wish::parse(spec.name, rest).map(Command::Wish).ok_or_else(usage)
        }
        name => parse_act(name, rest.trim()).map(Command::Act).ok_or_else(usage),
    }
}

/// Whom to ping, or nobody for whom the user talks to, and how often.
fn ping(rest: &str) -> Option<Command> {
    let (name, count) = match rest.rsplit_once(char::is_whitespace) {
        Some((name, count)) if count.parse::<u64>().is_ok() => (name.trim_end(), count),
        None if rest.parse::<u64>().is_ok() => ("", rest),
        _ => (rest, ""),
    };
    let count = if count.is_empty() { PINGS } else { count.parse().ok()? };
    (1..=MAX_PINGS).contains(&count).then(|| Command::Ping { name: unquote(name).to_owned(), count })
}

/// The commands on rooms that take words; `None` if some are missing. The table has no other names; a test tries them all.
fn parse_act(name: &str, rest: &str) -> Option<Act> {
    let whole = || (!unquote(rest).is_empty()).then(|| unquote(rest).to_owned());
    Some(match name {
        "room" => Act::Create { name: whole()? },
        "join" => Act::Join { name: whole()? },
        "invite" => Act::Invite { peer: whole()? },
        "remove" => Act::Remove { peer: whole()? },
        "topic" => Act::Topic { topic: (!rest.is_empty()).then(|| unquote(rest).to_owned()) },
        "cancel" => Act::Cancel { target: rest.to_owned() },
        _ => return None,
    })
}

/// How much of the past is wanted.
fn history(rest: &str) -> Option<Command> {
    let (number, is_open) = match rest.strip_suffix("all") {
        Some(number) => (number.trim_end(), true),
        None => (rest, false),
    };
    let limit = if number.is_empty() { HISTORY_LIMIT } else { number.parse().ok()? };
    (limit > 0).then_some(Command::History { limit, is_open })
}

/// A word, and the text that follows it.
fn with_text(rest: &str) -> Option<(String, String)> {
    let (word, text) = rest.split_once(char::is_whitespace)?;
    (!text.trim().is_empty()).then(|| (word.to_owned(), text.to_owned()))
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// A name at the beginning, in quotes if it has spaces, and what follows it.
fn take_name(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    (!name.is_empty()).then(|| (name, rest.trim_start_matches(' ')))
}

/// The command that was most likely meant: the shortest that begins so, else one that differs in few letters.
fn nearest(unknown: &str) -> Option<&'static str> {
    let begins = commands::names()
        .filter(|name| !unknown.is_empty() && name.starts_with(unknown))
        .min_by_key(|name| name.len());
    let alike = || {
        let ranked = commands::names().map(|name| (distance(name, unknown), name));
        ranked
            .filter(|(distance, _)| *distance <= MAX_DISTANCE && *distance < unknown.len())
            .min()
            .map(|(_, name)| name)
    };
    begins.or_else(alike)
}

/// Letters to insert, remove or replace to make `a` out of `b`; far more than [`MAX_DISTANCE`] for long ones.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().take(MAX_SHOWN).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Line::Command(command)) => command,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn text_is_taken_as_it_is() {
        assert_eq!(parse("  hi  "), Ok(Line::Text("  hi  ".to_owned())));
        assert_eq!(parse("//help"), Ok(Line::Text("/help".to_owned())));
        assert_eq!(parse("///"), Ok(Line::Text("//".to_owned())));
        assert_eq!(parse(" \t"), Ok(Line::Empty));
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(command("/HELP"), Command::Help);
        assert_eq!(command("/help /Contacts"), Command::HelpOn(commands::find("peers").unwrap()));
        assert_eq!(parse("/help tea").unwrap_err(), parse("/tea").unwrap_err());
        let history = |limit, is_open| Command::History { limit, is_open };
        assert_eq!(command("/history"), history(HISTORY_LIMIT, false));
        assert_eq!(command("/history  7 "), history(7, false));
        assert_eq!(command("/history all"), history(HISTORY_LIMIT, true));
        assert_eq!(command("/history 7 all"), history(7, true));
        let block = Wish::Block { peer: "Anna M".to_owned() };
        assert_eq!(command("/block \"Anna M\""), Command::Wish(block));
        let message = |to: &str, text: &str| Command::Message { to: to.to_owned(), text: text.to_owned() };
        assert_eq!(command("/msg anna  hello  you"), message("anna", "hello  you"));
        assert_eq!(command("/msg \"Anna M\" hello"), message("Anna M", "hello"));
        let name = |peer: &str, name: &str| Command::Name { peer: peer.to_owned(), name: name.to_owned() };
        assert_eq!(command("/name anna Anna from work"), name("anna", "Anna from work"));
        assert_eq!(command("/name anna"), name("anna", ""));
        assert_eq!(command("/room \"Tea time\""), Command::Act(Act::Create { name: "Tea time".to_owned() }));
        let ping = |name: &str, count| Command::Ping { name: name.to_owned(), count };
        assert_eq!((command("/ping"), command("/ping 7")), (ping("", PINGS), ping("", 7)));
        assert_eq!(
            (command("/ping anna"), command("/ping \"Anna M\" 2")),
            (ping("anna", PINGS), ping("Anna M", 2))
        );
        assert_eq!(command("/topic"), Command::Act(Act::Topic { topic: None }));
        assert_eq!(command("/to Anna M"), Command::To { name: "Anna M".to_owned() });
    }

    #[test]
    fn what_is_wrong_is_explained() {
        for wrong in [
            "/msg",
            "/msg anna",
            "/msg \"anna hello",
            "/to",
            "/name",
            "/history x",
            "/history 0",
            "/peers x",
            "/ping anna 0",
            "/ping 1001",
            "/room",
            "/invite",
            "/rooms x",
            "/link x",
            "/links x",
            "/revoke",
            "/verify",
            "/history all 7",
            "/unblock",
            "/presence",
            "/visible now",
        ] {
            assert!(matches!(parse(wrong), Err(LineError::Usage(_))), "{wrong}");
        }
        for (typed, meant) in [("/hepl", "help"), ("/hist", "history"), ("/mgs", "msg"), ("/n", "name")] {
            let LineError::Unknown(_, guess) = parse(typed).unwrap_err() else { panic!("{typed} is known") };
            assert_eq!(guess, Some(meant), "{typed}");
        }
        let error = parse("/xyzzy foo").unwrap_err().to_string();
        assert_eq!(error, "there is no command /xyzzy; /help lists them, and //xyzzy sends /xyzzy");
        let hostile = format!("/{}\u{1b}[2J", "x".repeat(5000));
        assert!(parse(&hostile).unwrap_err().to_string().len() < 200);
        assert_eq!(parse("/").unwrap_err(), LineError::Unknown(String::new(), None));
    }

    #[test]
    fn every_command_of_the_table_is_understood() {
        for name in commands::names() {
            let tries =
                ["", " anna", " 1", " anna hello", " anna on"].map(|rest| parse(&format!("/{name}{rest}")));
            assert!(tries.iter().any(|line| matches!(line, Ok(Line::Command(_)))), "/{name}");
        }
    }
}
