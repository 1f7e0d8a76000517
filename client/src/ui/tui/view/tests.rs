//! Whole screens, compared with those that were looked at. `HOBNOB_BLESS=1` writes them anew.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::crossterm::event::Event;
use ratatui::style::Color;

use super::theme::Theme;
use crate::log::{Content, Text};
use crate::net::Via;
use crate::store::{Gap, MessageRow, Regard, State as Delivery};
use crate::ui::meeting::{Outcome, Safety};
use crate::ui::news::News;
use crate::ui::tui::state::State;
use crate::ui::tui::state::tests::{NOON, id, keys, message, peer, person, said, state};

const HOUR: u64 = 3_600_000;

fn screen(state: &State, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| super::draw(state, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let line = |cells: &[Cell]| {
        let mut line = String::new();
        let mut covered = 0;
        for cell in cells {
            if covered == 0 {
                line += cell.symbol();
            }
            covered = crate::ui::tui::text::width(cell.symbol()).max(covered).saturating_sub(1);
        }
        line.trim_end().to_owned() + "\n"
    };
    rows.map(line).collect()
}

#[track_caller]
fn compare(name: &str, state: &State, (width, height): (u16, u16)) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/tui/view/snapshots").join(format!("{name}.txt"));
    let now = text(&screen(state, width, height));
    if std::env::var_os("HOBNOB_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(now == then, "{name} has changed; it was\n{then}and is\n{now}");
}

#[test]
fn one_line_stands_for_what_the_blocked_said_together_until_it_is_opened() {
    let mut state = state(60, 16, Theme::Plain);
    let said_by = |state: &mut State, from: u8, depth, text: &str| {
        let own = message(2, depth, NOON, text);
        let regard = if from == 4 { Regard::Hidden } else { Regard::Open };
        said(state, MessageRow { author: peer(from), regard, ..own });
    };
    for (depth, (from, text)) in
        (1..).zip([(2, "first"), (4, "spam one"), (4, "spam two"), (2, "second"), (4, "spam three")])
    {
        said_by(&mut state, from, depth, text);
    }
    let shown = |state: &State| text(&screen(state, 60, 16));
    let closed = shown(&state);
    assert!(!closed.contains("spam"), "{closed}");
    let lines: Vec<_> = closed.lines().filter(|line| line.contains("blocked")).collect();
    assert!(lines.len() == 2 && lines[0].contains("2 messages of blocked people (Alt+O)"), "{closed}");
    assert!(lines[1].contains("1 message of a blocked person"), "{closed}");
    keys(&mut state, "Ctrl+Up");
    assert_eq!(state.buffer().selected, Some(id(4)), "what is closed cannot be chosen");
    keys(&mut state, "Esc Alt+o");
    assert_eq!(shown(&state).matches("spam").count(), 3);
    for depth in 100..140 {
        said_by(&mut state, 4, depth, "spam");
        keys(&mut state, "PageUp PageUp PageDown Alt+o");
        shown(&state);
    }
}

#[test]
fn the_line_above_the_composer_tells_what_is_missing_and_who_writes() {
    let mut state = state(80, 10, Theme::Plain);
    let conversation = state.active().unwrap().id;
    let gap = Gap { waiting: 2, missing: 1 };
    state.handle_news(News::Gap { conversation, gap }, NOON);
    state.handle_timeout(NOON + HOUR);
    state.handle_news(News::Typing { conversation, peer: peer(2) }, NOON + HOUR);
    let shown = text(&screen(&state, 80, 10));
    assert!(shown.contains("udp 12 ms  2 kept back: earlier ones are missing  Bob is typing"), "{shown}");
    state.handle_news(News::Gap { conversation, gap: Gap::default() }, NOON + HOUR);
    let shown = text(&screen(&state, 80, 10));
    assert!(shown.contains("Bob: nothing is missing any more"), "{shown}");
}

/// A conversation with a bit of everything.
fn talk(width: u16, height: u16, theme: Theme) -> State {
    let mut state = state(width, height, theme);
    said(&mut state, message(2, 1, NOON - 26 * HOUR, "Are you coming to the river?"));
    said(
        &mut state,
        message(
            1,
            2,
            NOON - 25 * HOUR,
            "Yes, at six, with the boat, if the weather stays as it is now and nobody minds",
        ),
    );
    state.handle_news(News::State { id: id(2), peer: peer(2), state: Delivery::Delivered }, NOON);
    said(
        &mut state,
        message(2, 3, NOON, "日本語 wide, e\u{301} combining,\nand a second line \u{1b}[31mnot red\u{202e}"),
    );
    said(&mut state, message(1, 4, NOON, "pending"));
    let mut answer = message(2, 5, NOON, "Then we meet there");
    answer.content =
        Content::Text(Text { reply_to: Some(id(2)), ..Text::from("Then we meet there".to_owned()) });
    answer.marks.edited = true;
    answer.marks.reactions =
        vec![("👍".to_owned(), vec![peer(1), peer(2)]), ("🎉".to_owned(), vec![peer(2)])];
    said(&mut state, answer);
    said(&mut state, message(3, 1, NOON, "@Ada look"));
    state
}

#[test]
fn a_conversation_at_the_usual_sizes() {
    for (width, height) in [(80, 24), (120, 40), (40, 20)] {
        let mut state = talk(width, height, Theme::Coloured);
        compare(&format!("talk-{width}x{height}"), &state, (width, height));
        keys(&mut state, "Alt+m");
        compare(&format!("members-{width}x{height}"), &state, (width, height));
    }
}

#[test]
fn what_came_while_nobody_looked_stands_below_a_line() {
    let mut state = talk(80, 24, Theme::Coloured);
    state.handle_event(Event::FocusLost, NOON);
    said(&mut state, message(2, 6, NOON, "still there?"));
    compare("unread", &state, (80, 24));
}

#[test]
fn boxes_lie_over_the_rest() {
    let mut state = talk(80, 24, Theme::Coloured);
    state.handle_news(News::Help, NOON);
    compare("help", &state, (80, 24));
    keys(&mut state, "Esc Ctrl+k c");
    compare("jump", &state, (80, 24));
}

#[test]
fn a_qr_code_is_shown_whole_or_not_at_all() {
    let mut state = talk(120, 40, Theme::Coloured);
    let (title, text) = ("scan to follow the link".to_owned(), "x".repeat(150));
    state.handle_news(News::Qr { title, text, columns: 120 }, NOON);
    let drawn = screen(&state, 120, 40);
    let is_drawn = |cell: &&Cell| cell.bg == Color::White && cell.fg == Color::Black;
    assert_eq!(drawn.content.iter().filter(is_drawn).count(), 53 * 27);
    compare("qr-small", &state, (80, 24));
    keys(&mut state, "Esc");
    assert!(state.overlay.is_none());

    let safety = Safety {
        peer: peer(2),
        number: crate::engine::safety_number(peer(1), peer(2)),
        words: Some("a b c d e f".to_owned()),
        verified_ms: None,
        is_answer: false,
    };
    let outcome = Outcome::Safety(safety);
    let (title, text) = outcome.qr().unwrap();
    state.handle_news(News::Meeting(outcome), NOON);
    state.handle_news(News::Qr { title, text, columns: 120 }, NOON);
    compare("verify", &state, (80, 24));
}

#[test]
fn many_lines_are_written_in_a_composer_that_grows() {
    let mut state = talk(40, 20, Theme::Coloured);
    keys(
        &mut state,
        "one Alt+Enter two Alt+Enter three _ which _ is _ longer _ than _ the _ screen _ is _ wide",
    );
    compare("composer", &state, (40, 20));
}

#[test]
fn without_colours_nothing_is_coloured() {
    let mut state = talk(80, 24, Theme::Plain);
    compare("talk-80x24", &state, (80, 24));
    for overlay in ["Alt+m", "Ctrl+k", "Esc Ctrl+r x", "Esc Alt+0 nobody Enter"] {
        keys(&mut state, overlay);
        let cells = screen(&state, 80, 24).content;
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset), "{overlay}");
    }
}

#[test]
fn people_keep_their_colours() {
    let style = |name: &str, via| {
        let mut state = state(80, 24, Theme::Coloured);
        state.handle_news(News::Roster(vec![person(2, name, via)]), NOON);
        said(&mut state, message(2, 1, NOON, "hi"));
        let screen = screen(&state, 80, 24);
        let at = screen.content.iter().position(|cell| cell.symbol() == ":").unwrap();
        screen.content[at + 4].fg
    };
    assert_eq!(style("Bob", None), style("Robert", Some(Via::Relay)));
}

#[test]
fn no_size_is_too_small_and_no_text_can_break_out() {
    for (width, height) in [(0, 0), (1, 1), (2, 3), (5, 2), (20, 4), (61, 5), (300, 100)] {
        let mut state = talk(width, height, Theme::Coloured);
        for key in ["Alt+m", "F1", "Ctrl+k", "Esc Ctrl+r", "Esc Ctrl+Up", "Esc PageUp", "Alt+End"] {
            keys(&mut state, key);
            let cells = screen(&state, width, height).content;
            assert!(cells.iter().all(|cell| !cell.symbol().chars().any(char::is_control)));
        }
    }
}
