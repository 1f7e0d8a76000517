//! The matrix as a picture: one field a pair, coloured by the time to a direct path. Readable on light and on dark pages.

use std::fmt::Write as _;

use super::Cell;
use crate::lab::physics::Expected;

/// Width and height of a field.
const FIELD: (usize, usize) = (48, 26);
/// Room for the names at the left, and for those at the top, which lean.
const MARGIN: (usize, usize) = (196, 132);
/// Columns of the list of pairs that are no pairs of kinds.
const COLUMNS: usize = 2;
/// Upper bounds of the classes of times, in milliseconds, with their words.
const CLASSES: [(f64, &str); 5] = [
    (100.0, "to 100 ms"),
    (250.0, "to 250 ms"),
    (1_000.0, "to 1 s"),
    (2_500.0, "to 2.5 s"),
    (f64::INFINITY, "longer"),
];
/// Colours for light pages, then those that differ on dark ones, as plain rules: not every program that shows pictures knows
/// variables. `b` is the background, `d` quiet words, `r` relayed, `f` failed, `c0` to `c4` the classes, `t…` words in such
/// fields.
const STYLE: &str = "<style>
text{font:11px system-ui,sans-serif;fill:#1f2328}.n{font-variant-numeric:tabular-nums;text-anchor:middle}.tf{font-weight:600}
.b{fill:#ffffff}.d{fill:#656d76}.r{fill:#e4e7eb}.f{fill:#cf222e}
.c0{fill:#b7e4c7}.c1{fill:#8fd3b6}.c2{fill:#63b7c4}.c3{fill:#4a8ec2}.c4{fill:#4b5fae}
.t0,.t1{fill:#12261c}.t2{fill:#0b2328}.t3,.t4,.tf{fill:#ffffff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#0d1117}.d{fill:#9198a1}.r{fill:#21262d}.f{fill:#da3633}
.c0{fill:#2f8f5b}.c1{fill:#26776a}.c2{fill:#1f6f80}.c3{fill:#2b5f95}.c4{fill:#4750a0}.t0,.t1,.t2{fill:#ffffff}}
</style>";

/// The picture of these pairs: a square of all pairs of `kinds`, and a list of the others.
#[must_use]
pub fn svg(cells: &[Cell], kinds: &[String]) -> String {
    let side = kinds.len();
    let is_in_square = |cell: &&Cell| kinds.contains(&cell.a) && kinds.contains(&cell.b);
    let others: Vec<_> = cells.iter().filter(|cell| !is_in_square(cell)).collect();
    let list = MARGIN.1 + side * FIELD.1 + 28;
    let legend = list + others.len().div_ceil(COLUMNS) * (FIELD.1 + 4) + 14;
    let (width, height) = (MARGIN.0 + side.max(10) * FIELD.0 + 60, legend + 52);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Time to a direct path for every pair of networks\">\n{STYLE}\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" class=\"b\"/>\n"
    );
    for (n, kind) in kinds.iter().enumerate() {
        let (x, y) = (MARGIN.0 + n * FIELD.0 + FIELD.0 / 2, MARGIN.1 + n * FIELD.1 + 17);
        let words = words_of(kind);
        let _ = writeln!(out, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{words}</text>", MARGIN.0 - 8);
        let top = MARGIN.1 - 8;
        let _ = writeln!(out, "<text transform=\"translate({x} {top}) rotate(-45)\">{words}</text>");
    }
    for cell in cells.iter().filter(is_in_square) {
        let place = |name: &String| kinds.iter().position(|kind| kind == name).unwrap_or(0);
        let (a, b) = (place(&cell.a), place(&cell.b));
        field(&mut out, (MARGIN.0 + b * FIELD.0, MARGIN.1 + a * FIELD.1), cell);
        let has_mirror = cells.iter().any(|other| (&other.a, &other.b) == (&cell.b, &cell.a));
        if !has_mirror {
            field(&mut out, (MARGIN.0 + a * FIELD.0, MARGIN.1 + b * FIELD.1), cell);
        }
    }
    for (n, cell) in others.iter().enumerate() {
        let column = (width - 40) / COLUMNS;
        let (x, y) = (20 + n % COLUMNS * column, list + n / COLUMNS * (FIELD.1 + 4));
        field(&mut out, (x, y), cell);
        let words = if cell.a == cell.b {
            words_of(&cell.a)
        } else {
            format!("{} × {}", words_of(&cell.a), words_of(&cell.b))
        };
        let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">{words}</text>", x + FIELD.0 + 8, y + 17);
    }
    write_legend(&mut out, legend);
    out.push_str("</svg>\n");
    out
}

/// One pair.
fn field(out: &mut String, (x, y): (usize, usize), cell: &Cell) {
    let (fill, text, words) = look(cell);
    let (w, h) = (FIELD.0 - 2, FIELD.1 - 2);
    let _ = writeln!(
        out,
        "<rect class=\"{fill}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"3\"/>\
         <text class=\"n {text}\" x=\"{}\" y=\"{}\">{words}</text>",
        x + w / 2,
        y + 16
    );
}

/// Class of the field, class of its words, and the words.
fn look(cell: &Cell) -> (String, String, String) {
    if !cell.is_well() {
        return ("f".to_owned(), "tf".to_owned(), format!("{}/{}", cell.succeeded, cell.runs));
    }
    match (cell.expected, cell.time_to_direct) {
        (Expected::Relayed(_), None) => ("r".to_owned(), "d".to_owned(), "relay".to_owned()),
        (_, None) => ("r".to_owned(), "d".to_owned(), "–".to_owned()),
        (_, Some(time)) => {
            let class = CLASSES.iter().position(|(bound, _)| time.p50 <= *bound).unwrap_or(CLASSES.len() - 1);
            (format!("c{class}"), format!("t{class}"), short(time.p50))
        }
    }
}

/// A time in so few letters that it fits a field.
fn short(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.0}") } else { format!("{:.1} s", ms / 1_000.0) }
}

fn write_legend(out: &mut String, y: usize) {
    let mut x = 20;
    let text = y + 13;
    let _ = writeln!(out, "<text class=\"d\" x=\"{x}\" y=\"{text}\">direct, median:</text>");
    x += 92;
    let classes = CLASSES.iter().enumerate().map(|(n, (_, words))| (format!("c{n}"), *words));
    let rest =
        [("r".to_owned(), "relay, as it must be"), ("f".to_owned(), "not as it must be (trials that were)")];
    for (class, words) in classes.chain(rest) {
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"18\" height=\"16\" rx=\"3\"/>\
             <text x=\"{}\" y=\"{text}\">{words}</text>",
            x + 23
        );
        x += 40 + 6 * words.len();
    }
    let _ = writeln!(
        out,
        "<text class=\"d\" x=\"20\" y=\"{}\">Numbers are milliseconds from when both are ready to the first direct packets both \
         ways, seen from outside. Homes 80 ms apart, server 50 ms away.</text>",
        y + 36
    );
}

/// A kind in the words of a picture.
fn words_of(kind: &str) -> String {
    let known = [
        ("eim_adf", "EIM/ADF"),
        ("eim_apdf_preserving", "EIM/APDF"),
        ("eim_apdf_random", "EIM/APDF, random"),
        ("linux", "Linux conntrack"),
        ("cgnat", "carrier NAT"),
        ("adm_apdf", "ADM/APDF"),
        ("symmetric_sequential", "symmetric, counting"),
        ("symmetric_sequential_noisy", "symmetric, counting, busy"),
        ("symmetric_block", "symmetric, block of 2,048"),
        ("symmetric_random", "symmetric, random"),
        ("udp_blocked", "UDP blocked"),
        ("web_only", "TCP 80/443 only"),
        ("proxy_only", "HTTP proxy only"),
        ("same_lan", "one LAN"),
        ("same_nat", "one NAT, kept apart, no hairpin"),
        ("same_nat_hairpin", "one NAT, kept apart, hairpin"),
        ("same_carrier", "one carrier NAT, no hairpin"),
        ("same_carrier_hairpin", "one carrier NAT, hairpin"),
        ("ipv6", "IPv6 only"),
        ("dual_stack", "IPv6 and symmetric IPv4"),
    ];
    let words = known.iter().find(|(name, _)| *name == kind).map(|(_, words)| (*words).to_owned());
    words.unwrap_or_else(|| kind.replace('_', " ").replace('&', "&amp;").replace('<', "&lt;"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::matrix::Pair;
    use crate::lab::trial::Outcome;

    #[test]
    fn every_pair_has_its_field() {
        let kinds = ["public", "symmetric_random"].map(str::to_owned);
        let direct =
            Outcome { direct_ms: Some(90.4), in_use_ms: Some(130.0), sealed: true, ..Outcome::default() };
        let relayed = Outcome { sealed: true, ..Outcome::default() };
        let cell =
            |a, b, outcome: &Outcome| Cell::of(&Pair::by_names(a, b).unwrap(), std::slice::from_ref(outcome));
        let cells = [
            cell("public", "public", &direct),
            cell("public", "symmetric_random", &relayed),
            cell("symmetric_random", "symmetric_random", &relayed),
            cell("same_lan", "same_lan", &Outcome { direct_ms: Some(1_234.0), ..direct.clone() }),
        ];
        let svg = svg(&cells, &kinds);
        let count = |part: &str| svg.matches(part).count();
        assert_eq!((count(">90<"), count(">1.2 s<"), count(">relay<")), (1, 1, 1));
        assert_eq!(count(">0/1<"), 2, "what failed is there on both sides of the diagonal");
    }
}
