//! `#[taskleak::main]`, run.

use taskleak_profile::snapshot::Kind;
use tokio::task::{spawn_blocking, yield_now};
use tracing_subscriber::Registry;

use crate::alone::{alone, listening};
use crate::support::listed_by;

#[taskleak::main(serve = "127.0.0.1:0", name = "api", worker_threads = 3)]
async fn program() -> Result<usize, std::num::ParseIntError> {
    check_served("api", 3).await;
    "7".parse()
}

#[taskleak::main(subscriber = Registry::default(), serve = "127.0.0.1:0", flavor = "current_thread", name = "small")]
async fn small_program() {
    check_served("small", 1).await;
    let wrapped = tracing::dispatcher::get_default(tracing::Dispatch::is::<Registry>);
    assert!(wrapped);
}

#[taskleak::main(serve = "192.0.2.1:6060")]
async fn unserved_program() -> usize {
    7
}

/// The endpoint lists the program's own task and one that it spawned.
async fn check_served(name: &'static str, workers: u64) {
    let waits = tokio::spawn(std::future::pending::<()>());
    yield_now().await;
    let check = move || {
        let [endpoint] = listening()[..] else {
            panic!("one address: {:?}", listening());
        };
        let snapshot = listed_by(endpoint, "");
        assert!(snapshot.health.recording, "{snapshot}");
        let kinds = |kind| {
            snapshot
                .groups
                .iter()
                .filter(move |group| group.kind == kind)
        };
        assert_eq!(kinds(Kind::BlockOn).count(), 1, "{snapshot}");
        assert_eq!(kinds(Kind::Task).count(), 1, "{snapshot}");
        assert!(snapshot.groups.iter().all(|group| group.runtime == name));
        let runtime = &snapshot.runtimes[0];
        assert_eq!((runtime.name.as_str(), runtime.workers), (name, workers));
    };
    spawn_blocking(check).await.expect("the checks hold");
    waits.abort();
}

#[test]
fn a_program_is_served() {
    alone("attribute::a_program_is_served", || {
        assert_eq!(program(), Ok(7));
    });
}

#[test]
fn a_program_with_a_subscriber_is_served() {
    alone(
        "attribute::a_program_with_a_subscriber_is_served",
        small_program,
    );
}

#[test]
fn a_program_that_cannot_be_served_runs() {
    let errors = alone("attribute::a_program_that_cannot_be_served_runs", || {
        assert_eq!(unserved_program(), 7);
        assert_eq!(listening(), []);
    });
    if let Some(errors) = errors {
        let line = "taskleak: cannot bind the debug endpoint to 192.0.2.1:6060: ";
        assert_eq!(
            errors.lines().filter(|told| told.starts_with(line)).count(),
            1,
            "{errors}"
        );
    }
}
