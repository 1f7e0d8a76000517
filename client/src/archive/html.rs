//! An export as one page of HTML that needs nothing else: no script, no image, no font.

use super::page::Line;
use crate::date;

/// Colours that people are told apart by.
const HUES: u32 = 12;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#6a737d;--line:#d8dee4;--own:#eef6ff}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e3e7eb;--dim:#8b949e;--line:#30363d;--own:#1a2634}}
body{margin:0 auto;max-width:46rem;padding:1rem;background:var(--bg);color:var(--fg);
font:1rem/1.45 system-ui,sans-serif}
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:3rem;padding-bottom:.3rem;border-bottom:2px solid var(--line)}
h3{font-size:.85rem;font-weight:600;color:var(--dim);text-align:center;margin:1.6rem 0 .6rem}
article{padding:.3rem .7rem;margin:.2rem 0;border-radius:.5rem;overflow-wrap:anywhere}
article.own{background:var(--own)}
article:target{outline:2px solid var(--dim)}
p{margin:0;white-space:pre-wrap}
b{color:hsl(calc(var(--h)*30) 60% 38%)}
@media(prefers-color-scheme:dark){b{color:hsl(calc(var(--h)*30) 60% 68%)}}
a,small,footer{color:var(--dim);font-size:.8rem;text-decoration:none}
footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.5rem}
";

pub(super) fn start(owner: &str) -> String {
    let owner = escape(owner);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Conversations of {owner}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Conversations of {owner}</h1>\n<small>Times are UTC.</small>\n"
    )
}

pub(super) fn conversation(title: &str) -> String {
    format!("<h2>{}</h2>\n", escape(title))
}

pub(super) fn message(line: &Line<'_>) -> String {
    let day = line.new_day.map_or_else(String::new, |day| format!("<h3>{day}</h3>\n"));
    let class = if line.is_own { " class=\"own\"" } else { "" };
    let state = line.state.map_or_else(String::new, |state| format!(" <small>({})</small>", escape(state)));
    let (id, author) = (escape(line.id), escape(&line.author));
    format!(
        "{day}<article{class} id=\"m{id}\"><b style=\"--h:{}\">{author}</b> <a href=\"#m{id}\">{}</a>{state}\
         <p dir=\"auto\">{}</p></article>\n",
        hue(&line.author),
        date::time(line.sent_ms),
        escape(&line.text)
    )
}

pub(super) fn end(messages: u64) -> String {
    let messages = if messages == 1 { "1 message".to_owned() } else { format!("{messages} messages") };
    format!("<footer>{messages}</footer>\n</body>\n</html>\n")
}

/// The same for the same name.
fn hue(name: &str) -> u32 {
    name.chars().fold(7_u32, |sum, c| sum.wrapping_mul(31).wrapping_add(u32::from(c))) % HUES
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}
