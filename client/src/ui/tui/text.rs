//! Text measured in terminal columns, and broken into lines. Pure.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Columns that `text` takes.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The beginning of `text` that fits into `columns`, with an ellipsis if anything is cut off.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.graphemes(true).take_while(|grapheme| {
        used += grapheme.width();
        used <= columns
    });
    let mut kept: String = kept.collect();
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// `text` and the spaces that fill it up to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text + &" ".repeat(missing)
}

/// Breaks `text` into lines of at most `columns`, of which `first` are gone on the first line. Words stay whole
/// where they can. The ranges are bytes of `text`; together they hold all of it but line breaks and the spaces at
/// which lines are broken. There is always one line at least.
pub(super) fn wrap(text: &str, columns: usize, first: usize) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut room = columns.saturating_sub(first);
    for line in text.split('\n') {
        wrap_line(line, start, columns.max(1), room, &mut lines);
        start += line.len() + 1;
        room = columns;
    }
    lines
}

/// Breaks one line that begins at `offset`.
fn wrap_line(line: &str, offset: usize, columns: usize, first: usize, lines: &mut Vec<Range<usize>>) {
    let (mut start, mut used, mut room) = (0, 0, first);
    // Where the line can be broken: behind the last space.
    let mut after_space = None;
    for (at, grapheme) in line.grapheme_indices(true) {
        let columns_of = grapheme.width();
        while used + columns_of > room && (at > start || room < columns) {
            // A space that does not fit is where the line ends.
            let end = if grapheme == " " { at } else { after_space.unwrap_or(at) };
            lines.push(offset + start..offset + line[..end].trim_end_matches(' ').len().max(start));
            start = end;
            used = width(&line[start..at]);
            (room, after_space) = (columns, None);
            if grapheme == " " {
                start = at + 1;
                break;
            }
        }
        if start > at {
            continue;
        }
        used += columns_of;
        if grapheme == " " {
            after_space = Some(at + 1);
        }
    }
    lines.push(offset + start..offset + line.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str, columns: usize, first: usize) -> Vec<&str> {
        wrap(text, columns, first).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_stay_whole_where_they_can() {
        assert_eq!(lines("the quick brown fox", 10, 0), ["the quick", "brown fox"]);
        assert_eq!(lines("the quick brown fox", 10, 6), ["the", "quick", "brown fox"]);
        assert_eq!(lines("a\n\nb", 10, 0), ["a", "", "b"]);
        assert_eq!(lines("abcdefghijkl mn", 5, 0), ["abcde", "fghij", "kl mn"]);
        assert_eq!(lines("abcdefgh", 5, 4), ["a", "bcdef", "gh"]);
        assert_eq!(lines("", 5, 0), [""]);
    }

    #[test]
    fn wide_characters_count_twice_and_combining_ones_not() {
        assert_eq!(width("日本e\u{301}"), 5);
        assert_eq!(lines("日本日本", 5, 0), ["日本", "日本"]);
        assert_eq!(fit("日本日本", 6), "日本…");
        assert_eq!(pad("日本", 6), "日本  ");
        assert_eq!(fit("abc", 0), "");
    }

    proptest! {
        #[test]
        fn every_line_fits_and_nothing_is_lost(text in "[a-c 日é\n]{0,60}", columns in 2usize..12, first in 0usize..12) {
            let ranges = wrap(&text, columns, first);
            for (number, range) in ranges.iter().enumerate() {
                let room = if number == 0 { columns.saturating_sub(first) } else { columns };
                prop_assert!(width(text[range.clone()].trim_end()) <= room, "{:?}", &text[range.clone()]);
            }
            let kept: String = ranges.iter().map(|range| &text[range.clone()]).collect();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&kept), solid(&text));
        }
    }
}
