//! Standard input as plain lines: from a pipe, a file, or a terminal without line editing.

use std::io::{self, BufRead, Read};
use std::thread;

use common::identity::PeerId;
use tokio::sync::mpsc;

use crate::log::{ConversationId, DisplayOrder, MAX_TEXT_LEN};

/// Longest line that is taken: the longest message, and a command with a name before it.
pub(super) const MAX_LINE: usize = MAX_TEXT_LEN + 1024;
/// Lines that wait to be handled.
pub(super) const QUEUE_LEN: usize = 64;

/// Something that was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line; `to` is where the prompt said that it goes, if it said so.
    Line { text: String, to: Option<Place> },
    /// A screen shows a conversation, or none.
    Open(Option<Place>),
    /// The user has seen what stands in a conversation.
    Seen(ConversationId),
    /// The user is writing there.
    Typing(ConversationId),
    /// A screen wants messages of a conversation: the newest, or those before one.
    Page { conversation: ConversationId, before: Option<DisplayOrder> },
    /// A screen wants what is found; the empty query stands for more of the last search.
    Search { query: String },
    /// A line that is no text.
    NotUtf8,
    /// A line of more than [`MAX_LINE`] bytes.
    TooLong { len: u64 },
    /// There is no more, and what was typed is to be delivered first.
    End,
    /// The user wants to leave now.
    Interrupt,
}

/// Where one talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// With one other person.
    Person(PeerId),
    /// In a room.
    Room(ConversationId),
}

/// Reads the standard input in a thread of its own, which ends with the input or the program: a read cannot be
/// interrupted.
pub(super) fn start() -> mpsc::Receiver<Input> {
    let (queue, inputs) = mpsc::channel(QUEUE_LEN);
    thread::spawn(move || {
        let mut reader = io::stdin().lock();
        loop {
            let input = next(&mut reader);
            let is_end = input == Input::End;
            if queue.blocking_send(input).is_err() || is_end {
                return;
            }
        }
    });
    inputs
}

/// The next line. An error while reading is an end: there is nothing more to get.
fn next(reader: &mut impl BufRead) -> Input {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 2;
    match reader.take(limit).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => return Input::End,
        Ok(_) => {}
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() > MAX_LINE {
        let len = u64::try_from(line.len()).unwrap_or(u64::MAX) + skip_line(reader);
        return Input::TooLong { len };
    }
    if line.len() > MAX_LINE {
        return Input::TooLong { len: u64::try_from(line.len()).unwrap_or(u64::MAX) };
    }
    String::from_utf8(line).map_or(Input::NotUtf8, |text| Input::Line { text, to: None })
}

/// Reads to the end of the line; returns how many bytes were before it.
fn skip_line(reader: &mut impl BufRead) -> u64 {
    let mut skipped = 0;
    loop {
        let chunk = match reader.fill_buf() {
            Ok(chunk) if !chunk.is_empty() => chunk,
            _ => return skipped,
        };
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let len = end.unwrap_or(chunk.len());
        let used = end.map_or(len, |end| end + 1);
        reader.consume(used);
        skipped += u64::try_from(len).unwrap_or(u64::MAX);
        if end.is_some() {
            return skipped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Input> {
        let mut reader = io::BufReader::with_capacity(7, bytes);
        let mut inputs = Vec::new();
        loop {
            match next(&mut reader) {
                Input::End => return inputs,
                input => inputs.push(input),
            }
        }
    }

    fn line(text: &str) -> Input {
        Input::Line { text: text.to_owned(), to: None }
    }

    #[test]
    fn lines_end_however_they_like() {
        assert_eq!(read(b"a\nb\r\n\nc"), [line("a"), line("b"), line(""), line("c")]);
        assert_eq!(read(b""), []);
    }

    #[test]
    fn bad_lines_do_not_harm_the_next() {
        assert_eq!(read(b"\xff\xfe\nb\n"), [Input::NotUtf8, line("b")]);
        let full = "x".repeat(MAX_LINE);
        assert_eq!(read(format!("{full}\nb\n").as_bytes()), [line(&full), line("b")]);
        assert_eq!(read(format!("{full}\r\nb\n").as_bytes()), [line(&full), line("b")]);
        for extra in [1, 2, 3, 100_000] {
            let long = format!("{full}{}\nb\n", "y".repeat(extra));
            let len = u64::try_from(MAX_LINE + extra).unwrap();
            assert_eq!(read(long.as_bytes()), [Input::TooLong { len }, line("b")]);
        }
        assert!(matches!(read(format!("{full}yyyy").as_bytes()).as_slice(), [Input::TooLong { .. }]));
    }
}
