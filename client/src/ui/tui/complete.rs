//! Completion of commands, names and conversations. Pure.

use crate::engine::settings::SETTINGS;
use crate::ui::commands::{self, Arg};
use crate::ui::names::Names;

/// A completion that is under way: pressing the key again takes the next candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the completed word begins, in bytes.
    pub(super) start: usize,
    candidates: Vec<String>,
    at: usize,
}

impl Completion {
    /// What can complete the word that ends `before`, the text before the cursor. `titles` are those of the
    /// conversations.
    pub(super) fn new(before: &str, names: &Names, titles: &[String]) -> Option<Self> {
        let (start, mut candidates) = match before.strip_prefix('/') {
            Some(command) if !command.contains(char::is_whitespace) => {
                let typed = command.to_lowercase();
                let fitting = commands::names().filter(|name| name.starts_with(&typed));
                (0, fitting.map(|name| format!("/{name} ")).collect())
            }
            Some(command) => argument(before, command, names, titles)?,
            None => mention(before, names),
        };
        candidates.dedup();
        (!candidates.is_empty()).then_some(Self { start, candidates, at: 0 })
    }

    /// The candidate to show.
    pub(super) fn current(&self) -> &str {
        &self.candidates[self.at]
    }

    /// Goes on to the next candidate, or the one before.
    pub(super) fn step(&mut self, is_back: bool) {
        let count = self.candidates.len();
        self.at = (self.at + if is_back { count - 1 } else { 1 }) % count;
    }

    pub(super) const fn count(&self) -> usize {
        self.candidates.len()
    }
}

/// The argument of a command, which may be a name with spaces.
fn argument(before: &str, command: &str, names: &Names, titles: &[String]) -> Option<(usize, Vec<String>)> {
    let (name, rest) = command.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let start = before.len() - rest.len();
    let fitting = |of: &mut dyn Iterator<Item = String>| {
        let typed = rest.trim_start_matches('"').to_lowercase();
        let begins = |name: &String| {
            let name = name.to_lowercase();
            name.starts_with(&typed) || name.trim_start_matches('#').starts_with(&typed)
        };
        of.filter(begins).map(quoted).collect::<Vec<_>>()
    };
    match commands::find(name)?.first {
        Arg::Person => Some((start, fitting(&mut names.all()))),
        Arg::Conversation => Some((start, fitting(&mut titles.iter().cloned()))),
        Arg::Room => {
            let mut rooms = titles.iter().filter(|title| title.starts_with('#')).cloned();
            Some((start, fitting(&mut rooms)))
        }
        Arg::Command => Some((start, fitting(&mut commands::names().map(str::to_owned)))),
        Arg::Setting => Some((start, fitting(&mut SETTINGS.iter().map(|setting| setting.name.to_owned())))),
        Arg::None | Arg::Free => Some(mention(before, names)),
    }
}

/// A name within a message: after an @ always, else if some of it is typed.
fn mention(before: &str, names: &Names) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &before[start..];
    let (sign, typed) = if let Some(typed) = word.strip_prefix('@') { ("@", typed) } else { ("", word) };
    if word.is_empty() {
        return (start, Vec::new());
    }
    let typed = typed.to_lowercase();
    let fitting = names.all().filter(|name| name.to_lowercase().starts_with(&typed));
    (start, fitting.map(|name| format!("{sign}{name} ")).collect())
}

fn quoted(name: String) -> String {
    if name.contains(' ') { format!("\"{name}\" ") } else { name + " " }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::identity::Identity;

    fn all(before: &str) -> Vec<String> {
        let peer = |seed| Identity::from_seed([seed; 32]).peer_id();
        let mut names = Names::new(peer(0));
        for (seed, name) in [(1, "Anna Maria"), (2, "Anton"), (3, "Bert")] {
            names.set(peer(seed), name);
        }
        let titles = ["#mountains", "Bert", "Anton", "Anna Maria"].map(str::to_owned);
        let Some(mut completion) = Completion::new(before, &names, &titles) else { return Vec::new() };
        let mut shown = Vec::new();
        for _ in 0..completion.count() {
            shown.push(format!("{}{}", &before[..completion.start], completion.current()));
            completion.step(false);
        }
        shown
    }

    fn sorted(before: &str) -> Vec<String> {
        let mut all = all(before);
        all.sort();
        all
    }

    #[test]
    fn commands_names_and_conversations_are_completed() {
        assert_eq!(all("/he"), ["/help "]);
        assert_eq!(sorted("/msg an"), ["/msg \"Anna Maria\" ", "/msg Anton "]);
        assert_eq!(all("/to #m"), ["/to #mountains "]);
        assert_eq!(all("/to b"), ["/to Bert "]);
        assert_eq!(all("/msg mo"), ["/msg #mountains "]);
        assert_eq!(
            (all("/to #"), all("/set be")),
            (vec!["/to #mountains ".to_owned()], vec!["/set bell ".to_owned()])
        );
        assert_eq!((all("/join m"), all("/join b")), (vec!["/join #mountains ".to_owned()], Vec::new()));
        assert_eq!(all("hello @be"), ["hello @Bert "]);
        assert_eq!(all("hello be"), ["hello Bert "]);
        assert_eq!(all("hello "), Vec::<String>::new());
        assert_eq!(all("/nonsense x"), Vec::<String>::new());
        assert_eq!(all("/help pa"), ["/help path "]);
    }
}
