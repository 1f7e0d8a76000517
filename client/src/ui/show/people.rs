//! What the user has decided about others, and what is known of them, in words.

use common::text;

use crate::engine::settings::Setting;
use crate::engine::{Choice, Profile, Visibility};
use crate::store::{Regard, Subject};
use crate::ui::names::Names;
use crate::ui::news::path_text;
use crate::ui::time::iso;

/// A decision.
pub(super) fn choice(choice: &Choice, names: &Names) -> String {
    let whom = |subject: &Subject| match subject {
        Subject::Person(peer) => names.shown(*peer),
        Subject::Room(room) => names.room(*room),
    };
    match choice {
        Choice::Block { peer, is_on: true } => format!(
            "{} is blocked: to them you are offline; what you write to them waits",
            names.shown(*peer)
        ),
        Choice::Block { peer, is_on: false } => format!("{} is not blocked any more", names.shown(*peer)),
        Choice::Mute { whom: subject, until_ms: None } => format!("{} is muted", whom(subject)),
        Choice::Mute { whom: subject, until_ms: Some(until) } => {
            format!("{} is muted until {}", whom(subject), iso(*until))
        }
        Choice::Unmute(subject) => format!("{} is not muted any more", whom(subject)),
        Choice::Presence { peer, is_shown: true } => {
            format!("{} sees when you are online, if they show you the same", names.shown(*peer))
        }
        Choice::Presence { peer, is_shown: false } => {
            format!("{} does not see any more when you are online, nor you when they are", names.shown(*peer))
        }
        Choice::Visibility(visibility) => visible(visibility, names),
        Choice::Set { setting, value } => format!("{} is {value}", setting.name),
    }
}

/// For whom this user is there.
pub(in crate::ui) fn visible(visibility: &Visibility, names: &Names) -> String {
    match visibility {
        Visibility::Visible => "you are visible".to_owned(),
        Visibility::Invisible { but } => {
            let chosen: Vec<_> = but.iter().map(|peer| names.shown(*peer)).collect();
            let but = if chosen.is_empty() { String::new() } else { format!(" but {}", chosen.join(", ")) };
            format!("you are invisible to all{but}; what you write to others waits until /visible")
        }
    }
}

/// All settings, or some.
pub(super) fn settings(settings: &[(&Setting, &str)]) -> String {
    let line = |(setting, value): &(&Setting, &str)| {
        format!("\n   {:<11} {value:<4} ({})  {}", setting.name, setting.values.join(", "), setting.help)
    };
    format!("settings; set NAME VALUE changes one:{}", settings.iter().map(line).collect::<String>())
}

/// One person.
pub(super) fn profile(profile: &Profile, names: &Names) -> String {
    let mut lines = vec![format!("{}:", names.shown(profile.peer)), format!("key {}", profile.peer)];
    lines.push(match profile.verified_ms {
        Some(at) => format!("verified on {}", iso(at)),
        None => "not verified: /verify compares the keys".to_owned(),
    });
    match &profile.contact {
        Some(contact) => {
            let name = |name: &str| text::one_line(name, text::MAX_NAME);
            lines.push(format!("calls themselves {}", name(&contact.given_name)));
            if !contact.own_name.is_empty() {
                lines.push(format!("you call them {}", name(&contact.own_name)));
            }
            lines.push(format!(
                "first met {}, last seen {}",
                iso(contact.first_met_ms),
                iso(contact.last_seen_ms)
            ));
        }
        None => lines.push("no contact of yours".to_owned()),
    }
    lines.push(match &profile.connected {
        Some(live) => {
            let path = live.path.as_ref().map(|path| path_text(path.via, path.remote, path.rtt));
            format!("connected {}; words: {}", path.unwrap_or_default(), live.words)
        }
        None if profile.online => "online, not connected".to_owned(),
        None => "not seen online".to_owned(),
    });
    match (profile.regard, profile.muted.and_then(|span| span.until_ms)) {
        (Regard::Hidden, _) => lines.push("blocked".to_owned()),
        (Regard::Quiet, Some(until)) => lines.push(format!("muted until {}", iso(until))),
        (Regard::Quiet, None) => lines.push("muted".to_owned()),
        (Regard::Open, _) => {}
    }
    let shown = if profile.shows_presence { "may see" } else { "does not see" };
    lines.push(format!("{shown} when you are online"));
    if !profile.rooms.is_empty() {
        let rooms =
            profile.rooms.iter().map(|(_, name)| format!("#{}", text::one_line(name, text::MAX_NAME)));
        lines.push(format!("with you in {}", rooms.collect::<Vec<_>>().join(", ")));
    }
    lines.join("\n   ")
}

/// What stands for messages of the blocked.
pub(in crate::ui) fn placeholder(count: usize) -> String {
    if count == 1 {
        "1 message of a blocked person".to_owned()
    } else {
        format!("{count} messages of blocked people")
    }
}
