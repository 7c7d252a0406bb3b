//! Tests that have something to do with `tracing` too: their logs go where they would go without
//! a guard, and their leaks are seen.

use tokio::sync::oneshot;
use tracing::info;

use crate::process::{alone, alone_with, libtest};

/// Leaks a task, and logs in it and beside it.
async fn log_and_leak() {
    info!("logged by the test");
    tokio::spawn(log_and_wait());
    tokio::task::yield_now().await;
}

async fn log_and_wait() {
    info!("logged by a task");
    wait_for_ever().await;
}

async fn wait_for_ever() {
    let (_sender, receiver) = oneshot::channel::<()>();
    assert!(receiver.await.is_ok());
}

/// Ends its task, and logs in it and beside it.
async fn log() {
    info!("logged by the test");
    let logs = tokio::spawn(async { info!("logged by a task") });
    logs.await.expect("it logs");
}

const LOGS: [&str; 2] = ["logged by the test", "logged by a task"];

mod try_init {
    use super::{log, log_and_leak};

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn clean() {
        let set = tracing_subscriber::fmt().try_init();
        set.expect("nothing else is set");
        log().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaky() {
        let set = tracing_subscriber::fmt().try_init();
        set.expect("nothing else is set");
        log_and_leak().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(flavor = "multi_thread", worker_threads = 2, settle = "50ms")]
    async fn leaky_on_workers() {
        let set = tracing_subscriber::fmt().try_init();
        set.expect("nothing else is set");
        let logs = tokio::spawn(log_and_leak());
        logs.await.expect("it logs");
    }
}

#[test]
fn a_body_that_sets_the_global_subscriber() {
    check("try_init", &["clean"], &["leaky", "leaky_on_workers"]);
}

mod log_test {
    use super::{log, log_and_leak};

    #[ignore = "subscribers.rs runs it"]
    #[test_log::test(taskleak::test(settle = "50ms"))]
    async fn clean() {
        log().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[test_log::test(taskleak::test(settle = "50ms"))]
    async fn leaky() {
        log_and_leak().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[test_log::test]
    async fn clean_below() {
        log().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[test_log::test]
    async fn leaky_below() {
        log_and_leak().await;
    }
}

#[test]
fn test_log() {
    check(
        "log_test",
        &["clean", "clean_below"],
        &["leaky", "leaky_below"],
    );
}

mod traced {
    use tracing_test::traced_test;

    use super::{LOGS, log, log_and_leak};

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[traced_test]
    async fn clean() {
        log().await;
        assert!(LOGS.iter().all(|line| logs_contain(line)));
        assert!(!logs_contain("logged by nobody"));
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    #[traced_test]
    async fn leaky() {
        log_and_leak().await;
        assert!(LOGS.iter().all(|line| logs_contain(line)));
    }

    #[ignore = "subscribers.rs runs it"]
    #[traced_test]
    #[taskleak::test(settle = "50ms")]
    async fn clean_below() {
        log().await;
        assert!(LOGS.iter().all(|line| logs_contain(line)));
    }

    #[ignore = "subscribers.rs runs it"]
    #[traced_test]
    #[taskleak::test(settle = "50ms")]
    async fn leaky_below() {
        log_and_leak().await;
        assert!(LOGS.iter().all(|line| logs_contain(line)));
    }
}

#[test]
fn tracing_test() {
    check(
        "traced",
        &["clean", "clean_below"],
        &["leaky", "leaky_below"],
    );
}

mod set_default {
    use tracing_subscriber::Registry;

    use super::{log, log_and_leak};

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn clean() {
        let _set = tracing::subscriber::set_default(Registry::default());
        log().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaky() {
        let _set = tracing::subscriber::set_default(Registry::default());
        log_and_leak().await;
    }

    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "50ms")]
    async fn leaky_for_a_while() {
        let set = tracing::subscriber::set_default(Registry::default());
        log_and_leak().await;
        drop(set);
    }
}

#[test]
fn a_leak_under_another_subscriber_does_not_pass() {
    for test in ["leaky", "leaky_for_a_while"] {
        let run = alone(&format!("subscribers::set_default::{test}"));
        run.fails();
    }
}

mod unseen {
    use std::thread;
    use std::time::Duration;

    use tokio::runtime::{Builder, Handle};
    use tokio::time::sleep;

    use super::wait_for_ever;

    /// A thread of its own has no subscriber.
    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test(settle = "100ms")]
    async fn leaky() {
        let runtime = Handle::current();
        let spawns = thread::spawn(move || drop(runtime.spawn(wait_for_ever())));
        spawns.join().expect("it spawns");
    }

    /// Beside it, the detector knows a task of which it does not know the runtime.
    #[ignore = "subscribers.rs runs it"]
    #[taskleak::test]
    async fn clean_with_a_task_that_is_not_polled() {
        let runtime = Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime can be built");
        runtime.spawn(async {});
        sleep(Duration::from_millis(500)).await;
        runtime.shutdown_background();
    }
}

#[test]
fn a_leak_that_is_not_seen_does_not_pass() {
    let run = libtest("subscribers::unseen::", &["--test-threads=2"]);
    let passed = |test: &str| run.outcomes[&format!("subscribers::unseen::{test}")].passed;
    assert!(
        passed("clean_with_a_task_that_is_not_polled"),
        "{}",
        run.whole()
    );
    assert!(!passed("leaky"), "{}", run.whole());
    run.tells(&["1 task that subscribers::unseen::leaky started is still alive"]);
}

/// Each of these tests logs; those that leak fail for it.
fn check(module: &str, clean: &[&str], leaky: &[&str]) {
    let run = |test: &str| alone_with(&format!("subscribers::{module}::{test}"), &INFO);
    for test in clean {
        let run = run(test);
        run.passes();
        run.tells(&LOGS);
    }
    for test in leaky {
        let run = run(test);
        run.fails();
        run.tells(&LOGS);
        run.tells(&[
            &format!("1 task that subscribers::{module}::{test} started is still alive"),
            "guard::subscribers::log_and_wait",
        ]);
    }
}

const INFO: [(&str, &str); 1] = [("RUST_LOG", "info")];
