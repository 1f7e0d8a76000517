//! The last line of an export: its owner's signature over all bytes before it. The messages of JSON Lines are signed by
//! their authors; the seal vouches for the rest, and for pages that are made to be read: contacts, states, times of
//! arrival, and that nothing was left out. `docs/commands.md` §3 has its form.

use std::io::{self, BufRead, Read};

use common::identity::{Identity, PeerId, SIGNATURE_LEN};
use data_encoding::BASE64;

use super::check::Damage;
use super::page::Format;
use super::record::Record;

/// Begins what is signed, so that the signature is good for nothing else.
const DOMAIN: &[u8] = b"hobnob-export-1\0";
/// What stands before the key.
const TEXT: [&str; 2] = ["--- sealed by ", "\n"];
const HTML: [&str; 2] = ["<!-- sealed by ", " -->\n"];
/// Longer than any seal: longer lines are read in pieces.
const MAX_PIECE: u64 = 64 * 1024;

/// The bytes of an export so far.
#[derive(Debug, Clone, Default)]
pub struct Seal(blake3::Hasher);

impl Seal {
    /// Goes on with `bytes`.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn signed_part(&self) -> Vec<u8> {
        [DOMAIN, self.0.finalize().as_bytes()].concat()
    }

    /// The last line, with its line break.
    #[must_use]
    pub fn line(&self, format: Format, owner: &Identity) -> String {
        let signature = BASE64.encode(&owner.sign(&self.signed_part()));
        let page = |[before, after]: [&str; 2]| format!("{before}{}: {signature}{after}", owner.peer_id());
        match format {
            Format::Jsonl => Record::Seal { signature }.to_line(),
            Format::Text => page(TEXT),
            Format::Html => page(HTML),
        }
    }

    /// Whether `owner` has made `signature`, in base64, over these bytes.
    pub(super) fn is_by(&self, owner: PeerId, signature: &str) -> bool {
        let signature = BASE64.decode(signature.as_bytes()).ok();
        let signature: Option<[u8; SIGNATURE_LEN]> = signature.and_then(|bytes| bytes.try_into().ok());
        signature.is_some_and(|signature| owner.verify(&self.signed_part(), &signature))
    }
}

/// Reads a page of text or HTML to its end. Returns who has sealed it.
///
/// # Errors
/// If `input` cannot be read.
pub fn check_page(input: &mut impl BufRead) -> io::Result<Result<PeerId, Damage>> {
    let (mut seal, mut last, mut piece) = (Seal::default(), Vec::new(), Vec::new());
    while input.take(MAX_PIECE).read_until(b'\n', &mut piece)? > 0 {
        seal.add(&last);
        std::mem::swap(&mut last, &mut piece);
        piece.clear();
    }
    let found = str::from_utf8(&last)
        .ok()
        .and_then(|line| [TEXT, HTML].into_iter().find_map(|form| split(line, form)));
    Ok(match found {
        None => Err(Damage::NoExport),
        Some((owner, signature)) if seal.is_by(owner, signature) => Ok(owner),
        Some(_) => Err(Damage::Seal),
    })
}

fn split<'a>(line: &'a str, [before, after]: [&str; 2]) -> Option<(PeerId, &'a str)> {
    let (owner, signature) = line.strip_prefix(before)?.strip_suffix(after)?.split_once(": ")?;
    Some((owner.parse().ok()?, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(text: &str, format: Format) -> String {
        let mut seal = Seal::default();
        seal.add(text.as_bytes());
        text.to_owned() + &seal.line(format, &Identity::from_seed([1; 32]))
    }

    fn check(text: &str) -> Result<PeerId, Damage> {
        check_page(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn whatever_is_changed_in_a_page_is_noticed() {
        let long = "x".repeat(usize::try_from(MAX_PIECE).unwrap() + 5);
        for format in [Format::Text, Format::Html] {
            for text in ["", "one\ntwo\n", &format!("{long}\n{long}\n")] {
                let page = sealed(text, format);
                assert_eq!(check(&page), Ok(Identity::from_seed([1; 32]).peer_id()));
                assert_eq!(check(&format!("z\n{page}")), Err(Damage::Seal));
                assert_eq!(check(&format!("{page}z")), Err(Damage::NoExport));
            }
            let page = sealed("one\ntwo\n", format);
            assert_eq!(check(&page.replace("two\n", "")), Err(Damage::Seal));
            let other = Identity::from_seed([2; 32]).peer_id().to_string();
            let own = Identity::from_seed([1; 32]).peer_id().to_string();
            assert_eq!(check(&page.replace(&own, &other)), Err(Damage::Seal));
        }
        assert_eq!(check("nothing of ours\n"), Err(Damage::NoExport));
    }
}
