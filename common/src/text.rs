//! Text that came from somebody else, made safe to show.

/// Longest name of a person in characters.
pub const MAX_NAME: usize = 40;

/// `text` without control characters and without characters that reorder or hide what stands beside them, cut to
/// `max` characters. Line breaks and tabs become spaces.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    let shown = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| is_shown(*c));
    shown.take(max).collect::<String>().trim().to_owned()
}

/// `text` without control characters, but with its line breaks.
#[must_use]
pub fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\t', "    ");
    text.chars().filter(|c| *c == '\n' || is_shown(*c)).collect()
}

/// Whether a character shows as itself: no control characters (C0, DEL, C1), no bidirectional overrides and
/// isolates, no invisible format characters but the joiners that emoji and several scripts need.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_cannot_be_tricked() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\u{7f}", 99), "a[2Jb cde");
        assert_eq!(one_line("  abcdef ", 3), "a");
        assert_eq!(lines("a\r\n\u{7}b\tc"), "a\nb    c");
        assert_eq!(one_line("Zoë 👩\u{200d}🚀", 99), "Zoë 👩\u{200d}🚀");
    }
}
