//! The runtime wrapper: a tokio runtime that the detector knows by name.
//!
//! tokio's builder holds one of each hook (`on_thread_start`, `on_task_spawn`, …) and can't
//! chain them, so this module uses none: hooks that the user set stay the user's.

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskleak_profile::snapshot::{self, Snapshot};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeMetrics};
use tokio_metrics::RuntimeMonitor;

use crate::Detector;
use crate::runtimes::RuntimeName;

mod sealed {
    pub trait Sealed {}
    impl Sealed for tokio::runtime::Builder {}
}

/// Builds a runtime that a [`Detector`] watches.
///
/// Implemented for [`tokio::runtime::Builder`]. Sealed.
pub trait BuildWatched: sealed::Sealed {
    /// Builds the runtime as `build` does, and has the detector watch it under the name given
    /// with [`Builder::name`], else `runtime-ID`.
    ///
    /// A detector that does not record is no error here, so that it never keeps a service from
    /// starting: [`Detector::verify`] and the snapshot's `health` tell, and one `tracing` event
    /// of level error.
    ///
    /// # Errors
    ///
    /// Those of `build`.
    fn build_watched(&mut self, detector: &Detector) -> io::Result<WatchedRuntime>;
}

impl BuildWatched for Builder {
    fn build_watched(&mut self, detector: &Detector) -> io::Result<WatchedRuntime> {
        let runtime = self.build()?;
        if let Err(error) = detector.verify() {
            tracing::error!(target: "taskleak", "{error}");
        }
        Ok(WatchedRuntime::new(runtime, detector))
    }
}

/// A tokio [`Runtime`] whose name, metrics and left-over tasks the detector reports.
///
/// It derefs to tokio's. Tasks of runtimes that are not watched are recorded just the same.
#[derive(Debug)]
pub struct WatchedRuntime {
    runtime: Runtime,
    detector: Detector,
    watched: Arc<Watched>,
}

/// A runtime that is watched, as the detector keeps it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) name: RuntimeName,
    monitor: RuntimeMonitor,
    metrics: RuntimeMetrics,
    built: Instant,
}

impl WatchedRuntime {
    fn new(runtime: Runtime, detector: &Detector) -> WatchedRuntime {
        let watched = Arc::new(Watched::new(runtime.handle()));
        let mut all = detector.shared.watched.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&watched));
        drop(all);
        WatchedRuntime {
            runtime,
            detector: detector.clone(),
            watched,
        }
    }

    /// The name given with [`Builder::name`], else `runtime-ID`.
    pub fn name(&self) -> String {
        self.watched.name.label()
    }

    /// tokio-metrics' monitor of this runtime, for intervals of your own.
    pub fn monitor(&self) -> &RuntimeMonitor {
        &self.watched.monitor
    }

    /// Shuts the runtime down as [`Runtime::shutdown_timeout`] does. Returns the tasks of this
    /// runtime that were alive when the shutdown began: what nobody had waited for.
    pub fn shutdown_timeout(self, timeout: Duration) -> Snapshot {
        let alive = self.alive();
        self.runtime.shutdown_timeout(timeout);
        alive
    }

    /// Shuts the runtime down as [`Runtime::shutdown_background`] does. Returns the tasks of
    /// this runtime that were alive when the shutdown began.
    pub fn shutdown_background(self) -> Snapshot {
        let alive = self.alive();
        self.runtime.shutdown_background();
        alive
    }

    /// The tasks of this runtime that are alive now, one by one and grouped.
    pub fn alive(&self) -> Snapshot {
        let only = crate::runtimes::intern(self.runtime.handle());
        self.detector
            .snapshot_of(true, |task| only == Some(task.runtime))
    }

    /// The runtime itself, watched no longer.
    pub fn into_inner(self) -> Runtime {
        self.runtime
    }
}

impl Deref for WatchedRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

impl Watched {
    fn new(handle: &Handle) -> Watched {
        Watched {
            name: RuntimeName::of(handle),
            monitor: RuntimeMonitor::new(handle),
            metrics: handle.metrics(),
            built: Instant::now(),
        }
    }

    /// What tokio says of the runtime now. It keeps nothing of it, so that those who ask don't
    /// take from one another.
    pub(crate) fn report(&self) -> snapshot::Runtime {
        let mut report = snapshot::Runtime::default();
        report.id = self.name.id;
        report.name = self.name.label();
        report.workers = self.metrics.num_workers() as u64;
        report.live_tasks = self.metrics.num_alive_tasks() as u64;
        report.global_queue_depth = self.metrics.global_queue_depth() as u64;
        report.busy_ratio = self.busy_ratio();
        report
    }

    fn busy_ratio(&self) -> f64 {
        let workers = self.metrics.num_workers();
        let busy = (0..workers).map(|worker| self.metrics.worker_total_busy_duration(worker));
        let busy = busy.sum::<Duration>().as_secs_f64();
        let whole = self.built.elapsed().as_secs_f64() * workers as f64;
        if whole > 0.0 {
            (busy / whole).min(1.0)
        } else {
            0.0
        }
    }
}
