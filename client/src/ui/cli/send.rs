//! `client send`.

use std::io::{self, Read};

use crate::log::MAX_TEXT_LEN;
use crate::ui::Fatal;
use crate::ui::args::Send;
use crate::ui::hands::Request;

/// The text that stands for the standard input.
const STDIN: &str = "-";

/// What `options` ask for.
pub(super) fn request(options: &Send) -> Result<Request, Fatal> {
    Ok(Request::Send { to: options.to.clone(), text: text(&options.text)? })
}

/// The words of a command line as one text, or what comes through the standard input.
pub(super) fn text(words: &[String]) -> Result<String, Fatal> {
    match words {
        [only] if only == STDIN => read(io::stdin().lock()),
        words => Ok(words.join(" ")),
    }
}

/// All of the input as one message, without the line break at its end.
fn read(input: impl Read) -> Result<String, Fatal> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TEXT_LEN).unwrap_or(u64::MAX) + 2;
    input.take(limit).read_to_string(&mut text).map_err(Fatal::failed)?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.len() > MAX_TEXT_LEN {
        return Err(Fatal::failed(format!(
            "the input has more than the {MAX_TEXT_LEN} bytes that a message may have"
        )));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_one_bounded_message() {
        assert_eq!(read("a\nb\r\n".as_bytes()).unwrap(), "a\nb");
        let full = "x".repeat(MAX_TEXT_LEN);
        assert_eq!(read(format!("{full}\n").as_bytes()).unwrap(), full);
        assert!(read(format!("{full}xx").as_bytes()).is_err());
        assert!(read(b"\xff".as_slice()).is_err());
    }
}
