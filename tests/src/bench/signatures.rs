//! What signatures of messages cost, in processor time: as many as come together, beside one by one.

use std::hint::black_box;
use std::time::Duration;

use common::identity::{Identity, SIGNATURE_LEN, Signed, verify_each};

use super::cpu::process_time;
use super::stats::Samples;
use super::{Figure, Report};

/// Bytes of a message with a usual line of chat.
const LEN: usize = 250;
/// Signatures that are verified in one measurement.
const COUNT: usize = 2048;

/// Measures `turns` times; the medians count.
pub fn run(turns: u64, report: &mut Report) {
    let text = [7; LEN];
    for (authors, name) in [(1, "of one author"), (COUNT, "of different authors")] {
        let people: Vec<_> = (0..authors).map(|n| Identity::from_seed(seed(n))).collect();
        let all: Vec<_> = people.iter().cycle().take(COUNT).map(|one| (one, one.sign(&text))).collect();
        let signed: Vec<_> = all.iter().map(|(one, signature)| to_check(one, &text, signature)).collect();
        let single = cost(turns, || {
            assert!(signed.iter().all(|one| one.by.verify(one.message, one.signature)));
        });
        for size in [2, 16, 64] {
            let together = cost(turns, || {
                assert!(signed.chunks(size).all(|some| verify_each(some).into_iter().all(|right| right)));
            });
            let name = format!("verify one of {size} {name}");
            report.add(Figure::new("signatures", name, "µs", together).beside("one by one", single));
        }
    }
    let me = Identity::from_seed([1; 32]);
    let sign = cost(turns, || {
        for _ in 0..COUNT {
            black_box(me.sign(&text));
        }
    });
    report.add(Figure::new("signatures", "sign", "µs", sign));
}

fn seed(n: usize) -> [u8; 32] {
    *blake3::hash(&n.to_be_bytes()).as_bytes()
}

fn to_check<'a>(one: &Identity, message: &'a [u8], signature: &'a [u8; SIGNATURE_LEN]) -> Signed<'a> {
    Signed { by: one.peer_id(), message, signature }
}

/// Microseconds of processor time that each of [`COUNT`] takes.
fn cost(turns: u64, work: impl Fn()) -> f64 {
    let one_turn = |_| {
        let before = process_time();
        work();
        (process_time() - before).div_f64(COUNT as f64)
    };
    (0..turns).map(one_turn).map(|time: Duration| time.as_secs_f64() * 1e6).collect::<Samples>().median()
}
