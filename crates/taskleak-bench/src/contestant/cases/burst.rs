//! Many tasks at once, in waves.

use super::spawn::join;
use super::{Course, rest};
use crate::contestant::instrument::Instrument;

/// The tasks of a wave.
const WAVE: u32 = 1_000_000;
/// Those of the wave that rests.
pub(super) const RESTING: u32 = 3;

pub(super) async fn burst<I: Instrument>(course: Course) {
    I::call("waves", join::<I>(waves::<I>(course))).await;
}

async fn waves<I: Instrument>(course: Course) {
    let mut left = course.operations;
    while left > 0 {
        let size = left.min(WAVE);
        I::call("wave", wave::<I, _>(size, || async {})).await;
        left -= size;
    }
    if course.rests {
        I::call("wave", wave::<I, _>(RESTING, rest::<I>)).await;
    }
}

/// On one thread none of them is polled before all are there.
async fn wave<I: Instrument, F: Future<Output = ()> + Send + 'static>(
    size: u32,
    future: fn() -> F,
) {
    let tasks: Vec<_> = (0..size).map(|_| I::spawn("task", future())).collect();
    for task in tasks {
        I::leaf("JoinHandle", task).await.expect("no task panics");
    }
}
