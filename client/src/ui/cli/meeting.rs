//! `client invite`, `join` and `verify-contact`.

use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::data_dir::{DataDir, DataDirError};
use crate::engine::{Link, MAX_LINK_LEN};
use crate::ui::args::{Args, Invite, Join, NameCommand, VerifyContact};
use crate::ui::hands::{Reply, Request};
use crate::ui::meeting::{Wish, is_link};
use crate::ui::show::{self, Colour};
use crate::ui::talking::Wish as Talking;
use crate::ui::{Exit, Fatal, qr, start};

/// Makes a link, or invites somebody who is known.
pub(super) async fn invite(dir: &DataDir, options: &Invite, is_json: bool) -> Result<Exit, Fatal> {
    let room = options.room.clone();
    if let (Some(room), Some(peer)) = (room.clone(), options.peer.clone()) {
        return super::ask(dir, Request::Talking(Talking::Invite { room, peer }), is_json).await;
    }
    let wish = Wish::MakeLink { room, uses: options.uses, lifetime_s: options.time.as_secs() };
    let reply = super::obtain(dir, Request::Meeting(wish)).await?;
    print(&reply, is_json, options.qr.then_some("link"));
    Ok(Exit::Good)
}

/// What `client name` wants.
pub(super) fn name(command: &NameCommand) -> Wish {
    match command {
        NameCommand::Take { name, listed } => Wish::TakeName { name: name.clone(), listed: *listed },
        NameCommand::Drop { name } => Wish::DropName { name: name.clone() },
        NameCommand::Find { name, new } => Wish::FindName { name: name.clone(), anew: *new },
        NameCommand::List => Wish::OwnNames,
    }
}

/// Shows what to compare with somebody, or notes what came of it.
pub(super) async fn verify(dir: &DataDir, options: &VerifyContact, is_json: bool) -> Result<Exit, Fatal> {
    let proof = options.proof.join(" ").as_str().into();
    let wish = Wish::Verify { who: options.peer.clone(), proof };
    let reply = super::obtain(dir, Request::Meeting(wish)).await?;
    print(&reply, is_json, options.qr.then_some("number"));
    Ok(Exit::Good)
}

/// Prints a reply, and a QR code of one of its fields.
fn print(reply: &Reply, is_json: bool, field: Option<&str>) {
    if is_json {
        super::print(&reply.events);
        return;
    }
    let event: Value = serde_json::from_str(&reply.events).unwrap_or_default();
    let code = field.and_then(|field| Some((field, event.get(field)?.as_str()?))).map(|(field, text)| {
        let text = if field == "number" { crate::engine::safety_code(text) } else { text.to_owned() };
        // Where the output is no terminal, whoever reads it sees to its width.
        let columns = qr::terminal().map_or(usize::MAX, |(columns, _)| columns);
        let colour = if columns == usize::MAX { Colour::Off } else { start::colour() };
        show::code(&text, columns, colour) + "\n"
    });
    super::print(format!("{}\n{}", reply.text, code.unwrap_or_default()));
}

/// Follows a link: in the client that runs, or in one that this process becomes. A room is entered by its invitation.
pub(in crate::ui) fn join(args: &Args, options: &Join) -> Result<Exit, Fatal> {
    let typed = if options.target == "-" { read(&mut io::stdin().lock())? } else { options.target.clone() };
    let path = args.data_dir()?;
    if !is_link(&typed) {
        let wish = Talking::Accept { room: typed };
        return ask(&DataDir::existing(&path), Request::Talking(wish), args.json);
    }
    let link: Link = typed.parse().map_err(|error| Fatal::with(Exit::Damaged)(&error))?;
    let dir = DataDir::open(&path).map_err(Fatal::failed)?;
    match dir.lock() {
        // Given back at once: the client takes it itself.
        Ok(lock) => drop(lock),
        Err(DataDirError::Locked { .. }) => {
            let wish = Wish::Follow { link: link.to_string() };
            return ask(&dir, Request::Meeting(wish), args.json);
        }
        Err(error) => return Err(Fatal::failed(error)),
    }
    start::run(args, Some(link))
}

fn ask(dir: &DataDir, request: Request, is_json: bool) -> Result<Exit, Fatal> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fatal::failed)?;
    runtime.block_on(super::ask(dir, request, is_json))
}

/// One line; what follows it is left for the chat.
fn read(input: &mut impl BufRead) -> Result<String, Fatal> {
    let mut line = String::new();
    let limit = u64::try_from(2 * MAX_LINK_LEN).unwrap_or(u64::MAX);
    input.take(limit).read_line(&mut line).map_err(Fatal::failed)?;
    Ok(line.trim().to_owned())
}
