//! Carries wishes out.

use std::time::Duration;

use common::identity::PeerId;

use super::{Outcome, Proof, Safety, Wish};
use crate::engine::{
    Engine, EngineError, Link, LinkError, Pinning, Terms, is_safety_number, last_server, make_link,
    revoke_link, safety_number,
};
use crate::log::ConversationId;
use crate::net::unix_ms;
use crate::reading::short;
use crate::store::Conversation;
use crate::ui::hands::Worker;
use crate::ui::names::Names;
use crate::ui::{Exit, Fatal, rooms, search};

/// Does what is wanted, or says why it cannot be done.
pub(in crate::ui) async fn perform(worker: &Worker, wish: Wish) -> Result<Outcome, Fatal> {
    match wish {
        Wish::MakeLink { room, uses, lifetime_s } => {
            make(worker, room, uses, Duration::from_secs(lifetime_s)).await
        }
        Wish::Links => {
            let names = Names::of(worker.store()).await.map_err(Fatal::failed)?;
            let invites = worker.store().invites().await.map_err(Fatal::failed)?;
            let all = conversations(worker).await?;
            let titled = invites.into_iter().map(|invite| {
                let room = invite.new.room;
                (invite, room.map(|room| title(room, &all, worker.store().me(), &names)))
            });
            Ok(Outcome::Links(titled.collect()))
        }
        Wish::Revoke { id } => {
            let invite = revoke_link(worker.store(), &id).await.map_err(failed)?;
            Ok(Outcome::Revoked { id: invite.id() })
        }
        Wish::Follow { link } => follow(worker, &link).await,
        Wish::FindName { name, anew } => {
            let pinning = if anew { Pinning::Renew } else { Pinning::Keep };
            let names = running(worker)?.find_name(&name, pinning).await.map_err(failed)?;
            Ok(Outcome::Names { asked: Some(common::names::normal(&name)), names })
        }
        Wish::OwnNames => {
            let names = running(worker)?.own_names().await.map_err(failed)?;
            Ok(Outcome::Names { asked: None, names })
        }
        Wish::TakeName { name, listed } => {
            let taken = running(worker)?.take_name(&name, listed).await.map_err(failed)?;
            Ok(Outcome::Names { asked: None, names: vec![taken] })
        }
        Wish::DropName { name } => {
            let name = running(worker)?.drop_name(&name).await.map_err(failed)?;
            Ok(Outcome::Done(format!("{name} is yours no longer; anybody may take it")))
        }
        Wish::Verify { who, proof } => verify(worker, &who, &proof).await,
    }
}

/// Names are asked of the server, which a running client is connected with.
fn running(worker: &Worker) -> Result<&Engine, Fatal> {
    match worker {
        Worker::Running { engine, .. } => Ok(engine),
        Worker::Alone { .. } => {
            Err(Fatal::failed("names are kept by the server, and no client runs that is connected with it"))
        }
    }
}

fn failed(error: impl Into<EngineError>) -> Fatal {
    let error = error.into();
    let exit = match &error {
        EngineError::Link(LinkError::Parse(_)) => Exit::Damaged,
        EngineError::Link(LinkError::OtherKey { .. }) => Exit::Server,
        EngineError::Link(LinkError::Unknown) => Exit::Unclear,
        _ => Exit::Failed,
    };
    Fatal { exit, message: error.to_string() }
}

fn unclear(error: impl std::fmt::Display) -> Fatal {
    Fatal { exit: Exit::Unclear, message: error.to_string() }
}

fn who(names: &Names, typed: &str) -> Result<PeerId, Fatal> {
    typed.parse().or_else(|_| names.find(typed)).map_err(unclear)
}

async fn conversations(worker: &Worker) -> Result<Vec<Conversation>, Fatal> {
    worker.store().conversations().await.map_err(Fatal::failed)
}

async fn find_room(worker: &Worker, typed: &str) -> Result<ConversationId, Fatal> {
    rooms::find(typed, &conversations(worker).await?, worker.store().me()).map_err(unclear)
}

fn title(room: ConversationId, all: &[Conversation], me: PeerId, names: &Names) -> String {
    let found = all.iter().find(|it| it.id == room);
    found.map_or_else(|| short(&room), |it| search::title(it, me, names))
}

async fn make(
    worker: &Worker,
    room: Option<String>,
    uses: u32,
    lifetime: Duration,
) -> Result<Outcome, Fatal> {
    let room = match room {
        Some(room) => Some(find_room(worker, &room).await?),
        None => None,
    };
    let terms = Terms { room, uses, lifetime };
    let link = match worker {
        Worker::Running { engine, .. } => engine.make_link(terms).await,
        Worker::Alone { store, .. } => match last_server(store).await {
            Ok(server) => make_link(store, &server, terms, unix_ms()).await,
            Err(error) => Err(error),
        },
    };
    let link = link.map_err(failed)?;
    let names = Names::of(worker.store()).await.map_err(Fatal::failed)?;
    let all = conversations(worker).await?;
    Ok(Outcome::Link { link, uses, room: room.map(|room| title(room, &all, worker.store().me(), &names)) })
}

async fn follow(worker: &Worker, typed: &str) -> Result<Outcome, Fatal> {
    let link: Link = typed.parse().map_err(|error| failed(LinkError::Parse(error)))?;
    match worker {
        Worker::Running { engine, .. } => engine.join(&link).await.map_err(failed)?,
        // The command line starts a client instead.
        Worker::Alone { .. } => return Err(Fatal::failed("no client runs that could follow the link")),
    }
    Ok(Outcome::Following { link })
}

async fn verify(worker: &Worker, typed: &str, proof: &Proof) -> Result<Outcome, Fatal> {
    let store = worker.store();
    let names = Names::of(store).await.map_err(Fatal::failed)?;
    let peer = who(&names, typed)?;
    let number = safety_number(store.me(), peer);
    let verdict = match proof {
        Proof::None => None,
        Proof::Yes => Some(true),
        Proof::No => Some(false),
        Proof::Number(shown) => match is_safety_number(&number, shown) {
            Some(true) => Some(true),
            Some(false) => {
                store.set_verified(peer, None).await.map_err(Fatal::failed)?;
                return Err(unclear(format!(
                    "THE NUMBERS DIFFER: who shows that number is not connected with you by the key of {}, or the \
                     wrong numbers were compared; {0} does not count as verified",
                    names.shown(peer)
                )));
            }
            None => return Err(unclear("write yes, no, or the sixty digits that the other side shows")),
        },
    };
    if let Some(is_same) = verdict {
        store.set_verified(peer, is_same.then(unix_ms)).await.map_err(Fatal::failed)?;
    }
    let verified_ms = store.verified().await.map_err(Fatal::failed)?.get(&peer).copied();
    let people = worker.people().await.map_err(failed)?;
    let person = people.into_iter().find(|person| person.contact.peer == peer);
    let words = person.and_then(|person| person.connected).map(|connected| connected.words);
    Ok(Outcome::Safety(Safety { peer, number, words, verified_ms, is_answer: verdict.is_some() }))
}
