//! The screen driven by keys and news, without a terminal.

use common::identity::Identity;
use ratatui::crossterm::event::{Event as Term, KeyCode, KeyEvent, KeyModifiers};

use super::super::model::Row;
use super::*;
use crate::engine::{Choice, Connected, ConversationInfo, Kind, Member, Person};
use crate::log::{Content, DisplayOrder, Standing};
use crate::net::{PathChange, Via};
use crate::store::{Contact, Marks, MessageRow, Regard, State as Delivery};
use crate::ui::news::News;
use crate::ui::plain::Place;

/// 5 July 2026, 12:00 UTC.
pub(in crate::ui::tui) const NOON: u64 = 1_783_252_800_000;

pub(in crate::ui::tui) fn peer(seed: u8) -> PeerId {
    Identity::from_seed([seed; 32]).peer_id()
}

pub(in crate::ui::tui) fn id(depth: u64) -> MessageId {
    MessageId::of(&depth.to_be_bytes())
}

/// The conversation with a peer.
fn id_of(other: u8) -> ConversationId {
    ConversationId::direct(peer(1), peer(other))
}

fn order(depth: u64, at_ms: u64) -> DisplayOrder {
    DisplayOrder { depth, label_ms: at_ms, id: id(depth) }
}

pub(in crate::ui::tui) fn row(depth: u64, body: &str) -> Row {
    super::super::bind::row(&message(2, depth, NOON, body), &Names::new(peer(1)), "Ada")
}

/// A message in the conversation with `from`, or to peer 2 if it is from this user, who is peer 1.
pub(in crate::ui::tui) fn message(from: u8, depth: u64, at_ms: u64, text: &str) -> MessageRow {
    let own = from == 1;
    let other = if own { 2 } else { from };
    MessageRow {
        arrival: depth,
        conversation: ConversationId::direct(peer(1), peer(other)),
        author: peer(from),
        own,
        order: order(depth, at_ms),
        received_ms: at_ms,
        content: Content::text(text),
        marks: Marks::default(),
        states: if own { vec![(peer(2), Delivery::Pending)] } else { Vec::new() },
        regard: Regard::default(),
    }
}

pub(in crate::ui::tui) fn person(seed: u8, name: &str, via: Option<Via>) -> Person {
    let peer = peer(seed);
    let rtt = Some(std::time::Duration::from_millis(12));
    let path = |via| PathChange { peer, via, remote: None, rtt };
    Person {
        contact: Contact {
            peer,
            given_name: name.to_owned(),
            own_name: String::new(),
            first_met_ms: NOON,
            last_seen_ms: NOON,
            endpoints: Vec::new(),
        },
        online: via.is_some(),
        verified_ms: None,
        connected: via.map(|via| Connected { words: "a b c".to_owned(), path: Some(path(via)) }),
        regard: Regard::Open,
    }
}

/// A screen with Bob connected, Cleo away, and Bob's conversation open.
pub(in crate::ui::tui) fn state(width: u16, height: u16, theme: Theme) -> State {
    let mut state = State::new(Setting { me: peer(1), theme, zone: Zone::utc(), size: (width, height) });
    state.handle_news(News::Welcome { me: peer(1), name: "Ada".to_owned() }, NOON);
    let people = vec![person(2, "Bob", Some(Via::Udp)), person(3, "Cleo M", None)];
    state.handle_news(News::Roster(people), NOON);
    state.handle_news(News::Turned { conversation: Some(id_of(2)) }, NOON);
    state.handle_timeout(NOON + NOTICE_MS);
    state.poll_actions();
    state
}

pub(in crate::ui::tui) fn said(state: &mut State, message: MessageRow) {
    let is_typed = message.own;
    state.handle_news(News::Message { message: Box::new(message), is_typed }, NOON);
}

fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) {
    state.handle_event(Term::Key(KeyEvent::new(code, modifiers)), NOON);
}

/// Types keys as the help writes them, separated by spaces; `_` is the space bar.
pub(in crate::ui::tui) fn keys(state: &mut State, keys: &str) {
    for key in keys.split(' ') {
        let (modifiers, name) = match key.split_once('+').filter(|(before, _)| !before.is_empty()) {
            Some(("Ctrl", name)) => (KeyModifiers::CONTROL, name),
            Some(("Alt", name)) => (KeyModifiers::ALT, name),
            _ => (KeyModifiers::NONE, key),
        };
        let code = match name {
            "Enter" => KeyCode::Enter,
            "Tab" => KeyCode::Tab,
            "Esc" => KeyCode::Esc,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "PageUp" => KeyCode::PageUp,
            "End" => KeyCode::End,
            "F1" => KeyCode::F(1),
            "_" => KeyCode::Char(' '),
            text => {
                text.chars().for_each(|c| press(state, KeyCode::Char(c), modifiers));
                continue;
            }
        };
        press(state, code, modifiers);
    }
}

fn inputs(state: &mut State) -> Vec<Input> {
    let input = |action| match action {
        Action::Input(input) if !matches!(input, Input::Typing(_)) => Some(input),
        _ => None,
    };
    state.poll_actions().into_iter().filter_map(input).collect()
}

fn line(text: &str) -> Input {
    Input::Line { text: text.to_owned(), to: Some(Place::Person(peer(2))) }
}

#[test]
fn what_is_typed_goes_to_the_open_conversation() {
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "hello _ there Alt+Enter you Enter");
    assert_eq!(inputs(&mut state), [line("hello there\nyou")]);
    assert!(state.composer.is_empty());
    keys(&mut state, "Alt+0 hello Enter");
    assert_eq!(inputs(&mut state), [Input::Open(None)], "this program's page takes no messages");
    assert!(state.notice().unwrap().is_error);
}

#[test]
fn drafts_stay_with_their_conversations() {
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "to _ Bob Alt+2 to _ Cleo Alt+Up");
    assert_eq!(state.composer.before(), "to Bob");
    keys(&mut state, "Alt+Down");
    assert_eq!(state.composer.before(), "to Cleo");
}

#[test]
fn news_elsewhere_are_counted_until_they_are_looked_at() {
    let mut state = state(80, 24, Theme::Plain);
    let cleo = ConversationId::direct(peer(1), peer(3));
    said(&mut state, message(3, 1, NOON, "one"));
    said(&mut state, message(3, 2, NOON, "two @ada"));
    assert_eq!(state.unread(cleo), (2, true));
    let calls = state.poll_actions();
    assert_eq!(calls, [Action::Attention("message from Cleo M".to_owned())], "one call for both");
    keys(&mut state, "Alt+a");
    assert_eq!(state.active().unwrap().id, cleo);
    assert_eq!(state.unread(cleo), (0, false));
    assert_eq!(state.buffer().first_unread().unwrap().depth, 1);
    keys(&mut state, "Alt+1 Alt+2");
    assert_eq!(state.buffer().first_unread(), None, "the line goes with the visit");
}

#[test]
fn nobody_is_called_for_what_they_look_at() {
    let mut state = state(80, 24, Theme::Plain);
    said(&mut state, message(2, 1, NOON, "one"));
    assert_eq!(inputs(&mut state), [Input::Seen(id_of(2))]);
    state.handle_event(Term::FocusLost, NOON);
    said(&mut state, message(2, 2, NOON, "two"));
    assert_eq!(state.poll_actions(), [Action::Attention("message from Bob".to_owned())]);
    assert_eq!(state.unread(ConversationId::direct(peer(1), peer(2))).0, 1);
    state.handle_event(Term::FocusGained, NOON);
    assert_eq!(state.unread(ConversationId::direct(peer(1), peer(2))).0, 0);
}

#[test]
fn others_see_that_one_writes_but_not_commands() {
    let told = |state: &mut State| {
        let actions = state.poll_actions();
        actions.iter().filter(|action| **action == Action::Input(Input::Typing(id_of(2)))).count()
    };
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "/why");
    assert_eq!(told(&mut state), 0);
    keys(&mut state, "Enter hello");
    assert_eq!(told(&mut state), 1, "not with every letter");
    keys(&mut state, "Enter again");
    assert_eq!(told(&mut state), 1, "the next message is another");
    let later = Term::Key(KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE));
    state.handle_event(later, NOON + 10_000);
    assert_eq!(told(&mut state), 1, "one has not stopped");
}

#[test]
fn who_writes_is_named_until_they_have_said_it_or_stopped() {
    let mut state = state(80, 24, Theme::Plain);
    let typing = |from: u8, there: ConversationId| News::Typing { conversation: there, peer: peer(from) };
    state.handle_news(typing(3, id_of(3)), NOON);
    assert_eq!(state.writers(), [""; 0], "that is elsewhere");
    state.handle_news(typing(2, id_of(2)), NOON);
    assert_eq!(state.writers(), ["Bob"]);
    said(&mut state, message(2, 1, NOON, "one"));
    assert_eq!(state.writers(), [""; 0]);
    state.handle_news(typing(2, id_of(2)), NOON);
    let until = state.poll_timeout().unwrap();
    assert!(state.handle_timeout(until));
    assert_eq!((state.writers().len(), state.poll_timeout()), (0, None));
}

#[test]
fn the_muted_neither_call_nor_count() {
    let mut state = state(80, 24, Theme::Plain);
    for (depth, regard) in [(1, Regard::Quiet), (2, Regard::Hidden)] {
        said(&mut state, MessageRow { regard, ..message(3, depth, NOON, "@ada") });
    }
    assert_eq!(state.poll_actions(), []);
    assert_eq!(state.unread(id_of(3)), (0, false));
    said(&mut state, MessageRow { regard: Regard::Quiet, ..message(2, 1, NOON, "x") });
    assert_eq!(inputs(&mut state), [Input::Seen(id_of(2))], "looked at all the same");
}

#[test]
fn who_is_blocked_goes_from_the_list_and_comes_back() {
    let mut state = state(80, 24, Theme::Plain);
    said(&mut state, message(3, 1, NOON, "x"));
    let roster = |regard| {
        let cleo = Person { regard, ..person(3, "Cleo M", None) };
        News::Roster(vec![person(2, "Bob", Some(Via::Udp)), cleo])
    };
    let block = |is_on| News::Chosen(Choice::Block { peer: peer(3), is_on });
    state.handle_news(block(true), NOON);
    state.handle_news(roster(Regard::Hidden), NOON);
    assert_eq!(state.entries.len(), 1);
    state.handle_news(block(false), NOON);
    state.handle_news(roster(Regard::Open), NOON);
    assert_eq!(state.entries.len(), 2);
    keys(&mut state, "Alt+2");
    assert!(state.buffer().rows().all(|row| !row.is_blocked) && state.buffer().rows().count() == 1);
}

#[test]
fn older_messages_are_asked_for_when_they_are_wanted() {
    let mut state = state(80, 24, Theme::Plain);
    (100..200).for_each(|depth| said(&mut state, message(2, depth, NOON, "x")));
    let rows = Vec::new();
    state.handle_news(News::Page { conversation: id_of(2), rows }, NOON);
    state.poll_actions();
    keys(&mut state, "Alt+2 Alt+1 PageUp");
    let asked = inputs(&mut state);
    assert!(
        !asked.iter().any(|input| matches!(input, Input::Page { conversation: of, .. } if *of == id_of(2))),
        "{asked:?}"
    );
}

#[test]
fn names_are_completed_and_found_by_letters() {
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "/msg _ cl Tab");
    assert_eq!(state.composer.before(), "/msg \"Cleo M\" ");
    keys(&mut state, "Ctrl+k cm Enter");
    assert_eq!(state.active().unwrap().title, "Cleo M");
    assert!(state.overlay.is_none());
}

#[test]
fn the_search_asks_while_it_is_typed_and_takes_the_last_answer() {
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "Ctrl+r bo");
    let search = |query: &str| Input::Search { query: query.to_owned() };
    assert_eq!(inputs(&mut state), [search("b*"), search("bo*")]);
    let found = |depth| crate::ui::search::Found {
        title: "Cleo M".to_owned(),
        message: message(3, depth, NOON, "boat"),
    };
    for depth in [1, 2] {
        let found = vec![found(depth)];
        state.handle_news(News::Found { found, has_more: true, is_rest: false }, NOON);
    }
    let Some(Overlay::Search { found, .. }) = &state.overlay else { panic!("no search is open") };
    assert_eq!(found.len(), 1);
    keys(&mut state, "Down");
    assert_eq!(inputs(&mut state), [search("")], "at the end the rest is asked for");
    keys(&mut state, "Enter");
    assert_eq!(state.active().unwrap().title, "Cleo M");
    let asked = inputs(&mut state);
    assert!(
        matches!(asked.as_slice(), [Input::Open(_), Input::Page { .. }, Input::Page { before: Some(_), .. }]),
        "{asked:?}"
    );
}

#[test]
fn ends_are_asked_for_by_their_keys() {
    let mut state = state(80, 24, Theme::Plain);
    keys(&mut state, "x Ctrl+d");
    assert_eq!(inputs(&mut state), [], "there is text");
    keys(&mut state, "Ctrl+u Ctrl+d Ctrl+c Ctrl+z");
    let end = [Action::Input(Input::End), Action::Input(Input::Interrupt), Action::Suspend];
    assert_eq!(state.poll_actions(), end);
}

#[test]
fn states_are_shown_beside_their_messages() {
    let mut state = state(80, 24, Theme::Plain);
    said(&mut state, message(1, 1, NOON, "hello"));
    for delivery in [Delivery::Sent, Delivery::Delivered] {
        state.handle_news(News::State { id: id(1), peer: peer(2), state: delivery }, NOON);
    }
    let marks: Vec<_> = state.buffer().row(id(1)).unwrap().marks.values().copied().collect();
    assert_eq!(marks, [super::super::model::Mark::Delivered]);
}

#[test]
fn messages_are_chosen_answered_and_changed_by_keys() {
    let mut state = state(80, 24, Theme::Plain);
    said(&mut state, message(1, 1, NOON, "mine"));
    said(&mut state, message(2, 2, NOON, "theirs"));
    state.poll_actions();
    let short = |depth| id(depth).to_string()[..16].to_owned();
    keys(&mut state, "Ctrl+Up r yes Enter");
    assert_eq!(inputs(&mut state), [line(&format!("/reply {} yes", short(2)))]);
    keys(&mut state, "Up s Enter");
    assert_eq!(inputs(&mut state), [line(&format!("/edit {} mines", short(1)))]);
    keys(&mut state, "Ctrl+Up e");
    assert!(state.notice().unwrap().is_error, "theirs cannot be changed");
    keys(&mut state, "Ctrl+Up + y Esc x Ctrl+Up Ctrl+Up + y Enter");
    assert_eq!(inputs(&mut state), [line(&format!("/react {} y", short(1)))], "Esc left the first alone");
    keys(&mut state, "n o Ctrl+Up Ctrl+Up d Esc Ctrl+Up Ctrl+Up d w Enter");
    assert_eq!(inputs(&mut state), [line("now")], "who goes on writing deletes nothing");
    keys(&mut state, "n o Ctrl+Up Ctrl+Up d Enter");
    assert_eq!(inputs(&mut state), [line(&format!("/delete {}", short(1)))]);
    assert_eq!(state.composer.before(), "no");
    let mut changed = message(2, 2, NOON, "theirs, changed");
    changed.marks.edited = true;
    state.handle_news(News::Changed(Box::new(changed)), NOON);
    assert!(state.buffer().row(id(2)).unwrap().is_edited);
}

#[test]
fn rooms_stand_in_the_list_and_take_what_is_typed() {
    let mut state = state(80, 24, Theme::Plain);
    let room = ConversationId::from_bytes([9; 32]);
    let member = |seed, name: &str, connected| Member {
        peer: peer(seed),
        name: name.to_owned(),
        standing: Standing::Owner,
        connected,
        regard: Regard::Open,
    };
    let members = vec![member(1, "Ada", true), member(2, "Bob", true), member(4, "Dora", false)];
    let kind = Kind::Room { topic: "tea".to_owned(), members, standing: Some(Standing::Owner) };
    let info = ConversationInfo {
        id: room,
        kind,
        title: "Tea\u{1b}[2J".to_owned(),
        unread: 0,
        newest: None,
        regard: Regard::Open,
    };
    state.handle_news(News::Rooms(vec![info]), NOON);
    state.handle_news(News::Turned { conversation: Some(room) }, NOON);
    let entry = state.active().unwrap();
    assert!(entry.title.starts_with("#Tea") && !entry.title.contains('\u{1b}'), "{:?}", entry.title);
    assert_eq!((entry.topic.as_str(), entry.status.as_str()), ("tea", "1 of 2 others connected"));
    let asked = inputs(&mut state);
    assert!(matches!(asked.as_slice(), [Input::Open(Some(Place::Room(_))), Input::Page { .. }]), "{asked:?}");
    keys(&mut state, "hello");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    assert_eq!(inputs(&mut state), [Input::Line { text: "hello".to_owned(), to: Some(Place::Room(room)) }]);
    state.handle_news(News::Rooms(Vec::new()), NOON);
    assert!(state.active().is_some(), "the open one stays");
    state.handle_news(News::Turned { conversation: Some(id_of(2)) }, NOON);
    state.handle_news(News::Rooms(Vec::new()), NOON);
    assert!(state.entries.iter().all(|entry| entry.id != room));
}

#[test]
fn what_fits_stands_at_the_bottom_and_the_rest_above_everything() {
    let mut state = state(60, 24, Theme::Plain);
    let overlay = |state: &mut State| match state.overlay.take() {
        Some(Overlay::Text { title, lines, .. }) => Some((title, lines)),
        _ => None,
    };
    state.handle_news(News::Info("rooms:\n   #Tea\n   #Boat".to_owned()), NOON);
    let lines = vec!["#Tea".to_owned(), "#Boat".to_owned()];
    assert_eq!(overlay(&mut state), Some(("rooms:".to_owned(), lines)));
    state.handle_news(News::Nearby(Vec::new()), NOON);
    assert_eq!(overlay(&mut state), None);
    assert_eq!(state.notice().unwrap().text, "nobody else is in this network");
    state.handle_news(News::Code("4-amber-otter-kite".to_owned()), NOON);
    assert!(overlay(&mut state).unwrap().1.concat().contains("4-amber-otter-kite"));
    keys(&mut state, "Alt+0");
    let said = format!("{:?}", state.buffer().items());
    assert!(said.contains("4-amber-otter-kite"), "it is said once: {said}");
}

#[test]
fn what_happens_does_not_take_the_place_of_an_answer_at_once() {
    let mut state = state(80, 24, Theme::Plain);
    let gone = || News::Disconnected { peer: peer(3), reason: "closed".to_owned() };
    state.handle_news(News::Info("typing is off".to_owned()), NOON);
    state.handle_news(gone(), NOON + 100);
    assert_eq!(state.notice().unwrap().text, "typing is off");
    state.handle_news(gone(), NOON + ANSWER_MS);
    assert!(state.notice().unwrap().text.contains("Cleo M"), "{:?}", state.notice());
}
