//! Tests that need a process of their own, because a process has one global subscriber.

use std::env;
use std::process::{Command, exit};
use std::thread;

use crate::support::DEADLINE;

const ALONE: &str = "TASKLEAK_TEST_ALONE";

/// Runs `test` in a process of its own: starts this binary again for the test of this name,
/// which is the one that calls.
#[track_caller]
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        end_in_any_case();
        return test();
    }
    let binary = env::current_exe().expect("the path of this binary is known");
    let ran = Command::new(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .expect("it can be started again");
    let (told, errors) = (text(&ran.stdout), text(&ran.stderr));
    let passed = ran.status.success() && told.contains("1 passed");
    assert!(passed, "{}\n{told}\n{errors}", ran.status);
}

/// Nothing waits for ever for a test that hangs.
fn end_in_any_case() {
    thread::spawn(|| {
        thread::sleep(4 * DEADLINE);
        eprintln!("it did not end");
        exit(1);
    });
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
