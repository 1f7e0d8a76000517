//! The full screen of the built program, driven by keys in tmux and read back from its panes.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
#![expect(clippy::print_stderr, reason = "says why it was skipped")]

#[path = "cli_program/support.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use support::Setup;

/// How often a screen is looked at, and how long, in tries.
const STEP: Duration = Duration::from_millis(50);
const TRIES: usize = 600;

/// A tmux server of its own.
struct Tmux {
    socket: PathBuf,
    setup: Setup,
}

impl Tmux {
    /// `None`, with a reason, where there is no tmux.
    fn start() -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        let setup = Setup::new();
        Some(Self { socket: setup.dir("tmux.socket"), setup })
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(args);
        // What the surroundings say must not count.
        for name in ["TMUX", "NO_COLOR", "HOBNOB_PLAIN", "HOBNOB_JSON"] {
            command.env_remove(name);
        }
        // Whatever router and neighbours this machine has are none of a test's business.
        command.env("HOBNOB_NO_PORT_MAPPING", "1").env("HOBNOB_NO_LAN", "1");
        let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Opens a shell of 80 by 24 and starts a client in it.
    fn client(&self, name: &str, options: &str) {
        self.run(&["new-session", "-d", "-s", name, "-x", "80", "-y", "24", "sh"]);
        self.start_client(name, options);
    }

    fn start_client(&self, name: &str, options: &str) {
        let (program, dir) = (env!("CARGO_BIN_EXE_client"), self.setup.dir(name));
        let server = self.setup.server();
        let line =
            format!("{program} {options} --server {server} --name {name} --data-dir {}", dir.display());
        self.keys(name, &[&format!("{line}; echo ended $?"), "Enter"]);
    }

    fn keys(&self, pane: &str, keys: &[&str]) {
        self.run(&[&["send-keys", "-t", pane], keys].concat());
    }

    fn screen(&self, pane: &str) -> String {
        self.run(&["capture-pane", "-p", "-t", pane])
    }

    /// Waits until the screen shows what is wanted.
    fn wait(&self, pane: &str, wanted: impl Fn(&str) -> bool) -> String {
        for _ in 0..TRIES {
            let screen = self.screen(pane);
            if wanted(&screen) {
                return screen;
            }
            sleep(STEP);
        }
        panic!("{pane} shows\n{}", self.screen(pane));
    }

    fn wait_for(&self, pane: &str, text: &str) -> String {
        self.wait(pane, |screen| screen.contains(text))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

#[test]
fn two_people_talk_on_full_screens() {
    let Some(tmux) = Tmux::start() else { return };
    tmux.client("ada", "");
    tmux.client("bob", "");
    tmux.wait_for("ada", "bob>");
    tmux.wait_for("bob", "ada>");
    tmux.keys("ada", &["hello there", "Enter"]);
    tmux.wait_for("bob", "ada  hello there");
    tmux.wait_for("ada", "me  hello there ✓✓");
    // Several lines, a command in between, and keys that edit.
    tmux.keys("bob", &["first", "M-Enter", "secondX", "BSpace", "Enter"]);
    let screen = tmux.wait_for("ada", "second");
    assert!(!screen.contains("secondX"), "{screen}");
    tmux.keys("ada", &["F1"]);
    tmux.wait_for("ada", "/msg NAME TEXT");
    tmux.keys("ada", &["Escape"]);
    tmux.wait("ada", |screen| screen.contains("bob>") && !screen.contains("/msg"));
    tmux.keys("ada", &["C-k", "bo"]);
    tmux.wait_for("ada", "jump to");
    tmux.keys("ada", &["Enter", "/pe", "Tab", "Enter"]);
    tmux.wait_for("ada", "whom you know");
    // A narrow terminal has no list.
    tmux.run(&["resize-window", "-t", "ada", "-x", "40", "-y", "20"]);
    let is_narrow = |line: &str| line.contains("F1 help") && line.chars().count() <= 40;
    tmux.wait("ada", |screen| screen.lines().next().is_some_and(is_narrow));
    tmux.keys("ada", &["Escape"]);
    tmux.wait("ada", |screen| !screen.contains("0   hobnob") && screen.contains("hello there"));
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let Some(tmux) = Tmux::start() else { return };
    tmux.client("ada", "");
    let ends: [&dyn Fn(); 3] =
        [&|| tmux.keys("ada", &["C-c"]), &|| tmux.keys("ada", &["/quit", "Enter"]), &|| {
            let pid = tmux.run(&["display-message", "-p", "-t", "ada", "#{pane_pid}"]);
            let children = format!("/proc/{0}/task/{0}/children", pid.trim());
            let children = std::fs::read_to_string(children).unwrap();
            Command::new("kill").args(children.split_whitespace()).status().unwrap();
        }];
    for end in ends {
        tmux.wait_for("ada", "F1 help");
        end();
        tmux.wait_for("ada", "ended 0");
        assert_eq!(tmux.run(&["display-message", "-p", "-t", "ada", "#{alternate_on}"]).trim(), "0");
        tmux.keys("ada", &["clear; stty -a", "Enter"]);
        let modes = tmux.wait("ada", |screen| screen.contains("icanon"));
        assert!(!modes.contains("-icanon") && !modes.contains("-isig"), "{modes}");
        tmux.keys("ada", &["clear", "Enter"]);
        tmux.wait("ada", |screen| !screen.contains("icanon"));
        tmux.start_client("ada", "");
    }
}

#[test]
fn the_screen_comes_back_as_it_was() {
    let Some(tmux) = Tmux::start() else { return };
    tmux.client("ada", "");
    tmux.client("bob", "");
    tmux.wait_for("ada", "bob>");
    tmux.wait_for("bob", "ada>");
    tmux.keys("ada", &["half a line", "C-l"]);
    // A terminal that is asked something answers, or not, within two seconds.
    sleep(Duration::from_secs(3));
    assert!(tmux.screen("ada").contains("bob> half a line"), "{}", tmux.screen("ada"));
    tmux.keys("ada", &[" and more", "Enter"]);
    tmux.wait_for("bob", "half a line and more");
    // What was not read before a restart is not read after it.
    tmux.keys("ada", &["M-0", "/quit", "Enter"]);
    tmux.wait_for("ada", "ended 0");
    tmux.keys("bob", &["while you were away", "Enter"]);
    tmux.wait_for("bob", "while you were away");
    tmux.keys("ada", &["clear", "Enter"]);
    tmux.start_client("ada", "");
    tmux.wait_for("ada", "while you were away");
}

#[test]
fn lines_are_printed_where_they_are_asked_for() {
    let Some(tmux) = Tmux::start() else { return };
    tmux.client("ada", "--plain");
    tmux.wait_for("ada", "* you are ada");
    assert_eq!(tmux.run(&["display-message", "-p", "-t", "ada", "#{alternate_on}"]).trim(), "0");
}

/// Among lines, what is typed in a room goes there although somebody is connected, and the prompt says where it goes.
#[test]
fn the_prompt_names_where_lines_go() {
    let Some(tmux) = Tmux::start() else { return };
    tmux.client("ada", "--plain");
    tmux.client("bob", "--plain");
    tmux.wait_for("ada", "connected to bob");
    tmux.keys("ada", &["/room Garden", "Enter"]);
    tmux.wait_for("ada", "[#Garden]");
    // Typed before there is a prompt for it, and not lost.
    tmux.keys(
        "ada",
        &["only for the room", "Enter", "/msg bob to you", "Enter", "and for all there", "Enter"],
    );
    tmux.wait_for("ada", "[#Garden] and for all there");
    tmux.wait_for("bob", "ada> to you");
    tmux.keys("ada", &["/to bob", "Enter"]);
    tmux.wait_for("ada", "what you type goes to bob now\n[bob]");
    tmux.keys("ada", &["/to #gar", "Enter"]);
    tmux.wait("ada", |screen| screen.trim_end().ends_with("[#Garden]"));
    tmux.keys("ada", &["/leave", "Enter"]);
    tmux.wait("ada", |screen| {
        screen.contains("you have left #Garden") && screen.trim_end().ends_with("[bob]")
    });
    assert!(!tmux.screen("bob").contains("only for"), "{}", tmux.screen("bob"));
}
