//! A variant in force in this process.

use std::net::SocketAddr;

use tokio::runtime::Runtime;
#[cfg(feature = "tracing")]
use tracing_subscriber::{Registry, layer::SubscriberExt};

use super::cases::Course;
use super::instrument::Bare;
#[cfg(taskleak_dial9)]
use super::instrument::Dial9;
#[cfg(feature = "peers")]
use super::instrument::{AsyncBacktrace, AwaitTree};
use crate::case::Case;
use crate::error::Error;
use crate::variant::Variant;

/// What the process runs its programs under.
pub(crate) struct Installed {
    pub(super) variant: Variant,
    #[cfg(feature = "taskleak")]
    pub(super) detector: Option<taskleak::Detector>,
    /// Where console-subscriber serves what it knows.
    #[cfg(feature = "peers")]
    pub(super) console: Option<SocketAddr>,
    /// Until what it recorded is looked at: only its end writes what its threads hold back.
    #[cfg(taskleak_dial9)]
    pub(super) recorder: std::sync::Mutex<Option<dial9::Recorder>>,
}

impl Installed {
    /// Makes a variant the one of this process, if this build has it.
    pub(crate) fn new(variant: Variant) -> Result<Installed, Error> {
        if !is_of_this_build(variant) {
            return Err(Error::OtherBuild(variant.name()));
        }
        #[cfg(feature = "taskleak")]
        let detector = taskleaks(variant)?;
        #[cfg(feature = "tracing")]
        if variant == Variant::Reads {
            tracing::subscriber::set_global_default(super::reads::Reads)?;
        }
        #[cfg(feature = "peers")]
        if variant == Variant::AwaitTree {
            await_tree::init_global_registry(await_tree::Config::default());
        }
        Ok(Installed {
            variant,
            #[cfg(feature = "taskleak")]
            detector,
            #[cfg(feature = "peers")]
            console: match variant {
                Variant::Console => Some(console()?),
                _ => None,
            },
            #[cfg(taskleak_dial9)]
            recorder: std::sync::Mutex::new(Some(recorder()?)),
        })
    }

    /// Builds what the programs of a case run on.
    pub(crate) fn runtime(&self, case: Case) -> Result<Runtime, Error> {
        #[cfg(taskleak_dial9)]
        let runtime = {
            use dial9::{Dial9HandleTokioExt, TaskDumpConfig, TokioAttachOptions};

            let options = TokioAttachOptions::builder()
                .task_tracking_enabled(true)
                .task_dump_config(TaskDumpConfig::default())
                .build();
            let recorder = self.recorder.lock().map_err(|_| Error::TraceOver)?;
            let recorder = recorder.as_ref().ok_or(Error::TraceOver)?.handle();
            recorder.attach_tokio_runtime(case.runtime(), options)
        };
        #[cfg(not(taskleak_dial9))]
        let runtime = case.runtime().build();
        runtime.map_err(Error::Runtime)
    }

    pub(crate) async fn run(&self, case: Case, course: Course) {
        match self.variant {
            #[cfg(feature = "peers")]
            Variant::AwaitTree => case.run::<AwaitTree>(course).await,
            #[cfg(feature = "peers")]
            Variant::AsyncBacktrace => case.run::<AsyncBacktrace>(course).await,
            #[cfg(taskleak_dial9)]
            Variant::Dial9 => case.run::<Dial9>(course).await,
            _ => case.run::<Bare>(course).await,
        }
    }

    pub(crate) fn serve(&self, case: Case, runtime: &Runtime) -> Result<SocketAddr, Error> {
        match self.variant {
            #[cfg(feature = "peers")]
            Variant::AwaitTree => case.serve::<AwaitTree>(runtime),
            #[cfg(feature = "peers")]
            Variant::AsyncBacktrace => case.serve::<AsyncBacktrace>(runtime),
            #[cfg(taskleak_dial9)]
            Variant::Dial9 => case.serve::<Dial9>(runtime),
            _ => case.serve::<Bare>(runtime),
        }
    }
}

fn is_of_this_build(variant: Variant) -> bool {
    let has_tracing = cfg!(feature = "tracing");
    match variant {
        Variant::NoTracing => !has_tracing && !cfg!(taskleak_dial9),
        Variant::Dial9 => cfg!(taskleak_dial9),
        Variant::BaseFp | Variant::SubscriberFp => has_tracing && FRAME_POINTERS,
        _ => has_tracing && !FRAME_POINTERS,
    }
}

/// Installs console-subscriber. Returns its address, which it does not tell if it may choose it.
#[cfg(feature = "peers")]
fn console() -> Result<SocketAddr, Error> {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0));
    let address = free.and_then(|free| free.local_addr());
    let address = address.map_err(Error::Server)?;
    let layer = console_subscriber::ConsoleLayer::builder()
        .server_addr(address)
        .spawn();
    tracing::subscriber::set_global_default(Registry::default().with(layer))?;
    Ok(address)
}

/// Writes to the directory of this process, which the runner removes.
#[cfg(taskleak_dial9)]
fn recorder() -> Result<dial9::Recorder, Error> {
    let trace = dial9::DiskBuffer::builder()
        .base_path(TRACE)
        .max_total_size(64 * 1024 * 1024)
        .build()
        .map_err(Error::Trace)?;
    Ok(dial9::recorder(trace).build())
}

/// The directory of dial9's trace.
#[cfg(taskleak_dial9)]
pub(super) const TRACE: &str = "trace";

/// Whether stacks are unwound by frame pointers.
#[cfg(feature = "taskleak")]
const FRAME_POINTERS: bool = matches!(
    taskleak_stack::Unwinder::BUILT_IN,
    taskleak_stack::Unwinder::FramePointers
);
#[cfg(not(feature = "taskleak"))]
const FRAME_POINTERS: bool = false;

#[cfg(feature = "taskleak")]
fn taskleaks(variant: Variant) -> Result<Option<taskleak::Detector>, Error> {
    use std::time::Duration;

    let builder = taskleak::Detector::builder();
    Ok(match variant {
        Variant::Subscriber | Variant::SubscriberFp => Some(builder.install()?),
        Variant::Watchdog => Some(builder.blocked_after(Duration::from_secs(1))?.install()?),
        Variant::Layer => {
            let (layer, detector) = builder.layer();
            tracing::subscriber::set_global_default(Registry::default().with(layer))?;
            detector.verify()?;
            Some(detector)
        }
        _ => None,
    })
}
