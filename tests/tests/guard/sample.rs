//! Tests of `taskleak-sample`, fifteen that leak and their fixed twins: the ones that a guarded
//! suite would have. `driver.rs` runs them, all at once and often.
//!
//! Twins are alike in all but the leak, and most spawn the same tasks from the same place. Those
//! on the shared runtime have equal stacks too; only who started them tells their tasks apart.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use taskleak_sample::accounts::{self, Account};
use taskleak_sample::feed::Feed;
use taskleak_sample::gateway::{self, Connection};
use taskleak_sample::journal::Journal;
use taskleak_sample::ledger::{self, Entry};
use taskleak_sample::outbox::{self, Address};
use taskleak_sample::replies::Replies;
use taskleak_sample::search::{self, History};
use taskleak_sample::settings::{self, Session};
use taskleak_sample::uploads::Uploads;
use taskleak_sample::worker::Worker;
use taskleak_sample::{backend, crew, heartbeat, inbox};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::sleep;

/// So long a clean test keeps its tasks, so that its twin's are alive beside them.
const BESIDE_THE_TWIN: Duration = Duration::from_millis(200);

/// A runtime that several tests have in common; no test ends it. The first of them to run starts
/// it, with its threads.
static SHARED: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started")
});

/// What a test keeps is there after it.
fn keep<T>(kept: T) -> &'static T {
    Box::leak(Box::new(kept))
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn unclosed_range() {
    let (entries, _sum) = ledger::open_for_ever();
    book(entries).await;
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn unclosed_range_fixed() {
    let (entries, sum) = ledger::open();
    book(entries).await;
    assert_eq!(sum.await.expect("it sums"), 9);
}

async fn book(entries: tokio::sync::mpsc::Sender<Entry>) {
    for (amount, parts) in [(2, None), (4, Some(7))] {
        let booked = entries.send(Entry { amount, parts }).await;
        booked.expect("the ledger is open");
    }
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn silent_sender() {
    inbox::open("ann");
    inbox::deliver("ann", "hello").await;
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn silent_sender_fixed() {
    inbox::open("bob");
    inbox::deliver("bob", "hello").await;
    // It ends well after the body, and well within the time that it is given.
    tokio::spawn(async {
        sleep(BESIDE_THE_TWIN).await;
        inbox::close("bob");
    });
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(start_paused = true)]
async fn timeout() {
    assert_eq!(backend::ask_detached(4).await, Ok(Some(2)));
    assert!(backend::ask_detached(5).await.is_err());
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(start_paused = true)]
async fn timeout_fixed() {
    assert_eq!(backend::ask(4).await, Ok(Some(2)));
    assert!(backend::ask(5).await.is_err());
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_return() {
    let history: &History = keep(History::default());
    assert!(search::search_first(history).await.is_some());
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_return_fixed() {
    let mut hits = search::search().await;
    hits.sort_unstable();
    assert_eq!(hits, [0, 1, 2, 3]);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn select_worker() {
    let worker = SHARED.spawn(start_worker()).await;
    drop(worker.expect("the parent of the worker ends"));
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn select_worker_fixed() {
    let worker = SHARED.spawn(start_worker()).await;
    let worker = worker.expect("the parent of the worker ends");
    sleep(BESIDE_THE_TWIN).await;
    assert_eq!(worker.stop().await.expect("it works"), 3);
}

async fn start_worker() -> Worker {
    let worker = Worker::start();
    worker.hand(3).await;
    worker
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn pending() {
    let holds = spawn_blocking(|| gateway::hold_detached(Connection("ann's")));
    holds.await.expect("it spawns");
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn pending_fixed() {
    let holds = spawn_blocking(|| gateway::hold(Connection("bob's")));
    let _held = holds.await.expect("it spawns");
    sleep(BESIDE_THE_TWIN).await;
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn oneshot_kept() {
    // Dropped, it would end its tasks.
    let of_session = keep(LocalSet::new());
    let session = Rc::new(Replies::default());
    of_session
        .run_until(async {
            spawn_local(request(Rc::clone(&session), 1));
            spawn_local(request(Rc::clone(&session), 2));
            tokio::task::yield_now().await;
            session.arrived(1, "done");
            tokio::task::yield_now().await;
        })
        .await;
}

async fn request(session: Rc<Replies>, id: u64) {
    session.request(id).await;
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn oneshot_kept_fixed() {
    let of_session = keep(LocalSet::new());
    let session = Rc::new(Replies::default());
    let lost = of_session.run_until(async {
        let lost = Rc::clone(&session);
        let lost = spawn_local(async move { lost.request_patiently(2).await });
        lost.await.expect("it ends")
    });
    assert_eq!(lost.await, None);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread")]
async fn broadcast_laggard() {
    let feed = keep(Feed::new());
    let _entered = SHARED.enter();
    feed.follow();
    feed.tell(1);
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread")]
async fn broadcast_laggard_fixed() {
    let feed = Feed::new();
    let follower = {
        let _entered = SHARED.enter();
        feed.follow()
    };
    feed.tell(1);
    sleep(BESIDE_THE_TWIN).await;
    drop(feed);
    assert_eq!(follower.await.expect("it counts"), 1);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_unchanged() {
    let opens =
        tokio::spawn(async { tokio::spawn(async { settings::open_session_for_ever() }).await });
    opens.await.expect("it ends").expect("it opens");
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_unchanged_fixed() {
    let opens = tokio::spawn(async { tokio::spawn(async { Session::open() }).await });
    let _session = opens.await.expect("it ends").expect("it opens");
    sleep(BESIDE_THE_TWIN).await;
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn double_lock() {
    let account = Account::default();
    accounts::transfer_blindly(&account, &account, 5);
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn double_lock_fixed() {
    let (account, other) = (Account::default(), Account::default());
    // Detached, as its twin's: the tasks end after the body.
    accounts::transfer(&account, &account, 5);
    accounts::transfer(&account, &other, 5);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn guard_across_send() {
    let (journal, lines) = Journal::open();
    (0..4).for_each(|line| journal.write_locked(line));
    keep(lines);
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn guard_across_send_fixed() {
    let (journal, lines) = Journal::open();
    (0..4).for_each(|line| journal.write(line));
    keep(lines);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test]
async fn join_set_stuck() {
    crew::muster_for_ever();
}

#[ignore = "driver.rs runs it"]
#[taskleak::test]
async fn join_set_stuck_fixed() {
    let done = crew::muster().await;
    assert_eq!(done.expect("it musters"), 0);
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracker_unclosed() {
    let uploads: &Uploads = keep(Uploads::default());
    let uploaded = spawn_blocking(|| {
        uploads.drain_open();
        uploads.upload(3)
    });
    let uploaded = uploaded.await.expect("it spawns").await;
    assert_eq!(uploaded.expect("it uploads"), 3);
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracker_unclosed_fixed() {
    let uploads: &Uploads = keep(Uploads::default());
    let drained = spawn_blocking(|| {
        let uploaded = uploads.upload(3);
        (uploads.drain(), uploaded)
    });
    let (drained, uploaded) = drained.await.expect("it spawns");
    assert_eq!(uploaded.await.expect("it uploads"), 3);
    drained.await.expect("it waits");
}

/// As long as its clock is paused and somebody waits for it, the timer fires without a pause: the
/// time that its task is given is the processor's.
#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(start_paused = true, settle = "200ms")]
async fn looping_timer() {
    let mut heard = heartbeat::start_detached();
    let twice = heard.wait_for(|beats| *beats == 2).await;
    twice.expect("it beats");
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(start_paused = true)]
async fn looping_timer_fixed() {
    let (_beats, mut heard) = heartbeat::start();
    let often = heard.wait_for(|beats| *beats == 1_000).await;
    often.expect("it beats");
}

#[ignore = "it leaks; driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn detached_retry() {
    let sends = SHARED.spawn(send_surely(Address::default()));
    sends.await.expect("the parent of the retry ends");
}

#[ignore = "driver.rs runs it"]
#[taskleak::test(flavor = "multi_thread", worker_threads = 2)]
async fn detached_retry_fixed() {
    let address = Address::default();
    let sends = SHARED.spawn(send_surely(address.clone()));
    sends.await.expect("the parent of the retry ends");
    let sent = outbox::send(address.clone()).await;
    assert!(!sent.expect("it tries"));
    sleep(BESIDE_THE_TWIN).await;
    // What sends surely ends after the body.
    address.is_reachable_now();
}

async fn send_surely(to: Address) {
    outbox::send_surely(to);
}
