//! What came of wishes, for people and for scripts. Pure.

use common::text;
use serde::Serialize;

use super::{Outcome, Safety};
use crate::engine::{FoundName, Link};
use crate::store::Invite;
use crate::ui::names::Names;
use crate::ui::time::iso;

/// For people: lines without the last line break.
pub(in crate::ui) fn lines(outcome: &Outcome, names: &Names, now_ms: u64) -> String {
    match outcome {
        Outcome::Link { link, uses, room } => {
            let whither = room.as_ref().map_or_else(|| "to you".to_owned(), |room| format!("into {room}"));
            let people = people(*uses);
            let until = iso(link.expires_ms);
            format!(
                "a link {whither}, for {people}, until {until}; whoever has it can use it\n{link}\nthey type: client \
                 join LINK, or /join LINK"
            )
        }
        Outcome::Links(links) if links.is_empty() => "no links; /link makes one".to_owned(),
        Outcome::Links(links) => {
            let line =
                |(invite, room): &(Invite, Option<String>)| format!("\n   {}", row(invite, room, now_ms));
            format!("links, the newest first:{}", links.iter().map(line).collect::<String>())
        }
        Outcome::Revoked { id } => format!("the link {id} is taken back; nobody comes by it any more"),
        Outcome::Following { link } => format!(
            "looking for {}, who gave out the link; it is followed until {}",
            names.shown(link.inviter),
            iso(link.expires_ms)
        ),
        Outcome::Done(text) => text.clone(),
        Outcome::Names { asked, names: found } => all_names(asked.as_deref(), found),
        Outcome::Safety(safety) => compare(safety, &names.shown(safety.peer)),
    }
}

fn people(count: u32) -> String {
    if count == 1 { "one person".to_owned() } else { format!("{count} people") }
}

fn row(invite: &Invite, room: &Option<String>, now_ms: u64) -> String {
    let whither = room.as_deref().unwrap_or("you");
    let state = match invite {
        Invite { revoked: true, .. } => "taken back".to_owned(),
        invite if now_ms >= invite.new.expires_ms => "expired".to_owned(),
        invite if invite.used >= invite.new.uses => "used up".to_owned(),
        invite => format!("until {}", iso(invite.new.expires_ms)),
    };
    format!("{} to {whither}, {} of {} came, {state}", invite.id(), invite.used, people(invite.new.uses))
}

fn all_names(asked: Option<&str>, found: &[FoundName]) -> String {
    let line = |found: &FoundName| {
        let listed = if found.listed { ", listed" } else { "" };
        let was = found.was.map_or_else(String::new, |was| {
            format!(
                "\n      WARNING: it had another key when you found it first, {was}. Either it was given up and taken \
                 by somebody else, or the server lies. If you know that it is right: /find {} new",
                found.name
            )
        });
        format!("\n   {} {}{listed}{was}", found.name, found.peer)
    };
    let lines: String = found.iter().map(line).collect();
    match (asked, found) {
        (None, []) => "you have no name on this server; /register NAME takes one".to_owned(),
        (None, _) => format!("your names on this server:{lines}"),
        (Some(asked), []) => {
            format!("nobody is called {} on this server", text::one_line(asked, text::MAX_NAME))
        }
        (Some(asked), found) => {
            let is_found = found.iter().any(|found| found.name == asked && found.was.is_none());
            let advice = if is_found {
                format!(
                    "\n/to {asked} talks to them; the server may err: compare the words once you are connected"
                )
            } else {
                String::new()
            };
            format!("the server says:{lines}{advice}")
        }
    }
}

fn compare(safety: &Safety, name: &str) -> String {
    let state = match (safety.verified_ms, safety.is_answer) {
        (Some(at_ms), _) => format!("{name} is verified, since {}", iso(at_ms)),
        (None, true) => format!("{name} does not count as verified"),
        (None, false) => format!("{name} is not verified"),
    };
    if safety.is_answer {
        return state;
    }
    let words = match &safety.words {
        Some(words) => format!("\n   words of this connection: {words}"),
        None => "\n   words of this connection: none, you are not connected".to_owned(),
    };
    let (first, second) = safety.number.split_at(safety.number.len() / 2);
    let advice = match safety.verified_ms {
        Some(_) => "",
        None => {
            "\n   one of these is to be the same on their side: compare, face to face or by telephone; then \
             /verify NAME yes"
        }
    };
    format!("{state}{words}\n   number of both keys: {} {}{advice}", first.trim(), second.trim())
}

/// For scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(in crate::ui) enum Event {
    Link { link: String, id: String, room: Option<String>, uses: u32, expires_ms: u64 },
    Links { links: Vec<Row> },
    Names { names: Vec<Named> },
    Revoked { id: String },
    Following { peer: String, expires_ms: u64 },
    Info { message: String },
    Safety { peer: String, number: String, words: Option<String>, verified: bool, verified_ms: Option<u64> },
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Row {
    id: String,
    /// The id of the room that it leads to.
    conversation: Option<String>,
    uses: u32,
    used: u32,
    made_ms: u64,
    expires_ms: u64,
    revoked: bool,
}

#[derive(Debug, Serialize)]
pub(in crate::ui) struct Named {
    name: String,
    peer: String,
    listed: bool,
    /// The key that was found first, if it was another.
    was: Option<String>,
}

impl From<&FoundName> for Named {
    fn from(found: &FoundName) -> Self {
        Self {
            name: found.name.clone(),
            peer: found.peer.to_string(),
            listed: found.listed,
            was: found.was.map(|was| was.to_string()),
        }
    }
}

impl From<&Invite> for Row {
    fn from(invite: &Invite) -> Self {
        Self {
            id: invite.id(),
            conversation: invite.new.room.map(|room| room.to_string()),
            uses: invite.new.uses,
            used: invite.used,
            made_ms: invite.new.made_ms,
            expires_ms: invite.new.expires_ms,
            revoked: invite.revoked,
        }
    }
}

/// The beginning of what a link is known by.
fn id(link: &Link) -> String {
    link.secret.mark().to_hex()[..8].to_owned()
}

/// The event that tells scripts of `outcome`.
pub(in crate::ui) fn event(outcome: &Outcome) -> Event {
    match outcome {
        Outcome::Link { link, uses, room } => Event::Link {
            link: link.to_string(),
            id: id(link),
            room: room.clone(),
            uses: *uses,
            expires_ms: link.expires_ms,
        },
        Outcome::Links(links) => {
            Event::Links { links: links.iter().map(|(invite, _)| invite.into()).collect() }
        }
        Outcome::Revoked { id } => Event::Revoked { id: id.clone() },
        Outcome::Following { link } => {
            Event::Following { peer: link.inviter.to_string(), expires_ms: link.expires_ms }
        }
        Outcome::Done(text) => Event::Info { message: text.clone() },
        Outcome::Names { names, .. } => Event::Names { names: names.iter().map(Named::from).collect() },
        Outcome::Safety(safety) => Event::Safety {
            peer: safety.peer.to_string(),
            number: safety.number.clone(),
            words: safety.words.clone(),
            verified: safety.verified_ms.is_some(),
            verified_ms: safety.verified_ms,
        },
    }
}
