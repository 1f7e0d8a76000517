//! The commands that every front end has: one table, from which the parser, the help and completion are made.

/// What the first argument of a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arg {
    None,
    Person,
    Conversation,
    Room,
    Command,
    Setting,
    Free,
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// Other names for it.
    aliases: &'static [&'static str],
    pub(super) usage: &'static str,
    pub(super) help: &'static str,
    pub(super) first: Arg,
}

const fn spec(name: &'static str, first: Arg, usage: &'static str, help: &'static str) -> Spec {
    Spec { name, aliases: &[], usage, help, first }
}

impl Spec {
    const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

const COMMANDS: &[Spec] = &[
    spec("help", Arg::Command, "/help [COMMAND]", "this list, or what one command is for").or(&["?", "h"]),
    spec("peers", Arg::None, "/peers", "whom you know, who is there, words to compare").or(&["contacts"]),
    spec("path", Arg::None, "/path", "how each connected person is reached"),
    spec("nearby", Arg::Free, "/nearby [KEY]", "who is in the local network; with KEY: connect to them"),
    spec("why", Arg::Person, "/why [NAME]", "how somebody is connected, and why not better"),
    spec("ping", Arg::Person, "/ping [NAME] [N]", "N round trips to somebody, and the path of each"),
    spec(
        "history",
        Arg::Free,
        "/history [N] [all]",
        "the last N messages; all: those of the blocked as well",
    ),
    spec(
        "search",
        Arg::Free,
        "/search [WORDS]",
        "words, pre*, \"a phrase\", from: in: after: before:; none: more",
    ),
    spec("msg", Arg::Conversation, "/msg NAME TEXT", "to somebody or into a room; \"NAME\" if it has spaces"),
    spec("reply", Arg::Free, "/reply WHICH TEXT", "answer a message: WHICH counts back from 1, or is its id"),
    spec("edit", Arg::Free, "/edit WHICH TEXT", "change what you wrote"),
    spec("delete", Arg::Free, "/delete WHICH", "take back what you wrote"),
    spec("react", Arg::Free, "/react WHICH SIGN", "a sign beside a message; again: takes it back"),
    spec("unsent", Arg::None, "/unsent", "your messages that are not delivered"),
    spec("cancel", Arg::Free, "/cancel [MESSAGE]", "take back one that has gone to nobody; the last"),
    spec("room", Arg::Free, "/room NAME", "make a room and talk there"),
    spec("rooms", Arg::None, "/rooms", "your rooms and invitations"),
    spec("join", Arg::Room, "/join ROOM|LINK", "talk in a room, after an invitation too; or follow a link"),
    spec("invite", Arg::Person, "/invite PEER", "invite somebody into this room"),
    spec("accept", Arg::None, "/accept", "take the newest invitation"),
    spec("leave", Arg::None, "/leave", "leave this room"),
    spec("topic", Arg::Free, "/topic [TEXT]", "what this room is about; \"\": nothing any more"),
    spec("names", Arg::None, "/names", "who is in this room"),
    spec("remove", Arg::Person, "/remove PEER", "put somebody out of this room"),
    spec("to", Arg::Conversation, "/to NAME", "talk to somebody, or in a room, from now on"),
    spec("link", Arg::Free, "/link [N] [TIME]", "a link to you, or into this room: for N people, for 7d"),
    spec("links", Arg::None, "/links", "the links that you have given out"),
    spec("revoke", Arg::Free, "/revoke ID", "take a link back"),
    spec(
        "verify",
        Arg::Person,
        "/verify NAME [NUMBER]",
        "compare keys by words, number, QR code; then yes or no",
    ),
    spec("find", Arg::Free, "/find [NAME]", "whose a name is on the server; none: your own names there"),
    spec("register", Arg::Free, "/register NAME [listed]", "a name by which you are found on the server"),
    spec("unregister", Arg::Free, "/unregister NAME", "give it back"),
    spec("meet", Arg::None, "/meet", "wait for somebody new"),
    spec("code", Arg::Free, "/code [CODE]", "a code to say to somebody, or the one they said to you"),
    spec("name", Arg::Person, "/name PEER [NEWNAME]", "your own name for somebody; none: theirs"),
    spec("whois", Arg::Person, "/whois PEER", "what is known of somebody"),
    spec("block", Arg::Person, "/block [PEER]", "to them you are offline for ever; none: whom you block"),
    spec("unblock", Arg::Person, "/unblock PEER", "have to do with them again"),
    spec(
        "mute",
        Arg::Conversation,
        "/mute [WHO] [TIME]",
        "no bell, no unread mark; TIME is 30m, 2h, 3d; none: who is",
    ),
    spec("unmute", Arg::Conversation, "/unmute WHO", "be called again"),
    spec("presence", Arg::Person, "/presence PEER [off]", "they see when you are online, or not any more"),
    spec(
        "invisible",
        Arg::Person,
        "/invisible [PEERS]",
        "be there for nobody, or for these alone; what you write waits",
    ),
    spec("visible", Arg::None, "/visible", "be there again"),
    spec("set", Arg::Setting, "/set [NAME [VALUE]]", "the settings, or a new value for one"),
    spec("quit", Arg::None, "/quit", "end; so do Ctrl-D and Ctrl-C").or(&["q", "exit"]),
];

/// The command that is called `name`, in any case of letters.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    let name = name.to_lowercase();
    COMMANDS.iter().find(|spec| spec.name == name || spec.aliases.contains(&name.as_str()))
}

/// What one command is for.
pub(super) fn help_on(spec: &Spec) -> String {
    format!("{}  {}", spec.usage, spec.help)
}

/// The commands' names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|spec| spec.name)
}

/// What `/help` says.
pub(super) fn help() -> Vec<String> {
    let width = COMMANDS.iter().map(|spec| spec.usage.len()).max().unwrap_or(0);
    let list = COMMANDS.iter().map(|spec| format!("{:width$}  {}", spec.usage, spec.help));
    let rest = [
        format!("{:width$}  the text /TEXT as a message", "//TEXT"),
        "Names may be shortened as long as it is clear who is meant; a key or its beginning does as well."
            .to_owned(),
    ];
    list.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::args::Args;
    use clap::CommandFactory;

    /// What the command line has for each command, or why it needs nothing.
    const PARITY: [(&str, Result<&str, &str>); 45] = [
        ("help", Ok("help")),
        ("peers", Ok("contacts")),
        ("path", Ok("contacts")),
        ("nearby", Ok("nearby")),
        ("why", Ok("why")),
        ("ping", Ok("ping")),
        ("history", Ok("history")),
        ("search", Ok("search")),
        ("msg", Ok("send")),
        ("reply", Ok("reply")),
        ("edit", Ok("edit")),
        ("delete", Ok("delete")),
        ("react", Ok("react")),
        ("unsent", Ok("unsent")),
        ("cancel", Ok("cancel")),
        ("room", Ok("room")),
        ("rooms", Ok("rooms")),
        ("join", Ok("join")),
        ("invite", Ok("invite")),
        ("accept", Ok("join")),
        ("leave", Ok("leave")),
        ("topic", Ok("topic")),
        ("names", Ok("members")),
        ("remove", Ok("remove")),
        ("to", Err("every command names whom it is for")),
        ("link", Ok("invite")),
        ("links", Ok("invites")),
        ("revoke", Ok("revoke")),
        ("verify", Ok("verify-contact")),
        ("find", Ok("name")),
        ("register", Ok("name")),
        ("unregister", Ok("name")),
        ("meet", Err("is the flag --meet of a client that stays")),
        ("code", Err("both people wait while they say it")),
        ("name", Ok("rename")),
        ("whois", Ok("whois")),
        ("block", Ok("block")),
        ("unblock", Ok("unblock")),
        ("mute", Ok("mute")),
        ("unmute", Ok("unmute")),
        ("presence", Ok("presence")),
        ("invisible", Ok("invisible")),
        ("visible", Ok("visible")),
        ("set", Ok("set")),
        ("quit", Err("a command ends by itself")),
    ];

    /// Lines and the full screen share parser and actions; the command line has a table.
    #[test]
    fn what_one_front_end_can_do_all_can() {
        let mut command_line = Args::command();
        command_line.build();
        let listed: Vec<_> = PARITY.iter().map(|(name, _)| *name).collect();
        assert_eq!(names().collect::<Vec<_>>(), listed);
        for subcommand in PARITY.iter().filter_map(|(_, there)| there.ok()) {
            assert!(command_line.find_subcommand(subcommand).is_some(), "there is no client {subcommand}");
        }
    }

    #[test]
    fn help_names_every_command_within_a_line_each() {
        let help = help();
        assert!(names().all(|name| help.iter().any(|line| line.starts_with(&format!("/{name}")))));
        assert!(help.iter().all(|line| line.len() <= 100));
    }
}
