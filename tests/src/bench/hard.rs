//! How hard NATs are got through: agents over the NAT model in virtual time, every row of the table many times.

use std::time::Duration;

use super::stats::{Samples, wilson};
use super::{Figure, Report, Target, ms};
use crate::duel::{Front, Outcome, duel};
use crate::nat::Profile;

/// A pair that is not direct by then counts as not direct.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a pair should come to.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    fronts: [Front; 2],
    loss: f64,
    /// Per cent of the tries that should go direct at least.
    share: f64,
    /// A percentile of the time in milliseconds, and how much it may be.
    time: Option<(usize, f64)>,
    /// Packets beyond the plain checks, of both sides: 99 of 100 tries take at most so many.
    packets: Option<f64>,
}

fn rows() -> Vec<Row> {
    let easy = Front::quiet(Profile::eim_apdf_random());
    let linux = Front::quiet(Profile::linux());
    let [random, address] = [Profile::symmetric_random(), Profile::adm_apdf()].map(Front::quiet);
    let block = Front::quiet(Profile::symmetric_block(2048));
    let counter = Front::quiet(Profile::symmetric_sequential());
    let noisy = Front::noisy(Profile::symmetric_sequential());
    let row = |name, fronts| Row { name, fronts, loss: 0.0, share: 99.0, time: None, packets: None };
    let free = |row: Row| Row { share: 0.0, ..row };
    vec![
        Row {
            time: Some((95, 800.0)),
            packets: Some(60.0),
            ..row("easy × counter, 20 flows/s", [easy, noisy])
        },
        Row { time: Some((99, 3000.0)), packets: Some(1500.0), ..row("easy × random", [easy, random]) },
        Row { time: Some((99, 3000.0)), packets: Some(1500.0), ..row("easy × by address", [easy, address]) },
        Row {
            time: Some((99, 1000.0)), packets: Some(250.0), ..row("easy × block of 2,048", [easy, block])
        },
        Row { share: 97.0, time: Some((95, 2000.0)), ..row("counter × counter", [counter, counter]) },
        Row {
            share: 90.0, time: Some((95, 2000.0)), ..row("counter × counter, 20 flows/s", [noisy, noisy])
        },
        row("linux × counter, 20 flows/s", [linux, noisy]),
        Row { time: Some((99, 5000.0)), ..row("linux × random", [linux, random]) },
        free(Row { loss: 0.1, ..row("easy × random, 10 % loss", [easy, random]) }),
        free(Row { loss: 0.1, ..row("counter × counter, 20 flows/s, 10 % loss", [noisy, noisy]) }),
    ]
}

/// Tries every row `runs` times.
pub fn run(runs: u64, report: &mut Report) {
    for row in rows() {
        // Who dials changes with every try.
        let front =
            |seed: u64| if seed.is_multiple_of(2) { row.fronts } else { [row.fronts[1], row.fronts[0]] };
        let outcomes: Vec<_> = (0..runs).map(|seed| duel(front(seed), seed, row.loss, PATIENCE)).collect();
        summarise(&row, &outcomes, report);
    }
}

fn summarise(row: &Row, outcomes: &[Outcome], report: &mut Report) {
    let name = row.name;
    let mut add = |what: String, unit, value, target: Option<Target>| {
        let figure = Figure::new("hard", format!("{name}: {what}"), unit, value);
        report.add(match target {
            Some(target) => figure.target(target),
            None => figure,
        });
    };
    let direct = outcomes.iter().filter(|outcome| outcome.direct.is_some()).count();
    let (low, high) = wilson(direct, outcomes.len());
    let share = 100.0 * direct as f64 / outcomes.len() as f64;
    let wanted = (row.share > 0.0).then_some(Target::AtLeast(row.share));
    let interval = format!("direct of {} ({:.1} to {:.1})", outcomes.len(), 100.0 * low, 100.0 * high);
    add(interval, "%", share, wanted);
    let times: Samples = outcomes.iter().filter_map(|outcome| outcome.direct).map(ms).collect();
    for percent in [50, 95, 99] {
        let wanted = row.time.filter(|(of, _)| *of == percent).map(|(_, most)| Target::AtMost(most));
        add(format!("p{percent}"), "ms", times.percentile(percent), wanted);
    }
    let packets: Samples = outcomes.iter().map(|outcome| f64::from(outcome.packets)).collect();
    add("packets, p50".to_owned(), "", packets.percentile(50), None);
    add("packets, p99".to_owned(), "", packets.percentile(99), row.packets.map(Target::AtMost));
    let entries = outcomes.iter().map(|outcome| outcome.entries[0].max(outcome.entries[1]) as f64);
    let entries: Samples = entries.collect();
    add("NAT entries, p99".to_owned(), "", entries.percentile(99), Some(Target::AtMost(256.0)));
}
