//! Rooms, and messages that wait.

use common::identity::PeerId;

use super::{App, Closed, News};
use crate::engine::{ConversationInfo, Draft, EngineError, Kind};
use crate::log::ConversationId;
use crate::reading::short;
use crate::ui::line::Act;
use crate::ui::names::NameError;
use crate::ui::rooms::find_named;
use crate::ui::talking::{self, Outcome, Wish};

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
        match self.act(act).await {
            Ok(None) => Ok(()),
            Ok(Some(news)) => self.say(news).await,
            Err(refusal) => self.say(News::Error(refusal.to_string())).await,
        }
    }

    /// What is to be said; nothing where the conversation shows it.
    async fn act(&mut self, act: Act) -> Result<Option<News>, Refusal> {
        match act {
            Act::Create { name } => {
                if let News::Talking(Outcome::Created { room, name }) =
                    self.perform(Wish::Create { name }).await?
                {
                    self.enter(room, &name).await?;
                }
                Ok(self.where_to())
            }
            Act::List => self.list().await.map(Some),
            Act::Join { name } => self.join(&name).await,
            Act::Turn { room } => match self.engine.conversation(room).await? {
                Some(info) if info.is_invitation() => {
                    let name = self.names.room(room);
                    Err(said(format!("you are invited into {name}: /join it first, or leave it be")))
                }
                Some(info) if matches!(info.kind, Kind::Room { standing: None, .. }) => {
                    Err(said(format!("you are not in {} any more", self.names.room(room))))
                }
                Some(info) => self.join(&info.id.to_string()).await,
                None => Err(said("that room is not known here")),
            },
            Act::Accept => {
                let rooms = self.engine.conversations().await?;
                let invitation = rooms.iter().find(|room| room.is_invitation());
                let room = invitation.ok_or_else(|| said("nobody has invited you"))?;
                self.join(&room.id.to_string()).await
            }
            Act::Leave => {
                let news = self.perform(Wish::Leave { room: self.room_here()? }).await?;
                self.room = None;
                let current = self.current.filter(|_| !self.front.is_screen());
                self.turn(current).await.map_err(|_| said("nobody reads"))?;
                Ok(Some(news))
            }
            Act::Invite { peer } => {
                let peer = self.who(&peer)?.to_string();
                self.perform(Wish::Invite { room: self.room_here()?, peer }).await.map(Some)
            }
            Act::Remove { peer } => {
                // A member need not be known here.
                let peer = self.who(&peer).map_or(peer, |peer| peer.to_string());
                self.perform(Wish::Remove { room: self.room_here()?, peer }).await.map(|_| None)
            }
            Act::Topic { topic } => {
                let is_shown = topic.is_none();
                let news = self.perform(Wish::Topic { room: self.room_here()?, topic }).await?;
                Ok(Some(news).filter(|_| is_shown))
            }
            Act::Names => self.perform(Wish::Members { room: self.room_here()? }).await.map(Some),
            Act::Unsent => self.perform(Wish::Unsent).await.map(Some),
            Act::Cancel { target } => self.perform(Wish::Cancel { id: target }).await.map(Some),
        }
    }

    async fn perform(&self, wish: Wish) -> Result<News, Refusal> {
        talking::perform(&self.worker(), wish).await.map_err(|fatal| said(fatal.message))
    }

    fn where_to(&self) -> Option<News> {
        let room = self.names.room(self.room?);
        Some(News::Info(format!("what you type goes to the room {room} now")))
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
        self.update_prompt();
        Ok(())
    }

    /// The id of the room that the user is in.
    fn room_here(&self) -> Result<String, Refusal> {
        let room = self.room.map(|room| room.to_string());
        room.ok_or_else(|| said("you are in no room; /rooms lists yours, /join NAME enters one"))
    }

    fn who(&self, typed: &str) -> Result<PeerId, Refusal> {
        typed.parse().or_else(|_| self.names.find(typed)).map_err(|error| said(error.to_string()))
    }

    async fn rooms(&self) -> Result<Vec<ConversationInfo>, Refusal> {
        let all = self.engine.conversations().await?;
        Ok(all.into_iter().filter(|info| matches!(info.kind, Kind::Room { .. })).collect())
    }

    async fn list(&mut self) -> Result<News, Refusal> {
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
                "\n   {name} [{}] {}, {} unread{state}",
                short(&info.id),
                if members.len() == 1 { "1 member".to_owned() } else { format!("{} members", members.len()) },
                info.unread
            );
        }
        Ok(News::Info(if rooms.is_empty() {
            "no rooms; /room NAME makes one".to_owned()
        } else {
            format!("rooms:{lines}")
        }))
    }

    /// Enters the room that is meant; takes the invitation if there is one.
    async fn join(&mut self, typed: &str) -> Result<Option<News>, Refusal> {
        let rooms = self.rooms().await?;
        let belong = |info: &&ConversationInfo| matches!(info.kind, Kind::Room { standing: Some(_), .. });
        let named = rooms.iter().filter(belong).map(|info| (info.id, info.title.clone()));
        let wanted = find_named(typed, named).map_err(|error| {
            let left = rooms.iter().map(|info| (info.id, info.title.clone()));
            match (&error, find_named(typed, left)) {
                (NameError::NoRoom(_), Ok(room)) => {
                    said(format!("you are not in {} any more", self.names.room(room)))
                }
                _ => said(error.to_string()),
            }
        })?;
        let info =
            rooms.iter().find(|info| info.id == wanted).ok_or_else(|| said("that room is not known here"))?;
        if info.is_invitation() {
            self.engine.accept(info.id).await?;
        }
        self.enter(info.id, &info.title).await?;
        self.engine.mark_read(info.id).await?;
        Ok(self.where_to())
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
