//! A spawn with its join, at the root of a `block_on` and deep in a task.

use std::pin::Pin;

use super::{Course, rest};
use crate::contestant::instrument::Instrument;

/// How deep in async fns the deep one spawns.
pub(crate) const DEPTH: usize = 10;

pub(super) async fn spawn<I: Instrument>(course: Course) {
    for _ in 0..course.operations {
        I::call("join", join::<I>(async {})).await;
    }
    if course.rests {
        I::call("join", join::<I>(rest::<I>())).await;
    }
}

pub(super) async fn spawn_deep<I: Instrument>(course: Course) {
    let levels = deep::<I>(DEPTH, spawn::<I>(course));
    I::call("join", join::<I>(levels)).await;
}

/// Spawns a task and waits for its end.
pub(super) async fn join<I: Instrument>(future: impl Future<Output = ()> + Send + 'static) {
    let task = I::spawn("task", future);
    I::leaf("JoinHandle", task).await.expect("no task panics");
}

type Level = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The future at the end of so many async fns. They are boxed, because the compiler would make
/// one frame of them all; that is done once for all operations.
fn deep<I: Instrument>(
    levels: usize,
    innermost: impl Future<Output = ()> + Send + 'static,
) -> Level {
    (0..levels).fold(Box::pin(innermost), |inner, _| Box::pin(level::<I>(inner)))
}

async fn level<I: Instrument>(inner: Level) {
    I::call("level", inner).await;
}
