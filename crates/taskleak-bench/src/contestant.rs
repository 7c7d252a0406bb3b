//! The contestants: the ways to run a program under the detector, and the one without.

use std::time::Duration;

use clap::ValueEnum;
use taskleak::Detector;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use crate::error::Error;

/// What a worker process runs its programs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// No subscriber, though tokio is built to speak to one (`tracing`, `tokio_unstable`): what
    /// the others are compared with.
    Plain,
    /// `Builder::install`: a `TaskSubscriber` around nothing.
    Subscriber,
    /// The same, with a watchdog that finds tasks blocked after a second.
    Watchdog,
    /// `Builder::layer` on a `Registry` that has no other layer.
    Layer,
    /// `Builder::console`: console-subscriber beside the detector, and nobody looks.
    Console,
}

impl Contestant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contestant::Plain => "plain",
            Contestant::Subscriber => "subscriber",
            Contestant::Watchdog => "watchdog",
            Contestant::Layer => "layer",
            Contestant::Console => "console",
        }
    }

    /// Makes it the global subscriber of this process.
    pub(crate) fn install(self) -> Result<Option<Detector>, Error> {
        let builder = Detector::builder();
        Ok(match self {
            Contestant::Plain => None,
            Contestant::Subscriber => Some(builder.install()?),
            Contestant::Watchdog => Some(builder.blocked_after(Duration::from_secs(1))?.install()?),
            Contestant::Layer => {
                let (layer, detector) = builder.layer();
                tracing::subscriber::set_global_default(Registry::default().with(layer))?;
                detector.verify()?;
                Some(detector)
            }
            Contestant::Console => Some(builder.console(([127, 0, 0, 1], 0)).install()?),
        })
    }
}
