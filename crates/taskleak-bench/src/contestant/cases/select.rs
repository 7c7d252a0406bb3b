//! A ping-pong in which each waits for a message or for an hour to be over, as a service does
//! that closes what is idle.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::spawn::join;
use super::{Course, rest};
use crate::contestant::instrument::Instrument;

const IDLE: Duration = Duration::from_secs(3600);

pub(super) async fn select<I: Instrument>(course: Course) {
    let (to_pong, from_ping) = mpsc::channel(1);
    let (to_ping, from_pong) = mpsc::channel(1);
    let pong = I::spawn("pong", echo::<I>(from_ping, to_ping));
    I::call("ping", join::<I>(call::<I>(to_pong, from_pong, course))).await;
    I::leaf("JoinHandle", pong).await.expect("no pong panics");
}

async fn call<I: Instrument>(to: mpsc::Sender<u32>, mut from: mpsc::Receiver<u32>, course: Course) {
    for round in 0..course.operations {
        let _echo_is_gone = I::leaf("send", to.send(round)).await;
        I::call("next", next::<I>(&mut from)).await;
    }
    if course.rests {
        I::call("rest", rest::<I>()).await;
    }
}

async fn echo<I: Instrument>(mut from: mpsc::Receiver<u32>, to: mpsc::Sender<u32>) {
    while let Some(round) = I::call("next", next::<I>(&mut from)).await {
        let _caller_is_gone = I::leaf("send", to.send(round)).await;
    }
}

async fn next<I: Instrument>(from: &mut mpsc::Receiver<u32>) -> Option<u32> {
    tokio::select! {
        message = I::leaf("recv", from.recv()) => message,
        () = I::leaf("sleep", sleep(IDLE)) => None,
    }
}
