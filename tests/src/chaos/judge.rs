//! What must hold when everything is over.

use std::collections::{BTreeMap, BTreeSet};

use client::log::MessageId;
use client::store::{MessageRow, State};

use super::run::Run;
use super::run::client::{Resident, number_of};

/// What has not arrived yet; `None` if everything has.
pub(super) async fn unfinished(run: &Run<'_>) -> Result<Option<String>, String> {
    for (a, b) in run.pairs() {
        let (at_a, at_b) = (a.history(b.id).await, b.history(a.id).await);
        // A gap is one more thing that has not arrived.
        let (Ok(at_a), Ok(at_b)) = (at_a, at_b) else { return Ok(Some("there is a gap".to_owned())) };
        if ids(&at_a) != ids(&at_b) {
            return Ok(Some(format!("{} lines here and {} there", at_a.len(), at_b.len())));
        }
        if let Some(row) = at_a.iter().chain(&at_b).find(|row| row.own && !is_delivered(row)) {
            return Ok(Some(format!("{:?} is not delivered", row.id())));
        }
    }
    Ok(None)
}

/// The verdict; the error says what is wrong.
pub(super) async fn verdict(run: &Run<'_>) -> Result<(), String> {
    let missing = unfinished(run).await?;
    for (a, b) in run.pairs() {
        let (at_a, at_b) = (a.history(b.id).await?, b.history(a.id).await?);
        if ids(&at_a) != ids(&at_b) {
            return Err(difference(&at_a, &at_b));
        }
        for (author, other) in [(a, b), (b, a)] {
            kept(author, other, &at_a)?;
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
    !row.states.is_empty() && row.states.iter().all(|(_, state)| *state >= State::Delivered)
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
fn kept(author: &Resident, other: &Resident, history: &[MessageRow]) -> Result<(), String> {
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    let mut last = 0;
    for row in history.iter().filter(|row| row.author == author.id) {
        let number = number_of(row);
        *count.entry(number).or_default() += 1;
        if number <= last {
            return Err(format!("{} wrote {last} before {number}", author.id.short()));
        }
        last = number;
    }
    let present: BTreeSet<_> = history.iter().map(MessageRow::id).collect();
    for said in author.said.iter().filter(|said| said.to == other.id) {
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
    let lost = reported.delivered.iter().find(|(to, id)| *to == other.id && !present.contains(id));
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
