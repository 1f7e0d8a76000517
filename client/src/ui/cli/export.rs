//! `client export`: read from the database, beside a running client or without one.

use std::collections::BTreeMap;

use common::identity::{Identity, PeerId};

use crate::archive::anonymise::{Anonymiser, Name};
use crate::archive::page::Names as Shown;
use crate::archive::{Format, Page, Record, Seal};
use crate::data_dir::DataDir;
use crate::store::{Archived, Conversation, Part, Store};
use crate::ui::args::{Args, Export};
use crate::ui::file::NewFile;
use crate::ui::names::Names;
use crate::ui::search::title;
use crate::ui::{Exit, Fatal, rooms, start};

/// Messages that are read at a time.
const CHUNK: usize = 500;

/// Where the export goes.
enum Output {
    Stdout,
    File(NewFile),
}

impl Output {
    /// Writes whole lines; false once nobody reads any more.
    fn write(&mut self, lines: &str) -> Result<bool, Fatal> {
        match self {
            Self::Stdout => Ok(super::print(lines)),
            Self::File(file) => file.write(lines.as_bytes()).map(|()| true),
        }
    }
}

/// Exports what `options` ask for.
pub(super) async fn run(args: &Args, options: &Export, dir: &DataDir) -> Result<Exit, Fatal> {
    let store = super::read(dir).await?;
    let names = Names::of(&store).await.map_err(Fatal::failed)?;
    let conversations = select(&store, options, &names).await?;
    let mut output = match &options.output {
        Some(path) => Output::File(NewFile::create(path)?),
        None => Output::Stdout,
    };
    let own_name = start::own_name(args, &store).await.map_err(Fatal::failed)?;
    let anonymiser = match options.anonymise {
        true => Some(anonymiser(&store, &own_name).await?),
        false => None,
    };
    let shown = shown(&store, &names, &own_name, &conversations, anonymiser.as_ref());
    let page = Page::new(options.format, shown);
    let mut writer = Writer { page, anonymiser, output: &mut output, seal: Seal::default() };
    let is_whole = writer.write_all(&store, &conversations).await?;
    if is_whole && !options.anonymise {
        let owner = dir.identity().map_err(Fatal::failed)?;
        writer.seal(options.format, &owner)?;
    }
    store.close().await;
    if let Output::File(file) = output {
        file.finish()?;
    }
    Ok(Exit::Good)
}

/// The conversations that are asked for, in an order that is the same everywhere.
async fn select(store: &Store, options: &Export, names: &Names) -> Result<Vec<Conversation>, Fatal> {
    let mut conversations = store.conversations().await.map_err(Fatal::failed)?;
    conversations.sort_by_key(|conversation| conversation.id);
    if let Some(text) = &options.conversation {
        let wanted = rooms::find_conversation(text, &conversations, names)?;
        conversations.retain(|conversation| conversation.id == wanted);
    }
    Ok(conversations)
}

/// Looks for the names of everybody and everything that is known here.
async fn anonymiser(store: &Store, own_name: &str) -> Result<Anonymiser, Fatal> {
    let me = store.me().to_string();
    let mut names = vec![Name { of: me, name: own_name.to_owned(), is_person: true }];
    for contact in store.contacts().await.map_err(Fatal::failed)? {
        for name in [contact.own_name, contact.given_name] {
            names.push(Name { of: contact.peer.to_string(), name, is_person: true });
        }
    }
    for conversation in store.conversations().await.map_err(Fatal::failed)? {
        if let Some(room) = conversation.room {
            names.push(Name { of: conversation.id.to_string(), name: room.name, is_person: false });
        }
    }
    Anonymiser::new(rand::random(), &names).map_err(Fatal::failed)
}

/// What people and conversations are called in the export.
fn shown(
    store: &Store,
    names: &Names,
    own_name: &str,
    conversations: &[Conversation],
    anonymiser: Option<&Anonymiser>,
) -> Shown {
    let me = store.me();
    let everybody =
        conversations.iter().flat_map(|it| it.members.iter().map(|(member, _)| *member)).chain([me]);
    let name = |peer: PeerId| if peer == me { own_name.to_owned() } else { names.shown(peer) };
    if let Some(anonymiser) = anonymiser {
        let label =
            |peer: PeerId| (anonymiser.person(&peer.to_string()), anonymiser.person(&peer.to_string()));
        return Shown(everybody.map(label).collect());
    }
    let mut shown: BTreeMap<_, _> = everybody.map(|peer| (peer.to_string(), name(peer))).collect();
    shown.extend(conversations.iter().map(|it| (it.id.to_string(), title(it, me, names))));
    Shown(shown)
}

/// Writes records, anonymised if that is wanted.
struct Writer<'a> {
    page: Page,
    anonymiser: Option<Anonymiser>,
    output: &'a mut Output,
    seal: Seal,
}

impl Writer<'_> {
    /// False once nobody reads any more.
    fn write(&mut self, record: Record) -> Result<bool, Fatal> {
        let record = match &self.anonymiser {
            Some(anonymiser) => anonymiser.record(record),
            None => Some(record),
        };
        let Some(record) = record else { return Ok(true) };
        let lines = self.page.add(&record);
        self.seal.add(lines.as_bytes());
        self.output.write(&lines)
    }

    /// The last line: the owner vouches for all of it.
    fn seal(&mut self, format: Format, owner: &Identity) -> Result<(), Fatal> {
        self.output.write(&self.seal.line(format, owner)).map(drop)
    }

    /// False if it ended early, since nobody reads any more.
    async fn write_all(&mut self, store: &Store, conversations: &[Conversation]) -> Result<bool, Fatal> {
        let until_arrival = *store.newest().borrow();
        if !self.write(Record::start(store.me()))? {
            return Ok(false);
        }
        let is_member = |peer: PeerId| {
            conversations.iter().any(|it| it.members.iter().any(|(member, _)| *member == peer))
        };
        let mut contacts = store.contacts().await.map_err(Fatal::failed)?;
        contacts.sort_by_key(|contact| contact.peer);
        for contact in contacts.into_iter().filter(|contact| is_member(contact.peer)) {
            self.write(contact.into())?;
        }
        let mut messages = 0;
        for conversation in conversations {
            self.write(conversation.into())?;
            let mut after = None;
            loop {
                let part = Part { conversation: conversation.id, after, until_arrival, limit: CHUNK };
                let chunk: Vec<Archived> = store.archive(part).await.map_err(Fatal::failed)?;
                let Some(last) = chunk.last() else { break };
                after = Some(last.row.order);
                for archived in chunk {
                    messages += 1;
                    if !self.write(archived.into())? {
                        return Ok(false);
                    }
                }
            }
        }
        self.write(Record::End { messages })
    }
}
