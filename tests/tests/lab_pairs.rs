//! The real programs in the lab: newcomers behind NATs meet, talk directly, and survive being killed.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail and print like tests")]

#[path = "support/lab.rs"]
mod support;

use std::time::Duration;

use tests::lab::access::Access;
use tests::lab::scene::{Plan, Scene};
use tests::lab::trial::{self, Setup};

/// How long a program may take to be back among its peers after a start.
const BACK_PATIENCE: Duration = Duration::from_secs(15);
/// How long all lines may take to arrive after that.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(20);
/// Between lines: shorter than a round trip, so that a kill meets some on their way.
const PACE: Duration = Duration::from_millis(30);
/// How long to look for lines that come twice after all have come once.
const LATE: Duration = Duration::from_secs(2);

/// Two newcomers of these kinds meet and all is as it must be.
fn meet_and_chat(a: &str, b: &str) {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let setup = Setup { bin_dir, seed: 1, pcap: None };
    let outcome = trial::run(&Access::by_name(a).unwrap(), &Access::by_name(b).unwrap(), &setup).unwrap();
    if let Some(failure) = &outcome.failure {
        panic!("{a} x {b}: {failure}");
    }
    assert!(outcome.direct_ms.is_some(), "{a} x {b}: never direct: {outcome:?}");
    assert!(outcome.chat_direct, "{a} x {b}: the chat did not go direct: {outcome:?}");
    assert!(outcome.sealed, "{a} x {b}: the chat was seen in the open");
}

#[test]
fn public_meets_public() {
    meet_and_chat("public", "public");
}

#[test]
fn preserving_meets_random_ports() {
    meet_and_chat("eim_apdf_preserving", "eim_apdf_random");
}

#[test]
fn carrier_nat_meets_easy_nat() {
    meet_and_chat("cgnat", "eim_adf");
}

/// A scene whose two clients are connected, or none with the reason printed.
fn connected(a: &str, b: &str) -> Option<Scene> {
    let bin_dir = match support::binaries() {
        Ok(dir) => dir,
        Err(reason) => {
            println!("skipped: {reason}");
            return None;
        }
    };
    let homes = vec![Access::by_name(a).unwrap(), Access::by_name(b).unwrap()];
    let mut scene = Scene::build(&Plan::standard(homes, &bin_dir)).unwrap();
    trial::meet(&mut scene).unwrap();
    trial::both_connected(&mut scene).unwrap();
    Some(scene)
}

/// Two newcomers to whom UDP does not pass reach the server by `carrier` and talk; each line takes less than `patience`.
fn talk_without_udp(kind: &str, carrier: &str, patience: Duration) {
    let Some(mut scene) = connected(kind, kind) else { return };
    let ready: Vec<_> = (0..2)
        .map(|home| scene.clients[home].events().into_iter().find(|event| event.name == "ready").unwrap())
        .collect();
    assert!(ready.iter().all(|ready| ready.text("carrier") == carrier), "{ready:?}");
    let first = trial::chat(&mut scene, 0, 1, "where UDP does not pass").unwrap();
    let second = trial::chat(&mut scene, 1, 0, "it is not needed").unwrap();
    println!("{kind}: lines took {:?} and {:?}", first.took, second.took);
    assert!(first.took.max(second.took) < patience, "{first:?} {second:?}");
}

#[test]
fn clients_without_udp_talk() {
    talk_without_udp("udp_blocked", "tls", Duration::from_secs(2));
}

#[test]
fn clients_with_nothing_but_the_web_talk() {
    talk_without_udp("web_only", "websocket", Duration::from_secs(2));
}

/// Alice says a line, sees it taken into her store, and pauses.
fn say_durably(scene: &mut Scene, line: &str) {
    let alice = &mut scene.clients[0];
    let earlier = trial::message_ids(alice);
    alice.say(line).unwrap();
    let is_fresh =
        |event: &tests::lab::app::Event| event.name == "state" && !earlier.contains(event.text("id"));
    alice.wait("`state` of the line", ARRIVAL_PATIENCE, is_fresh).unwrap();
    std::thread::sleep(PACE);
}

/// The lines that Bob was shown, over all runs, in order.
fn shown(scene: &Scene) -> Vec<String> {
    let events = scene.clients[1].events();
    let messages = events.iter().filter(|event| event.name == "message");
    messages.map(|event| event.text("text").to_owned()).collect()
}

/// Every line arrived; none was shown twice or out of order. A line that was stored in the moment of the kill
/// may be in the history only.
fn assert_whole(scene: &Scene, said: &[String]) {
    let shown = shown(scene);
    let places: Vec<usize> = shown
        .iter()
        .map(|line| said.iter().position(|other| other == line).expect("only what was said is shown"))
        .collect();
    assert!(places.is_sorted_by(|a, b| a < b), "doubled or out of order: {places:?}");
    let missing: Vec<&String> = said.iter().filter(|line| !shown.contains(line)).collect();
    if !missing.is_empty() {
        let history = scene.history(1).unwrap();
        for line in missing {
            assert!(history.contains(line.as_str()), "lost: {line}");
        }
    }
}

/// Waits until Bob was shown a line, and then for stragglers.
fn await_line(scene: &mut Scene, line: &str) {
    let is_it = |event: &tests::lab::app::Event| event.name == "message" && event.text("text") == line;
    scene.clients[1].wait("the last line", ARRIVAL_PATIENCE, is_it).unwrap();
    std::thread::sleep(LATE);
}

/// Starts a client again after it was killed.
fn restart(scene: &mut Scene, home: usize) {
    scene.clients[home].start().unwrap();
    scene.clients[home].wait_named("connected", BACK_PATIENCE).unwrap();
}

#[test]
fn a_killed_reader_misses_nothing() {
    let Some(mut scene) = connected("eim_apdf_preserving", "eim_adf") else { return };
    let said: Vec<String> = (0..30).map(|number| format!("line {number:02} for Bob")).collect();
    for (number, line) in said.iter().enumerate() {
        if number == 10 {
            scene.clients[1].kill();
        }
        if number == 20 {
            restart(&mut scene, 1);
        }
        say_durably(&mut scene, line);
    }
    await_line(&mut scene, &said[29]);
    assert_whole(&scene, &said);
}

#[test]
fn a_killed_writer_loses_nothing_and_doubles_nothing() {
    let Some(mut scene) = connected("eim_apdf_random", "public") else { return };
    let said: Vec<String> = (0..20).map(|number| format!("line {number:02} by Alice")).collect();
    for (number, line) in said.iter().enumerate() {
        if number == 10 {
            // Right after a line was taken, most likely before it was acknowledged.
            scene.clients[0].kill();
            restart(&mut scene, 0);
        }
        say_durably(&mut scene, line);
    }
    await_line(&mut scene, &said[19]);
    assert_whole(&scene, &said);
}
