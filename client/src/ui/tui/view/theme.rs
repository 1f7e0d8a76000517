//! Colours and other emphasis. Without colour everything is still told apart by signs and weight.

use common::identity::PeerId;
use ratatui::style::{Color, Modifier, Style};

/// Colours of people: of the sixteen that every terminal has, those that can be read on black and on white.
const PEOPLE: [Color; 9] = [
    Color::Cyan,
    Color::Magenta,
    Color::Yellow,
    Color::LightBlue,
    Color::LightRed,
    Color::LightMagenta,
    Color::LightCyan,
    Color::LightGreen,
    Color::Red,
];

/// Which emphasis is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui::tui) enum Theme {
    Plain,
    Coloured,
}

impl Theme {
    fn or_plain(self, coloured: Style, plain: Style) -> Style {
        match self {
            Self::Coloured => coloured,
            Self::Plain => plain,
        }
    }

    /// The same for one person everywhere and always.
    pub(super) fn person(self, peer: PeerId) -> Style {
        let place = peer
            .as_bytes()
            .iter()
            .fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        self.or_plain(bold.fg(PEOPLE[place % PEOPLE.len()]), bold)
    }

    /// This user.
    pub(super) fn own(self) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        self.or_plain(bold.fg(Color::Green), bold)
    }

    /// What matters less.
    pub(super) fn dim(self) -> Style {
        let dim = Style::new().add_modifier(Modifier::DIM);
        self.or_plain(Style::new().fg(Color::DarkGray), dim)
    }

    pub(super) fn good(self) -> Style {
        self.or_plain(Style::new().fg(Color::Green), Style::new().add_modifier(Modifier::BOLD))
    }

    pub(super) fn bad(self) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        self.or_plain(bold.fg(Color::Red), bold)
    }

    /// Something new.
    pub(super) fn fresh(self) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        self.or_plain(bold.fg(Color::Yellow), bold)
    }

    /// Bars at the edges.
    pub(super) fn bar(self) -> Style {
        self.or_plain(
            Style::new().fg(Color::White).bg(Color::DarkGray),
            Style::new().add_modifier(Modifier::REVERSED),
        )
    }

    /// What is chosen.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}
