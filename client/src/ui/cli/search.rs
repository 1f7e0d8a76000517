//! `client search`: read from the database, beside a running client or without one.

use crate::data_dir::DataDir;
use crate::log::MessageId;
use crate::net::unix_ms;
use crate::store::{HistoryRow, Search as Query, Store};
use crate::ui::args::Search;
use crate::ui::names::Names;
use crate::ui::search::{self, Found, SearchError};
use crate::ui::{Exit, Fatal, json, show, start};

/// Prints what is found, newest first.
pub(super) async fn print(is_json: bool, options: &Search, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let names = Names::of(&store).await.map_err(Fatal::failed)?;
    let query = search::understand(&options.query.join(" "), &names, &store, unix_ms()).await;
    let query = query.map_err(|error| match error {
        SearchError::Query(_) => Fatal::with(Exit::Usage)(&error),
        SearchError::Name(_) => Fatal::with(Exit::Unclear)(&error),
        SearchError::Store(_) => Fatal::failed(error),
    })?;
    let before_arrival = match options.before {
        Some(id) => Some(arrival(&store, id).await?),
        None => None,
    };
    let query = Query { limit: options.limit, before_arrival, ..query };
    let found = search::run(&store, query, &names).await.map_err(Fatal::failed)?;
    store.close().await;
    let colour = start::colour();
    let next = found.last().filter(|_| found.len() == options.limit).map(|found| found.message.id());
    for Found { title, message } in found {
        let row = HistoryRow::Message(Box::new(message));
        let line = if is_json {
            json::history_line(&row, unix_ms())
        } else {
            show::found_line(&title, &row, &names, colour) + "\n"
        };
        if !super::print(line) {
            return Ok(Exit::Good);
        }
    }
    if let Some(id) = next.filter(|_| !is_json) {
        super::print(format!("(for more: --before {id})\n"));
    }
    Ok(Exit::Good)
}

async fn arrival(store: &Store, id: MessageId) -> Result<u64, Fatal> {
    let found = store.get(&[id]).await.map_err(Fatal::failed)?;
    let row =
        found.first().ok_or_else(|| Fatal::with(Exit::Unclear)(&format!("there is no message {id}")))?;
    Ok(row.arrival)
}
