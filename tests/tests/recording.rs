//! What is recorded of tasks of every kind, under each front end.
//!
//! The global subscriber is set once in a process, so the first test runs this binary again for
//! every other front end; the variable [`FRONT_END`] says which. `.ci/run` runs it with the
//! oldest tokio too, so nothing newer is used here. Tests find their tasks by the name of the
//! async fn that waits, and wait for conditions, never for a time.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use taskleak::taskleak_profile::snapshot::{Frame, Group, Kind, State, Wait};
use taskleak::{BuildWatched, Detector, Snapshot, WatchedRuntime};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const FRONT_END: &str = "TASKLEAK_TEST_FRONT_END";
const OTHER_FRONT_ENDS: [&str; 3] = ["layer", "layer beside another", "wrapped registry"];

static DETECTOR: LazyLock<Detector> = LazyLock::new(|| {
    let registry = tracing_subscriber::registry;
    let detector = match std::env::var(FRONT_END).as_deref() {
        Err(_) => Detector::builder().install().unwrap(),
        Ok("layer") => {
            let (layer, detector) = Detector::builder().layer();
            registry().with(layer).init();
            detector
        }
        // The other one wants every span, tokio's too.
        Ok("layer beside another") => {
            let (layer, detector) = Detector::builder().layer();
            registry().with(layer).with(Nothing).init();
            detector
        }
        Ok("wrapped registry") => {
            let (subscriber, detector) = Detector::builder().wrap(registry().with(Nothing));
            subscriber.init();
            detector
        }
        Ok(other) => panic!("unknown front end {other}"),
    };
    detector.verify().unwrap();
    detector
});

/// A layer that wants every span and event, and does nothing with them.
struct Nothing;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Nothing {}

#[test]
fn under_every_other_front_end() {
    if std::env::var_os(FRONT_END).is_some() {
        return;
    }
    for front_end in OTHER_FRONT_ENDS {
        let child = Command::new(std::env::current_exe().unwrap())
            .env(FRONT_END, front_end)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{front_end}: {told}");
        assert!(told.contains("test result: ok"), "{front_end}: {told}");
    }
}

fn current_thread(name: &str) -> WatchedRuntime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().name(name);
    builder.build_watched(&DETECTOR).unwrap()
}

fn multi_thread(name: &str) -> WatchedRuntime {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().worker_threads(2).name(name);
    builder.build_watched(&DETECTOR).unwrap()
}

/// Looks until the snapshot gives something.
fn until<T>(what: &str, look: impl Fn(&Snapshot) -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let snapshot = DETECTOR.snapshot_with_tasks();
        if let Some(found) = look(&snapshot) {
            return found;
        }
        assert!(Instant::now() < give_up, "never seen: {what}\n{snapshot}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a frame that is shown is of this function. A hidden one may have the same name: every
/// stack of a wait begins in the recorder's own `parks`.
fn mentions(stack: &[Frame], function: &str) -> bool {
    shown(stack).any(|frame| is_of(frame, function))
}

fn shown(stack: &[Frame]) -> impl Iterator<Item = &Frame> {
    stack.iter().filter(|frame| !frame.hidden)
}

fn is_of(frame: &Frame, function: &str) -> bool {
    frame.function.rsplit("::").next() == Some(function)
}

/// Whether this is the innermost function that is shown.
fn leaf_is(stack: &[Frame], function: &str) -> bool {
    let leaf = shown(stack).next();
    leaf.is_some_and(|frame| is_of(frame, function))
}

/// The groups of tasks that wait in this function.
fn waiting_in<'a>(snapshot: &'a Snapshot, function: &str) -> Vec<&'a Group> {
    let waits = |group: &&Group| group.waiting_at.iter().any(|at| mentions(at, function));
    snapshot.groups.iter().filter(waits).collect()
}

/// The only group of tasks that wait in this function, once there are that many.
fn parked(function: &str, count: u64) -> Group {
    until(function, |snapshot| {
        match waiting_in(snapshot, function).as_slice() {
            [group] if group.count == count => Some((*group).clone()),
            _ => None,
        }
    })
}

fn gone(function: &str) {
    until(&format!("the end of {function}"), |snapshot| {
        waiting_in(snapshot, function).is_empty().then_some(())
    });
}

#[test]
fn a_spawned_task_tells_where_it_waits_and_who_spawned_it() {
    async fn receives(mut from: mpsc::Receiver<()>) {
        from.recv().await;
    }
    fn spawns(from: mpsc::Receiver<()>) {
        tokio::spawn(receives(from));
    }
    let runtime = multi_thread("recording-spawn");
    let (to, from) = mpsc::channel(1);
    runtime.block_on(async { spawns(from) });
    let group = parked("receives", 1);
    assert_eq!(group.kind, Kind::Task);
    assert_eq!(group.state, State::Waiting);
    assert_eq!(group.wait, [Wait::ChanReceive]);
    assert_eq!(group.primitives, ["tokio::sync::mpsc"]);
    assert_eq!(group.runtime, "recording-spawn");
    assert!(
        leaf_is(&group.waiting_at[0], "receives"),
        "the leaf is the task's own fn"
    );
    assert!(
        leaf_is(&group.created_by, "spawns"),
        "{:?}",
        group.created_by
    );
    let test = "a_spawned_task_tells_where_it_waits_and_who_spawned_it";
    assert!(mentions(&group.created_by, test), "{:?}", group.created_by);
    assert!(group.spawned_at.unwrap().file.ends_with("recording.rs"));
    drop(to);
    gone("receives");
}

#[test]
fn blocked_times_grow() {
    async fn grows(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let runtime = current_thread("recording-grows");
    let wake = Arc::new(Notify::new());
    runtime.spawn(grows(Arc::clone(&wake)));
    runtime.block_on(tokio::task::yield_now());
    let early = parked("grows", 1).blocked_ms.unwrap().max;
    until("a longer wait", |snapshot| {
        let group = *waiting_in(snapshot, "grows").first()?;
        (group.blocked_ms?.min > early + 50).then_some(())
    });
}

#[test]
fn a_join_set_spawns_tasks() {
    async fn in_join_set(from: oneshot::Receiver<()>) {
        let _closed = from.await;
    }
    let runtime = current_thread("recording-join-set");
    let mut set = JoinSet::new();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel()).unzip();
    for from in receivers {
        set.spawn_on(in_join_set(from), runtime.handle());
    }
    runtime.block_on(tokio::task::yield_now());
    let group = parked("in_join_set", 3);
    assert_eq!(
        (group.kind, group.wait),
        (Kind::Task, vec![Wait::ChanReceive])
    );
    drop(senders);
    runtime.block_on(async { while set.join_next().await.is_some() {} });
    gone("in_join_set");
}

#[test]
fn a_local_set_spawns_local_tasks() {
    async fn in_local_set(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let runtime = current_thread("recording-local");
    let local = LocalSet::new();
    let wake = Arc::new(Notify::new());
    let task = local.spawn_local(in_local_set(Arc::clone(&wake)));
    runtime.block_on(local.run_until(tokio::task::yield_now()));
    let group = parked("in_local_set", 1);
    assert_eq!((group.kind, group.wait), (Kind::Local, vec![Wait::Notify]));
    wake.notify_one();
    runtime.block_on(local.run_until(task)).unwrap();
    gone("in_local_set");
}

#[test]
fn a_blocking_closure_occupies_a_thread() {
    fn spawns_blocking(until: Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
        tokio::task::spawn_blocking(move || {
            while !until.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
        })
    }
    let created = |group: &&Group| mentions(&group.created_by, "spawns_blocking");
    let runtime = multi_thread("recording-blocking");
    let done = Arc::new(AtomicBool::new(false));
    let task = {
        let _on_it = runtime.enter();
        spawns_blocking(Arc::clone(&done))
    };
    let state = until("a blocking closure", |snapshot| {
        let group = snapshot.groups.iter().find(created)?;
        (group.kind == Kind::Blocking && group.state == State::Blocking).then_some(group.state)
    });
    assert_eq!(state, State::Blocking);
    done.store(true, Ordering::Release);
    runtime.block_on(task).unwrap();
    until("the end of the closure", |snapshot| {
        snapshot.groups.iter().find(created).is_none().then_some(())
    });
}

#[test]
fn a_block_on_is_listed_while_it_runs() {
    fn blocks_on(runtime: &WatchedRuntime, done: oneshot::Receiver<()>) {
        runtime.block_on(async { done.await.ok() });
    }
    let blocking =
        |group: &&Group| group.kind == Kind::BlockOn && mentions(&group.created_by, "blocks_on");
    let (finish, done) = oneshot::channel();
    let thread = thread::spawn(|| blocks_on(&current_thread("recording-block-on"), done));
    let group = until("a block_on", |snapshot| {
        let group = snapshot.groups.iter().find(blocking)?;
        (group.state == State::Waiting).then(|| group.clone())
    });
    assert!(
        group.wait.is_empty(),
        "its wakers can't be seen: {:?}",
        group.wait
    );
    finish.send(()).unwrap();
    thread.join().unwrap();
    until("the end of the block_on", |snapshot| {
        snapshot
            .groups
            .iter()
            .find(blocking)
            .is_none()
            .then_some(())
    });
}

#[test]
fn tasks_carry_the_runtime_that_polls_them() {
    async fn parks(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let (one, two) = (
        current_thread("recording-one"),
        multi_thread("recording-two"),
    );
    // Not watched; it has a name all the same.
    let three = Builder::new_multi_thread()
        .worker_threads(1)
        .name("recording-three")
        .build();
    let three = three.unwrap();
    let wake = Arc::new(Notify::new());
    for handle in [one.handle(), two.handle(), three.handle()] {
        handle.spawn(parks(Arc::clone(&wake)));
    }
    one.block_on(tokio::task::yield_now());
    let names: HashSet<String> = until("three runtimes", |snapshot| {
        let groups = waiting_in(snapshot, "parks");
        (groups.len() == 3).then(|| groups.iter().map(|group| group.runtime.clone()).collect())
    });
    let expected = ["recording-one", "recording-two", "recording-three"];
    assert_eq!(names, expected.map(str::to_owned).into());
    let alive = one.shutdown_timeout(Duration::from_secs(1));
    assert_eq!(alive.totals.tasks, 1, "{alive}");
    assert_eq!(waiting_in(&alive, "parks").len(), 1);
    drop((two, three));
    gone("parks");
}

#[test]
fn a_thread_that_drives_several_runtimes_mixes_up_none() {
    async fn is_driven(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let one = current_thread("recording-drive-one");
    let two = current_thread("recording-drive-two");
    let many = multi_thread("recording-drive-many");
    let wake = Arc::new(Notify::new());
    let driven = || is_driven(Arc::clone(&wake));
    let turns = async || {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..2 {
        one.block_on(async {
            tokio::spawn(driven());
            two.handle().spawn(driven());
            turns().await;
        });
        two.block_on(turns());
    }
    many.block_on(async {
        let (one, two) = (one.handle().clone(), driven());
        let within = tokio::spawn(async move {
            tokio::task::block_in_place(|| {
                one.block_on(async { drop(one.spawn(two)) });
                // Its task is never polled, and dropped by this worker.
                let gone = current_thread("recording-drive-gone");
                gone.block_on(async { drop(tokio::spawn(async {})) });
            });
        });
        within.await.unwrap();
        tokio::spawn(driven());
    });
    // Polls what the `block_on` within spawned.
    one.block_on(turns());
    let counts: HashMap<String, u64> = until("six tasks", |snapshot| {
        let groups = waiting_in(snapshot, "is_driven");
        let counts = groups.iter().map(|group| group.count);
        (counts.sum::<u64>() == 6).then(|| {
            let mut counts = HashMap::new();
            for group in groups {
                *counts.entry(group.runtime.clone()).or_default() += group.count;
            }
            counts
        })
    });
    let expected = [
        ("recording-drive-one", 3),
        ("recording-drive-two", 2),
        ("recording-drive-many", 1),
    ];
    assert_eq!(
        counts,
        expected
            .map(|(name, count)| (name.to_owned(), count))
            .into()
    );
    drop((one, two, many));
    gone("is_driven");
}

#[test]
fn a_child_knows_its_parent() {
    async fn child(wake: Arc<Notify>) {
        wake.notified().await;
    }
    async fn parent(wake: Arc<Notify>) {
        tokio::spawn(child(Arc::clone(&wake)));
        wake.notified().await;
    }
    fn far_above(runtime: &WatchedRuntime, wake: Arc<Notify>) {
        runtime.spawn(parent(wake));
    }
    let runtime = multi_thread("recording-parent");
    let wake = Arc::new(Notify::new());
    far_above(&runtime, Arc::clone(&wake));
    let (child, parent) = (parked("child", 1), parked("parent", 1));
    let id = child.tasks[0];
    let task = until("the child", |snapshot| snapshot.tasks.get(id));
    assert_eq!(task.parent, Some(parent.tasks[0]));
    assert!(
        leaf_is(&child.created_by, "parent"),
        "{:?}",
        child.created_by
    );
    assert!(
        leaf_is(&parent.created_by, "far_above"),
        "{:?}",
        parent.created_by
    );
    wake.notify_waiters();
    gone("child");
}

#[test]
fn a_select_waits_on_each_of_its_arms() {
    async fn selects(mut from: mpsc::Receiver<()>) {
        tokio::select! {
            _ = from.recv() => {}
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }
    let runtime = multi_thread("recording-select");
    let (to, from) = mpsc::channel(1);
    runtime.spawn(selects(from));
    assert_eq!(parked("selects", 1).wait, [Wait::ChanReceive, Wait::Sleep]);
    drop(to);
    gone("selects");
}

#[test]
fn a_task_without_wakers_waits_for_nothing() {
    async fn never() {
        pending::<()>().await;
    }
    let runtime = multi_thread("recording-never");
    let task = runtime.spawn(never());
    let named = |group: &&Group| group.runtime == "recording-never" && group.kind == Kind::Task;
    let group = until("a task without wakers", |snapshot| {
        let group = snapshot.groups.iter().find(named)?;
        (group.state == State::Waiting).then(|| group.clone())
    });
    assert_eq!(group.wait, [Wait::Nothing]);
    task.abort();
    until("the end of the aborted task", |snapshot| {
        snapshot.groups.iter().find(named).is_none().then_some(())
    });
}

#[test]
fn a_task_that_spins_is_running() {
    async fn spins(done: Arc<AtomicBool>) {
        while !done.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
    let runtime = multi_thread("recording-spins");
    let done = Arc::new(AtomicBool::new(false));
    let task = runtime.spawn(spins(Arc::clone(&done)));
    let named = |group: &&Group| group.runtime == "recording-spins" && group.kind == Kind::Task;
    until("a running task", |snapshot| {
        let group = snapshot.groups.iter().find(named)?;
        (group.state == State::Running).then_some(())
    });
    done.store(true, Ordering::Release);
    runtime.block_on(task).unwrap();
}

#[test]
fn a_woken_task_is_runnable_until_it_is_polled() {
    async fn woken(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let runtime = current_thread("recording-woken");
    let wake = Arc::new(Notify::new());
    let task = runtime.spawn(woken(Arc::clone(&wake)));
    runtime.block_on(tokio::task::yield_now());
    let id = parked("woken", 1).tasks[0];
    // Nobody drives the runtime now.
    wake.notify_one();
    let state = until("the task", |snapshot| snapshot.tasks.get(id)).state;
    assert_eq!(state, State::Runnable);
    runtime.block_on(task).unwrap();
    gone("woken");
}

#[test]
fn aborted_and_panicked_tasks_are_gone() {
    async fn aborted() {
        let (_to, mut from) = mpsc::channel::<()>(1);
        from.recv().await;
    }
    async fn panics(wake: Arc<Notify>) {
        wake.notified().await;
        panic!("on purpose");
    }
    let runtime = multi_thread("recording-abort");
    let abort = runtime.spawn(aborted());
    let wake = Arc::new(Notify::new());
    let panic = runtime.spawn(panics(Arc::clone(&wake)));
    parked("aborted", 1);
    parked("panics", 1);
    abort.abort();
    wake.notify_one();
    assert!(runtime.block_on(abort).unwrap_err().is_cancelled());
    assert!(runtime.block_on(panic).unwrap_err().is_panic());
    gone("aborted");
    gone("panics");
}

#[test]
fn a_task_is_gone_though_spans_that_it_made_are_open() {
    async fn child_in_span(wake: Arc<Notify>) {
        wake.notified().await;
    }
    async fn makes_spans(wake: Arc<Notify>) -> (tracing::Span, tokio::task::JoinHandle<()>) {
        let child = tokio::spawn(child_in_span(wake).instrument(tracing::info_span!("child")));
        tokio::task::yield_now().await;
        (tracing::info_span!("open").or_current(), child)
    }
    let runtime = multi_thread("recording-spans");
    let wake = Arc::new(Notify::new());
    let (_open, child) =
        runtime.block_on(async { tokio::spawn(makes_spans(Arc::clone(&wake))).await.unwrap() });
    until("the child alone", |snapshot| {
        let mine = |group: &&Group| group.runtime == "recording-spans" && group.kind == Kind::Task;
        let tasks: u64 = snapshot
            .groups
            .iter()
            .filter(mine)
            .map(|group| group.count)
            .sum();
        (tasks == 1).then_some(())
    });
    wake.notify_one();
    runtime.block_on(child).unwrap();
}

#[test]
fn tasks_of_a_dropped_runtime_are_gone() {
    async fn outlived() {
        let (_to, mut from) = mpsc::channel::<()>(1);
        from.recv().await;
    }
    let runtime = multi_thread("recording-dropped");
    for _ in 0..50 {
        runtime.spawn(outlived());
    }
    parked("outlived", 50);
    drop(runtime);
    gone("outlived");
}

#[test]
fn a_nested_task_does_not_take_the_stacks_of_the_outer_one() {
    async fn inner_of_two(wake: Arc<Notify>) {
        wake.notified().await;
    }
    async fn outer_of_two(wake: Arc<Notify>) {
        // Polls its local tasks inside its own poll.
        let local = LocalSet::new();
        let task = local.spawn_local(inner_of_two(wake));
        local.run_until(task).await.unwrap();
    }
    let runtime = current_thread("recording-nested");
    let wake = Arc::new(Notify::new());
    let outer = LocalSet::new();
    let task = outer.spawn_local(outer_of_two(Arc::clone(&wake)));
    runtime.block_on(outer.run_until(async {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }));
    assert_eq!(parked("inner_of_two", 1).wait, [Wait::Notify]);
    let waits = parked("outer_of_two", 1).wait;
    assert!(waits.contains(&Wait::SubExecutor), "{waits:?}");
    wake.notify_one();
    runtime.block_on(outer.run_until(task)).unwrap();
}

#[test]
fn a_name_is_kept() {
    async fn named(wake: Arc<Notify>) {
        wake.notified().await;
    }
    let runtime = multi_thread("recording-named");
    let wake = Arc::new(Notify::new());
    let task = tokio::task::Builder::new()
        .name("courier")
        .spawn_on(named(Arc::clone(&wake)), runtime.handle())
        .unwrap();
    assert_eq!(parked("named", 1).name, "courier");
    wake.notify_one();
    runtime.block_on(task).unwrap();
}

#[test]
fn no_task_is_listed_twice_or_after_its_end() {
    async fn short(id: u64, ended: Arc<std::sync::Mutex<HashSet<u64>>>) {
        tokio::task::yield_now().await;
        ended.lock().unwrap().insert(id);
    }
    let runtime = multi_thread("recording-churn");
    let stop = Arc::new(AtomicBool::new(false));
    let spawner = {
        let stop = Arc::clone(&stop);
        runtime.spawn(async move {
            let mut spawned = 0u64;
            while !stop.load(Ordering::Acquire) {
                let ended = Arc::default();
                let tasks: Vec<_> = (0..50)
                    .map(|id| tokio::spawn(short(id, Arc::clone(&ended))))
                    .collect();
                spawned += tasks.len() as u64;
                for task in tasks {
                    task.await.unwrap();
                }
            }
            spawned
        })
    };
    for _ in 0..50 {
        let snapshot = DETECTOR.snapshot_with_tasks();
        let ids: Vec<u64> = snapshot.tasks.iter().map(|task| task.id).collect();
        let distinct: HashSet<u64> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), ids.len(), "an id was listed twice");
        let in_groups: u64 = snapshot.groups.iter().map(|group| group.count).sum();
        assert_eq!(in_groups, snapshot.totals.tasks);
    }
    stop.store(true, Ordering::Release);
    assert!(runtime.block_on(spawner).unwrap() > 0);
    until("an empty runtime", |snapshot| {
        let mine = |group: &&Group| group.runtime == "recording-churn";
        snapshot.groups.iter().find(mine).is_none().then_some(())
    });
}
