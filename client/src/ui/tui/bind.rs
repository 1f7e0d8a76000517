//! From what the engine knows to what the screen shows. Pure; whatever a peer can have written is made safe here.

use common::identity::PeerId;
use common::text;

use super::model::{Entry, Mark, Member, Presence, Reaction, Row};
use super::zone::Zone;
use crate::engine::{ConversationInfo, Kind, Person};
use crate::log::{Content, ConversationId, Standing, Text};
use crate::reading::{act_words, sign, unknown};
use crate::store::{MessageRow, Regard, State};
use crate::ui::names::Names;
use crate::ui::news::{rtt_text, via_word};

/// Characters of a topic.
const MAX_TOPIC: usize = 200;

/// The conversation with `person`.
pub(super) fn direct(me: PeerId, person: &Person, names: &Names, zone: &Zone) -> Entry {
    let peer = person.contact.peer;
    let name = names.shown(peer);
    let presence = match (&person.connected, person.online) {
        (Some(_), _) => Presence::Connected,
        (None, true) => Presence::Online,
        (None, false) => Presence::Offline,
    };
    let verified = if person.verified_ms.is_some() { "verified, " } else { "" };
    let link = link(person);
    let status = match presence {
        Presence::Connected => format!("{verified}{link}"),
        Presence::Online => "online, not connected".to_owned(),
        Presence::Offline => format!("offline, last seen {}", zone.date(person.contact.last_seen_ms)),
    };
    Entry {
        id: ConversationId::direct(me, peer),
        title: name.clone(),
        peer: Some(peer),
        topic: String::new(),
        members: vec![Member { peer, name, presence, role: "", link }],
        is_muted: person.regard != Regard::Open,
        status: if person.regard == Regard::Hidden {
            "blocked: /unblock ends that".to_owned()
        } else {
            status
        },
    }
}

/// A room that this user belongs to or is invited to.
pub(super) fn room(info: &ConversationInfo, names: &Names) -> Option<Entry> {
    let Kind::Room { topic, members, .. } = &info.kind else { return None };
    let others = members.iter().filter(|member| member.peer != names.me());
    let members: Vec<_> = others
        .map(|member| Member {
            peer: member.peer,
            name: if names.knows(member.peer) {
                names.shown(member.peer)
            } else {
                text::one_line(&member.name, text::MAX_NAME)
            },
            presence: if member.connected { Presence::Connected } else { Presence::Offline },
            role: if member.regard == Regard::Hidden { "blocked" } else { role(member.standing) },
            link: if member.connected { "connected".to_owned() } else { String::new() },
        })
        .collect();
    let connected = members.iter().filter(|member| member.presence == Presence::Connected).count();
    let status = if info.is_invitation() {
        "you are invited: /accept or /leave".to_owned()
    } else {
        format!("{connected} of {} others connected", members.len())
    };
    let title = format!("#{}", text::one_line(&info.title, text::MAX_NAME));
    let topic = text::one_line(topic, MAX_TOPIC);
    Some(Entry {
        id: info.id,
        title,
        peer: None,
        topic,
        members,
        is_muted: info.regard != Regard::Open,
        status,
    })
}

const fn role(standing: Standing) -> &'static str {
    match standing {
        Standing::Invited => "invited",
        Standing::Member => "",
        Standing::Owner => "owner",
    }
}

/// How somebody is reached, such as `udp 12 ms`.
fn link(person: &Person) -> String {
    let Some(connected) = &person.connected else { return String::new() };
    let Some(path) = &connected.path else { return "connected".to_owned() };
    let rtt = path.rtt.map_or_else(String::new, |rtt| format!(" {}", rtt_text(rtt)));
    format!("{}{rtt}", via_word(path.via))
}

/// A message; `my_name` is what others call this user by.
pub(super) fn row(message: &MessageRow, names: &Names, my_name: &str) -> Row {
    let said = match &message.content {
        Content::Text(said) => Some(said),
        _ => None,
    };
    let is_named = |said: &Text| said.mentions.contains(&names.me()) || mentions(&said.text, my_name);
    let reaction = |(text, who): &(String, Vec<PeerId>)| Reaction {
        text: sign(text),
        count: who.len(),
        is_own: who.contains(&names.me()),
    };
    Row {
        order: message.order,
        author: message.author,
        is_own: message.own,
        is_blocked: message.regard == Regard::Hidden,
        at_ms: message.order.label_ms,
        body: match &message.content {
            Content::Text(said) => text::lines(&said.text),
            Content::Room(act) => act_words(act, |peer| names.shown(peer)),
            other => unknown(other.kind()),
        },
        reply: said.and_then(|said| said.reply_to),
        is_edited: message.marks.edited,
        is_deleted: message.marks.deleted,
        mentions_me: !message.own && said.is_some_and(is_named),
        reactions: message.marks.reactions.iter().map(reaction).collect(),
        marks: message.states.iter().map(|(peer, state)| (*peer, mark(*state))).collect(),
    }
}

pub(super) const fn mark(state: State) -> Mark {
    match state {
        State::Refused => Mark::Refused,
        State::Pending => Mark::Pending,
        State::Sent => Mark::Sent,
        State::Delivered => Mark::Delivered,
        State::Read => Mark::Read,
    }
}

/// Whether a text names somebody with an @ before it and no letter behind it.
fn mentions(said: &str, name: &str) -> bool {
    let (said, name) = (text::lines(said).to_lowercase(), format!("@{}", name.to_lowercase()));
    let ends = |rest: &str| !rest.starts_with(char::is_alphanumeric);
    name.len() > 1 && said.match_indices(&name).any(|(at, _)| ends(&said[at + name.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_mentioned_as_a_word() {
        let says = |said: &str| mentions(said, "Anna");
        assert!(says("@anna, look"));
        assert!(says("hello @Anna"));
        assert!(!says("@annabel"));
        assert!(!says("anna"));
        assert!(!mentions("@ you", ""));
    }
}
