//! Commands that do one thing and end: what each of them asks the store or the running client.

mod alone;
mod backup;
mod docs;
mod export;
mod history;
mod import;
mod meeting;
mod netcheck;
mod ping;
mod rooms;
mod search;
mod send;
mod why;

pub(super) use netcheck::View as Netcheck;

use std::io::{self, Write};

use common::identity::PeerId;

use super::args::{Args, Subcommand};
use super::hands::{Hand, Reply, Request};
use super::meeting::Wish as Meeting;
use super::names::Names;
use super::talking::Wish as Talking;
use super::wish::Wish;
use super::{Exit, Fatal};
use crate::data_dir::DataDir;
use crate::store::{Store, StoreError};

pub(super) use meeting::join;

/// Carries `command` out.
pub(super) fn run(args: &Args, command: &Subcommand) -> Result<Exit, Fatal> {
    let dir = DataDir::existing(&args.data_dir()?);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fatal::failed)?;
    let is_json = args.json;
    runtime.block_on(Box::pin(async {
        match command {
            Subcommand::Send(options) => ask(&dir, send::request(options)?, is_json).await,
            Subcommand::History(options) => history::print(is_json, options, &dir).await,
            Subcommand::Search(options) => search::print(is_json, options, &dir).await,
            Subcommand::Backup(options) => backup::run(is_json, options, &dir).await,
            Subcommand::Export(options) => export::run(args, options, &dir).await,
            Subcommand::Verify(options) => import::verify(is_json, &options.file),
            Subcommand::Import(options) => import::run(is_json, options, &dir).await,
            Subcommand::Completions(options) => Ok(docs::completions(options)),
            Subcommand::Man(options) => docs::man(options),
            Subcommand::Contacts => ask(&dir, Request::Contacts, is_json).await,
            Subcommand::Rooms => rooms::print(is_json, &dir).await,
            Subcommand::Room(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::Members(room) => {
                talk(&dir, room.wish(|room| Talking::Members { room }), is_json).await
            }
            Subcommand::Topic(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::Remove(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::Leave(room) => talk(&dir, room.wish(|room| Talking::Leave { room }), is_json).await,
            Subcommand::Reply(options) => {
                talk(&dir, options.reply(send::text(&options.text)?), is_json).await
            }
            Subcommand::Edit(options) => talk(&dir, options.edit(send::text(&options.text)?), is_json).await,
            Subcommand::Delete(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::React(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::Unsent => talk(&dir, Talking::Unsent, is_json).await,
            Subcommand::Cancel(options) => talk(&dir, options.into(), is_json).await,
            Subcommand::Rename(options) => {
                let request = Request::Rename { peer: options.peer.clone(), name: options.name.clone() };
                ask(&dir, request, is_json).await
            }
            Subcommand::Nearby => ask(&dir, Request::Nearby, is_json).await,
            Subcommand::Why(options) => why::run(args, options, &dir).await,
            Subcommand::Ping(options) => ping::run(args, options, &dir).await,
            Subcommand::Invite(options) => meeting::invite(&dir, options, is_json).await,
            Subcommand::Invites => ask(&dir, Request::Meeting(Meeting::Links), is_json).await,
            Subcommand::Revoke(options) => {
                ask(&dir, Request::Meeting(Meeting::Revoke { id: options.id.clone() }), is_json).await
            }
            Subcommand::Name(name) => ask(&dir, Request::Meeting(meeting::name(name)), is_json).await,
            Subcommand::VerifyContact(options) => meeting::verify(&dir, options, is_json).await,
            // May become a chat, which has a runtime of its own.
            Subcommand::Join(_) => Ok(Exit::Good),
            Subcommand::Netcheck(options) => netcheck::run(args, options).await,
            Subcommand::Block(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Unblock(person) => {
                wish(&dir, person.wish(|peer| Wish::Unblock { peer }), is_json).await
            }
            Subcommand::Mute(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Unmute(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Invisible(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Visible => wish(&dir, Wish::Visible, is_json).await,
            Subcommand::Presence(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Set(options) => wish(&dir, options.into(), is_json).await,
            Subcommand::Whois(person) => wish(&dir, person.wish(|peer| Wish::Whois { peer }), is_json).await,
            Subcommand::Status => ask(&dir, Request::Status, is_json).await,
        }
    }))
}

/// Has a wish carried out and prints what came of it.
async fn wish(dir: &DataDir, wish: Wish, is_json: bool) -> Result<Exit, Fatal> {
    ask(dir, Request::Wish { wish }, is_json).await
}

/// The same with what is done in a conversation.
async fn talk(dir: &DataDir, wish: Talking, is_json: bool) -> Result<Exit, Fatal> {
    ask(dir, Request::Talking(wish), is_json).await
}

/// Has a request carried out and prints what came of it.
async fn ask(dir: &DataDir, request: Request, is_json: bool) -> Result<Exit, Fatal> {
    let reply = obtain(dir, request).await?;
    print(if is_json { reply.events } else { reply.text + "\n" });
    Ok(Exit::Good)
}

/// Has a request carried out that goes well.
async fn obtain(dir: &DataDir, request: Request) -> Result<Reply, Fatal> {
    let mut hand = Hand::reach(dir).await?;
    let reply = hand.ask(request).await?;
    hand.close().await;
    match reply.exit {
        Exit::Good => Ok(reply),
        exit => Err(Fatal { exit, message: reply.text }),
    }
}

/// Everybody's names, and the one that `text` means.
async fn whom(dir: &DataDir, text: &str) -> Result<(Names, PeerId), Fatal> {
    let store = read(dir).await?;
    let names = Names::of(&store).await;
    store.close().await;
    let names = names.map_err(Fatal::failed)?;
    let peer = names.find(text).map_err(|error| Fatal::with(Exit::Unclear)(&error))?;
    Ok((names, peer))
}

/// Prints whole lines; false once nobody reads any more.
fn print(lines: impl AsRef<str>) -> bool {
    io::stdout().lock().write_all(lines.as_ref().as_bytes()).is_ok()
}

/// Opens the database for reading, beside a client that may run.
async fn read(dir: &DataDir) -> Result<Store, Fatal> {
    Store::open_read_only(&dir.database()).await.map_err(|error| match error {
        StoreError::Missing(path) => {
            let place = path.parent().unwrap_or(&path).display();
            Fatal::failed(format!("there is no history in {place} yet"))
        }
        error => Fatal::failed(error),
    })
}
