//! Rooms, and messages that wait.

use common::identity::PeerId;
use common::text;

use super::{App, Closed, News};
use crate::engine::{ConversationInfo, Draft, EngineError, Kind};
use crate::log::ConversationId;
use crate::reading::short;
use crate::store::Regard;
use crate::ui::line::Act;
use crate::ui::rooms::find_named;

/// Unsent messages that are listed.
const MAX_UNSENT: usize = 100;
/// Characters of a text in a list.
const MAX_SHOWN: usize = 60;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Said(String),
}

fn said(text: impl Into<String>) -> Refusal {
    Refusal::Said(text.into())
}

impl App {
    /// Carries out one command and says what came of it.
    pub(super) async fn handle_act(&mut self, act: Act) -> Result<(), Closed> {
        let news = match self.act(act).await {
            Ok(None) => return Ok(()),
            Ok(Some(message)) => News::Info(message),
            Err(refusal) => News::Error(refusal.to_string()),
        };
        self.say(news).await
    }

    async fn act(&mut self, act: Act) -> Result<Option<String>, Refusal> {
        match act {
            Act::Create { name } => {
                let room = self.engine.create_room(&name).await?;
                self.enter(room, &name).await?;
                Ok(Some(format!("what you type goes to the room {} now", self.names.room(room))))
            }
            Act::List => self.list().await.map(Some),
            Act::Join { name } => self.join(&name).await.map(Some),
            Act::Accept => {
                let rooms = self.engine.conversations().await?;
                let invitation = rooms.iter().find(|room| room.is_invitation());
                let room = invitation.ok_or_else(|| said("nobody has invited you"))?;
                self.join(&room.id.to_string()).await.map(Some)
            }
            Act::Leave => {
                let room = self.here()?;
                self.engine.leave(room).await?;
                self.room = None;
                Ok(Some(format!("you have left {}", self.names.room(room))))
            }
            Act::Invite { peer } => {
                let peer = self.who(&peer)?;
                self.engine.invite(self.here()?, peer).await?;
                Ok(Some(format!("{} is invited", self.names.shown(peer))))
            }
            Act::Remove { peer } => {
                let peer = self.who(&peer)?;
                self.engine.remove(self.here()?, peer).await?;
                Ok(None)
            }
            Act::Topic { topic } if topic.is_empty() => {
                let Kind::Room { topic, .. } = self.info(self.here()?).await?.kind else {
                    return Err(said("that is no room"));
                };
                Ok(Some(format!("topic: {}", text::one_line(&topic, MAX_SHOWN * 4))))
            }
            Act::Topic { topic } => {
                self.engine.set_topic(self.here()?, &topic).await.map(|_| None).map_err(Refusal::from)
            }
            Act::Names => self.list_members().await.map(Some),
            Act::Unsent => self.list_unsent().await.map(Some),
            Act::Cancel { target } => self.cancel(&target).await.map(Some),
        }
    }

    async fn list_unsent(&self) -> Result<String, Refusal> {
        let unsent = self.engine.unsent(MAX_UNSENT).await?;
        let lines = unsent.iter().map(|(unsent, row)| {
            let text = text::one_line(row.content.as_text().unwrap_or("[an event]"), MAX_SHOWN);
            let recipient = self.names.shown(unsent.recipient);
            format!("\n   {} to {recipient}, {}: {text}", short(&unsent.id), unsent.state)
        });
        Ok(format!("{} not delivered:{}", unsent.len(), lines.collect::<String>()))
    }

    async fn cancel(&self, target: &str) -> Result<String, Refusal> {
        let unsent = self.engine.unsent(MAX_UNSENT).await?;
        let is_meant = |id: &str| target.is_empty() || id.starts_with(target);
        let found = unsent.iter().rev().find(|(unsent, _)| is_meant(&unsent.id.to_string()));
        let (unsent, _) = found.ok_or_else(|| said("no such message waits; /unsent lists them"))?;
        self.engine.cancel(unsent.id).await?;
        Ok(format!("{} is cancelled", short(&unsent.id)))
    }

    /// Lines go to the room from now on.
    async fn enter(&mut self, room: ConversationId, name: &str) -> Result<(), Refusal> {
        self.names.set_room(room, name);
        if self.front.is_screen() {
            let people = self.engine.people().await?;
            self.show_roster(people).await.map_err(|_| said("nobody reads"))?;
            let turned = News::Turned { conversation: Some(room) };
            self.say(turned).await.map_err(|_| said("nobody reads"))?;
        }
        self.room = Some(room);
        Ok(())
    }

    fn here(&self) -> Result<ConversationId, Refusal> {
        self.room.ok_or_else(|| said("you are in no room; /rooms lists yours, /join NAME enters one"))
    }

    fn who(&self, typed: &str) -> Result<PeerId, Refusal> {
        typed.parse().or_else(|_| self.names.find(typed)).map_err(|error| said(error.to_string()))
    }

    async fn info(&self, room: ConversationId) -> Result<ConversationInfo, Refusal> {
        self.engine.conversation(room).await?.ok_or_else(|| said("that room is not known here"))
    }

    async fn rooms(&self) -> Result<Vec<ConversationInfo>, Refusal> {
        let all = self.engine.conversations().await?;
        Ok(all.into_iter().filter(|info| matches!(info.kind, Kind::Room { .. })).collect())
    }

    async fn list(&mut self) -> Result<String, Refusal> {
        let rooms = self.rooms().await?;
        let mut lines = String::new();
        for info in &rooms {
            self.names.set_room(info.id, &info.title);
            let Kind::Room { members, standing, .. } = &info.kind else { continue };
            let state = match standing {
                None => ", not yours any more",
                Some(_) if info.is_invitation() => ", you are invited",
                Some(_) => "",
            };
            let name = self.names.room(info.id);
            lines += &format!(
                "\n   {name} [{}] {} members, {} unread{state}",
                short(&info.id),
                members.len(),
                info.unread
            );
        }
        Ok(if rooms.is_empty() {
            "no rooms; /room NAME makes one".to_owned()
        } else {
            format!("rooms:{lines}")
        })
    }

    /// Enters the room that is meant; takes the invitation if there is one.
    async fn join(&mut self, typed: &str) -> Result<String, Refusal> {
        let rooms = self.rooms().await?;
        let named = rooms.iter().map(|info| (info.id, info.title.as_str()));
        let wanted = find_named(typed, named).map_err(|error| said(error.to_string()))?;
        let info =
            rooms.iter().find(|info| info.id == wanted).ok_or_else(|| said("that room is not known here"))?;
        if info.is_invitation() {
            self.engine.accept(info.id).await?;
        }
        self.enter(info.id, &info.title).await?;
        self.engine.mark_read(info.id).await?;
        Ok(format!("what you type goes to the room {} now", self.names.room(info.id)))
    }

    async fn list_members(&self) -> Result<String, Refusal> {
        let info = self.info(self.here()?).await?;
        let Kind::Room { members, .. } = info.kind else { return Err(said("that is no room")) };
        let lines = members.iter().map(|member| {
            let name = match self.names.knows(member.peer) {
                true => self.names.shown(member.peer),
                false => text::one_line(&member.name, MAX_SHOWN),
            };
            let state = match (member.regard, member.connected) {
                (Regard::Hidden, _) => ", blocked",
                (Regard::Quiet, true) => ", muted, connected",
                (Regard::Quiet, false) => ", muted",
                (Regard::Open, true) => ", connected",
                (Regard::Open, false) => "",
            };
            format!("\n   {name} [{}] {}{state}", member.peer.short(), member.standing)
        });
        Ok(format!("in {}:{}", self.names.room(info.id), lines.collect::<String>()))
    }

    /// A line typed into the room.
    pub(super) async fn post(&mut self, room: ConversationId, text: String) -> Result<(), Closed> {
        match self.engine.post(room, Draft::from(text)).await {
            Ok(row) => self.handle_sent(row).await,
            Err(error) => self.say(News::Error(format!("{error}; nothing was sent"))).await,
        }
    }

    /// Learns what a room is called.
    pub(super) async fn learn_room(&mut self, conversation: ConversationId) {
        if let Ok(Some(info)) = self.engine.conversation(conversation).await
            && matches!(info.kind, Kind::Room { .. })
        {
            self.names.set_room(conversation, &info.title);
        }
    }
}
