//! Two tasks that send each other messages over channels of one place.

use tokio::sync::mpsc;

use super::spawn::join;
use super::{Course, rest};
use crate::contestant::instrument::Instrument;

pub(super) async fn ping_pong<I: Instrument>(course: Course) {
    let (to_pong, from_ping) = mpsc::channel(1);
    let (to_ping, from_pong) = mpsc::channel(1);
    let pong = I::spawn("pong", echo::<I>(from_ping, to_ping));
    I::call("ping", join::<I>(call::<I>(to_pong, from_pong, course))).await;
    I::leaf("JoinHandle", pong).await.expect("no pong panics");
}

async fn call<I: Instrument>(to: mpsc::Sender<u32>, mut from: mpsc::Receiver<u32>, course: Course) {
    for round in 0..course.operations {
        let _echo_is_gone = I::leaf("send", to.send(round)).await;
        I::leaf("recv", from.recv()).await;
    }
    if course.rests {
        I::call("rest", rest::<I>()).await;
    }
}

async fn echo<I: Instrument>(mut from: mpsc::Receiver<u32>, to: mpsc::Sender<u32>) {
    while let Some(round) = I::leaf("recv", from.recv()).await {
        let _caller_is_gone = I::leaf("send", to.send(round)).await;
    }
}
