//! What the user decides about others: whom they hear, and who may see them. A choice is kept in the store, so that it
//! holds after a restart, and can be made while no client runs.

use common::identity::PeerId;

use super::settings::Setting;
use crate::store::{Span, Stance, Store, StoreError, Subject};

/// The setting that says whether this user is invisible; not in the table, for it is a command.
const VISIBLE: &str = "visible";
const OFF: &str = "off";

/// A decision of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Whether to have nothing to do with somebody.
    Block {
        /// With whom.
        peer: PeerId,
        /// Whether so.
        is_on: bool,
    },
    /// Not to be called by what somebody says, or what is said in a room.
    Mute {
        /// By whom or where.
        whom: Subject,
        /// Until then, in Unix time in milliseconds; `None` for ever.
        until_ms: Option<u64>,
    },
    /// To be called again.
    Unmute(Subject),
    /// Whether a contact is shown that this user is online, whatever holds for others.
    Presence {
        /// Which contact.
        peer: PeerId,
        /// Whether so.
        is_shown: bool,
    },
    /// Whether this user is there for anybody.
    Visibility(Visibility),
    /// A value for a setting.
    Set {
        /// Which.
        setting: &'static Setting,
        /// One of its values.
        value: &'static str,
    },
}

/// For whom this user is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody who is not blocked.
    #[default]
    Visible,
    /// These alone: others do not find this user, and nothing goes to them.
    Invisible {
        /// Who sees them all the same.
        but: Vec<PeerId>,
    },
}

impl Choice {
    /// Whom it is about, if it is about a person.
    #[must_use]
    pub fn person(&self) -> Option<PeerId> {
        match self {
            Self::Block { peer, .. } | Self::Presence { peer, .. } => Some(*peer),
            Self::Mute { whom: Subject::Person(peer), .. } | Self::Unmute(Subject::Person(peer)) => {
                Some(*peer)
            }
            Self::Mute { .. } | Self::Unmute(_) | Self::Visibility(_) | Self::Set { .. } => None,
        }
    }

    /// Keeps it durably, as made at `now_ms`, Unix time in milliseconds.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn keep(&self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        let span = Span { since_ms: now_ms, until_ms: None };
        match self {
            Self::Block { peer, is_on: true } => {
                store.take_stance(Stance::Blocked, Subject::Person(*peer), span).await
            }
            Self::Block { peer, is_on: false } => {
                store.drop_stance(Stance::Blocked, Subject::Person(*peer)).await.map(drop)
            }
            Self::Mute { whom, until_ms } => {
                let span = Span { until_ms: *until_ms, ..span };
                store.take_stance(Stance::Muted, *whom, span).await
            }
            Self::Unmute(whom) => store.drop_stance(Stance::Muted, *whom).await.map(drop),
            Self::Presence { peer, is_shown } => {
                let stance = if *is_shown { Stance::Shown } else { Stance::Unshown };
                store.take_stance(stance, Subject::Person(*peer), span).await
            }
            Self::Visibility(visibility) => visibility.keep(store, span).await,
            Self::Set { setting, value } => setting.set(store, value).await,
        }
    }
}

impl Visibility {
    /// What holds, as the store has it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn of(store: &Store) -> Result<Self, StoreError> {
        Ok(match store.setting(VISIBLE).await?.as_deref() {
            Some(OFF) => Self::Invisible { but: store.stances().await?.people(Stance::Chosen) },
            _ => Self::Visible,
        })
    }

    async fn keep(&self, store: &Store, span: Span) -> Result<(), StoreError> {
        match self {
            Self::Visible => {
                store.set_setting(VISIBLE, "on").await?;
                store.drop_all(Stance::Chosen).await
            }
            Self::Invisible { but } => {
                // First nobody, then the chosen: a crash between shows this user to too few, never to too many.
                store.drop_all(Stance::Chosen).await?;
                store.set_setting(VISIBLE, OFF).await?;
                for peer in but {
                    store.take_stance(Stance::Chosen, Subject::Person(*peer), span).await?;
                }
                Ok(())
            }
        }
    }
}
