//! What a typed line means.

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
    Peers,
    Path,
    History { limit: usize },
    Message { to: String, text: String },
    To { name: String },
    Meet,
    Name { peer: String, name: String },
    Quit,
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

/// A command as `/help` lists it.
struct Entry {
    name: &'static str,
    usage: &'static str,
    help: &'static str,
}

/// Lines that `/history` shows unless told otherwise.
const HISTORY_LIMIT: usize = 20;
/// Characters of an unknown command that are repeated.
const MAX_SHOWN: usize = 20;
/// Letters in which a known command may differ to be guessed.
const MAX_DISTANCE: usize = 2;

const ENTRIES: [Entry; 9] = [
    Entry { name: "help", usage: "/help", help: "this list" },
    Entry { name: "peers", usage: "/peers", help: "whom you know, who is there, words to compare" },
    Entry { name: "path", usage: "/path", help: "how each connected person is reached" },
    Entry { name: "history", usage: "/history [N]", help: "the last N messages with whom you talk to" },
    Entry { name: "msg", usage: "/msg NAME TEXT", help: "a message to somebody; \"NAME\" if it has spaces" },
    Entry { name: "to", usage: "/to NAME", help: "talk to somebody from now on" },
    Entry { name: "meet", usage: "/meet", help: "wait for somebody new" },
    Entry { name: "name", usage: "/name PEER [NEWNAME]", help: "your own name for somebody; none: theirs" },
    Entry { name: "quit", usage: "/quit", help: "end; so do Ctrl-D and Ctrl-C" },
];

/// What `/help` says.
pub(super) fn help() -> String {
    let width = ENTRIES.iter().map(|entry| entry.usage.len()).max().unwrap_or(0);
    let list = ENTRIES.iter().map(|entry| format!("{:width$}  {}", entry.usage, entry.help));
    let rest = [
        format!("{:width$}  the text /TEXT as a message", "//TEXT"),
        "Names may be shortened as long as it is clear who is meant; a key or its beginning does as well."
            .to_owned(),
    ];
    list.chain(rest).collect::<Vec<_>>().join("\n")
}

/// The commands' names, for completion.
pub(super) fn command_names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

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

fn parse_command(name: &str, rest: &str) -> Result<Command, LineError> {
    let alone = |command: Command| {
        if rest.trim().is_empty() { Ok(command) } else { Err(LineError::Usage(usage(name))) }
    };
    match name {
        "help" | "?" | "h" => Ok(Command::Help),
        "peers" => alone(Command::Peers),
        "path" => alone(Command::Path),
        "meet" => alone(Command::Meet),
        "quit" | "q" | "exit" => alone(Command::Quit),
        "history" => match rest.trim() {
            "" => Ok(Command::History { limit: HISTORY_LIMIT }),
            number => match number.parse() {
                Ok(limit) if limit > 0 => Ok(Command::History { limit }),
                _ => Err(LineError::Usage(usage(name))),
            },
        },
        "msg" => match take_name(rest) {
            Some((to, text)) if !text.trim().is_empty() => {
                Ok(Command::Message { to: to.to_owned(), text: text.to_owned() })
            }
            _ => Err(LineError::Usage(usage(name))),
        },
        "to" => match unquote(rest.trim()) {
            "" => Err(LineError::Usage(usage(name))),
            peer => Ok(Command::To { name: peer.to_owned() }),
        },
        "name" => match take_name(rest) {
            Some((peer, name)) => {
                Ok(Command::Name { peer: peer.to_owned(), name: unquote(name.trim()).to_owned() })
            }
            None => Err(LineError::Usage(usage(name))),
        },
        unknown => Err(LineError::Unknown(common::text::one_line(unknown, MAX_SHOWN), nearest(unknown))),
    }
}

fn usage(name: &str) -> &'static str {
    ENTRIES.iter().find(|entry| entry.name == name).map_or("/help", |entry| entry.usage)
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

/// The command that was most likely meant: one that begins so, else one that differs in few letters.
fn nearest(unknown: &str) -> Option<&'static str> {
    let begins = command_names().find(|name| !unknown.is_empty() && name.starts_with(unknown));
    let alike = || {
        let ranked = command_names().map(|name| (distance(name, unknown), name));
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
        assert_eq!(command("/history"), Command::History { limit: HISTORY_LIMIT });
        assert_eq!(command("/history  7 "), Command::History { limit: 7 });
        let message = |to: &str, text: &str| Command::Message { to: to.to_owned(), text: text.to_owned() };
        assert_eq!(command("/msg anna  hello  you"), message("anna", "hello  you"));
        assert_eq!(command("/msg \"Anna M\" hello"), message("Anna M", "hello"));
        let name = |peer: &str, name: &str| Command::Name { peer: peer.to_owned(), name: name.to_owned() };
        assert_eq!(command("/name anna Anna from work"), name("anna", "Anna from work"));
        assert_eq!(command("/name anna"), name("anna", ""));
        assert_eq!(command("/to Anna M"), Command::To { name: "Anna M".to_owned() });
    }

    #[test]
    fn what_is_wrong_is_explained() {
        for wrong in
            ["/msg", "/msg anna", "/msg \"anna hello", "/to", "/name", "/history x", "/history 0", "/peers x"]
        {
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
    fn help_names_every_command() {
        let help = help();
        assert!(command_names().all(|name| help.contains(&format!("/{name}"))));
        assert!(help.lines().all(|line| line.len() <= 100));
    }
}
