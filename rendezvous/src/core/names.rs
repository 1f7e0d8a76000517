//! Names and whose they are (`docs/protocol.md` §10). A name belongs to the key that took it, until it gives it back or
//! has not been here for [`IDLE_DAYS`].
//!
//! All names are in memory; changes leave as [`super::Output::Save`], and a client hears of one when it is on the disk.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Instant;

use common::control::{
    DropName, FindName, MAX_FOUND_NAMES, NameVerdict, NamedPeer, Names as Answer, TakeName, ToServer,
};
use common::identity::PeerId;
use common::names::{MIN_CHARS, Name, normal};

use super::admission::Source;
use super::bucket::{Bucket, Rate};
use super::{ConnId, Core, Output};

/// Names that one key may have.
pub const MAX_PER_KEY: usize = 3;
/// Days without its owner after which a name is free for others.
pub const IDLE_DAYS: u32 = 365;
/// Names that one source may take, those given back included: sixteen, and one more each hour.
const TAKES: Rate = Rate { per_second: 1, burst: 16 * TAKE };
const TAKE: u64 = 3_600;
/// Questions that one source may ask.
const FINDS: Rate = Rate { per_second: 1, burst: 60 };
/// Sources whose allowances are remembered; those that are full again are forgotten.
const MAX_SOURCES: usize = 20_000;
/// Names that a search for a beginning goes through: unlisted ones are among them.
const MAX_SCANNED: usize = 2_000;

/// A name as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRow {
    /// In its normal form.
    pub name: String,
    /// Whose.
    pub peer: PeerId,
    /// Whether it is found by its beginning too.
    pub listed: bool,
    /// The last day on which its owner was here, counted from 1970.
    pub day: u32,
}

/// What is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameChange {
    /// This, in place of what was kept under the name.
    Keep(NameRow),
    /// Nothing under this name.
    Forget(String),
}

/// Allowances of sources.
#[derive(Debug)]
struct Allowances {
    rate: Rate,
    buckets: HashMap<Source, Bucket>,
}

impl Allowances {
    fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    fn take(&mut self, now: Instant, source: Source, amount: u64) -> bool {
        let rate = self.rate;
        if self.buckets.len() >= MAX_SOURCES && !self.buckets.contains_key(&source) {
            self.buckets.retain(|_, bucket| !bucket.is_full(now, rate));
            if self.buckets.len() >= MAX_SOURCES {
                return false;
            }
        }
        self.buckets.entry(source).or_insert_with(|| Bucket::full(now, rate)).take(now, rate, amount)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Names {
    rows: BTreeMap<String, NameRow>,
    by_likeness: HashMap<String, String>,
    by_peer: HashMap<PeerId, Vec<String>>,
    takes: Allowances,
    finds: Allowances,
    today: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            by_likeness: HashMap::new(),
            by_peer: HashMap::new(),
            takes: Allowances::new(TAKES),
            finds: Allowances::new(FINDS),
            today: 0,
        }
    }
}

type Changes = Vec<NameChange>;

impl Names {
    fn insert(&mut self, row: NameRow) {
        self.remove(&row.name);
        self.by_likeness.insert(common::names::likeness(&row.name), row.name.clone());
        self.by_peer.entry(row.peer).or_default().push(row.name.clone());
        self.rows.insert(row.name.clone(), row);
    }

    fn remove(&mut self, name: &str) -> Option<NameRow> {
        let row = self.rows.remove(name)?;
        self.by_likeness.remove(&common::names::likeness(name));
        if let Some(own) = self.by_peer.get_mut(&row.peer) {
            own.retain(|own| own != name);
            if own.is_empty() {
                self.by_peer.remove(&row.peer);
            }
        }
        Some(row)
    }

    fn is_held(&self, row: &NameRow) -> bool {
        row.day.saturating_add(IDLE_DAYS) >= self.today
    }

    /// Makes room among `max` names by forgetting those that nobody holds any more. False if all are held.
    fn make_room(&mut self, max: usize, changes: &mut Changes) -> bool {
        if self.rows.len() >= max {
            let idle: Vec<_> =
                self.rows.values().filter(|row| !self.is_held(row)).map(|row| row.name.clone()).collect();
            for name in idle {
                self.remove(&name);
                changes.push(NameChange::Forget(name));
            }
        }
        self.rows.len() < max
    }

    fn take(
        &mut self,
        now: Instant,
        source: Source,
        peer: PeerId,
        (name, listed): (&Name, bool),
        max: usize,
    ) -> Result<Changes, NameVerdict> {
        let mut changes = Changes::new();
        let row = NameRow { name: name.to_string(), peer, listed, day: self.today };
        if self.rows.get(name.as_str()).is_none_or(|known| known.peer != peer) {
            if !self.takes.take(now, source, TAKE) {
                return Err(NameVerdict::TooFast);
            }
            if self.by_peer.get(&peer).is_some_and(|own| own.len() >= MAX_PER_KEY) {
                return Err(NameVerdict::TooMany);
            }
            if let Some(alike) = self.by_likeness.get(&name.likeness()).cloned() {
                if self.rows.get(&alike).is_some_and(|row| self.is_held(row)) {
                    return Err(NameVerdict::Taken);
                }
                self.remove(&alike);
                changes.push(NameChange::Forget(alike));
            }
            if !self.make_room(max, &mut changes) {
                return Err(NameVerdict::Full);
            }
        }
        self.insert(row.clone());
        changes.push(NameChange::Keep(row));
        Ok(changes)
    }

    fn give_back(&mut self, peer: PeerId, name: &Name) -> Result<Changes, NameVerdict> {
        match self.rows.get(name.as_str()) {
            Some(row) if row.peer == peer => {}
            _ => return Err(NameVerdict::NotYours),
        }
        self.remove(name.as_str());
        Ok(vec![NameChange::Forget(name.to_string())])
    }

    fn find(
        &mut self,
        now: Instant,
        source: Source,
        peer: PeerId,
        find: &FindName,
    ) -> Result<Vec<NamedPeer>, NameVerdict> {
        if !self.finds.take(now, source, 1) {
            return Err(NameVerdict::TooFast);
        }
        let said = |row: &NameRow| NamedPeer { name: row.name.clone(), peer: row.peer, listed: row.listed };
        if find.text.is_empty() {
            let own = self.by_peer.get(&peer).into_iter().flatten();
            return Ok(own.filter_map(|name| self.rows.get(name)).map(said).collect());
        }
        let exact = find.text.parse::<Name>();
        let found = exact.as_ref().ok().and_then(|name| self.rows.get(name.as_str()));
        let found = found.filter(|row| self.is_held(row));
        let beginning = normal(&find.text);
        if !find.begins || beginning.chars().count() < MIN_CHARS {
            return match exact {
                Ok(_) => Ok(found.map(said).into_iter().collect()),
                Err(_) => Err(NameVerdict::Invalid),
            };
        }
        let begins = self
            .rows
            .range::<str, _>((Bound::Excluded(beginning.as_str()), Bound::Unbounded))
            .take(MAX_SCANNED)
            .map(|(_, row)| row)
            .take_while(|row| row.name.starts_with(&beginning))
            .filter(|row| row.listed && self.is_held(row));
        Ok(found.into_iter().chain(begins).take(MAX_FOUND_NAMES).map(said).collect())
    }

    /// The owner is here: their names are theirs for another while.
    fn visit(&mut self, peer: PeerId) -> Changes {
        let mut changes = Changes::new();
        for name in self.by_peer.get(&peer).into_iter().flatten() {
            if let Some(row) = self.rows.get_mut(name).filter(|row| row.day < self.today) {
                row.day = self.today;
                changes.push(NameChange::Keep(row.clone()));
            }
        }
        changes
    }
}

impl Core {
    /// Names that were kept; to be called before anything else.
    pub fn set_names(&mut self, rows: Vec<NameRow>) {
        rows.into_iter().for_each(|row| self.names.insert(row));
    }

    /// Which day it is, counted from 1970. A clock that is wrong for a while makes nobody lose a name that nobody takes.
    pub fn handle_day(&mut self, day: u32) {
        self.names.today = day;
    }

    /// Notes that the owner of names has registered.
    pub(super) fn visit_names(&mut self, peer: PeerId) {
        let changes = self.names.visit(peer);
        if !changes.is_empty() {
            self.out.push_back(Output::Save { changes, answer: None });
        }
    }

    /// Takes in one of the frames that have to do with names.
    pub(super) fn name_frame(&mut self, now: Instant, conn: ConnId, peer: PeerId, frame: &ToServer) {
        let Some(source) = self.conns.get(&conn).map(|entry| entry.source) else { return };
        let (ask, done) = match frame {
            ToServer::TakeName(TakeName { ask, name, listed }) => {
                let done = match name.parse::<Name>() {
                    Ok(name) => {
                        let max = self.limits.max_names;
                        let named = NamedPeer { name: name.to_string(), peer, listed: *listed };
                        let taken = self.names.take(now, source, peer, (&name, *listed), max);
                        taken.map(|changes| (changes, vec![named]))
                    }
                    Err(_) => Err(NameVerdict::Invalid),
                };
                (*ask, done)
            }
            ToServer::DropName(DropName { ask, name }) => {
                let name = name.parse::<Name>().map_err(|_| NameVerdict::NotYours);
                (
                    *ask,
                    name.and_then(|name| self.names.give_back(peer, &name))
                        .map(|changes| (changes, Vec::new())),
                )
            }
            ToServer::FindName(find) => {
                let found = self.names.find(now, source, peer, find);
                (find.ask, found.map(|names| (Changes::new(), names)))
            }
            _ => return,
        };
        let (changes, verdict, names) = match done {
            Ok((changes, names)) => (changes, NameVerdict::Done, names),
            Err(verdict) => (Changes::new(), verdict, Vec::new()),
        };
        let answer = Answer { ask, verdict: verdict as u8, names };
        if changes.is_empty() {
            self.send(conn, answer);
        } else {
            self.out.push_back(Output::Save { changes, answer: Some((conn, answer)) });
        }
    }

    /// Changes were saved, or not: whoever asked for them hears of it. What could not be kept is not there.
    pub fn handle_saved(&mut self, changes: &[NameChange], answer: Option<(ConnId, Answer)>, is_saved: bool) {
        if !is_saved {
            for change in changes {
                if let NameChange::Keep(row) = change
                    && self.names.rows.get(&row.name) == Some(row)
                    && answer.is_some()
                {
                    self.names.remove(&row.name);
                }
            }
        }
        let Some((conn, answer)) = answer.filter(|(conn, _)| self.conns.contains_key(conn)) else { return };
        match is_saved {
            true => self.send(conn, answer),
            false => {
                let verdict = NameVerdict::Unavailable as u8;
                self.send(conn, Answer { ask: answer.ask, verdict, names: Vec::new() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
