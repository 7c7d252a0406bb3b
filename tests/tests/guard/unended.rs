//! Tests that don't end: their timeout, and the signal of who waits for them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;

use tokio::sync::{mpsc, oneshot};

use crate::process::{alone, signal, this_with};

/// Serves nobody who waits.
async fn serve() {
    let (_sender, mut requests) = mpsc::channel::<u8>(1);
    requests.recv().await;
}

async fn await_answer() {
    let (_sender, answer) = oneshot::channel::<u8>();
    assert!(answer.await.is_ok());
}

#[ignore = "unended.rs runs it"]
#[taskleak::test(timeout = "200ms")]
async fn hangs() {
    tokio::spawn(serve());
    await_answer().await;
}

#[ignore = "unended.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 1, timeout = "200ms")]
async fn hangs_on_its_worker() {
    tokio::spawn(serve());
    await_answer().await;
}

#[ignore = "unended.rs runs it"]
#[taskleak::test(start_paused = true, timeout = "200ms")]
async fn hangs_beside_a_paused_clock() {
    tokio::spawn(serve());
    await_answer().await;
}

#[ignore = "unended.rs runs it"]
#[taskleak::test(timeout = "200ms")]
async fn hangs_with_its_thread() {
    tokio::spawn(serve());
    tokio::task::yield_now().await;
    loop {
        std::thread::park();
    }
}

#[ignore = "unended.rs runs it"]
#[taskleak::test(start_paused = true, timeout = "60s")]
async fn ends_after_an_hour_on_a_paused_clock() {
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
}

#[test]
fn what_takes_too_long_tells_who_waits_where() {
    for test in [
        "hangs",
        "hangs_on_its_worker",
        "hangs_beside_a_paused_clock",
    ] {
        let run = alone(&format!("unended::{test}"));
        run.fails();
        run.tells(&[
            &format!("unended::{test} has not ended within 200ms"),
            "guard::unended::serve",
            // The test's own future.
            "guard::unended::await_answer",
            &format!("guard::unended::{test}"),
            "(tokio::sync::mpsc)",
            "(tokio::sync::oneshot)",
        ]);
    }
    alone("unended::ends_after_an_hour_on_a_paused_clock").passes();
}

#[test]
fn what_blocks_its_thread_ends_with_the_process() {
    let run = alone("unended::hangs_with_its_thread");
    assert!(!run.status.success(), "{}", run.whole());
    run.tells(&[
        "unended::hangs_with_its_thread has not ended within 200ms",
        "guard::unended::serve",
    ]);
}

mod signalled {
    use super::{await_answer, serve};

    #[ignore = "unended.rs runs it"]
    #[taskleak::test]
    async fn ann() {
        tokio::spawn(serve());
        tokio::task::yield_now().await;
        eprintln!("ready");
        await_answer().await;
    }

    #[ignore = "unended.rs runs it"]
    #[taskleak::test(flavor = "multi_thread", worker_threads = 1)]
    async fn bob() {
        let serves = tokio::spawn(serve());
        eprintln!("ready");
        serves.await.expect("it serves");
    }
}

const SIGTERM: i32 = 15;

#[test]
fn a_signal_shows_what_runs() {
    let mut command = this_with(&["--ignored", "unended::signalled::", "--test-threads=2"]);
    let mut child = command
        .arg("--nocapture")
        .spawn()
        .expect("it can be started");
    let mut told = BufReader::new(child.stderr.take().expect("it is piped"));
    let lines = || {
        let mut line = String::new();
        assert_ne!(
            told.read_line(&mut line).expect("it is text"),
            0,
            "it ended"
        );
        line
    };
    let ready = std::iter::repeat_with(lines).filter(|line| line.contains("ready"));
    assert_eq!(ready.take(2).count(), 2);
    signal("TERM", &child.id().to_string());
    let mut page = String::new();
    told.read_to_string(&mut page).expect("it is text");
    let status = child.wait().expect("it can be waited for");
    assert_eq!(status.signal(), Some(SIGTERM), "{status}\n{page}");
    for expected in [
        "guard::unended::signalled::ann",
        "guard::unended::signalled::bob",
        "guard::unended::await_answer",
        "guard::unended::serve",
    ] {
        assert!(page.contains(expected), "no {expected:?} in:\n{page}");
    }
}
