//! From the state to a frame. Pure: the same state always gives the same screen.

mod bars;
pub(super) mod layout;
mod list;
mod members;
pub(super) mod message;
mod messages;
mod overlay;
#[cfg(test)]
mod tests;
pub(super) mod theme;

use ratatui::Frame;

use super::state::State;

/// Draws all of it.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let areas = state.areas();
    bars::title(state, areas.title, frame);
    list::draw(state, areas.list, frame);
    messages::draw(state, areas.messages, frame);
    members::draw(state, areas.members, frame);
    bars::status(state, areas.status, frame);
    bars::composer(state, areas.composer, frame);
    overlay::draw(state, frame);
}
