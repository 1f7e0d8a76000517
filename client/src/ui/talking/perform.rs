//! Carries wishes out.

use common::identity::PeerId;
use common::text;

use super::{Outcome, Wish};
use crate::engine::{EngineError, Member, check_text};
use crate::log::{Act, Content, ConversationId, MessageId, Reaction, Text};
use crate::net::unix_ms;
use crate::store::{Conversation, HistoryRow, MessageRow, Selection, Store};
use crate::ui::hands::Worker;
use crate::ui::names::Names;
use crate::ui::news::News;
use crate::ui::{Exit, Fatal, rooms};

/// Messages among which one is looked for.
const AMONG: usize = 1000;
/// Digits of a number that counts back; longer ones are the beginning of an id.
const MAX_DIGITS: usize = 4;
/// Unsent messages that are listed.
const MAX_UNSENT: usize = 100;

/// Does what is wanted and tells what came of it, or says why it cannot be done.
pub(in crate::ui) async fn perform(worker: &Worker, wish: Wish) -> Result<News, Fatal> {
    let store = worker.store();
    let done = |text: String| Ok(News::Talking(Outcome::Done(text)));
    match wish {
        Wish::Create { name } => create(worker, name).await,
        Wish::Accept { room } => {
            let title = act(worker, &room, Act::Accept).await?;
            done(format!("the invitation to {title} is taken"))
        }
        Wish::Leave { room } => {
            let title = act(worker, &room, Act::Leave).await?;
            done(format!("you have left {title}"))
        }
        Wish::Invite { room, peer } => {
            let (peer, name) = find_person(store, &peer).await?;
            let title = act(worker, &room, Act::Add(peer)).await?;
            done(format!("{name} is invited into {title}"))
        }
        Wish::Remove { room, peer } => {
            let (peer, name) = find_member(store, &room, &peer).await?;
            let title = act(worker, &room, Act::Remove(peer)).await?;
            done(format!("{name} is put out of {title}"))
        }
        Wish::Topic { room, topic: None } => {
            let room = find_room(store, &room).await?;
            let topic = room.room.map_or_else(String::new, |names| names.topic);
            Ok(News::Talking(Outcome::Topic { room: room.id, topic }))
        }
        Wish::Topic { room, topic: Some(topic) } => {
            let title = act(worker, &room, Act::Topic(topic)).await?;
            done(format!("the topic of {title} is set"))
        }
        Wish::Members { room } => members(worker, &room).await,
        Wish::Unsent => Ok(News::Talking(Outcome::Unsent(unsent(store).await?))),
        Wish::Cancel { id } => cancel(store, &id).await,
        Wish::Reply { whom, which, text } => {
            check_text(&text).map_err(Fatal::failed)?;
            let target = find_message(store, &whom, &which).await?;
            let text = Text { text, reply_to: Some(target.id()), mentions: vec![target.author] };
            let row = write(worker, target.conversation, Content::Text(text)).await?;
            Ok(News::Message { message: Box::new(row), is_typed: true })
        }
        Wish::Edit { whom, which, text } => {
            check_text(&text).map_err(Fatal::failed)?;
            let target = find_own(store, &whom, &which).await?;
            change(worker, &target, Content::Edit { target: target.id(), text }).await
        }
        Wish::Delete { whom, which } => {
            let target = find_own(store, &whom, &which).await?;
            change(worker, &target, Content::Delete { target: target.id() }).await
        }
        Wish::React { whom, which, sign } => react(worker, &whom, &which, sign).await,
    }
}

fn unclear(error: impl std::fmt::Display) -> Fatal {
    Fatal::with(Exit::Unclear)(&error)
}

async fn create(worker: &Worker, name: String) -> Result<News, Fatal> {
    let room = match worker {
        Worker::Running { engine, .. } => engine.create_room(&name).await.map_err(Fatal::failed)?,
        Worker::Alone { store, identity } => {
            let (now, nonce) = (unix_ms(), rand::random());
            let room = ConversationId::room(store.me(), now, nonce, &name);
            let content = Content::Room(Act::Create { name: name.clone() });
            store.compose(identity, room, &[], content, now, nonce).await.map_err(Fatal::failed)?;
            room
        }
    };
    Ok(News::Talking(Outcome::Created { room, name }))
}

async fn members(worker: &Worker, typed: &str) -> Result<News, Fatal> {
    let (store, names) = (worker.store(), Names::of(worker.store()).await.map_err(Fatal::failed)?);
    let room = find_room(store, typed).await?;
    let stances = store.stances().await.map_err(Fatal::failed)?;
    let is_connected = |peer| match worker {
        Worker::Running { engine, .. } => engine.is_connected(peer),
        Worker::Alone { .. } => false,
    };
    let member = |&(peer, standing): &_| Member {
        peer,
        name: names.shown(peer),
        standing,
        connected: is_connected(peer),
        regard: stances.regard(peer.as_bytes()),
    };
    let members = room.members.iter().map(member).collect();
    Ok(News::Talking(Outcome::Members { room: room.id, title: title(&room), members }))
}

async fn unsent(store: &Store) -> Result<Vec<(crate::store::Unsent, MessageRow)>, Fatal> {
    let unsent = store.unsent(MAX_UNSENT).await.map_err(Fatal::failed)?;
    let ids: Vec<_> = unsent.iter().map(|unsent| unsent.id).collect();
    let rows = store.get(&ids).await.map_err(Fatal::failed)?;
    let with_row = |unsent: crate::store::Unsent| {
        let row = rows.iter().find(|row| row.id() == unsent.id)?;
        Some((unsent, row.clone()))
    };
    Ok(unsent.into_iter().filter_map(with_row).collect())
}

async fn cancel(store: &Store, typed: &str) -> Result<News, Fatal> {
    let unsent = unsent(store).await?;
    let is_meant = |id: MessageId| typed.is_empty() || id.to_string().starts_with(&typed.to_lowercase());
    let found = unsent.iter().rev().find(|(unsent, _)| is_meant(unsent.id));
    let (unsent, _) = found.ok_or_else(|| unclear("no such message waits"))?;
    store.cancel(unsent.id).await.map_err(Fatal::failed)?;
    Ok(News::Talking(Outcome::Cancelled(unsent.id)))
}

async fn react(worker: &Worker, whom: &str, which: &str, sign: String) -> Result<News, Fatal> {
    let target = find_message(worker.store(), whom, which).await?;
    let me = worker.store().me();
    let is_set = target.marks.reactions.iter().any(|(known, who)| *known == sign && who.contains(&me));
    let reaction = if is_set { Reaction::Remove } else { Reaction::Add };
    change(worker, &target, Content::React { target: target.id(), sign, reaction }).await
}

/// Writes something into a room, and tells what that is called.
async fn act(worker: &Worker, room: &str, act: Act) -> Result<String, Fatal> {
    let room = find_room(worker.store(), room).await?;
    write(worker, room.id, Content::Room(act)).await?;
    Ok(title(&room))
}

async fn write(worker: &Worker, conversation: ConversationId, content: Content) -> Result<MessageRow, Fatal> {
    worker.write(conversation, content).await.map_err(Fatal::failed)
}

/// Writes what changes `target`, and reads that again.
async fn change(worker: &Worker, target: &MessageRow, content: Content) -> Result<News, Fatal> {
    write(worker, target.conversation, content).await?;
    let found = worker.store().get(&[target.id()]).await.map_err(Fatal::failed)?;
    let row = found.into_iter().next().ok_or_else(|| unclear("there is no such message any more"))?;
    Ok(News::Changed(Box::new(row)))
}

async fn find_room(store: &Store, typed: &str) -> Result<Conversation, Fatal> {
    let all = store.conversations().await.map_err(Fatal::failed)?;
    let id = rooms::find(typed, &all).map_err(unclear)?;
    all.into_iter().find(|it| it.id == id).ok_or_else(|| unclear("that room is not known here"))
}

async fn find_person(store: &Store, typed: &str) -> Result<(PeerId, String), Fatal> {
    let names = Names::of(store).await.map_err(Fatal::failed)?;
    let peer = typed.parse().or_else(|_| names.find(typed)).map_err(unclear)?;
    Ok((peer, names.shown(peer)))
}

/// Somebody who is known here, or a member of `room` by the beginning of the key.
async fn find_member(store: &Store, room: &str, typed: &str) -> Result<(PeerId, String), Fatal> {
    let room = find_room(store, room).await?;
    let found = find_person(store, typed).await;
    let wanted = typed.to_lowercase();
    let mut members = room.members.iter().filter(|(peer, _)| peer.to_string().starts_with(&wanted));
    match (found, members.next(), members.next()) {
        (Err(_), Some((peer, _)), None) if !wanted.is_empty() => Ok((*peer, peer.short())),
        (found, _, _) => found,
    }
}

async fn find_message(store: &Store, whom: &str, which: &str) -> Result<MessageRow, Fatal> {
    let names = Names::of(store).await.map_err(Fatal::failed)?;
    let all = store.conversations().await.map_err(Fatal::failed)?;
    let conversation = rooms::find_conversation(whom, &all, &names)?;
    let back = which.parse::<usize>().ok().filter(|_| which.len() <= MAX_DIGITS);
    let selection = Selection { conversation, before: None, limit: back.unwrap_or(AMONG) };
    let rows = store.history(selection).await.map_err(Fatal::failed)?;
    let messages = rows.into_iter().filter_map(|row| match row {
        HistoryRow::Message(message) => Some(*message),
        HistoryRow::Gap(_) => None,
    });
    let messages: Vec<_> = messages.collect();
    let wanted = which.to_lowercase();
    let found = match back {
        Some(back) if messages.len() == back => messages.into_iter().next(),
        Some(_) => None,
        None => messages.into_iter().rev().find(|it| it.id().to_string().starts_with(&wanted)),
    };
    found
        .filter(|_| !wanted.is_empty())
        .ok_or_else(|| unclear("there is no such message; 1 is the last one, 2 the one before"))
}

/// The same, of this user's texts.
async fn find_own(store: &Store, whom: &str, which: &str) -> Result<MessageRow, Fatal> {
    let target = find_message(store, whom, which).await?;
    match store.is_own_text(target.id()).await.map_err(Fatal::failed)? {
        true => Ok(target),
        false => Err(Fatal::failed(EngineError::NotYours)),
    }
}

fn title(room: &Conversation) -> String {
    let name = room.room.as_ref().map_or("", |names| names.name.as_str());
    format!("#{}", text::one_line(name, text::MAX_NAME))
}
