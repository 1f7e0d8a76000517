//! Whom a NAT lets in, judged from answers that came from elsewhere than was asked (RFC 5780 §4.4).

use super::questions::Question;
use crate::stun::discovery::{Answered, Origin};

/// Who may send to a mapping (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filtering {
    /// Not known: no server answers from elsewhere.
    #[default]
    Unknown,
    /// Anybody.
    Independent,
    /// Addresses that something was sent to, from any port.
    AddressDependent,
    /// Endpoints that something was sent to.
    PortDependent,
    /// At least addresses that something was sent to, from any port; the server has no second address to tell more.
    NotPortDependent,
}

/// What became of the questions that were to be answered from elsewhere. Without `is_known`, that the server does such
/// things, its silence says nothing.
pub(super) fn judge(asked: &[&Question], is_known: bool) -> Filtering {
    let fate =
        |origin| asked.iter().find(|question| question.origin == origin).map(|question| fate(question));
    match (fate(Origin::Other), fate(Origin::OtherPort)) {
        (Some(Fate::LetIn), _) => Filtering::Independent,
        (Some(Fate::Silence), Some(Fate::LetIn)) => Filtering::AddressDependent,
        (None | Some(Fate::Unsupported), Some(Fate::LetIn)) => Filtering::NotPortDependent,
        (_, Some(Fate::Silence)) if is_known => Filtering::PortDependent,
        _ => Filtering::Unknown,
    }
}

enum Fate {
    LetIn,
    Silence,
    Unsupported,
}

fn fate(question: &Question) -> Fate {
    match question.answer {
        Some((Answered::Seen { .. }, _)) => Fate::LetIn,
        Some((Answered::Refused(_), _)) => Fate::Unsupported,
        None if question.was_ignored => Fate::Unsupported,
        None => Fate::Silence,
    }
}
