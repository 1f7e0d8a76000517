//! What must hold when everything is over.

use std::collections::{BTreeMap, BTreeSet};

use client::log::{Act, Content, ConversationId, MessageId};
use client::store::{MessageRow, State};

use common::identity::PeerId;

use super::run::Run;
use super::run::client::{Resident, number_of};

/// What has not arrived yet; `None` if everything has.
pub(super) async fn unfinished(run: &Run<'_>) -> Result<Option<String>, String> {
    for (place, people) in run.conversations() {
        let mut first = None;
        for resident in &people {
            // A gap is one more thing that has not arrived.
            let Ok(rows) = resident.history(place).await else {
                return Ok(Some("there is a gap".to_owned()));
            };
            if let Some(row) = rows.iter().find(|row| row.own && !is_delivered(row)) {
                return Ok(Some(format!("{:?} is not delivered: {:?}", row.id(), row.states)));
            }
            let room = resident.room(place).await;
            let (ids, marks) = (ids(&rows), rows.into_iter().map(|row| row.marks).collect::<Vec<_>>());
            let (known, _, _) = first.get_or_insert_with(|| (ids.clone(), marks.clone(), room.clone()));
            if *known != ids {
                return Ok(Some(format!("{} lines here and {} there", known.len(), ids.len())));
            }
            if first != Some((ids, marks, room)) {
                return Ok(Some("reactions or the room differ".to_owned()));
            }
        }
    }
    Ok(None)
}

/// The verdict; the error says what is wrong.
pub(super) async fn verdict(run: &Run<'_>) -> Result<(), String> {
    let missing = unfinished(run).await?;
    for (place, people) in run.conversations() {
        let mut first: Option<Vec<MessageRow>> = None;
        for resident in &people {
            let rows = resident.history(place).await?;
            let known = first.get_or_insert_with(|| rows.clone());
            if ids(known) != ids(&rows) {
                return Err(difference(known, &rows));
            }
        }
        for author in &people {
            kept(author, &people, place, first.as_deref().unwrap_or_default())?;
        }
    }
    if let Some(missing) = missing {
        return Err(missing);
    }
    run.residents.iter().try_for_each(shown_once)
}

fn ids(rows: &[MessageRow]) -> Vec<MessageId> {
    rows.iter().map(MessageRow::id).collect()
}

fn is_delivered(row: &MessageRow) -> bool {
    // A room begins with somebody alone.
    let is_creation = matches!(row.content, Content::Room(Act::Create { .. }));
    (is_creation || !row.states.is_empty()) && row.states.iter().all(|(_, state)| *state >= State::Delivered)
}

fn difference(at_a: &[MessageRow], at_b: &[MessageRow]) -> String {
    let show = |rows: &[MessageRow]| {
        let line = |row: &MessageRow| {
            let mark = if row.own && !is_delivered(row) { "?" } else { "" };
            format!("{}:{}{mark}", row.author.short(), number_of(row))
        };
        rows.iter().map(line).collect::<Vec<_>>().join(" ")
    };
    format!("the histories differ:\n  {}\n  {}", show(at_a), show(at_b))
}

/// Everything that was accepted is there once and in the order of its author; what may be there is at most once;
/// what was reported as delivered is there.
fn kept(
    author: &Resident,
    people: &[&Resident],
    place: ConversationId,
    history: &[MessageRow],
) -> Result<(), String> {
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    let mut last = 0;
    for row in history.iter().filter(|row| row.author == author.id && row.content.as_text().is_some()) {
        let number = number_of(row);
        *count.entry(number).or_default() += 1;
        if number <= last {
            return Err(format!("{} wrote {last} before {number}", author.id.short()));
        }
        last = number;
    }
    let present: BTreeSet<_> = history.iter().map(MessageRow::id).collect();
    for said in author.said.iter().filter(|said| said.place == place) {
        let times = count.remove(&said.number).unwrap_or(0);
        let accepted = said.id.is_some();
        if times > 1 || (accepted && times == 0) || said.id.is_some_and(|id| !present.contains(&id)) {
            return Err(format!("{} wrote {}, which is there {times} times", author.id.short(), said.number));
        }
    }
    if let Some(number) = count.keys().next() {
        return Err(format!("{} never wrote {number}", author.id.short()));
    }
    let reported = author.diary();
    let is_here = |id: &MessageId| author.said.iter().any(|said| said.id == Some(*id) && said.place == place);
    let is_one = |to: &PeerId| people.iter().any(|resident| resident.id == *to);
    let lost = reported.delivered.iter().find(|(to, id)| is_one(to) && is_here(id) && !present.contains(id));
    lost.map_or(Ok(()), |(_, id)| Err(format!("{id:?} was reported as delivered and is not there")))
}

/// No message was shown twice, and each author's were shown in order.
fn shown_once(resident: &Resident) -> Result<(), String> {
    let me = resident.id.short();
    let diary = resident.diary();
    let mut seen = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for shown in &diary.shown {
        if let Some(run) = seen.insert(shown.id, shown.run) {
            return Err(format!("{me} was shown {:?} in run {run} and in run {}", shown.id, shown.run));
        }
        // Own messages to several people share one count, and so do not disturb the order.
        if let Some(before) = newest.insert(shown.author, shown.number)
            && before >= shown.number
        {
            let author = shown.author.short();
            return Err(format!("{me} was shown {before} of {author} before {}", shown.number));
        }
    }
    Ok(())
}
