//! What a screen needs to know beyond the news: how everybody is, and pages of conversations.

use std::time::Duration;

use tokio::time::Instant;

use super::{App, Closed, Current, News, now};
use crate::engine::{Event, Kind, Person};
use crate::log::{Content, ConversationId, DisplayOrder};
use crate::store::{MessageRow, Selection};
use crate::ui::plain::Place;
use crate::ui::tui;

/// How long changes are collected.
const COLLECT: Duration = Duration::from_millis(50);
/// How often round trips are told anew.
const REFRESH: Duration = Duration::from_secs(5);

impl App {
    /// Remembers to tell how everybody is, if `event` changes it.
    pub(super) fn note_change(&mut self, event: &Event) {
        let is_change = matches!(
            event,
            Event::Connected { .. }
                | Event::Disconnected { .. }
                | Event::Presence { .. }
                | Event::Path(_)
                | Event::Unreachable { .. }
                | Event::Invited { .. }
                | Event::Message { message: MessageRow { content: Content::Room(_), .. }, .. }
        );
        if is_change && self.front.is_screen() {
            let soon = now() + COLLECT;
            self.roster_at = Some(self.roster_at.map_or(soon, |at| at.min(soon)));
        }
    }

    pub(super) async fn show_roster(&mut self, people: Vec<Person>) -> Result<(), Closed> {
        if !self.front.is_screen() {
            return Ok(());
        }
        self.roster_at = Some(now() + REFRESH);
        self.say(News::Roster(people)).await?;
        match self.engine.conversations().await {
            Ok(mut all) => {
                all.retain(|info| matches!(info.kind, Kind::Room { standing: Some(_), .. }));
                self.say(News::Rooms(all)).await
            }
            Err(error) => self.fail(&error).await,
        }
    }

    /// What had come before this run and was not read.
    pub(super) async fn show_unread(&self) -> Result<(), Closed> {
        if !self.front.is_screen() {
            return Ok(());
        }
        match self.engine.conversations().await {
            Ok(all) => {
                let unread = all.into_iter().filter(|info| info.unread > 0);
                self.say(News::Unread(unread.map(|info| (info.id, info.unread)).collect())).await
            }
            Err(error) => self.fail(&error).await,
        }
    }

    pub(super) async fn refresh_roster(&mut self, now: Instant) -> Result<(), Closed> {
        if self.roster_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.roster_at = None;
        match self.people().await? {
            Some(people) => self.show_roster(people).await,
            None => Ok(()),
        }
    }

    /// A screen shows another conversation.
    pub(super) fn handle_open(&mut self, place: Option<Place>) {
        (self.current, self.room) = match place {
            None => (None, None),
            Some(Place::Person(peer)) => (Some(Current { peer, is_chosen: true }), None),
            Some(Place::Room(room)) => (self.current, Some(room)),
        };
    }

    /// A screen wants a part of a conversation.
    pub(super) async fn handle_page(
        &self,
        conversation: ConversationId,
        before: Option<DisplayOrder>,
    ) -> Result<(), Closed> {
        let selection = Selection { conversation, before, limit: tui::PAGE };
        match self.engine.store().history(selection).await {
            Ok(rows) => self.say(News::Page { conversation, rows }).await,
            Err(error) => self.say(News::Error(error.to_string())).await,
        }
    }
}
