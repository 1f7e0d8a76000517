//! Links, keys that are compared, names: wishes that are typed, and what comes of them.

use super::{App, Closed, News};
use crate::engine::LinkNews;
use crate::ui::meeting::{self, Outcome, Wish};
use crate::ui::qr;

impl App {
    /// Carries a wish out and says what came of it.
    pub(super) async fn handle_meeting(&mut self, wish: Wish) -> Result<(), Closed> {
        let wish = match (wish, self.room) {
            (Wish::MakeLink { room: None, uses, lifetime_s }, Some(room)) => {
                Wish::MakeLink { room: Some(room.to_string()), uses, lifetime_s }
            }
            (wish, _) => wish,
        };
        let worker = self.worker();
        let outcome = match meeting::perform(&worker, wish).await {
            Ok(outcome) => outcome,
            Err(fatal) => return self.say(News::Error(fatal.message)).await,
        };
        if let Some(found) = outcome.found()
            && !self.names.knows(found.peer)
        {
            self.names.set(found.peer, &found.name);
        }
        let (code, is_changed) = (outcome.qr(), matches!(outcome, Outcome::Safety(_)));
        self.say(News::Meeting(outcome)).await?;
        if is_changed && let Some(people) = self.people().await? {
            self.show_roster(people).await?;
        }
        match (code, qr::terminal()) {
            (Some((title, text)), Some((columns, _))) => self.say(News::Qr { title, text, columns }).await,
            _ => Ok(()),
        }
    }

    /// What the engine tells of links.
    pub(super) async fn handle_link(&mut self, news: LinkNews) -> Result<(), Closed> {
        if let LinkNews::Joined { room: Some(room), .. } | LinkNews::Admitted { room: Some(room), .. } = &news
        {
            self.learn_room(*room).await;
        }
        if let Some(people) = self.people().await? {
            self.show_roster(people).await?;
        }
        let has_joined = matches!(news, LinkNews::Joined { .. });
        self.say(News::Link(news)).await?;
        if has_joined && std::mem::take(&mut self.is_guest) {
            let message = format!("the next time, start with: client --server {}", self.server);
            return self.say(News::Info(message)).await;
        }
        Ok(())
    }
}
