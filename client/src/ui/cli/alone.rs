//! Commands that need a connection while no client runs: an engine for as long as they take.

use std::time::Duration;

use common::identity::PeerId;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::data_dir::{DataDir, DirLock};
use crate::engine::{Engine, Event};
use crate::ui::args::Args;
use crate::ui::names::Names;
use crate::ui::{Exit, Fatal, start};

/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// An engine that is connected to one peer.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) engine: Engine,
    events: mpsc::Receiver<Event>,
    _lock: DirLock,
}

impl Alone {
    /// Whether no client runs, and it is known which server to use.
    pub(super) fn is_possible(args: &Args, dir: &DataDir) -> bool {
        args.server.is_some() && dir.lock().is_ok()
    }

    /// Connects to `peer`.
    pub(super) async fn start(
        args: &Args,
        dir: &DataDir,
        names: &Names,
        peer: PeerId,
    ) -> Result<Self, Fatal> {
        let lock = dir.lock().map_err(Fatal::failed)?;
        let server = args.server.clone().ok_or_else(|| Fatal::failed("no server is named"))?;
        let identity = dir.identity().map_err(Fatal::failed)?;
        let name = start::prepare(args, dir, &identity).await?;
        let config = start::config(args, dir, identity, server, start::Place::Elsewhere, name)?;
        let (engine, events) = Engine::start(config).await.map_err(Fatal::failed)?;
        let mut alone = Self { engine, events, _lock: lock };
        let name = names.shown(peer);
        let connected = timeout(PATIENCE, alone.connect(peer, &name)).await;
        let late = || Err(Fatal::failed(format!("{name} was not reached within {PATIENCE:?}")));
        match connected.unwrap_or_else(|_| late()) {
            Ok(()) => Ok(alone),
            Err(fatal) => {
                alone.end().await;
                Err(fatal)
            }
        }
    }

    async fn connect(&mut self, wanted: PeerId, name: &str) -> Result<(), Fatal> {
        while let Some(event) = self.events.recv().await {
            match event {
                Event::ServerUp { .. } => self.engine.connect(wanted).await,
                Event::Connected { peer, .. } if peer == wanted => return Ok(()),
                Event::Unreachable { peer, reason } if peer == wanted => {
                    return Err(Fatal::failed(format!("{name} cannot be reached now: {reason}")));
                }
                Event::ServerDown { error, retry: None } => return Err(Fatal::with(Exit::Server)(&error)),
                _ => {}
            }
        }
        Err(Fatal::failed("the engine has ended"))
    }

    /// Takes leave.
    pub(super) async fn end(self) {
        let Self { engine, mut events, .. } = self;
        let read = async {
            while events.recv().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = engine.shutdown() => {}
            () = read => {}
        }
    }
}
