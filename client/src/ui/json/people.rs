//! Events of what the user has decided about others, and of what is known of them.

use common::identity::PeerId;
use serde::Serialize;

use super::event::{is_false, text};
use super::{Event, Way};
use crate::engine::settings::Setting;
use crate::engine::{Choice, Profile, Visibility};
use crate::store::{Regard, Subject};

/// A setting with its value.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Value<'a> {
    name: &'a str,
    value: &'a str,
    values: &'a [&'a str],
    help: &'a str,
}

/// All that is known of somebody.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct Whois {
    #[serde(serialize_with = "text")]
    peer: PeerId,
    /// `null` if they are no contact; so with all up to `last_seen_ms`.
    name: Option<String>,
    given_name: Option<String>,
    own_name: Option<String>,
    first_met_ms: Option<u64>,
    last_seen_ms: Option<u64>,
    verified: bool,
    online: bool,
    connected: bool,
    words: Option<String>,
    #[serde(flatten)]
    way: Way,
    #[serde(skip_serializing_if = "is_false")]
    blocked: bool,
    #[serde(skip_serializing_if = "is_false")]
    muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until_ms: Option<u64>,
    /// Whether they may see when this user is online.
    shown: bool,
    /// Rooms to which both belong.
    rooms: Vec<SharedRoom>,
}

#[derive(Debug, Serialize)]
struct SharedRoom {
    conversation: String,
    name: String,
}

impl From<&Profile> for Whois {
    fn from(profile: &Profile) -> Self {
        let live = profile.connected.as_ref();
        let contact = profile.contact.as_ref();
        Self {
            peer: profile.peer,
            name: contact.map(crate::store::Contact::name),
            given_name: contact.map(|contact| contact.given_name.clone()),
            own_name: contact.map(|contact| contact.own_name.clone()),
            first_met_ms: contact.map(|contact| contact.first_met_ms),
            last_seen_ms: contact.map(|contact| contact.last_seen_ms),
            verified: profile.verified_ms.is_some(),
            online: profile.online,
            connected: live.is_some(),
            words: live.map(|live| live.words.clone()),
            way: live.and_then(|live| live.path.as_ref()).map(Way::of).unwrap_or_default(),
            blocked: profile.regard == Regard::Hidden,
            muted: profile.muted.is_some(),
            muted_until_ms: profile.muted.and_then(|span| span.until_ms),
            shown: profile.shows_presence,
            rooms: profile
                .rooms
                .iter()
                .map(|(id, name)| SharedRoom { conversation: id.to_string(), name: name.clone() })
                .collect(),
        }
    }
}

pub(super) fn settings<'a>(settings: &[(&'a Setting, &'a str)]) -> Event<'a> {
    let value = |&(setting, value): &(&'a Setting, &'a str)| Value {
        name: setting.name,
        value,
        values: setting.values,
        help: setting.help,
    };
    Event::Settings { settings: settings.iter().map(value).collect() }
}

pub(super) fn choice(choice: &Choice) -> Event<'static> {
    let mute = |whom: &Subject, on, until_ms| {
        let (peer, conversation) = match whom {
            Subject::Person(peer) => (Some(peer.to_string()), None),
            Subject::Room(room) => (None, Some(room.to_string())),
        };
        Event::Mute { peer, conversation, on, until_ms }
    };
    match choice {
        Choice::Block { peer, is_on } => Event::Block { peer: *peer, on: *is_on },
        Choice::Mute { whom, until_ms } => mute(whom, true, *until_ms),
        Choice::Unmute(whom) => mute(whom, false, None),
        Choice::Presence { peer, is_shown } => Event::Shown { peer: *peer, on: *is_shown },
        Choice::Visibility(Visibility::Visible) => Event::Visibility { visible: true, seen_by: Vec::new() },
        Choice::Visibility(Visibility::Invisible { but }) => {
            Event::Visibility { visible: false, seen_by: but.iter().map(ToString::to_string).collect() }
        }
        Choice::Set { setting, value } => Event::Setting { name: setting.name, value },
    }
}
