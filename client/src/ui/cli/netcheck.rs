//! `client netcheck`: what this network lets pass, what its NAT does, and what that means.

mod meaning;
mod view;
mod words;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use common::traversal::survey::lifetime::Lifetime;

pub(in crate::ui) use view::View;

use crate::data_dir::DataDir;
use crate::net::netcheck::{self, Config, Kind, MeasureLifetime, Report};
use crate::net::{BindExtra, ServerTarget, links, stun, unix_ms};
use crate::networks::{self, Known, KnownLifetime};
use crate::store::Store;
use crate::ui::args::{Args, Netcheck};
use crate::ui::{Exit, Fatal, json};

/// Asks, prints, remembers. Fails with [`Exit::Server`] after the report if there was a server to be reached and it was not.
pub(super) async fn run(args: &Args, options: &Netcheck) -> Result<Exit, Fatal> {
    let dir = args.data_dir()?;
    let named = options.server.as_ref().or(args.server.as_ref());
    let server = match named {
        Some(target) => Some(pinned(&DataDir::existing(&dir), target).await),
        None => None,
    };
    let asked: Vec<_> = options.stun.iter().chain(&args.stun).cloned().collect();
    if server.is_none() && asked.is_empty() {
        let message = "nobody to ask: name a rendezvous with --server HOST:PORT, or a STUN server with --stun HOST:PORT";
        return Err(Fatal::with(Exit::Usage)(&message));
    }
    if asked.len() > stun::MAX_SERVERS {
        let message = format!("at most {} STUN servers are asked", stun::MAX_SERVERS);
        return Err(Fatal::with(Exit::Usage)(&message));
    }
    if options.lifetime && std::io::stderr().is_terminal() {
        // Nothing is lost if nobody sees it.
        let _ = writeln!(std::io::stderr(), "measuring how long the NAT remembers takes up to ten minutes");
    }
    let network = networks::current();
    let report = netcheck::check(config(args, options, server, asked)?).await.map_err(Fatal::failed)?;
    let before = network.as_ref().and_then(|id| networks::recall(&networks::path(&dir), id));
    let lifetime = known_lifetime(&report, before.as_ref());
    let view = View::of(&report, lifetime, before.as_ref());
    let text =
        if args.json { json::write(json::Event::Netcheck(&view), unix_ms()) } else { words::text(&view) };
    super::print(text);
    // Where nobody answered nothing was learned that could be remembered.
    if let Some(id) = network.filter(|_| report.kind() != Kind::Unknown) {
        remember(&dir, Known { id, at: unix_ms(), kind: view.kind().to_owned(), lifetime });
    }
    match report.server {
        Some(server) => server.outcome.map(|_| Exit::Good).map_err(|error| Fatal::with(Exit::Server)(&error)),
        None if report.udp.seen.is_empty() => Err(Fatal::with(Exit::Server)(&"no STUN server answered")),
        None => Ok(Exit::Good),
    }
}

fn config(
    args: &Args,
    options: &Netcheck,
    server: Option<ServerTarget>,
    stun: Vec<String>,
) -> Result<Config, Fatal> {
    Ok(Config {
        tunnels: server.as_ref().map(|server| args.tunnels(server)),
        server,
        stun,
        links: links::bind(0).map_err(Fatal::failed)?,
        bind_extra: BindExtra(Arc::new(links::bind_extra)),
        interfaces: links::interface_addrs,
        router: if options.no_port_mapping || args.no_port_mapping { || None } else { links::router },
        lifetime: if options.lifetime { MeasureLifetime::Yes } else { MeasureLifetime::No },
        seed: rand::random(),
    })
}

/// The server with the key that a client saw there before, unless the user named one.
async fn pinned(dir: &DataDir, target: &ServerTarget) -> ServerTarget {
    let key = match target.key {
        Some(key) => Some(key),
        // Without a database no server was seen before.
        None => match Store::open_read_only(&dir.database()).await {
            Ok(store) => {
                let key = store.pin(&target.address).await.ok().flatten();
                store.close().await;
                key
            }
            Err(_) => None,
        },
    };
    ServerTarget { address: target.address.clone(), key }
}

/// What was measured now, or else before on this network.
fn known_lifetime(report: &Report, before: Option<&Known>) -> Option<KnownLifetime> {
    match report.lifetime {
        Some(Lifetime::Between(alive, dead)) => Some(KnownLifetime {
            alive_s: alive.as_secs_f64(),
            dead_s: dead.map(|dead| dead.as_secs_f64()),
            at: unix_ms(),
        }),
        Some(Lifetime::Unknown) | None => before.and_then(|before| before.lifetime),
    }
}

fn remember(dir: &Path, known: Known) {
    let remembered = DataDir::open(dir).map_err(|error| error.to_string()).and_then(|dir| {
        networks::remember(&networks::path(dir.path()), known).map_err(|error| error.to_string())
    });
    if let Err(error) = remembered {
        // What was found is printed already.
        let _ = writeln!(std::io::stderr(), "client: this network is not remembered: {error}");
    }
}
