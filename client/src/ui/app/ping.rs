//! `/ping`: results are said as they come, while everything else goes on.

use common::identity::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{App, Closed, News};
use crate::ui::ping::{self, INTERVAL, Pinged, Plan, Tally};

/// Pings that are under way; there is one series at a time.
#[derive(Debug)]
pub(super) struct Pinging {
    peer: PeerId,
    tally: Tally,
    results: mpsc::Receiver<Pinged>,
    _tasks: JoinSet<()>,
}

/// The next result; never if nothing is under way, `None` when it was the last.
pub(super) async fn next(pinging: &mut Option<Pinging>) -> Option<Pinged> {
    match pinging {
        Some(pinging) => pinging.results.recv().await,
        None => std::future::pending().await,
    }
}

impl App {
    /// Somebody by name, or else whom the user talks to.
    pub(super) async fn whom(&self, name: &str) -> Result<Option<PeerId>, Closed> {
        let message = match (name, self.current) {
            ("", Some(current)) => return Ok(Some(current.peer)),
            ("", None) => "you talk to nobody yet".to_owned(),
            (name, _) => match self.names.find(name) {
                Ok(peer) => return Ok(Some(peer)),
                Err(error) => error.to_string(),
            },
        };
        self.say(News::Error(message)).await.map(|()| None)
    }

    pub(super) async fn why(&self, name: &str) -> Result<(), Closed> {
        let Some(peer) = self.whom(name).await? else { return Ok(()) };
        let why = self.engine.why(peer).await;
        self.say(News::Why(Box::new(why))).await
    }

    pub(super) async fn ping(&mut self, name: &str, count: u64) -> Result<(), Closed> {
        let Some(peer) = self.whom(name).await? else { return Ok(()) };
        let interval_ms = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let plan = Plan { interval_ms, count: Some(count) };
        let mut tasks = JoinSet::new();
        match ping::start(self.engine.clone(), peer, plan, &mut tasks) {
            Ok(results) => {
                self.pinging = Some(Pinging { peer, tally: Tally::default(), results, _tasks: tasks });
                Ok(())
            }
            Err(error) => self.say(News::Error(format!("{}: {error}", self.names.shown(peer)))).await,
        }
    }

    pub(super) async fn handle_pinged(&mut self, pinged: Option<Pinged>) -> Result<(), Closed> {
        let Some(pinging) = &mut self.pinging else { return Ok(()) };
        let peer = pinging.peer;
        match pinged {
            Some(pinged) => {
                pinging.tally.add(&pinged);
                self.say(News::Pinged { peer, pinged }).await
            }
            None => {
                let tally = pinging.tally;
                self.pinging = None;
                self.say(News::Pings { peer, tally }).await
            }
        }
    }
}
