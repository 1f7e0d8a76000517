//! Where everything stands. Pure.

use ratatui::layout::Rect;

/// The list is shown from this width on.
const LIST_FROM: u16 = 60;
/// Columns of the list, with the line beside it.
const LIST: u16 = 21;
/// Members stand beside the messages from this width on, and in their place below it.
const MEMBERS_FROM: u16 = 76;
/// Columns of the members, with the line beside them.
const MEMBERS: u16 = 22;
/// Lines that the composer may take.
const MAX_COMPOSER: u16 = 8;

/// The parts of the screen; what is not shown is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::ui::tui) struct Areas {
    pub(in crate::ui::tui) title: Rect,
    pub(in crate::ui::tui) list: Rect,
    pub(in crate::ui::tui) messages: Rect,
    pub(in crate::ui::tui) members: Rect,
    pub(in crate::ui::tui) status: Rect,
    pub(in crate::ui::tui) composer: Rect,
}

/// Divides a screen of `width` by `height`; the composer wants `lines`.
pub(in crate::ui::tui) fn areas(width: u16, height: u16, lines: usize, with_members: bool) -> Areas {
    let wanted = u16::try_from(lines).unwrap_or(u16::MAX);
    let composer = wanted.clamp(1, MAX_COMPOSER.min((height / 3).max(1))).min(height);
    let status = u16::from(height > composer);
    let title = u16::from(height > composer + status + 1);
    let body = height.saturating_sub(composer + status + title);
    let list = if width >= LIST_FROM { LIST } else { 0 };
    let rest = width - list;
    let members = match with_members {
        false => 0,
        true if width >= MEMBERS_FROM => MEMBERS,
        true => rest,
    };
    Areas {
        title: Rect::new(0, 0, width, title),
        list: Rect::new(0, title, list, body),
        messages: Rect::new(list, title, rest - members, body),
        members: Rect::new(width - members, title, members, body),
        status: Rect::new(0, title + body, width, status),
        composer: Rect::new(0, title + body + status, width, composer),
    }
}

/// A box over the middle of `area`.
pub(super) fn over(area: Rect) -> Rect {
    let (width, height) = (area.width.min(96), area.height);
    let margin = if area.height > 16 { 1 } else { 0 };
    Rect::new((area.width - width) / 2, margin, width, height.saturating_sub(2 * margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn narrow_screens_show_messages_alone() {
        let areas = areas(40, 20, 1, false);
        assert!(areas.list.is_empty() && areas.members.is_empty());
        assert_eq!(areas.messages, Rect::new(0, 1, 40, 17));
    }

    proptest! {
        #[test]
        fn every_size_is_divided_without_overlap(
            width in 0u16..200, height in 0u16..70, lines in 0usize..300, with_members: bool,
        ) {
            let all = areas(width, height, lines, with_members);
            let screen = Rect::new(0, 0, width, height);
            let parts = [all.title, all.list, all.messages, all.members, all.status, all.composer];
            let area = |part: &Rect| u32::from(part.width) * u32::from(part.height);
            prop_assert_eq!(parts.iter().map(area).sum::<u32>(), area(&screen));
            prop_assert!(parts.iter().all(|part| part.is_empty() || part.intersection(screen) == *part));
        }
    }
}
