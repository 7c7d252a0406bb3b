//! A handler asks every replica and waits for all of its tasks; one of them never ends.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::{PATIENCE, goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "JoinSet on a stuck task",
    source: "design",
    leaky,
    fixed,
    function: "join_set_stuck::gather_all",
    waits: &[Wait::Join],
};

pub(crate) const MEMBER: Pattern = Pattern {
    name: "the stuck task of a JoinSet",
    function: "join_set_stuck::ask_patiently",
    waits: &[Wait::ChanReceive],
    ..PATTERN
};

type Answer = u64;

/// The replicas that have been asked and are silent.
type Silent = Arc<Mutex<Vec<oneshot::Sender<Answer>>>>;

const REPLICAS: u64 = 3;

fn send_question(n: u64, replica: u64, silent: &Silent) -> oneshot::Receiver<Answer> {
    let (sender, answer) = oneshot::channel();
    if goes_wrong(n) && replica == 0 {
        silent.lock().push(sender);
    } else {
        sender.send(replica).expect("the receiver is here");
    }
    answer
}

fn leaky() -> Program {
    let silent = Silent::default();
    Box::pin(requests(move |n| gather_all(n, Arc::clone(&silent))))
}

async fn gather_all(n: u64, silent: Silent) {
    let mut questions = JoinSet::new();
    for replica in 0..REPLICAS {
        questions.spawn(ask_patiently(send_question(n, replica, &silent)));
    }
    while questions.join_next().await.is_some() {}
}

async fn ask_patiently(answer: oneshot::Receiver<Answer>) -> Option<Answer> {
    answer.await.ok()
}

fn fixed() -> Program {
    let silent = Silent::default();
    Box::pin(requests(move |n| gather_some(n, Arc::clone(&silent))))
}

async fn gather_some(n: u64, silent: Silent) {
    // Aborts what is left of it when it is dropped.
    let mut questions = JoinSet::new();
    for replica in 0..REPLICAS {
        questions.spawn(ask(send_question(n, replica, &silent)));
    }
    while let Ok(Some(_)) = timeout(PATIENCE, questions.join_next()).await {}
}

async fn ask(answer: oneshot::Receiver<Answer>) -> Option<Answer> {
    answer.await.ok()
}
