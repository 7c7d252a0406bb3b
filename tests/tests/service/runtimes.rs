//! Runtimes that are watched, and those that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use taskleak::BuildWatched;
use taskleak_profile::snapshot::{Kind, Snapshot};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::parked::Parked;
use crate::support::{count, detector, listed, runtime, until};

/// The runtimes of which the snapshot has what tokio-metrics says.
fn watched(snapshot: &Snapshot) -> Vec<&str> {
    let runtimes = snapshot.runtimes.iter();
    runtimes.map(|runtime| runtime.name.as_str()).collect()
}

#[test]
fn tasks_carry_the_name_of_their_runtime() {
    let check = |builder: &mut Builder, name: Option<&str>| {
        if let Some(name) = name {
            builder.name(name);
        }
        let (watched_one, other) = (
            builder.build_watched(detector()).unwrap(),
            builder.build().unwrap(),
        );
        let named = |runtime: &Runtime| match name {
            Some(name) => name.to_owned(),
            None => format!("runtime-{}", runtime.handle().id()),
        };
        assert_eq!(watched_one.name(), named(&watched_one));
        for runtime in [&*watched_one, &other] {
            let query = format!("runtime={}&wait=nothing", named(runtime));
            let before = count(&query);
            runtime.spawn(std::future::pending::<()>());
            runtime.block_on(yield_now());
            until(|| count(&query) == before + 1);
        }
        let snapshot = listed("");
        let expected = named(&watched_one);
        assert!(watched(&snapshot).contains(&expected.as_str()));
        if name.is_none() {
            assert!(!watched(&snapshot).contains(&named(&other).as_str()));
        }
    };
    check(&mut Builder::new_current_thread(), Some("one-thread"));
    check(&mut Builder::new_current_thread(), None);
    check(
        Builder::new_multi_thread().worker_threads(1),
        Some("some-threads"),
    );
    check(Builder::new_multi_thread().worker_threads(1), None);
}

#[test]
fn hooks_of_the_builder_still_run() {
    const HOOKS: [&str; 7] = [
        "thread start",
        "thread stop",
        "thread park",
        "thread unpark",
        "task spawn",
        "task poll",
        "task end",
    ];
    let ran: Arc<[AtomicUsize; 7]> = Arc::default();
    let hook = |number: usize| {
        let ran = Arc::clone(&ran);
        move || {
            ran[number].fetch_add(1, Ordering::Relaxed);
        }
    };
    let (spawned, polled, ended) = (hook(4), hook(5), hook(6));
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .name("hooks")
        .on_thread_start(hook(0))
        .on_thread_stop(hook(1))
        .on_thread_park(hook(2))
        .on_thread_unpark(hook(3))
        .on_task_spawn(move |_| spawned())
        .on_before_task_poll(move |_| polled())
        .on_task_terminate(move |_| ended())
        .build_watched(detector())
        .unwrap();
    let task = runtime.spawn(yield_now());
    runtime.block_on(task).expect("it only yields");
    drop(runtime);
    for (hook, ran) in HOOKS.iter().zip(ran.iter()) {
        assert!(ran.load(Ordering::Relaxed) > 0, "{hook}");
    }
}

#[test]
fn the_monitor_tells_what_the_runtime_does() {
    let runtime = runtime("monitor");
    let mut intervals = runtime.monitor().intervals();
    let first = intervals.next().expect("there is always one more");
    assert_eq!(first.workers_count, 2);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100).map(|_| tokio::spawn(yield_now())).collect();
        for task in tasks {
            task.await.expect("it only yields");
        }
    });
    // A worker hands its counts over when it parks.
    let mut polls = 0;
    until(|| {
        let interval = intervals.next().expect("there is always one more");
        polls += interval.total_polls_count;
        polls >= 100
    });
}

#[test]
fn busy_is_since_the_start_whoever_asked_before() {
    let runtime = runtime("busy");
    let busy = || {
        let runtimes = listed("limit=1").runtimes;
        let runtime = runtimes.iter().find(|runtime| runtime.name == "busy");
        runtime.expect("it is watched").busy_ratio
    };
    let spin = async {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
    };
    runtime.block_on(runtime.spawn(spin)).expect("it ends");
    until(|| busy() > 0.0);
    let seen: Vec<f64> = (0..3).map(|_| busy()).collect();
    assert!(
        seen.iter().all(|busy| *busy > 0.0 && *busy <= 1.0),
        "{seen:?}"
    );
}

#[test]
fn shutdown_returns_the_tasks_that_were_alive() {
    let (runtime, _end) = Parked::new("shutdown").into_parts();
    let ended = runtime.spawn(yield_now());
    runtime.block_on(ended).expect("it only yields");
    until(|| count("runtime=shutdown&state=waiting") == 5);
    // One task occupies a thread for longer than it waits.
    let alive = runtime.shutdown_timeout(Duration::from_millis(1));
    assert_eq!((alive.totals.tasks, alive.tasks.len()), (6, 6));
    assert!(alive.groups.iter().all(|group| group.runtime == "shutdown"));
    assert!(
        alive
            .groups
            .iter()
            .any(|group| group.kind == Kind::Blocking)
    );
    until(|| count("runtime=shutdown&state=waiting") == 0);
    assert!(!watched(&listed("")).contains(&"shutdown"));
}

#[test]
fn shutdown_in_the_background_returns_them_too() {
    let (runtime, _end) = Parked::new("background").into_parts();
    let alive = runtime.shutdown_background();
    assert_eq!(alive.totals.tasks, 6);
    until(|| count("runtime=background&state=waiting") == 0);
}

#[test]
fn a_runtime_in_which_nothing_is_left_shuts_down_empty() {
    let runtime = runtime("empty");
    assert_eq!(
        runtime
            .block_on(async { tokio::spawn(async { 7 }).await })
            .unwrap(),
        7
    );
    until(|| runtime.alive().totals.tasks == 0);
    let alive = runtime.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(alive.totals.tasks, 0);
}

#[test]
fn it_is_a_runtime_like_any_other() {
    let runtime = runtime("deref");
    let plain: &Runtime = &runtime;
    assert_eq!(plain.metrics().num_workers(), 2);
    let _entered = runtime.enter();
    let (to, from) = mpsc::channel();
    tokio::task::spawn_blocking(move || to.send(7));
    assert_eq!(from.recv(), Ok(7));
    drop(_entered);

    assert!(watched(&listed("")).contains(&"deref"));
    let inner = runtime.into_inner();
    assert!(!watched(&listed("")).contains(&"deref"));
    assert_eq!(inner.block_on(async { 7 }), 7);
}
