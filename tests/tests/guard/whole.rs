//! Guards of the whole process: what they see that no scope has, and the look at exit.

use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use taskleak::Guard;
use tokio::runtime::{Handle, Runtime};

use crate::process::{Run, alone, alone_with};

static SHARED: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads start"));

/// Stays for ever, spawned by a thread that is nobody's.
fn leave_one() {
    let its = SHARED.handle().clone();
    let spawns = std::thread::spawn(move || drop(its.spawn(pending::<()>())));
    spawns.join().expect("it does not panic");
}

fn brief() -> taskleak::GuardBuilder {
    Guard::builder().settle(Duration::from_millis(50))
}

#[ignore = "whole.rs runs it"]
#[test]
fn sees_what_threads_spawn() {
    let before = brief()
        .whole_process()
        .start()
        .expect("nothing else is global");
    drop(before);
    SHARED.spawn(pending::<()>());
    let guard = brief().whole_process().start().expect("its own is global");
    assert!(guard.leaks().is_empty(), "what was alive before is not its");
    leave_one();
    let page = guard.leaks().to_string();
    assert!(page.contains("guard::whole::leave_one"), "{page}");
    // Its scope is that of another guard, and yet it is of this process.
    let other = brief().start().expect("it is recorded");
    SHARED.spawn(pending::<()>());
    assert_eq!((other.leaks().tasks(), guard.leaks().tasks()), (1, 2));
}

#[ignore = "whole.rs runs it"]
#[test]
fn refuses_where_another_is_global() {
    tracing_subscriber::fmt().init();
    let refused = brief().whole_process().start().map(drop);
    let line = refused.expect_err("it can't see all").to_string();
    assert!(
        line.contains("another global subscriber is in force"),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
    let refused = brief().at_exit();
    assert!(refused.is_err());
}

#[ignore = "whole.rs runs it"]
#[test]
fn leaky_at_exit() {
    brief().at_exit().expect("nothing else is global");
    assert!(brief().at_exit().is_err(), "it takes one set of options");
    leave_one();
}

#[ignore = "whole.rs runs it"]
#[test]
fn clean_at_exit() {
    let allowed = brief().allow("spawned_at=guard/whole.rs");
    let allowed = allowed.expect("the rule can be read");
    allowed.at_exit().expect("nothing else is global");
    leave_one();
}

#[ignore = "whole.rs runs it"]
#[taskleak::test]
async fn spawned_by_a_thread_on_its_own_runtime() {
    let its = Handle::current();
    let spawn = move || {
        let subscriber = taskleak::recording(tracing::subscriber::NoSubscriber::new());
        tracing::subscriber::with_default(subscriber, || drop(its.spawn(pending::<()>())));
    };
    std::thread::spawn(spawn).join().expect("it does not panic");
}

#[test]
fn a_guard_of_the_process_sees_what_threads_spawn() {
    alone("whole::sees_what_threads_spawn").passes();
    alone("whole::refuses_where_another_is_global").passes();
}

/// What a thread spawns under the subscriber that the page advises is the test's as well.
#[test]
fn what_runs_on_a_tests_runtime_is_its_own() {
    let run = alone("whole::spawned_by_a_thread_on_its_own_runtime");
    run.fails();
    run.tells(&[
        "1 task that whole::spawned_by_a_thread_on_its_own_runtime started is still alive",
        "spawned_by_a_thread_on_its_own_runtime::{closure}",
    ]);
}

#[test]
fn the_look_at_exit_decides_how_the_process_ends() {
    let passed = |run: &Run| run.tells(&["test result: ok. 1 passed;"]);
    let leaky = alone("whole::leaky_at_exit");
    passed(&leaky);
    assert_eq!(leaky.status.code(), Some(101), "{}", leaky.whole());
    leaky.tells(&[
        "taskleak: 1 task of this process, looked at from",
        "guard::whole::leave_one",
    ]);
    let warned = alone_with("whole::leaky_at_exit", &[("TASKLEAK_TEST", "warn")]);
    warned.passes();
    warned.tells(&["taskleak: warning: 1 task of this process"]);
    let clean = alone("whole::clean_at_exit");
    clean.passes();
    clean.tells_nothing_of(&["still alive"]);
}
