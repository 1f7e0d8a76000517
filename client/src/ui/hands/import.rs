//! Takes in what comes from an export.

use bytes::Bytes;
use common::identity::PeerId;
use data_encoding::BASE64;

use super::request::{Entry, Imported, Reply, Tally};
use crate::log::ingest::{Invalid, Outcome};
use crate::store::{Contact, Restore, State, Store, StoreError};
use crate::ui::Exit;

impl From<Contact> for Imported {
    fn from(contact: Contact) -> Self {
        Self::Contact {
            peer: contact.peer.to_string(),
            given_name: contact.given_name,
            own_name: contact.own_name,
            first_met_ms: contact.first_met_ms,
            last_seen_ms: contact.last_seen_ms,
        }
    }
}

impl From<Restore> for Imported {
    fn from(message: Restore) -> Self {
        let word = |(peer, state): &(PeerId, State)| (peer.to_string(), state.to_string());
        Self::Message {
            members: message.members.iter().map(ToString::to_string).collect(),
            received_ms: message.received_ms,
            states: message.states.iter().map(word).collect(),
            signed: BASE64.encode(&message.signed),
        }
    }
}

/// What is understood of an entry; `None` for one that makes no sense.
enum Understood {
    Contact(Contact),
    Message(Restore),
}

fn understand(what: Imported) -> Option<Understood> {
    Some(match what {
        Imported::Contact { peer, given_name, own_name, first_met_ms, last_seen_ms } => {
            let (peer, endpoints) = (peer.parse().ok()?, Vec::new());
            Understood::Contact(Contact { peer, given_name, own_name, first_met_ms, last_seen_ms, endpoints })
        }
        Imported::Message { members, received_ms, states, signed } => {
            let state = |(peer, word): &(String, String)| Some((peer.parse().ok()?, State::from_word(word)?));
            Understood::Message(Restore {
                members: members.iter().map(|member| member.parse().ok()).collect::<Option<_>>()?,
                received_ms,
                states: states.iter().map(state).collect::<Option<_>>()?,
                signed: Bytes::from(BASE64.decode(signed.as_bytes()).ok()?),
            })
        }
    })
}

/// Takes `entries` of an export by `owner` into `store`.
pub(super) async fn import(store: &Store, owner: &str, entries: Vec<Entry>) -> Result<Reply, StoreError> {
    let me = store.me().to_string();
    if owner != me {
        let message = format!(
            "the export belongs to the key {owner}, and can be imported by who has it; yours is {me}"
        );
        return Ok(Reply::failed(Exit::Damaged, &message));
    }
    let mut tally = Tally::default();
    let (mut lines, mut messages) = (Vec::new(), Vec::new());
    for Entry { line, what } in entries {
        match understand(what) {
            Some(Understood::Contact(contact)) => drop(store.restore_contact(contact).await?),
            Some(Understood::Message(message)) => {
                lines.push(line);
                messages.push(message);
            }
            None => tally.refused.push((line, "this is no message".to_owned())),
        }
    }
    for (line, outcome) in lines.into_iter().zip(store.restore(messages).await?) {
        match outcome {
            Outcome::Delivered => tally.added += 1,
            Outcome::Duplicate => tally.known += 1,
            Outcome::Waiting { .. } => tally.waiting += 1,
            Outcome::NoRoom => {
                let reason = "too many messages wait for earlier ones that are missing";
                tally.refused.push((line, reason.to_owned()));
            }
            Outcome::Postponed(quota) => tally.refused.push((line, quota.to_string())),
            Outcome::Invalid(Invalid::UnknownConversation) => {
                let reason = "you are no member of this conversation";
                tally.refused.push((line, reason.to_owned()));
            }
            Outcome::Invalid(invalid) => tally.refused.push((line, invalid.to_string())),
        }
    }
    Ok(Reply { tally, ..Reply::good(String::new(), String::new()) })
}
