//! What the user wants of others, and what of the past they want to see.

use common::identity::PeerId;

use super::{App, Closed, News};
use crate::engine::settings::{BELL, NOTICE, Setting};
use crate::engine::{Choice, EngineError, Visibility};
use crate::store::{Regard, Stance};
use crate::ui::hands::Worker;
use crate::ui::news::Manner;
use crate::ui::search;
use crate::ui::show;
use crate::ui::wish::Wish;

impl App {
    /// Carries out what the command line may want as well.
    pub(super) fn worker(&self) -> Worker {
        Worker::Running { engine: Box::new(self.engine.clone()), server: self.server.to_string() }
    }

    pub(super) async fn handle_wish(&self, wish: Wish) -> Result<(), Closed> {
        let worker = self.worker();
        match worker.wish(wish).await {
            // The engine tells of it.
            Ok(News::Chosen(_)) => Ok(()),
            Ok(news) => self.say(news).await,
            Err(reply) => self.say(News::Error(reply.text)).await,
        }
    }

    /// The user has decided something, here or on the command line.
    pub(super) async fn handle_chosen(&mut self, choice: Choice) -> Result<(), Closed> {
        if let Choice::Block { peer, is_on: true } = choice
            && self.room.is_none()
            && self.current.is_some_and(|current| current.peer == peer && !current.is_chosen)
        {
            self.turn(None).await?;
        }
        let is_about_this = matches!(choice, Choice::Visibility(_) | Choice::Set { .. });
        self.say(News::Chosen(choice)).await?;
        if is_about_this {
            return self.say_manner().await;
        }
        match self.people().await? {
            Some(people) => self.show_roster(people).await,
            None => Ok(()),
        }
    }

    /// How this program behaves by the user's will; at the start lines tell what is unusual.
    pub(super) async fn say_manner(&self) -> Result<(), Closed> {
        let visibility = self.engine.attitude().borrow().visibility.clone();
        let is_on = async |setting: &'static Setting| {
            Ok::<_, EngineError>(setting.of(self.engine.store()).await? == setting.values[0])
        };
        let manner = async {
            let is_invisible = visibility != Visibility::Visible;
            Ok::<_, EngineError>(Manner {
                bell: is_on(BELL).await?,
                notice: is_on(NOTICE).await?,
                is_invisible,
            })
        };
        match manner.await {
            Ok(manner) if self.front.is_screen() => self.say(News::Manner(manner)).await,
            Ok(Manner { is_invisible: true, .. }) if !self.is_ready => {
                self.say(News::Info(show::visible(&visibility, &self.names))).await
            }
            Ok(_) => Ok(()),
            Err(error) => self.fail(&error).await,
        }
    }

    /// Why nothing goes to `peer` now, if that is the user's will.
    pub(super) fn why_kept(&self, peer: PeerId) -> Option<String> {
        let attitude = self.engine.attitude();
        let attitude = attitude.borrow();
        let name = self.names.shown(peer);
        if attitude.stances.has(Stance::Blocked, peer) {
            Some(format!("pending: you block {name}; kept until /unblock"))
        } else if attitude.may_talk(peer) {
            None
        } else {
            Some(format!("pending: you are invisible to {name}; kept until /visible"))
        }
    }

    pub(super) async fn show_history(&self, limit: usize, is_open: bool) -> Result<(), Closed> {
        let direct = self.current.map(|current| self.engine.direct(current.peer));
        let Some(conversation) = self.room.or(direct) else {
            return self.say(News::Error("you talk to nobody yet".to_owned())).await;
        };
        let mut rows = match self.engine.history(conversation, None, limit).await {
            Ok(rows) => rows,
            Err(error) => return self.fail(&error).await,
        };
        if is_open {
            search::open(&mut rows);
        }
        match (self.room, self.current) {
            (Some(room), _) => self.say(News::RoomHistory { room, rows }).await,
            (None, Some(current)) => {
                self.say(News::History { peer: current.peer, rows, is_recent: false }).await
            }
            (None, None) => Ok(()),
        }
    }

    /// Whether a message that has come is to be told: not if its author is blocked, and if they are muted only where the
    /// user is.
    pub(super) fn is_told(&self, message: &crate::store::MessageRow) -> bool {
        let here = self.room.or(self.current.map(|current| self.engine.direct(current.peer)));
        match message.regard {
            Regard::Open => true,
            Regard::Quiet => !self.front.is_lines() || here == Some(message.conversation),
            Regard::Hidden => self.front.is_screen(),
        }
    }
}
