//! From the command line to a running chat.

use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use common::identity::{Identity, PeerId};
use quinn::AsyncUdpSocket;
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::app::{App, Inputs, Setup};
use super::args::Args;
use super::embedded::{self, Embedded};
use super::front::Front;
use super::hands::{Serving, Worker};
use super::out::{Out, Stdout};
use super::plain::Input;
use super::show::Colour;
use super::signals::Signals;
use super::terminal::Restore;
use super::{Exit, Fatal, plain, terminal, tui};
use crate::data_dir::{DataDir, DataDirError};
use crate::engine::{Choice, Config, Engine, EngineError, Link, LinkError, Visibility};
use crate::net::{self, ServerTarget, Surroundings, TcpUse, links};
use crate::store::{Options, Store, StoreError};

/// The setting that holds the name that others see.
const OWN_NAME: &str = "own_name";

/// Whether the output is to be coloured: only a terminal's, and not against its user's wish (<https://no-color.org>).
pub(super) fn colour() -> Colour {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !is_unwanted && !is_dumb() { Colour::On } else { Colour::Off }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Chats until the user or the system ends it; follows the link `join` at the server that it names.
pub(super) fn run(args: &Args, join: Option<Link>) -> Result<Exit, Fatal> {
    let is_terminal =
        !args.json && !args.no_input && io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb();
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(args.log(is_terminal)).with(log).init();
    // One thread does it all: the work is waiting, and a second thread would cost memory.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fatal::failed)?;
    let outcome = runtime.block_on(Box::pin(chat(args, join, is_terminal)));
    // A read of the input that is under way must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn chat(args: &Args, join: Option<Link>, is_terminal: bool) -> Result<Exit, Fatal> {
    let signals = Signals::new().map_err(Fatal::failed)?;
    let dir = DataDir::open(&args.data_dir()?).map_err(Fatal::failed)?;
    let _lock = dir.lock().map_err(|error| match error {
        DataDirError::Locked { .. } => Fatal::with(Exit::Busy)(&error),
        error => Fatal::failed(error),
    })?;
    let identity = dir.identity_or_make(rand::random()).map_err(Fatal::failed)?;
    let is_guest = join.is_some();
    let server = join.as_ref().map(Link::target).or_else(|| args.server.clone());
    let (server, embedded) = match &server {
        Some(target) => (target.clone(), None),
        None => {
            let Embedded { server, target } = embedded::start(dir.path()).await?;
            (target, Some(server))
        }
    };
    let name = prepare(args, &dir, &identity).await?;
    let place = if embedded.is_some() { Place::Here } else { Place::Elsewhere };
    let config = Config { join, ..config(args, &dir, identity, server.clone(), place, name.clone())? };
    let (engine, events) = Engine::start(config).await.map_err(|error| match error {
        EngineError::Link(LinkError::OtherKey { .. }) => Fatal::with(Exit::Server)(&error),
        error => Fatal::failed(error),
    })?;
    let worker = Worker::Running { engine: Box::new(engine.clone()), server: server.to_string() };
    let _serving = Serving::start(&dir, worker);
    let app = |front| App::new(Setup { engine: engine.clone(), name, server, front, is_guest });
    if is_terminal && !args.plain {
        let (_restore, screen, inputs) = open_screen(args, engine.me())?;
        return Box::pin(app(Front::Screen(screen)).run(events, Inputs::Screen(inputs), signals, embedded))
            .await;
    }
    let restore = is_terminal.then(Restore::new);
    let (inputs, out) = open_console(args, restore.as_ref())?;
    let front = if args.json { Front::Json(out) } else { Front::Lines(colour(), out) };
    Box::pin(app(front).run(events, inputs, signals, embedded)).await
}

/// The name that others see: what the user says, or said the last time, or the login name.
pub(super) async fn own_name(args: &Args, store: &Store) -> Result<String, StoreError> {
    if let Some(name) = args.said_name() {
        return Ok(name);
    }
    Ok(store.setting(OWN_NAME).await?.unwrap_or_else(Args::login_name))
}

/// What a client needs to know of its database before it starts. The caller holds the directory's lock.
pub(super) async fn prepare(args: &Args, dir: &DataDir, identity: &Identity) -> Result<String, Fatal> {
    let prepared = async {
        let store = Store::open(&dir.database(), identity.peer_id()).await?;
        if args.invisible && Visibility::of(&store).await? == Visibility::Visible {
            // Before anything goes out.
            let choice = Choice::Visibility(Visibility::Invisible { but: Vec::new() });
            choice.keep(&store, net::unix_ms()).await?;
        }
        if let Some(name) = args.said_name() {
            store.set_setting(OWN_NAME, &name).await?;
        }
        let name = own_name(args, &store).await;
        store.close().await;
        name
    };
    prepared.await.map_err(|error: StoreError| Fatal::failed(error))
}

/// Where the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Inside this client.
    Here,
    /// Anywhere else.
    Elsewhere,
}

/// The engine's settings, with sockets of its own.
pub(super) fn config(
    args: &Args,
    dir: &DataDir,
    identity: Identity,
    server: ServerTarget,
    place: Place,
    name: String,
) -> Result<Config, Fatal> {
    Ok(Config {
        identity,
        database: dir.database(),
        store: Options::default(),
        name,
        meet: args.meet,
        join: None,
        // The server inside this client is as near as can be.
        tunnels: (place == Place::Elsewhere).then(|| args.tunnels(&server)),
        server: Some(server),
        links: bind(args.port)?,
        bind_extra: net::BindExtra(Arc::new(links::bind_extra)),
        surroundings: surroundings(args),
        tcp: TcpUse::WhenUdpFails,
        wall_clock: net::unix_ms,
        seed: rand::random(),
    })
}

/// Takes the terminal for the full screen.
fn open_screen(args: &Args, me: PeerId) -> Result<(tui::Restore, tui::Screen, mpsc::Receiver<Input>), Fatal> {
    let mouse = if args.mouse { tui::Mouse::Taken } else { tui::Mouse::Left };
    let restore = tui::Restore::take(mouse).map_err(Fatal::failed)?;
    let (screen, inputs) = tui::start(me, colour()).map_err(Fatal::failed)?;
    Ok((restore, screen, inputs))
}

fn surroundings(args: &Args) -> Surroundings {
    let mut surroundings = Surroundings { stun: args.stun.clone(), ..Surroundings::system() };
    if args.no_port_mapping {
        surroundings.port_mapping = net::PortMapping::Off;
    }
    if args.no_lan {
        surroundings.lan = net::Lan::Off;
    }
    surroundings
}

/// Binds the client's sockets; a port that the user chose must be had for IPv4.
fn bind(port: u16) -> Result<Vec<Arc<dyn AsyncUdpSocket>>, Fatal> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => Fatal::failed(format!(
            "another program uses UDP port {port}; choose another one with --port, or leave it out for any"
        )),
        _ => Fatal::failed(format!("cannot use UDP port {port}: {error}")),
    };
    if port != 0 {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(explain)?;
    }
    links::bind(port).map_err(explain)
}

fn open_console(args: &Args, restore: Option<&Restore>) -> Result<(Inputs, Out), Fatal> {
    if let Some(restore) = restore {
        let (terminal, sink) = terminal::start(colour(), restore).map_err(Fatal::failed)?;
        return Ok((Inputs::Terminal(terminal), Out::start(sink)));
    }
    let inputs = if args.no_input { Inputs::None } else { Inputs::Plain(plain::start()) };
    Ok((inputs, Out::start(Stdout)))
}
