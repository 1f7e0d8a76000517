//! `client why`.

use std::time::Duration;

use common::identity::PeerId;
use common::traversal::cause::Cause;
use tokio::time::{Instant, sleep};

use super::alone::Alone;
use crate::data_dir::DataDir;
use crate::engine::{Engine, Why};
use crate::net::unix_ms;
use crate::ui::args::{self, Args};
use crate::ui::hands::Request;
use crate::ui::news::News;
use crate::ui::show::{self, Colour};
use crate::ui::{Exit, Fatal, app, json};

/// How long a new connection is given to find its best path.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it is looked at meanwhile.
const STEP: Duration = Duration::from_millis(200);
/// How long a path is in use before it counts as the one that stays, in milliseconds.
const SETTLING_MS: u64 = 1_000;

/// Tells how somebody is connected, and why not better.
pub(super) async fn run(args: &Args, options: &args::Why, dir: &DataDir) -> Result<Exit, Fatal> {
    if !Alone::is_possible(args, dir) {
        return super::ask(dir, Request::Why { peer: options.peer.clone() }, args.json).await;
    }
    let (names, peer) = super::whom(dir, &options.peer).await?;
    let alone = Alone::start(args, dir, &names, peer).await?;
    let news = News::Why(Box::new(settled(&alone.engine, peer).await));
    alone.end().await;
    let lines = || show::lines(&news, &names, Colour::Off).unwrap_or_default() + "\n";
    super::print(if args.json { json::line(&news, unix_ms()) } else { lines() });
    Ok(Exit::Good)
}

/// What can be said once nothing is being tried any more, and no better path has followed the first.
async fn settled(engine: &Engine, peer: PeerId) -> Why {
    let until: Instant = app::now() + PATIENCE;
    loop {
        let why = engine.why(peer).await;
        let is_settled = match why.insight.as_ref().map(|insight| insight.cause) {
            None => true,
            Some(Cause::Trying) => false,
            // Of two direct paths the better one may need a moment more to prove itself.
            Some(_) => why.since_ms.is_none_or(|since_ms| unix_ms() >= since_ms + SETTLING_MS),
        };
        if is_settled || app::now() >= until {
            return why;
        }
        sleep(STEP).await;
    }
}
