//! What the user wants of others, carried out: by the engine of the running client, or in the store alone.

use common::identity::PeerId;

use super::request::Reply;
use super::worker::{Worker, failed};
use crate::engine::settings::{SETTINGS, Setting};
use crate::engine::{Choice, EngineError, Profile, Visibility};
use crate::net::unix_ms;
use crate::store::{Stance, Subject};
use crate::ui::names::{NameError, Names};
use crate::ui::news::News;
use crate::ui::plain::Place;
use crate::ui::show::{self, Colour};
use crate::ui::wish::Wish;
use crate::ui::{Exit, json, rooms};

/// Letters of a key that name somebody at the least.
const MIN_KEY: usize = 4;

impl Worker {
    /// Carries a wish out for the command line.
    pub(super) async fn grant(&self, wish: Wish) -> Result<Reply, Reply> {
        let news = self.wish(wish).await?;
        let mut names = self.names().await?;
        self.learn_rooms(&mut names).await?;
        let text = show::lines(&news, &names, Colour::Off).unwrap_or_default();
        Ok(Reply::good(text, json::line(&news, unix_ms())))
    }

    /// Carries a wish out; says what there is to say of it. That is [`News::Chosen`] for a decision, which a running
    /// engine tells as well.
    pub(in crate::ui) async fn wish(&self, wish: Wish) -> Result<News, Reply> {
        let names = self.names().await?;
        let choice = match wish {
            Wish::Block { peer } => Choice::Block { peer: self.anybody(&names, &peer).await?, is_on: true },
            Wish::Unblock { peer } => {
                let peer = self.anybody(&names, &peer).await?;
                self.must_be(Stance::Blocked, &Subject::Person(peer), "is not blocked").await?;
                Choice::Block { peer, is_on: false }
            }
            Wish::Mute { whom, span_ms } => {
                let until_ms = span_ms.map(|span| unix_ms().saturating_add(span));
                Choice::Mute { whom: self.subject(&names, &whom).await?, until_ms }
            }
            Wish::Unmute { whom } => {
                let whom = self.subject(&names, &whom).await?;
                self.must_be(Stance::Muted, &whom, "is not muted").await?;
                Choice::Unmute(whom)
            }
            Wish::Invisible { but } => {
                let mut chosen = Vec::with_capacity(but.len());
                for name in &but {
                    chosen.push(self.anybody(&names, name).await?);
                }
                Choice::Visibility(Visibility::Invisible { but: chosen })
            }
            Wish::Visible => Choice::Visibility(Visibility::Visible),
            Wish::Presence { peer, is_shown } => {
                Choice::Presence { peer: self.anybody(&names, &peer).await?, is_shown }
            }
            Wish::Set { name, value } => {
                let setting = Setting::find(&name).map_err(wrong)?;
                Choice::Set { setting, value: setting.value(&value).map_err(wrong)? }
            }
            Wish::Settings { name } => return self.settings(name).await,
            Wish::Blocked => return self.listed(Stance::Blocked, &names).await,
            Wish::Muted => return self.listed(Stance::Muted, &names).await,
            Wish::Whois { peer } => return self.whois(&names, &peer).await,
        };
        self.decide(&choice).await.map_err(failed)?;
        Ok(News::Chosen(choice))
    }

    async fn decide(&self, choice: &Choice) -> Result<(), EngineError> {
        match self {
            Self::Running { engine, .. } => engine.choose(choice.clone()).await,
            Self::Alone { store, .. } if choice.person() == Some(store.me()) => Err(EngineError::Yourself),
            Self::Alone { store, .. } => Ok(choice.keep(store, unix_ms()).await?),
        }
    }

    async fn must_be(&self, stance: Stance, whom: &Subject, wrong: &str) -> Result<(), Reply> {
        let stances = self.store().stances().await.map_err(failed)?;
        match stances.get(stance, whom.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(unclear(format!("{} {wrong}", self.called(whom).await?))),
        }
    }

    async fn called(&self, whom: &Subject) -> Result<String, Reply> {
        let mut names = self.names().await?;
        self.learn_rooms(&mut names).await?;
        Ok(match whom {
            Subject::Person(peer) => names.shown(*peer),
            Subject::Room(room) => names.room(*room),
        })
    }

    async fn learn_rooms(&self, names: &mut Names) -> Result<(), Reply> {
        for conversation in self.store().conversations().await.map_err(failed)? {
            if let Some(room) = conversation.room {
                names.set_room(conversation.id, &room.name);
            }
        }
        Ok(())
    }

    /// A person, or a room; people first unless `#` says otherwise.
    async fn subject(&self, names: &Names, text: &str) -> Result<Subject, Reply> {
        let conversations = self.store().conversations().await.map_err(failed)?;
        match rooms::find_place(text, &conversations, names) {
            Ok(Place::Person(peer)) => Ok(Subject::Person(peer)),
            Ok(Place::Room(room)) => Ok(Subject::Room(room)),
            Err(NameError::Nobody(_)) => self.anybody(names, text).await.map(Subject::Person),
            Err(error) => Err(unclear(error)),
        }
    }

    /// A contact, a member of a room or somebody who is blocked, or anybody by the whole key.
    pub(in crate::ui) async fn anybody(&self, names: &Names, text: &str) -> Result<PeerId, Reply> {
        let unknown = match text.parse().or_else(|_| names.find(text)) {
            Ok(peer) => return Ok(peer),
            Err(error @ NameError::Nobody(_)) if text.len() >= MIN_KEY => error,
            Err(error) => return Err(unclear(error)),
        };
        let conversations = self.store().conversations().await.map_err(failed)?;
        let stances = self.store().stances().await.map_err(failed)?;
        let members = conversations.iter().flat_map(|it| it.members.iter().map(|(peer, _)| *peer));
        let wanted = text.to_lowercase();
        let mut found: Vec<_> = members
            .chain(stances.people(Stance::Blocked))
            .filter(|peer| *peer != names.me() && peer.to_string().starts_with(&wanted))
            .collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [peer] => Ok(*peer),
            _ => Err(unclear(unknown)),
        }
    }

    async fn settings(&self, name: Option<String>) -> Result<News, Reply> {
        let wanted = match name {
            Some(name) => vec![Setting::find(&name).map_err(wrong)?],
            None => SETTINGS.to_vec(),
        };
        let mut settings = Vec::with_capacity(wanted.len());
        for setting in wanted {
            settings.push((setting, setting.of(self.store()).await.map_err(failed)?));
        }
        Ok(News::Settings(settings))
    }

    async fn listed(&self, stance: Stance, names: &Names) -> Result<News, Reply> {
        let mut names = names.clone();
        self.learn_rooms(&mut names).await?;
        let found = self.store().stances().await.map_err(failed)?.people(stance);
        let word = if stance == Stance::Blocked { "blocked" } else { "muted" };
        let shown = |peer: &PeerId| {
            let room = crate::log::ConversationId::from_bytes(*peer.as_bytes());
            if names.is_room(room) { names.room(room) } else { names.shown(*peer) }
        };
        let list: Vec<_> = found.iter().map(shown).collect();
        let list = if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
        Ok(News::Info(format!("{word}: {list}")))
    }

    async fn whois(&self, names: &Names, peer: &str) -> Result<News, Reply> {
        let peer = self.anybody(names, peer).await?;
        let profile = match self {
            Self::Running { engine, .. } => engine.whois(peer).await.map_err(failed)?,
            Self::Alone { store, .. } => Profile::of(store, peer).await.map_err(failed)?,
        };
        Ok(News::Whois(Box::new(profile)))
    }
}

fn wrong(error: impl std::fmt::Display) -> Reply {
    Reply::failed(Exit::Usage, &error)
}

fn unclear(error: impl std::fmt::Display) -> Reply {
    Reply::failed(Exit::Unclear, &error)
}
