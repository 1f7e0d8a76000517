//! The command line.

mod commands;
mod people;
mod talking;

use std::path::PathBuf;

use clap::Parser;
use clap::builder::FalseyValueParser;
use tracing_subscriber::filter::{LevelFilter, Targets};

pub(super) use commands::{
    Backup, Completions, Export, History, Import, Invite, Join, Man, NameCommand, Netcheck, Ping, Search,
    Send, Subcommand, VerifyContact, Why,
};

use super::Fatal;
use crate::data_dir::DataDir;
use crate::net::{Proxy, ServerTarget, Tunnels};

/// The name of somebody of whom the system does not know any.
const NAMELESS: &str = "somebody";
/// Our own parts, whose messages are shown at the level that the user asks for.
const OWN_TARGETS: [&str; 3] = ["client", "common", "rendezvous"];

const EXAMPLES: &str = "\
Examples:
  client --server example.org:5000             meet somebody, or find those you know again
  client --server example.org:5000#KEY         the same, sure of the server from the first time on
  client                                       be the server yourself; prints the line for the other machine
  echo hello | client --server example.org:5000
  client history anna --limit 20
  client send anna 'I am late'
  client search river boat from:anna after:2w
  client netcheck --server example.org:5000    what this network lets pass

A line that is typed goes to the person you talk to. Lines that begin with / are commands; /help lists them.
The input's end does not cut off what was typed: it is waited for up to 5 seconds until it is delivered. What is
not delivered by then is kept, and is sent the next time that both are there.

With --json every line is an object with `event` and `at` (Unix time in ms), and these fields:
  ready {peer, server, carrier: udp|tls|websocket|http}
  connected {peer, name, words}
  path {peer, via: relay|udp|tcp|lan, remote, rtt_ms}
  message {conversation, from, id, text, sent_ms}, with quiet: true if its author or room is muted, and where there are
    any: reply_to, mentions, edited, deleted, reactions: {sign: [peer]}, act, peer, value (of an event in a room)
  state {id, peer, state: pending|sent|refused|delivered|read}
  changed {…message, received_ms, states}: it was edited or deleted, or somebody reacted
  typing {conversation, peer}                  invited {conversation, name, from}
  gap {conversation, waiting, missing}: so many are kept back until so many earlier ones have come
  disconnected {peer, reason}                  error {message}          info {message}
  peers {people: [{peer, name, online, connected, verified, words, via, remote, rtt_ms}]}          answers /peers
  history {peer or conversation, messages: [{…message, received_ms, states}], blocked, waiting, missing}
                                                                                         answers /history
  found {messages: [{…message, received_ms, states}]}                                    answers /search
  block {peer, on}          mute {peer or conversation, on, until_ms}          shown {peer, on}
  visibility {visible, seen_by}          setting {name, value}
  settings {settings: [{name, value, values, help}]}                                     answers /set
  whois {peer, name, given_name, own_name, first_met_ms, last_seen_ms, verified, online, connected, words, via, remote,
         rtt_ms, blocked, muted, muted_until_ms, shown, rooms: [{conversation, name}]}           answers /whois
  rooms {rooms: [{conversation, title, standing, members, unread}]}                      answers client rooms
  created {conversation, name}                 topic {conversation, topic}               answer client room and topic
  members {conversation, title, members: [{peer, name, standing, connected, blocked}]}   answers /names, client members
  unsent {messages: [{id, conversation, to, state, text}]}          cancelled {id}       answer /unsent and /cancel
  why {peer, connected, online, trouble, via, remote, rtt_ms, since_ms, cause, whose: you|they|both, reason, advice,
    you, they: {mapping, ports, udp, tcp, words}, checks, answered, tries, packets, tcp, tcp_rounds, mapped}
  neighbour {peer, known, here}                nearby {people: [{peer, known}]}          answers /nearby
  reply {peer, seq, rtt_ms, via, remote}       lost {peer, seq}                          answer /ping and client ping
  pings {peer, sent, received, loss, min_ms, avg_ms, max_ms}                             ends them; loss is from 0 to 1
  link {link, id, room, uses, expires_ms}      answers /link and client invite
  links {links: [{id, conversation, uses, used, made_ms, expires_ms, revoked}]}          answers /links, client invites
  revoked {id}                                 following {peer, expires_ms}      joined, admitted {peer, conversation}
  names {names: [{name, peer, listed, was}]}   answers /find, client name      impostor {peer, name, known}
  safety {peer, number, words, verified, verified_ms}                                    answers /verify
  verified {owner, sealed, messages, damaged, missing}                                   answers client verify
  blocked {messages}, in the place of messages that client history leaves out
  status {peer, running, server, registered, contacts, connected, unsent, visible}       answers client status
  netcheck {server, network, stun, …}, see docs/commands.md                              answers client netcheck

Exit codes:
  0  all is well
  1  something failed: the database, the data directory, the network's set-up
  2  the command line is wrong
  3  the server refused, speaks another version, or has another key than before; netcheck did not reach it
  4  another client uses the data directory, and does not take requests
  5  it is not clear who is meant
  6  a file is damaged, cut off, or not what it should be";

const PROXY_HELP: &str = "HTTP proxy through which the server is also looked for, as http://[USER:PASSWORD@]HOST:PORT \
    [default: HTTPS_PROXY or ALL_PROXY, unless NO_PROXY has the server]. A password is better put into the environment";

/// Talk straight from machine to machine, with nobody in the middle who can read it.
#[derive(Debug, Parser)]
#[command(name = "client", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Subcommand>,

    /// The rendezvous, as HOST:PORT or HOST:PORT#KEY; without it, one runs inside this client
    #[arg(long, value_name = "HOST:PORT[#KEY]", env = "HOBNOB_SERVER", hide_env_values = true)]
    pub(super) server: Option<ServerTarget>,

    #[arg(long, value_name = "URL", env = "HOBNOB_PROXY", hide_env_values = true, help = PROXY_HELP)]
    proxy: Option<Proxy>,

    /// Where identity and history are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "HOBNOB_DATA_DIR", hide_env_values = true, global = true)]
    pub(super) data_dir: Option<PathBuf>,

    /// The name that others see; it is kept [default: the last one, or the login name]
    #[arg(long, env = "HOBNOB_NAME", hide_env_values = true)]
    name: Option<String>,

    /// Wait for somebody new, although there are contacts
    #[arg(long, env = "HOBNOB_MEET", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) meet: bool,

    /// Be there for nobody, until /visible or `client visible`
    #[arg(long, env = "HOBNOB_INVISIBLE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) invisible: bool,

    /// Local UDP port [default: any]
    #[arg(
        long,
        value_name = "N",
        env = "HOBNOB_PORT",
        hide_env_values = true,
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(super) port: u16,

    /// Do not ask the router for a port that leads here (PCP, NAT-PMP, UPnP)
    #[arg(long, env = "HOBNOB_NO_PORT_MAPPING", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) no_port_mapping: bool,

    /// A STUN server that is asked besides the rendezvous what kind of NAT this is; repeatable, at most four
    #[arg(long, value_name = "HOST:PORT", env = "HOBNOB_STUN", hide_env_values = true, value_delimiter = ',', value_parser = commands::parse_stun)]
    pub(super) stun: Vec<String>,
    /// Neither look for people in the local network nor tell them of this client (mDNS)
    #[arg(long, env = "HOBNOB_NO_LAN", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) no_lan: bool,

    /// What to log to the error output: off, error, warn, info, debug, trace [default: warn; off on a terminal]
    #[arg(long, value_name = "LEVEL", env = "HOBNOB_LOG", hide_env_values = true, value_parser = parse_log)]
    log: Option<Targets>,

    /// Print events as JSON, one a line
    #[arg(long, env = "HOBNOB_JSON", hide_env_values = true, value_parser = FalseyValueParser::new(), global = true)]
    pub(super) json: bool,

    /// Print lines, also on a terminal, instead of using the whole screen
    #[arg(long, visible_alias = "linear", env = "HOBNOB_PLAIN", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) plain: bool,

    /// Take the mouse: the wheel scrolls, a click opens a conversation
    #[arg(long, env = "HOBNOB_MOUSE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) mouse: bool,

    /// Do not read the standard input; run until a signal comes
    #[arg(long, env = "HOBNOB_NO_INPUT", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(super) no_input: bool,
}

impl Args {
    /// The data directory that is meant.
    pub(super) fn data_dir(&self) -> Result<PathBuf, Fatal> {
        match &self.data_dir {
            Some(path) => Ok(path.clone()),
            None => DataDir::default_path().map_err(Fatal::failed),
        }
    }

    /// The name that others see, if it is said here.
    pub(super) fn said_name(&self) -> Option<String> {
        self.name.as_deref().map(clean_name).filter(|name| !name.is_empty())
    }

    /// The name that others see if nobody has said any.
    pub(super) fn login_name() -> String {
        let login =
            ["USER", "LOGNAME", "USERNAME", "HOSTNAME"].into_iter().map(|key| std::env::var(key).ok());
        let host = || std::fs::read_to_string("/etc/hostname").ok();
        login
            .chain(std::iter::once_with(host))
            .flatten()
            .map(|name| clean_name(&name))
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| NAMELESS.to_owned())
    }

    /// Ways to `server` besides UDP.
    pub(super) fn tunnels(&self, server: &ServerTarget) -> Tunnels {
        let host = server.address.rsplit_once(':').map_or(server.address.as_str(), |(host, _)| host);
        let variable = |name: &str| std::env::var(name).ok();
        let proxy = self.proxy.clone().or_else(|| Proxy::from_environment(host, variable));
        Tunnels { proxy, last: None }
    }

    /// What to log.
    pub(super) fn log(&self, is_terminal: bool) -> Targets {
        let default = || own_level(if is_terminal { LevelFilter::OFF } else { LevelFilter::WARN });
        self.log.clone().unwrap_or_else(default)
    }
}

/// A level for our own parts. What libraries log below errors may hold addresses, which belong to `debug`.
fn own_level(level: LevelFilter) -> Targets {
    let others = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::ERROR) };
    Targets::new().with_default(others).with_targets(OWN_TARGETS.map(|target| (target, level)))
}

/// A level, or levels for single parts such as `client=debug,quinn=warn`.
fn parse_log(text: &str) -> Result<Targets, String> {
    if let Ok(level) = text.parse::<LevelFilter>() {
        return Ok(own_level(level));
    }
    let wrong = "write off, error, warn, info, debug or trace";
    // A word alone would be taken for a part of the program to log everything of.
    let is_list = text.split(',').all(|part| part.contains('='));
    text.parse().ok().filter(|_| is_list).ok_or_else(|| wrong.to_owned())
}

fn clean_name(name: &str) -> String {
    common::text::one_line(name, common::text::MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use tracing_subscriber::filter::Targets;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["client", "history", "--json", "--data-dir", "x"]).unwrap();
        assert!(args.json);
        assert_eq!(args.data_dir, Some("x".into()));
        assert!(Args::try_parse_from(["client", "--server", "nonsense"]).is_err());
    }

    #[test]
    fn libraries_keep_addresses_to_themselves() {
        let would_log = |filter: &Targets, target: &str| filter.would_enable(target, &tracing::Level::WARN);
        let warn = parse_log("warn").unwrap();
        assert!(would_log(&warn, "client::net"));
        assert!(!would_log(&warn, "quinn_proto::connection"));
        assert!(would_log(&parse_log("debug").unwrap(), "quinn_proto::connection"));
        assert!(!would_log(&parse_log("off").unwrap(), "client"));
        assert!(parse_log("client=debug,quinn=warn").is_ok());
        assert!(parse_log("loud").is_err());
    }
}
