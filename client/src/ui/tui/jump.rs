//! Finds a title by some of its letters. Pure.

/// How well `typed` fits `title`, greater for better; `None` if its letters do not occur in this order. Letters that
/// begin words or follow each other count more, and shorter titles win.
pub(super) fn score(title: &str, typed: &str) -> Option<usize> {
    let title: Vec<char> = title.to_lowercase().chars().collect();
    let mut score = 1000;
    let mut at = 0;
    let mut last = None;
    for letter in typed.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let found = at + title[at..].iter().position(|c| *c == letter)?;
        let begins_word = found == 0 || !title[found - 1].is_alphanumeric();
        let follows = last.is_some_and(|last| last + 1 == found);
        score += if begins_word {
            30
        } else if follows {
            20
        } else {
            0
        };
        last = Some(found);
        at = found + 1;
    }
    Some(score - title.len().min(100))
}

/// The places of those of `titles` that fit, the best first; those that fit equally keep their order.
pub(super) fn rank<'a>(titles: impl Iterator<Item = &'a str>, typed: &str) -> Vec<usize> {
    let scored = titles.enumerate().filter_map(|(at, title)| Some((score(title, typed)?, at)));
    let mut scored: Vec<_> = scored.collect();
    if !typed.trim().is_empty() {
        scored.sort_by_key(|(score, at)| (std::cmp::Reverse(*score), *at));
    }
    scored.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_comes_first() {
        let titles = ["Anna Maria", "Hannah", "#mountains", "Bert"];
        let best = |typed| rank(titles.into_iter(), typed);
        assert_eq!(best("an"), [0, 1, 2]);
        assert_eq!(best("am"), [0]);
        assert_eq!(best("mo"), [2]);
        assert_eq!(best("BT"), [3]);
        assert_eq!(best("xyz"), Vec::<usize>::new());
        assert_eq!(best(" "), [0, 1, 2, 3]);
    }
}
