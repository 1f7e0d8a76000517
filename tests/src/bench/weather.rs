//! Bad networks: far away, and losing packets in bursts. How many easy pairs come to a direct path within half a minute;
//! agents over the NAT model in virtual time.

use std::time::Duration;

use super::stats::{Samples, wilson};
use super::{Figure, Report, Target, ms};
use crate::duel::{Front, Weather, duel_in};
use crate::nat::Profile;

/// A pair that is not direct by then counts as not direct.
const PATIENCE: Duration = Duration::from_secs(30);
/// Packets lost in a row, on average.
const BURST: f64 = 4.0;

/// Loss, round trip, and per cent of the pairs that should go direct.
const ROWS: [(f64, u64, f64); 2] = [(0.12, 450, 95.0), (0.25, 800, 80.0)];

/// The weather of a row: the server is as far away as the peer.
#[must_use]
pub fn weather(loss: f64, rtt_ms: u64) -> Weather {
    let rtt = Duration::from_millis(rtt_ms);
    Weather { burst: BURST, peer_rtt: rtt, server_rtt: rtt, ..Weather::lossy(loss) }
}

/// Tries every row `runs` times for each pair of easy NATs.
pub fn run(runs: u64, report: &mut Report) {
    let kinds = [
        Front::public(),
        Front::quiet(Profile::full_cone()),
        Front::quiet(Profile::eim_adf()),
        Front::quiet(Profile::eim_apdf_preserving()),
        Front::quiet(Profile::eim_apdf_random()),
        Front::quiet(Profile::linux()),
    ];
    for (loss, rtt_ms, share) in ROWS {
        let mut outcomes = Vec::new();
        for a in kinds {
            for b in kinds {
                outcomes.extend((0..runs).map(|seed| duel_in([a, b], seed, weather(loss, rtt_ms), PATIENCE)));
            }
        }
        let direct = outcomes.iter().filter(|outcome| outcome.direct.is_some()).count();
        let (low, high) = wilson(direct, outcomes.len());
        let name = format!("{:.0} % lost in bursts of {BURST}, {rtt_ms} ms", 100.0 * loss);
        let interval =
            format!("{name}: direct of {} ({:.1} to {:.1})", outcomes.len(), 100.0 * low, 100.0 * high);
        let value = 100.0 * direct as f64 / outcomes.len() as f64;
        report.add(Figure::new("weather", interval, "%", value).target(Target::AtLeast(share)));
        let times: Samples = outcomes.iter().filter_map(|outcome| outcome.direct).map(ms).collect();
        for percent in [50, 95] {
            report.add(Figure::new(
                "weather",
                format!("{name}: p{percent}"),
                "ms",
                times.percentile(percent),
            ));
        }
    }
}
