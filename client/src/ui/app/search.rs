//! `/search`.

use super::{App, Closed, News};
use crate::net::unix_ms;
use crate::store::Search;
use crate::ui::search;

impl App {
    /// Shows what is found; without a query, the next page of the last search.
    pub(super) async fn search(&mut self, query: &str) -> Result<(), Closed> {
        let is_rest = query.is_empty();
        let search = if is_rest {
            match self.next_page.take() {
                Some(search) => search,
                None => {
                    return self.say(News::Error("there is no more; write /search WORDS".to_owned())).await;
                }
            }
        } else {
            match search::understand(query, &self.names, self.engine.store(), unix_ms()).await {
                Ok(search) => search,
                Err(error) => return self.say(News::Error(error.to_string())).await,
            }
        };
        match search::run(self.engine.store(), search.clone(), &self.names).await {
            Ok(found) => {
                let last = found.last().filter(|_| found.len() >= search.limit);
                let before_arrival = last.map(|found| found.message.arrival);
                self.next_page = before_arrival.map(|_| Search { before_arrival, ..search });
                self.say(News::Found { found, has_more: self.next_page.is_some(), is_rest }).await
            }
            Err(error) => self.say(News::Error(error.to_string())).await,
        }
    }
}
