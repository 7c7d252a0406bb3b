//! A task awaits a sub-task, and keeps the permit that the sub-task needs.
//!
//! github.com/jdx/mise/pull/8976, "fix(task): prevent deadlock when MISE_JOBS=1 with sub-task
//! references": with one permit in all, the parent took it and waited for the sub-task.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Semaphore;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "child needs permit",
    source: "github.com/jdx/mise/pull/8976",
    leaky: || service(run_with_permit),
    fixed: || service(run),
    function: "child_needs_permit::run_with_permit",
    waits: &[Wait::Join],
};

pub(crate) const CHILD: Pattern = Pattern {
    name: "child needs permit: the child",
    function: "child_needs_permit::run_behind_parent",
    waits: &[Wait::Semaphore],
    ..PATTERN
};

fn service<R>(run: fn(Arc<Semaphore>) -> R) -> Program
where
    R: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let jobs = if goes_wrong(n) { 1 } else { 2 };
        tokio::spawn(run(Arc::new(Semaphore::new(jobs))));
    }))
}

async fn run_with_permit(jobs: Arc<Semaphore>) {
    let _permit = jobs.acquire().await.unwrap();
    let sub_task = tokio::spawn(run_behind_parent(Arc::clone(&jobs)));
    sub_task.await.unwrap();
}

async fn run_behind_parent(jobs: Arc<Semaphore>) {
    let _permit = jobs.acquire().await.unwrap();
}

async fn run(jobs: Arc<Semaphore>) {
    let permit = jobs.acquire().await.unwrap();
    let sub_task = tokio::spawn(run_after_parent(Arc::clone(&jobs)));
    drop(permit);
    sub_task.await.unwrap();
    let _permit = jobs.acquire().await.unwrap();
}

async fn run_after_parent(jobs: Arc<Semaphore>) {
    let _permit = jobs.acquire().await.unwrap();
}
