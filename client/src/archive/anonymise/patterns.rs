//! How personal data looks.
//!
//! One expression with a named group for each kind; where several kinds could begin at the same place, the one that
//! stands first wins.

use regex::{Regex, RegexBuilder};

/// Largest compiled expression in bytes: several thousand names.
const MAX_SIZE: usize = 256 * 1024 * 1024;
/// Letters that an ending may add to a name, as cases and plurals do.
const MAX_ENDING: usize = 3;
/// A name as short as this is looked for as it stands.
const SHORT: usize = 2;

/// Letters that are written for each other, with and without marks.
const ALIKE: [&str; 18] = [
    "aàáâãäåāăą",
    "cçćč",
    "dďđ",
    "eèéêëēėęě",
    "gğ",
    "iìíîïīı",
    "lł",
    "nñńň",
    "oòóôõöøőō",
    "rř",
    "sśšş",
    "tťţ",
    "uùúûüůűū",
    "yýÿ",
    "zźżž",
    "её",
    "ий",
    "гґ",
];

/// Letters that some write as two.
const AS_TWO: [(char, &str); 7] =
    [('ä', "ae"), ('ö', "oe"), ('ü', "ue"), ('ß', "ss"), ('æ', "ae"), ('ø', "oe"), ('å', "aa")];

/// What `W` stands for in `(?:W|…)` below: a letter or digit of a script that has spaces between words. Others would be
/// taken for a part of what they stand beside.
const WORD: &str = r"[\p{L}\p{N}&&[^\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]]";
/// Addresses as people hide them from programs.
const HIDDEN_MAIL: &str = r"(?:W|[._%+-])+(?:\s*[(\[{<]\s*(?:at|ät|a|arroba|chez|kropka|собака)\s*[)\]}>]\s*|\s(?:at|arroba|małpa|собака)\s)(?:W|-)+(?:(?:\s*[(\[{<]\s*(?:dot|punkt|punto|point|tečka|kropka|точка)\s*[)\]}>]\s*|\s(?:dot|punkt|punto|point|tečka|kropka|точка)\s)(?:W|-)+)+";
const MAIL: &str = r"(?:mailto:)?(?:W|[._%+'-])+[@＠](?:(?:W|-)+(?:\.(?:W|-)+)+|\[[0-9a-f:.]+\])";
const LINK: &str = r"[a-z][a-z0-9+.-]*://\S+|(?:hobnob|tel|sip|xmpp|magnet|geo|skype|bitcoin):\S+|www\d?\.\S+|(?:(?:W|[_-])+\.)+\p{L}{2,24}(?::\d+)?[/?#]\S*|(?:(?:W|-)+\.)+(?:[a-z]{2,3}|info|onion|local|home|lan|mobi|name|online|shop|example|xn--[a-z0-9-]+|рф)\b(?::\d+)?";
const MENTION: &str = r"[@＠](?:W|[_.-])+(?:[@:](?:W|[_.-])+)*(?:#\d+)?|#(?:W|[_-])+:(?:W|[.-])+";
/// Looked at more closely afterwards: times and paths of programs have colons as well.
const COLONS: &str = r"[0-9a-f]*:[0-9a-f:]*:[0-9a-f:.]*(?:%\w+)?|\b(?:[0-9a-f]{2}-){5}[0-9a-f]{2}\b";
const ADDRESS: &str = r"\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?\b|\b[a-z]{2}\d{2}(?:[ -]?[0-9a-z]{4}){2,7}(?:[ -]?[0-9a-z]{1,4})?\b";
/// The form of address stays, what follows it goes.
const TITLE: &str = r"(?P<form>\b(?:mr|mrs|ms|miss|mister|dr|prof|herrn?|frau|fräulein|monsieur|m|mme|mlle|madame|señora?|sra?|srta|don|doña|signora?|sig|dott|pane?|pan[ií]|paní|panu|mevrouw|meneer|dhr|mevr|senhora?|господин|госпожа|товарищ|г-н|г-жа)\.?\s+)(?P<title>(?:(?:dr|prof|ing|mgr)\.?\s+)*(?-i:(?:(?:[Vv][oa]n|[Dd]er?|[Dd]i|[Dd]a|[Dd]el|[Ll]a) )*\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}[\p{L}'’-]+)?))";
const STREET: &str = r"(?:(?-i:\b\p{Lu}[\p{L}.-]*\s))?(?:[\p{L}-]+(?:straße|strasse|str\.|gasse|allee|platz|weg|ring|damm|ufer|straat|laan|gatan|vägen)|(?-i:\b\p{Lu}[\p{L}.-]*\s(?:Straße|Gasse|Allee|Platz|Weg|Ring|Damm|Ufer)))\s*\d+(?:\s?[a-z])?\b|\b\d+[a-z]?,?\s+(?:(?-i:\p{Lu}[\p{L}'’]+)\s+){1,3}(?:street|st|road|rd|avenue|ave|lane|ln|drive|boulevard|blvd|way|court|square|terrace|close)\b\.?|\b(?:\d+(?:\s?(?:bis|ter))?,?\s+)?(?:rue|avenue|boulevard|chemin|quai|via|viale|piazza|corso|calle|plaza|avenida|paseo|rua|ulica|ul\.|ulice|aleja|náměstí|улица|ул\.|проспект|пр\.)\s+(?:(?:de|du|des|la|le|les|del|della|di|da|do|dos|los|las|l')\s*)*(?-i:\p{Lu}[\p{L}'’.-]+)(?:\s+(?-i:\p{Lu}[\p{L}'’.-]+)){0,3}(?:,?\s*(?:n[.°º]\s?|д\.\s?)?\d+(?:\s?[a-z])?\b)?";
/// Whatever has a digit, and what belongs to it by grouping.
const NUMBER: &str = r"(?:\b(?-i:\p{Lu}{1,3}[- ]){1,2})?[+＋]?[(]?(?:W|_)*\p{N}(?:W|_)*(?:(?:[ \u{a0}\u{202f}]?[-–./:()][()]?[ \u{a0}\u{202f}]?|[ \u{a0}\u{202f}]|,)(?:(?-i:\p{Lu}{1,3})[- ]?)?(?:W|_){0,3}\p{N}(?:W|_)*)*(?: (?-i:\p{Lu}{2})\b)?";
const KEY: &str = r"\b[0-9a-z_-]{20,}(?:\.[0-9a-z_-]{20,})*={0,2}";

/// The expression for everything, with these names.
pub(super) fn all(names: &[String]) -> String {
    // Something that can never match, where there is no name.
    let names = if names.is_empty() { r"[^\s\S]".to_owned() } else { names.join("|") };
    let with_word = |pattern: &str| pattern.replace("(?:W|", &format!("(?:{WORD}|"));
    let kinds = [
        format!("(?P<mail>{MAIL}|{HIDDEN_MAIL})"),
        format!("(?P<link>{LINK})"),
        format!("(?P<mention>{MENTION})"),
        format!("(?P<street>{STREET})"),
        format!("(?P<name>{names})"),
        TITLE.to_owned(),
        format!("(?P<address>{ADDRESS})"),
        format!("(?P<colons>{COLONS})"),
        format!("(?P<key>{KEY})"),
        NUMBER.to_owned(),
    ];
    kinds.map(|kind| with_word(&kind)).join("|")
}

/// Compiles an expression, for any case.
pub(super) fn build(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).size_limit(MAX_SIZE).build()
}

/// Whether `name` is worth looking for: a part of a name must be long enough not to be a common word.
pub(super) fn is_name(name: &str, is_whole: bool) -> bool {
    let letters = name.chars().filter(|c| c.is_alphanumeric()).count();
    letters > 0 && (is_whole || letters > SHORT || name.chars().any(is_unspaced))
}

/// The expression for a name: with or without its marks, and with the endings that languages add.
pub(super) fn name(name: &str) -> String {
    let letters: Vec<char> = name.to_lowercase().chars().collect();
    let boundary = |c: Option<&char>| {
        if c.is_some_and(|c| c.is_alphanumeric() && !is_unspaced(*c)) { r"\b" } else { "" }
    };
    let (start, end) = (boundary(letters.first()), boundary(letters.last()));
    if letters.len() <= SHORT {
        return format!("(?-i:{start}{}{end})", regex::escape(name));
    }
    // A vowel at the end gives way to other endings: Anna, Anny, Анне.
    let is_ending = |c: &char| "aeiouyáéíóúàèìòùаеиоуыэюяйь".contains(*c);
    let is_inflected = !end.is_empty();
    let stem = match letters.as_slice() {
        [stem @ .., last] if is_inflected && stem.len() > 2 && is_ending(last) => stem,
        all => all,
    };
    let body: String = stem.iter().map(|c| letter(*c)).collect();
    let ending = if is_inflected { format!(r"\p{{L}}{{0,{MAX_ENDING}}}") } else { String::new() };
    format!("{start}{body}{ending}{end}")
}

/// A letter and those that are written for it.
fn letter(c: char) -> String {
    if c.is_whitespace() {
        return r"[\s._-]*".to_owned();
    }
    let alike = ALIKE.iter().filter(|row| row.contains(c)).copied().collect::<String>();
    let class = if alike.is_empty() { regex::escape(&c.to_string()) } else { format!("[{alike}]") };
    match AS_TWO.iter().find(|(one, _)| *one == c) {
        Some((_, two)) => format!("(?:{class}|{two})"),
        None => class,
    }
}

/// Whether a script has no spaces between words, so that a name may stand anywhere.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}
