//! What `#[taskleak::main]` expands to calls of. Not for use by hand.

use tokio::runtime::Builder;
use tracing::Subscriber;

use crate::detector::set_global;
use crate::{BuildWatched, Detector};

pub fn install(serve: Option<&str>) -> Detector {
    wrap(tracing::subscriber::NoSubscriber::new(), serve)
}

pub fn wrap<S>(subscriber: S, serve: Option<&str>) -> Detector
where
    S: Subscriber + Send + Sync + 'static,
{
    let (subscriber, detector) = Detector::builder().wrap(subscriber);
    if let Err(error) = set_global(subscriber) {
        tell(&error);
    }
    if let Some(address) = serve {
        start_endpoint(&detector, address);
    }
    detector
}

pub fn builder(current_thread: bool, workers: Option<usize>, name: Option<&str>) -> Builder {
    let mut builder = if current_thread {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.enable_all();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    if let Some(name) = name {
        builder.name(name);
    }
    builder
}

/// Panics where `tokio::main` does: when no runtime can be built.
pub fn block_on<F: Future>(mut builder: Builder, detector: &Detector, main: F) -> F::Output {
    let runtime = builder
        .build_watched(detector)
        .expect("cannot build the tokio runtime");
    if let Err(error) = detector.verify() {
        tell(&error);
    }
    runtime.block_on(main)
}

#[cfg(feature = "http")]
fn start_endpoint(detector: &Detector, address: &str) {
    if let Err(error) = detector.serve(address) {
        tell(&error);
    }
}

#[cfg(not(feature = "http"))]
fn start_endpoint(_: &Detector, address: &str) {
    eprintln!("taskleak: cannot serve {address}: built without the feature `http`");
}

fn tell(error: &dyn std::error::Error) {
    eprintln!("taskleak: {error}");
}
