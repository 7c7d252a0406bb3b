//! The kinds of tasks in a crowd: ten that differ in what they wait for, in their functions and
//! in who spawned them, and what an answer has to say of each.
//!
//! None of them ever ends, and none is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// For the timers: within what tokio's wheel can hold.
const LONG: Duration = Duration::from_secs(60 * 60 * 24 * 30);

/// A kind of task, as an answer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kind<'a> {
    /// What it waits for, in the words of a text: `chan receive (tokio::sync::mpsc)`.
    pub(crate) wait: &'a str,
    /// The innermost visible function of its await stack.
    pub(crate) function: &'a str,
    /// The innermost visible function of the stack of its spawn.
    pub(crate) creator: &'a str,
}

macro_rules! kinds {
    ($($wait:literal $function:ident $creator:ident,)*) => {
        [$(Kind {
            wait: $wait,
            function: concat!(module_path!(), "::", stringify!($function)),
            creator: concat!(module_path!(), "::", stringify!($creator)),
        }),*]
    };
}

/// All of them. There are equally many tasks of each.
pub(crate) const ALL: [Kind<'static>; 10] = kinds! {
    "chan receive (tokio::sync::oneshot)" reply accept,
    "chan receive (tokio::sync::mpsc)" job accept,
    "chan receive (tokio::sync::watch)" settings accept,
    "chan receive (tokio::sync::broadcast)" news accept,
    "chan send (tokio::sync::mpsc)" hand_over schedule,
    "sleep (tokio::time::Sleep)" nap schedule,
    "select (chan receive, sleep)" reply_in_time schedule,
    "join (tokio::task::JoinHandle)" child supervise,
    "notify (tokio::sync::Notify)" stop supervise,
    "semaphore acquire (tokio::sync::Semaphore)" permit supervise,
};

/// What the tasks wait on, where it is not a thing of their own.
pub(crate) struct Things {
    /// How many tasks have begun.
    begun: AtomicUsize,
    full: mpsc::Sender<()>,
    _unread: mpsc::Receiver<()>,
    settings: watch::Sender<()>,
    news: broadcast::Sender<()>,
    stop: Notify,
    permits: Semaphore,
}

impl Things {
    pub(crate) fn new() -> Things {
        let (full, unread) = mpsc::channel(1);
        let sent = full.try_send(());
        debug_assert!(sent.is_ok(), "a new channel has room for one");
        Things {
            begun: AtomicUsize::new(0),
            full,
            _unread: unread,
            settings: watch::Sender::new(()),
            news: broadcast::Sender::new(1),
            stop: Notify::new(),
            permits: Semaphore::new(0),
        }
    }

    /// How many tasks have begun; each of them waits, or is about to.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }
}

/// Spawns so many tasks of each kind, from a task.
pub(crate) async fn start(things: Arc<Things>, of_each: usize) {
    for _ in 0..of_each {
        let child_of = accept(&things).await;
        schedule(&things).await;
        supervise(&things, child_of).await;
    }
}

async fn accept(things: &Arc<Things>) -> JoinHandle<()> {
    tokio::spawn(job(Arc::clone(things)));
    tokio::spawn(settings(Arc::clone(things)));
    tokio::spawn(news(Arc::clone(things)));
    tokio::spawn(session(Arc::clone(things)))
}

async fn schedule(things: &Arc<Things>) {
    tokio::spawn(hand_over(Arc::clone(things)));
    tokio::spawn(nap(Arc::clone(things)));
    tokio::spawn(reply_in_time(Arc::clone(things)));
}

async fn supervise(things: &Arc<Things>, of: JoinHandle<()>) {
    tokio::spawn(child(Arc::clone(things), of));
    tokio::spawn(stop(Arc::clone(things)));
    tokio::spawn(permit(Arc::clone(things)));
}

async fn session(things: Arc<Things>) {
    request(things).await;
}

async fn request(things: Arc<Things>) {
    reply(things).await;
}

async fn reply(things: Arc<Things>) {
    things.begin();
    // The task holds the sender itself, so the channel never closes.
    let (_sender, receiver) = oneshot::channel::<()>();
    let _never = receiver.await;
}

async fn job(things: Arc<Things>) {
    things.begin();
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    receiver.recv().await;
}

async fn settings(things: Arc<Things>) {
    let mut settings = things.settings.subscribe();
    things.begin();
    let _never = settings.changed().await;
}

async fn news(things: Arc<Things>) {
    let mut news = things.news.subscribe();
    things.begin();
    let _never = news.recv().await;
}

async fn hand_over(things: Arc<Things>) {
    things.begin();
    let _never = things.full.send(()).await;
}

async fn nap(things: Arc<Things>) {
    things.begin();
    tokio::time::sleep(LONG).await;
}

async fn reply_in_time(things: Arc<Things>) {
    things.begin();
    let (_sender, receiver) = oneshot::channel::<()>();
    tokio::select! {
        _never = receiver => {}
        () = tokio::time::sleep(LONG) => {}
    }
}

async fn child(things: Arc<Things>, of: JoinHandle<()>) {
    things.begin();
    let _never = of.await;
}

async fn stop(things: Arc<Things>) {
    things.begin();
    things.stop.notified().await;
}

async fn permit(things: Arc<Things>) {
    things.begin();
    let _never = things.permits.acquire().await;
}
