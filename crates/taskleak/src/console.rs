//! tokio-console beside the detector, in one call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use console_subscriber::{ConsoleLayer, Server};
use tracing::subscriber::NoSubscriber;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, Filtered};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::detector::{Builder, Detector, Shared, set_global};
use crate::error::{InstallCause, InstallError};
use crate::polls;
use crate::subscriber::TaskSubscriber;

/// A subscriber with console-subscriber's layer upon it, which takes what tokio says alone.
pub type WithConsole<S> = Layered<Filtered<ConsoleLayer, FilterFn, S>, S>;

/// A [`Builder`] that serves tokio-console as well; made by [`Builder::console`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is installed or wraps a subscriber"]
pub struct ConsoleBuilder {
    builder: Builder,
    address: SocketAddr,
}

impl Builder {
    /// Runs console-subscriber beside the detector, for tokio-console at this address; its
    /// default is [`CONSOLE_ADDRESS`].
    ///
    /// # Cost
    ///
    /// console-subscriber costs far more than the detector: a spawn took 24.9 µs with it,
    /// 709 ns with the detector and 507 ns with neither, a round of mpsc ping-pong 14.8 µs,
    /// 593 ns and 460 ns (`cargo run --release -p taskleak-bench`, 2 cores, tokio 1.54.1), and it
    /// kept some 50 kB for each task that had ended, for an hour. Leave it off in production.
    pub fn console(self, address: impl Into<SocketAddr>) -> ConsoleBuilder {
        ConsoleBuilder {
            builder: self,
            address: address.into(),
        }
    }
}

/// Where tokio-console looks if it is not told otherwise.
pub const CONSOLE_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6669);

impl ConsoleBuilder {
    /// Like [`Builder::wrap`]. The subscriber must be made of a `Registry`; a filter that is
    /// a layer of it (not of one of its layers) holds for the console too.
    pub fn wrap<S>(self, subscriber: S) -> (TaskSubscriber<WithConsole<S>>, Detector)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let (subscriber, detector, start) = self.parts(subscriber);
        start();
        (subscriber, detector)
    }

    /// Like [`Builder::install`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::install`].
    pub fn install(self) -> Result<Detector, InstallError> {
        let (subscriber, detector, start) = self.parts(Registry::default());
        set_global(subscriber)?;
        start();
        detector.verify().map_err(InstallCause::NotRecording)?;
        Ok(detector)
    }

    /// The last of the three starts the console's server.
    fn parts<S>(self, subscriber: S) -> (TaskSubscriber<WithConsole<S>>, Detector, impl FnOnce())
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let detector = self.builder.detector();
        let (layer, server) = ConsoleLayer::builder().server_addr(self.address).build();
        let filter = FilterFn::new(is_consoles as fn(&Metadata<'_>) -> bool);
        let subscriber = subscriber.with(layer.with_filter(filter));
        let recorder = Arc::clone(&detector.shared.recorder);
        let shared = Arc::clone(&detector.shared);
        let start = move || start_server(&shared, server, self.address);
        (TaskSubscriber::new(subscriber, recorder), detector, start)
    }
}

/// What console-subscriber itself filters by (its `Builder::spawn`).
fn is_consoles(metadata: &Metadata<'_>) -> bool {
    if metadata.is_event() {
        return metadata.target().starts_with("runtime") || metadata.target().starts_with("tokio");
    }
    metadata.name().starts_with("runtime.") || metadata.target().starts_with("tokio")
}

fn start_server(shared: &Arc<Shared>, server: Server, address: SocketAddr) {
    let faults = Arc::downgrade(shared);
    let run = move || {
        polls::belong_to_detector();
        // Its own tasks are for neither the console nor the detector.
        let _nobody = tracing::subscriber::set_default(NoSubscriber::new());
        let served = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(server.serve()));
        if let (Err(error), Some(shared)) = (served, faults.upgrade()) {
            shared.note_fault(format!("cannot serve tokio-console at {address}: {error}"));
        }
    };
    let thread = thread::Builder::new().name("taskleak-console".into());
    if let Err(error) = thread.spawn(run) {
        shared.note_fault(format!("cannot serve tokio-console at {address}: {error}"));
    }
}
