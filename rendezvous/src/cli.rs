//! Flags, environment and configuration file of the server, in this order of weight.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Parser, ValueEnum};
use directories::ProjectDirs;
use rendezvous::{Config, IdentitySource, Limits};
use serde::Deserialize;

/// Where the server listens unless told otherwise.
const DEFAULT_PORT: u16 = 5000;
/// The largest configuration file that is read.
const MAX_CONFIG_LEN: u64 = 64 * 1024;

/// Introduces machines behind NATs to each other, and relays sealed packets until they have a direct path.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Configuration file (TOML), with the names of these flags; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "RENDEZVOUS_CONFIG")]
    config: Option<PathBuf>,
    /// Check flags and configuration file, and whether this machine has the addresses of --alt-bind, and end
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Print completions for a shell, and end
    #[arg(long, value_enum, value_name = "SHELL")]
    pub(crate) completions: Option<clap_complete::Shell>,
    /// Print the man page, and end
    #[arg(long)]
    pub(crate) man: bool,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "Every flag has an environment variable, too: --data-dir is RENDEZVOUS_DATA_DIR.\n\
    Rates are per second; a rate of 0 switches that limit off.\n\n\
    SIGTERM and SIGINT end the server once its clients know; a second one ends it at once.\n\n\
    Exit codes: 0 ended as asked; 2 wrong flags or configuration file; 1 anything else.";

/// What flags, environment and file may all set.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    /// Address to listen on, UDP and TCP; repeatable; port 0 takes a free one [default: 0.0.0.0:5000, and [::]:5000 if there is IPv6]
    #[arg(long, value_name = "ADDR:PORT", env = "RENDEZVOUS_BIND", value_delimiter = ',')]
    bind: Vec<SocketAddr>,
    /// Further TCP address to listen on; repeatable. 0.0.0.0:443 and 0.0.0.0:80 reach clients in networks that let only the web pass
    #[arg(long, value_name = "ADDR:PORT", env = "RENDEZVOUS_BIND_TCP", value_delimiter = ',')]
    bind_tcp: Vec<SocketAddr>,
    /// Second address for STUN, so that it tells all of what NATs do (RFC 5780): another IP address and another port than a --bind, which then names its own; repeatable, one for each
    #[arg(long, value_name = "ADDR:PORT", env = "RENDEZVOUS_ALT_BIND", value_delimiter = ',')]
    alt_bind: Vec<SocketAddr>,
    /// Directory of the server's key [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "RENDEZVOUS_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// What is logged to stderr; addresses of clients only from debug on [default: info]
    #[arg(long, value_name = "LEVEL", env = "RENDEZVOUS_LOG")]
    log: Option<LogLevel>,
    /// Log one JSON object a line
    #[arg(long, env = "RENDEZVOUS_JSON_LOG", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    json_log: Option<bool>,
    #[command(flatten)]
    #[serde(skip)]
    limits: LimitFlags,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Declares a flag for each of the server's limits.
macro_rules! limit_flags {
    ($($(#[$meta:meta])* $field:ident: $kind:ty, $env:literal;)+) => {
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "Limits")]
        struct LimitFlags {
            $($(#[$meta])* #[arg(long, value_name = "N", env = $env)] $field: Option<$kind>,)+
        }

        impl LimitFlags {
            fn apply(&self, limits: &mut Limits) {
                $(if let Some(value) = self.$field { limits.$field = value; })+
            }
        }
    };
}

limit_flags! {
    /// Connections in all
    max_connections: usize, "RENDEZVOUS_MAX_CONNECTIONS";
    /// Connections from one IPv4 address or IPv6 /64
    max_per_address: usize, "RENDEZVOUS_MAX_PER_ADDRESS";
    /// Handshakes under way above which newcomers must prove their address
    half_open_retry: usize, "RENDEZVOUS_HALF_OPEN_RETRY";
    /// Handshakes under way above which newcomers are refused
    half_open_refuse: usize, "RENDEZVOUS_HALF_OPEN_REFUSE";
    /// Control frames per second from one connection, over time
    frames_per_second: u64, "RENDEZVOUS_FRAMES_PER_SECOND";
    /// Control frames at once from one connection
    frame_burst: u64, "RENDEZVOUS_FRAME_BURST";
    /// Introductions that one connection may ask for, and be asked for, at the same time
    max_sessions: usize, "RENDEZVOUS_MAX_SESSIONS";
    /// Newcomers waiting in the lobby
    max_lobby: usize, "RENDEZVOUS_MAX_LOBBY";
    /// Names that are kept for people who sign up; 0 does without names
    max_names: usize, "RENDEZVOUS_MAX_NAMES";
    /// Bytes per second that one connection may send through the relay, over time
    relay_bytes_per_second: u64, "RENDEZVOUS_RELAY_BYTES_PER_SECOND";
    /// Bytes that one connection may send through the relay at once
    relay_burst: u64, "RENDEZVOUS_RELAY_BURST";
    /// STUN answers per second to one IPv4 address or IPv6 /64, over time
    stun_per_second: u64, "RENDEZVOUS_STUN_PER_SECOND";
    /// STUN answers at once to one IPv4 address or IPv6 /64
    stun_burst: u64, "RENDEZVOUS_STUN_BURST";
    /// TCP connections in all, and as many tunnels of HTTP requests
    max_tunnels: usize, "RENDEZVOUS_MAX_TUNNELS";
    /// The same from one IPv4 address or IPv6 /64
    max_tunnels_per_address: usize, "RENDEZVOUS_MAX_TUNNELS_PER_ADDRESS";
}

/// The configuration file: the settings by their names, and the limits by theirs.
#[derive(Debug, Default)]
struct File {
    settings: Settings,
    limits: Limits,
}

/// What the process does, everything decided.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) log: LogLevel,
    pub(crate) json_log: bool,
}

impl Cli {
    /// Puts flags, environment, file and defaults together.
    pub(crate) fn resolve(&self) -> anyhow::Result<Options> {
        let File { settings: file, mut limits } = match &self.config {
            Some(path) => {
                File::read(path).with_context(|| format!("configuration file {}", path.display()))?
            }
            None => File::default(),
        };
        let flags = &self.settings;
        flags.limits.apply(&mut limits);
        check(&limits)?;
        let binds = match (&flags.bind[..], &file.bind[..]) {
            ([], []) => default_binds(),
            ([], binds) | (binds, _) => binds.to_vec(),
        };
        let bind_tcp = if flags.bind_tcp.is_empty() { file.bind_tcp } else { flags.bind_tcp.clone() };
        let alt_binds = if flags.alt_bind.is_empty() { file.alt_bind } else { flags.alt_bind.clone() };
        let data_dir = match flags.data_dir.clone().or(file.data_dir) {
            Some(dir) => dir,
            None => default_data_dir()?,
        };
        Ok(Options {
            config: Config {
                binds,
                bind_tcp,
                alt_binds,
                identity: IdentitySource::DataDir(data_dir),
                limits,
            },
            log: flags.log.or(file.log).unwrap_or(LogLevel::Info),
            json_log: flags.json_log.or(file.json_log).unwrap_or(false),
        })
    }
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        if std::fs::metadata(path)?.len() > MAX_CONFIG_LEN {
            bail!("longer than {MAX_CONFIG_LEN} bytes");
        }
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Each key goes to the struct that knows it; what nobody knows fails with the names that there are.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        let names = toml::Table::try_from(Limits::default())?;
        let (limits, settings): (toml::Table, toml::Table) =
            table.into_iter().partition(|(key, _)| names.contains_key(key));
        let known = names.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let settings: Settings =
            settings.try_into().with_context(|| format!("the limits are called {known}"))?;
        Ok(Self { settings, limits: limits.try_into()? })
    }
}

/// Limits that would make the server useless are mistakes.
fn check(limits: &Limits) -> anyhow::Result<()> {
    let needed = [
        ("max-connections", limits.max_connections),
        ("max-per-address", limits.max_per_address),
        ("half-open-refuse", limits.half_open_refuse),
        ("max-sessions", limits.max_sessions),
        ("max-lobby", limits.max_lobby),
    ];
    if let Some((name, _)) = needed.iter().find(|(_, value)| *value == 0) {
        bail!("{name} is 0: nobody could use the server");
    }
    let rates = [
        ("frame-burst", limits.frames_per_second, limits.frame_burst, 3),
        ("relay-burst", limits.relay_bytes_per_second, limits.relay_burst, 1500),
        ("stun-burst", limits.stun_per_second, limits.stun_burst, 1),
    ];
    if let Some((name, .., least)) = rates.iter().find(|(_, rate, burst, least)| *rate > 0 && burst < least) {
        bail!("{name} has to be at least {least}, or nothing passes");
    }
    Ok(())
}

fn default_binds() -> Vec<SocketAddr> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let v6 = has_ipv6.then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)));
    std::iter::once(v4).chain(v6).collect()
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    let dirs = ProjectDirs::from("", "", "hobnob")
        .context("no home directory is known; say where the key is kept with --data-dir")?;
    Ok(dirs.data_dir().join("rendezvous"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_names_of_the_flags() {
        let file = File::parse(
            "bind = ['127.0.0.1:1', '[::1]:2']\nbind-tcp = ['[::]:80']\nalt-bind = ['127.0.0.2:3']\nlog = 'debug'\nmax-lobby = 7",
        )
        .unwrap();
        assert_eq!((file.settings.bind.len(), file.settings.bind_tcp.len()), (2, 1));
        assert_eq!(file.settings.alt_bind.len(), 1);
        assert_eq!((file.settings.log, file.limits.max_lobby), (Some(LogLevel::Debug), 7));
        for wrong in ["max_lobby = 7", "unheard = 1", "bind = 'x'", "max-lobby = -1", "log = 'loud'", "="] {
            assert!(File::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.toml");
        std::fs::write(&path, "bind = ['127.0.0.1:1']\nlog = 'warn'\nmax-lobby = 7\nmax-sessions = 8")
            .unwrap();
        let path = path.to_str().unwrap();
        let cli =
            ["rendezvous", "--config", path, "--bind", "127.0.0.1:9", "--max-lobby", "3", "--data-dir", "d"];
        let options = Cli::parse_from(cli).resolve().unwrap();
        assert_eq!(options.config.binds, ["127.0.0.1:9".parse().unwrap()]);
        assert_eq!((options.config.limits.max_lobby, options.config.limits.max_sessions), (3, 8));
        assert_eq!((options.log, options.json_log), (LogLevel::Warn, false));
    }

    #[test]
    fn every_limit_has_a_flag() {
        use clap::CommandFactory;
        let command = Cli::command();
        for name in toml::Table::try_from(Limits::default()).unwrap().keys() {
            assert!(command.get_arguments().any(|arg| arg.get_long() == Some(name)), "{name}");
        }
    }

    #[test]
    fn useless_limits_are_mistakes() {
        for flag in ["--max-lobby=0", "--frame-burst=1", "--relay-burst=10"] {
            assert!(Cli::parse_from(["rendezvous", "--data-dir=d", flag]).resolve().is_err(), "{flag}");
        }
    }
}
