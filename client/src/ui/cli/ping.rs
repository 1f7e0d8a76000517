//! `client ping`.

use std::pin::pin;

use common::identity::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::alone::Alone;
use crate::data_dir::DataDir;
use crate::net::unix_ms;
use crate::ui::args::{Args, Ping};
use crate::ui::hands::{Hand, Request};
use crate::ui::names::Names;
use crate::ui::news::News;
use crate::ui::ping::{self, INTERVAL, Pinged, Plan, Tally};
use crate::ui::show::{self, Colour};
use crate::ui::{Exit, Fatal, json};

/// Round trips until the count is reached or Ctrl-C is pressed, and what they came to.
pub(super) async fn run(args: &Args, options: &Ping, dir: &DataDir) -> Result<Exit, Fatal> {
    let interval = options.interval.unwrap_or(INTERVAL);
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let plan = Plan { interval_ms, count: options.count };
    let (names, peer) = super::whom(dir, &options.peer).await?;
    let shown = Shown { is_json: args.json, names: &names, peer };
    if Alone::is_possible(args, dir) {
        let alone = Alone::start(args, dir, &names, peer).await?;
        let mut tasks = JoinSet::new();
        let results = ping::start(alone.engine.clone(), peer, plan, &mut tasks);
        let tally = match results {
            Ok(results) => Ok(shown.show(results).await),
            Err(error) => Err(Fatal::failed(error)),
        };
        alone.end().await;
        return tally.map(exit);
    }
    let mut hand = Hand::reach(dir).await?;
    let (sender, results) = mpsc::channel(1);
    let mut asking = pin!(hand.stream(Request::Ping { peer: peer.to_string(), plan }, sender));
    let mut showing = pin!(shown.show(results));
    let ended = tokio::select! {
        tally = &mut showing => return Ok(exit(tally)),
        ended = &mut asking => ended,
    };
    ended.map(drop)?;
    Ok(exit(showing.await))
}

/// Somebody who never answers is a failure, as scripts see it.
const fn exit(tally: Tally) -> Exit {
    if tally.received > 0 { Exit::Good } else { Exit::Failed }
}

/// Where results go.
struct Shown<'a> {
    is_json: bool,
    names: &'a Names,
    peer: PeerId,
}

impl Shown<'_> {
    /// Prints results as they come, and at the end or at Ctrl-C what they come to.
    async fn show(&self, mut results: mpsc::Receiver<Pinged>) -> Tally {
        let (peer, mut tally) = (self.peer, Tally::default());
        loop {
            tokio::select! {
                biased;
                pinged = results.recv() => {
                    let Some(pinged) = pinged else { break };
                    tally.add(&pinged);
                    if !self.print(&News::Pinged { peer, pinged }) {
                        return tally;
                    }
                }
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        if tally.sent > 0 {
            self.print(&News::Pings { peer, tally });
        }
        tally
    }

    fn print(&self, news: &News) -> bool {
        let lines = || show::lines(news, self.names, Colour::Off).unwrap_or_default() + "\n";
        super::print(if self.is_json { json::line(news, unix_ms()) } else { lines() })
    }
}
