//! Carries wishes out.

use common::identity::PeerId;
use common::text;

use super::show::MAX_LISTED;
use super::{Outcome, Wish};
use crate::engine::{EngineError, Member, check_text};
use crate::log::{Act, Content, ConversationId, Reaction, Standing, Text};
use crate::net::unix_ms;
use crate::store::{Conversation, HistoryRow, MessageRow, Selection, Store};
use crate::ui::hands::Worker;
use crate::ui::names::Names;
use crate::ui::news::News;
use crate::ui::rooms::{self, standing, title};
use crate::ui::{Exit, Fatal};

/// Messages among which one is looked for.
const AMONG: usize = 1000;
/// Digits of a number that counts back; longer ones are the beginning of an id.
const MAX_DIGITS: usize = 4;
/// Unsent messages among which one is looked for.
const MAX_LOOKED_AT: usize = 10_000;

/// Does what is wanted and tells what came of it, or says why it cannot be done.
pub(in crate::ui) async fn perform(worker: &Worker, wish: Wish) -> Result<News, Fatal> {
    let store = worker.store();
    let done = |text: String| Ok(News::Talking(Outcome::Done(text)));
    match wish {
        Wish::Create { name } => create(worker, name).await,
        Wish::Accept { room } => {
            let title = accept(worker, &find_own_room(store, &room).await?).await?;
            done(format!("the invitation to {title} is taken"))
        }
        Wish::Leave { room } => {
            let title = act(worker, &find_own_room(store, &room).await?, Act::Leave).await?;
            done(format!("you have left {title}"))
        }
        Wish::Invite { room, peer } => {
            let (peer, name) = find_person(worker, &peer).await?;
            let room = find_own_room(store, &room).await?;
            match standing(&room, peer) {
                Some(Standing::Invited) => return Err(Fatal::failed(format!("{name} is already invited"))),
                Some(_) => return Err(Fatal::failed(format!("{name} is already in {}", title(&room)))),
                None => {}
            }
            let title = act(worker, &room, Act::Add(peer)).await?;
            done(format!("{name} is invited into {title}"))
        }
        Wish::Remove { room, peer } => {
            let (peer, name) = find_person(worker, &peer).await?;
            let room = find_own_room(store, &room).await?;
            if standing(&room, peer).is_none() {
                return Err(Fatal::failed(format!("{name} is not in {}", title(&room))));
            }
            let title = act(worker, &room, Act::Remove(peer)).await?;
            done(format!("{name} is put out of {title}"))
        }
        Wish::Topic { room, topic: None } => {
            let room = find_own_room(store, &room).await?;
            let topic = room.room.map_or_else(String::new, |names| names.topic);
            Ok(News::Talking(Outcome::Topic { room: room.id, topic }))
        }
        Wish::Topic { room, topic: Some(topic) } => {
            let title = act(worker, &find_own_room(store, &room).await?, Act::Topic(topic)).await?;
            done(format!("the topic of {title} is set"))
        }
        Wish::Members { room } => members(worker, &room).await,
        Wish::Unsent => {
            let unsent = store.unsent_rows(MAX_LISTED + 1).await.map_err(Fatal::failed)?;
            Ok(News::Talking(Outcome::Unsent(unsent)))
        }
        Wish::Cancel { id } => cancel(worker, &id).await,
        Wish::Reply { whom, which, text } => {
            check_text(&text).map_err(Fatal::failed)?;
            let target = find_message(store, &whom, &which).await?;
            let mentions = if target.own { Vec::new() } else { vec![target.author] };
            let text = Text { text, reply_to: Some(target.id()), mentions };
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
    // What is shown before the name of every room is not said twice.
    let name = name.trim().trim_start_matches('#').to_owned();
    if text::one_line(&name, text::MAX_NAME).is_empty() {
        return Err(Fatal::with(Exit::Usage)(&"a room needs a name"));
    }
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
    let room = find_own_room(store, typed).await?;
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

/// Takes back the newest message that can be, or the one whose id begins so.
async fn cancel(worker: &Worker, typed: &str) -> Result<News, Fatal> {
    let store = worker.store();
    let unsent = store.unsent_rows(MAX_LOOKED_AT).await.map_err(Fatal::failed)?;
    let wanted = typed.to_lowercase();
    let meant = unsent.iter().rev().filter(|(unsent, _)| unsent.id.to_string().starts_with(&wanted));
    let mut ids: Vec<_> = meant.map(|(unsent, _)| unsent.id).collect();
    ids.dedup();
    if !wanted.is_empty() && ids.iter().any(|id| *id != ids[0]) {
        return Err(unclear(format!(
            "the ids of several messages begin with {:?}",
            text::one_line(typed, text::MAX_NAME)
        )));
    }
    let mut last = unclear("no such message waits");
    for id in ids {
        match worker.cancel(id).await {
            Ok(()) => return Ok(News::Talking(Outcome::Cancelled(id))),
            Err(error) => last = Fatal::failed(error),
        }
    }
    Err(last)
}

async fn accept(worker: &Worker, room: &Conversation) -> Result<String, Fatal> {
    match standing(room, worker.store().me()) {
        Some(Standing::Invited) => act(worker, room, Act::Accept).await,
        _ => Err(Fatal::failed(format!("you are in {} already", title(room)))),
    }
}

async fn react(worker: &Worker, whom: &str, which: &str, sign: String) -> Result<News, Fatal> {
    if sign.trim().is_empty() {
        return Err(Fatal::with(Exit::Usage)(&"a reaction needs a sign"));
    }
    let target = find_message(worker.store(), whom, which).await?;
    let me = worker.store().me();
    let is_set = target.marks.reactions.iter().any(|(known, who)| *known == sign && who.contains(&me));
    let reaction = if is_set { Reaction::Remove } else { Reaction::Add };
    change(worker, &target, Content::React { target: target.id(), sign, reaction }).await
}

/// Writes something into a room, and tells what that is called.
async fn act(worker: &Worker, room: &Conversation, act: Act) -> Result<String, Fatal> {
    if standing(room, worker.store().me()) == Some(Standing::Invited)
        && !matches!(act, Act::Accept | Act::Leave)
    {
        return Err(Fatal::failed(format!("you are invited into {}: join it first", title(room))));
    }
    write(worker, room.id, Content::Room(act)).await?;
    Ok(title(room))
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

/// A room that this user is in or is invited into.
async fn find_own_room(store: &Store, typed: &str) -> Result<Conversation, Fatal> {
    let all = store.conversations().await.map_err(Fatal::failed)?;
    let id = rooms::find(typed, &all, store.me()).map_err(unclear)?;
    let found = all.into_iter().find(|it| it.id == id);
    let room = found.ok_or_else(|| unclear("that room is not known here"))?;
    match standing(&room, store.me()) {
        Some(_) => Ok(room),
        None => Err(Fatal::failed(format!("you are not in {} any more", title(&room)))),
    }
}

async fn find_person(worker: &Worker, typed: &str) -> Result<(PeerId, String), Fatal> {
    let names = Names::of(worker.store()).await.map_err(Fatal::failed)?;
    let found = worker.anybody(&names, typed).await;
    let peer = found.map_err(|reply| Fatal { exit: reply.exit, message: reply.text })?;
    Ok((peer, names.shown(peer)))
}

async fn find_message(store: &Store, whom: &str, which: &str) -> Result<MessageRow, Fatal> {
    let names = Names::of(store).await.map_err(Fatal::failed)?;
    let all = store.conversations().await.map_err(Fatal::failed)?;
    let conversation = rooms::find_conversation(whom, &all, &names)?;
    let back = which.parse::<usize>().ok().filter(|_| which.len() <= MAX_DIGITS);
    let selection = Selection { conversation, before: None, limit: AMONG };
    let rows = store.history(selection).await.map_err(Fatal::failed)?;
    let texts = rows.into_iter().rev().filter_map(|row| match row {
        HistoryRow::Message(message) if message.content.as_text().is_some() => Some(*message),
        HistoryRow::Message(_) | HistoryRow::Gap(_) => None,
    });
    let texts: Vec<_> = texts.collect();
    let wanted = which.to_lowercase();
    let mut found = match back {
        Some(back) => texts.into_iter().skip(back.wrapping_sub(1)).take(1).collect(),
        None => texts.into_iter().filter(|it| it.id().to_string().starts_with(&wanted)).collect::<Vec<_>>(),
    };
    if found.len() > 1 {
        return Err(unclear(format!(
            "the ids of {} messages begin with {:?}",
            found.len(),
            text::one_line(which, text::MAX_NAME)
        )));
    }
    let message = found
        .pop()
        .ok_or_else(|| unclear("there is no such message; 1 is the last one, 2 the one before"))?;
    if message.marks.deleted {
        return Err(Fatal::failed("its author has taken it back"));
    }
    Ok(message)
}

/// The same, of this user's texts.
async fn find_own(store: &Store, whom: &str, which: &str) -> Result<MessageRow, Fatal> {
    let target = find_message(store, whom, which).await?;
    if target.own { Ok(target) } else { Err(Fatal::failed(EngineError::NotYours)) }
}
