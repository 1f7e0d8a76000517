//! Carries out the trials of many pairs, some side by side, and keeps what came of each at once: a campaign that was
//! broken off goes on where it ended.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Pair;
use crate::lab::trial::{self, Outcome, Setup};

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Trials of each.
    pub runs: u64,
    /// Seed of the first trial of each pair; each further one takes the next.
    pub seed: u64,
    /// Trials at the same time.
    pub jobs: u64,
    /// Where the programs are.
    pub bin_dir: PathBuf,
    /// Where outcomes are kept, a line each.
    pub results: PathBuf,
}

/// The first line of the file of results.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// BLAKE3 hash of the programs that were tried: outcomes of others do not count.
    programs: String,
}

/// A trial that is to be made: the number of the pair and the seed.
type Task = (usize, u64);

impl Campaign {
    /// Makes the trials that are not among the results yet, and tells of each that ended and how many are left; returns
    /// the outcomes of all, the earlier ones first.
    ///
    /// # Errors
    /// When the lab cannot work, the results cannot be kept, or Ctrl-C is pressed. What was done by then is kept.
    pub fn run(&self, mut ended: impl FnMut(&Outcome, usize)) -> Result<Vec<Outcome>> {
        let header = Header { programs: hash_of(&self.bin_dir)? };
        let mut outcomes: Vec<_> =
            load(&self.results, &header).into_iter().filter(|outcome| self.is_wanted(outcome)).collect();
        let mut file = store(&self.results, &header, &outcomes)
            .with_context(|| format!("cannot write {}", self.results.display()))?;
        let tasks = Mutex::new(self.missing(&outcomes));
        let (sender, ends) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                // Programs die with the thread that starts them, so each thread builds its own scenes.
                let (sender, tasks) = (sender.clone(), &tasks);
                scope.spawn(move || {
                    while let Some(task) = take(tasks) {
                        if sender.send(self.attempt(task)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for outcome in ends {
                let outcome = outcome?;
                writeln!(file, "{}", serde_json::to_string(&outcome)?)?;
                ended(&outcome, tasks.lock().unwrap_or_else(PoisonError::into_inner).len());
                outcomes.push(outcome);
            }
            Ok(outcomes)
        })
    }

    fn attempt(&self, (pair, seed): Task) -> Result<Outcome> {
        let Pair { a, b } = &self.pairs[pair];
        trial::run(a, b, &Setup { bin_dir: self.bin_dir.clone(), seed, pcap: None })
    }

    fn is_wanted(&self, outcome: &Outcome) -> bool {
        let seeds = self.seed..self.seed + self.runs;
        seeds.contains(&outcome.seed) && self.pairs.iter().any(|pair| pair.is_of(outcome))
    }

    /// First once every pair, then once again: whenever it ends there is something of all.
    fn missing(&self, outcomes: &[Outcome]) -> VecDeque<Task> {
        let done: BTreeSet<_> =
            outcomes.iter().map(|outcome| (&*outcome.a, &*outcome.b, outcome.seed)).collect();
        let all = (self.seed..self.seed + self.runs)
            .flat_map(|seed| (0..self.pairs.len()).map(move |pair| (pair, seed)));
        all.filter(|(pair, seed)| {
            let Pair { a, b } = &self.pairs[*pair];
            !done.contains(&(&*a.name, &*b.name, *seed))
        })
        .collect()
    }
}

fn take(tasks: &Mutex<VecDeque<Task>>) -> Option<Task> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn hash_of(bin_dir: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for program in ["rendezvous", "client"] {
        hasher
            .update(&std::fs::read(bin_dir.join(program)).with_context(|| format!("cannot read {program}"))?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The outcomes in a file; none if it is of other programs. A line that was cut off is none.
fn load(path: &Path, header: &Header) -> Vec<Outcome> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let first = lines.next().and_then(|line| serde_json::from_str::<Header>(&line).ok());
    if first.as_ref() != Some(header) {
        return Vec::new();
    }
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

/// Writes a file with these outcomes and leaves it open for more.
fn store(path: &Path, header: &Header, outcomes: &[Outcome]) -> Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{}", serde_json::to_string(header)?)?;
    for outcome in outcomes {
        writeln!(file, "{}", serde_json::to_string(outcome)?)?;
    }
    std::fs::rename(&fresh, path)?;
    Ok(OpenOptions::new().append(true).open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(dir: &Path) -> Campaign {
        let pair = |a, b| Pair::by_names(a, b).unwrap();
        Campaign {
            pairs: vec![pair("public", "public"), pair("public", "eim_adf")],
            runs: 2,
            seed: 5,
            jobs: 1,
            bin_dir: dir.to_owned(),
            results: dir.join("results.jsonl"),
        }
    }

    fn outcome(a: &str, b: &str, seed: u64) -> Outcome {
        Outcome { a: a.to_owned(), b: b.to_owned(), seed, ..Outcome::default() }
    }

    #[test]
    fn what_is_there_is_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let campaign = campaign(dir.path());
        let header = Header { programs: "these".to_owned() };
        let done = [outcome("public", "eim_adf", 5), outcome("public", "public", 9)];
        let mut file = store(&campaign.results, &header, &done).unwrap();
        write!(file, "{{\"a\":\"cut o").unwrap();
        let loaded = load(&campaign.results, &header);
        assert_eq!(loaded.len(), 2, "and not what was cut off");
        assert!(campaign.is_wanted(&loaded[0]) && !campaign.is_wanted(&loaded[1]), "seed 9 is not asked for");
        assert_eq!(campaign.missing(&loaded), [(0, 5), (0, 6), (1, 6)]);
    }

    #[test]
    fn other_programs_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        store(&path, &Header { programs: "old".to_owned() }, &[outcome("public", "public", 1)]).unwrap();
        assert!(load(&path, &Header { programs: "new".to_owned() }).is_empty());
    }
}
