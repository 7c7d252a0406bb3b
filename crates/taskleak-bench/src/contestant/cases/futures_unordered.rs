//! A task that polls many futures by `FuturesUnordered`, and a peer that sends each of them what
//! it waits for.

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::unconstrained;

use super::Course;
use super::spawn::join;
use crate::case::WIDTH;
use crate::contestant::instrument::Instrument;

type Wanted = Vec<oneshot::Sender<()>>;

pub(super) async fn futures_unordered<I: Instrument>(course: Course) {
    let (to_peer, from_task) = mpsc::channel(1);
    let peer = I::spawn("answer", answer::<I>(from_task));
    // With tokio's budget it would poll but 128 futures before the peer sends.
    let gather = unconstrained(gather::<I>(to_peer, course));
    I::call("gather", join::<I>(gather)).await;
    I::leaf("JoinHandle", peer).await.expect("no peer panics");
}

async fn gather<I: Instrument>(to_peer: mpsc::Sender<Wanted>, course: Course) {
    for _ in 0..course.operations / WIDTH {
        let (wanted, mut futures) = futures::<I>();
        let _peer_is_gone = I::leaf("send", to_peer.send(wanted)).await;
        while I::leaf("next", futures.next()).await.is_some() {}
    }
    if course.rests {
        let (_wanted, mut futures) = futures::<I>();
        I::leaf("next", futures.next()).await;
    }
}

fn futures<I: Instrument>() -> (
    Wanted,
    FuturesUnordered<impl Future<Output = Result<(), oneshot::error::RecvError>> + Send>,
) {
    (0..WIDTH)
        .map(|_| {
            let (wanted, message) = oneshot::channel();
            (wanted, I::leaf("message", message))
        })
        .unzip()
}

async fn answer<I: Instrument>(mut from_task: mpsc::Receiver<Wanted>) {
    while let Some(wanted) = I::leaf("recv", from_task.recv()).await {
        for one in wanted {
            let _nobody_waits = one.send(());
        }
    }
}
