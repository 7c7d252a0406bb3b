//! Tests that need a process of their own, because a process has one global subscriber.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, exit};
use std::thread;

use crate::support::DEADLINE;

const ALONE: &str = "TASKLEAK_TEST_ALONE";

/// Runs `test` in a process of its own: starts this binary again for the test of this name,
/// which is the one that calls. Returns what that process told on standard error; nothing in
/// that process itself.
#[track_caller]
pub(crate) fn alone(name: &str, test: impl FnOnce()) -> Option<String> {
    if env::var_os(ALONE).is_some() {
        end_in_any_case();
        test();
        return None;
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
    Some(errors)
}

/// The addresses that this process listens at: port 0 in an attribute leaves no other way to
/// find out (Linux).
pub(crate) fn listening() -> Vec<SocketAddr> {
    let descriptors = fs::read_dir("/proc/self/fd").expect("this is Linux");
    let own: HashSet<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let sockets = fs::read_to_string("/proc/self/net/tcp").expect("this is Linux");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields[1].split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?.to_le_bytes();
        let port = u16::from_str_radix(port, 16).ok()?;
        let is_ours = fields[3] == LISTEN && own.contains(fields[9]);
        is_ours.then_some((Ipv4Addr::from(address), port).into())
    };
    sockets.lines().skip(1).filter_map(socket).collect()
}

const LISTEN: &str = "0A";

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
