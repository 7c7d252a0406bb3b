//! A task that parks a million times a second: alone of all in its process, because its feeder
//! is the root future, which yields and never waits.

use std::hint;

use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::{Course, rest};
use crate::contestant::instrument::Instrument;

pub(super) async fn parks<I: Instrument>(course: Course) {
    let (to_task, from_feeder) = mpsc::channel(1);
    let task = I::spawn("receive", receive::<I>(from_feeder, course.work));
    for round in 0..course.operations {
        to_task.try_send(round).expect("the task took the last one");
        I::leaf("yield", yield_now()).await;
    }
    if course.rests {
        I::call("rest", rest::<I>()).await;
    }
    drop(to_task);
    I::leaf("JoinHandle", task).await.expect("no task panics");
}

async fn receive<I: Instrument>(mut from: mpsc::Receiver<u32>, work: u32) {
    while let Some(round) = I::leaf("recv", from.recv()).await {
        hint::black_box((0..work).fold(round, step));
    }
}

/// What depends on the step before, so that the steps take a time each.
fn step(sum: u32, n: u32) -> u32 {
    hint::black_box(sum).wrapping_mul(1_664_525).wrapping_add(n)
}
