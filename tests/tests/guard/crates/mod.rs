//! Other people's crates under the guard, used as programs use them: a connection pool, an HTTP
//! client and server, a client of a message broker. What each leaves behind is asserted, nothing
//! included. `.ci/suites` runs their own tests.

mod broker;
mod http;
mod pool;

use std::time::Duration;

use taskleak::Guard;
use taskleak_profile::leaks::Leaks;
use taskleak_profile::snapshot::Group;

/// A guard that waits for no longer than what ends by itself takes.
fn guard() -> Guard {
    let brief = Guard::builder().settle(Duration::from_millis(300));
    brief.start().expect("this thread is recorded")
}

/// Asserts that exactly these tasks are left: how many, which function spawned them, and one that
/// waits in each; `""` if they wait for nothing.
#[track_caller]
fn assert_left(leaks: &Leaks, expected: &[(u64, &str, &str)]) {
    for (count, spawned_in, within) in expected {
        let its = |group: &&Group| group.spawned_in() == *spawned_in;
        let groups: Vec<&Group> = leaks.iter().filter(its).collect();
        let found: u64 = groups.iter().map(|group| group.count).sum();
        assert_eq!(found, *count, "spawned in {spawned_in}: {leaks}");
        let wait = groups.iter().all(|group| waits_within(group, within));
        assert!(wait, "not all wait within {within:?}: {leaks}");
    }
    let all: u64 = expected.iter().map(|(count, ..)| count).sum();
    assert_eq!(leaks.tasks(), all, "{leaks}");
}

fn waits_within(group: &Group, function: &str) -> bool {
    let mut frames = group.waiting_at.iter().flat_map(|stack| stack.iter());
    match function {
        "" => frames.next().is_none(),
        _ => frames.any(|frame| frame.function == function),
    }
}
