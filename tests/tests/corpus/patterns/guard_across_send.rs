//! A session's log is locked while a line of it is sent. Where the client does not read, a
//! writer waits for room with the guard in its hands, and the others wait for the guard.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::{PATIENCE, goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const HOLDER: Pattern = Pattern {
    name: "guard across send: its holder",
    source: "design",
    leaky,
    fixed,
    function: "guard_across_send::append_locked",
    waits: &[Wait::ChanSend],
};

pub(crate) const OTHERS: Pattern = Pattern {
    name: "guard across send: the others",
    waits: &[Wait::MutexLock],
    ..HOLDER
};

type Line = u64;
type Log = Arc<tokio::sync::Mutex<mpsc::Sender<Line>>>;

const WRITERS: u64 = 3;

/// Clients that are connected and don't read.
type Idle = Arc<Mutex<Vec<mpsc::Receiver<Line>>>>;

async fn read(n: u64, mut lines: mpsc::Receiver<Line>, idle: Idle) {
    if goes_wrong(n) {
        idle.lock().push(lines);
    } else {
        while lines.recv().await.is_some() {}
    }
}

fn leaky() -> Program {
    let idle = Idle::default();
    Box::pin(requests(move |n| {
        let idle = Arc::clone(&idle);
        async move {
            let (log, lines) = mpsc::channel(1);
            let log = Log::new(log.into());
            for line in 0..WRITERS {
                tokio::spawn(append_locked(Arc::clone(&log), line));
            }
            drop(log);
            read(n, lines, idle).await;
        }
    }))
}

async fn append_locked(log: Log, line: Line) {
    let log = log.lock().await;
    let _is_connected = log.send(line).await;
}

fn fixed() -> Program {
    let idle = Idle::default();
    Box::pin(requests(move |n| {
        let idle = Arc::clone(&idle);
        async move {
            let (log, lines) = mpsc::channel(1);
            let log = Log::new(log.into());
            for line in 0..WRITERS {
                tokio::spawn(append(Arc::clone(&log), line));
            }
            drop(log);
            read(n, lines, idle).await;
        }
    }))
}

/// A line that the client does not take in time is lost.
async fn append(log: Log, line: Line) {
    let sender = log.lock().await.clone();
    let _is_taken = sender.send_timeout(line, PATIENCE).await;
}
