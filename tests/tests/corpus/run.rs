//! A program on a runtime of its own, whose name tells it from all others.

use std::io;
use std::thread;

use taskleak::{BuildWatched, Detector};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::program::{Control, Pattern, Program};

/// A program on a runtime.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) flavour: Flavour,
    program: fn() -> Program,
}

pub(crate) enum Kind {
    Leaky(&'static Pattern),
    Fixed,
    Control(&'static Control),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Flavour {
    MultiThread,
    CurrentThread,
}

impl Flavour {
    const ALL: [Flavour; 2] = [Flavour::MultiThread, Flavour::CurrentThread];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Flavour::MultiThread => "multi",
            Flavour::CurrentThread => "current",
        }
    }

    fn builder(self) -> Builder {
        match self {
            Flavour::MultiThread => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(2);
                builder
            }
            Flavour::CurrentThread => Builder::new_current_thread(),
        }
    }
}

impl Kind {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Kind::Leaky(_) => "leaky",
            Kind::Fixed => "fixed",
            Kind::Control(_) => "control",
        }
    }
}

impl Run {
    pub(crate) fn of_pattern(pattern: &'static Pattern) -> impl Iterator<Item = Run> {
        Flavour::ALL.into_iter().flat_map(move |flavour| {
            let twins = [
                (Kind::Leaky(pattern), pattern.leaky),
                (Kind::Fixed, pattern.fixed),
            ];
            twins.map(|(kind, program)| Run {
                name: pattern.name,
                kind,
                flavour,
                program,
            })
        })
    }

    pub(crate) fn of_control(control: &'static Control) -> impl Iterator<Item = Run> {
        Flavour::ALL.into_iter().map(move |flavour| Run {
            name: control.name,
            kind: Kind::Control(control),
            flavour,
            program: control.program,
        })
    }

    /// The name of its runtime.
    pub(crate) fn runtime(&self) -> String {
        format!(
            "{}, {}, {}",
            self.name,
            self.kind.word(),
            self.flavour.word()
        )
    }

    /// The leak that it has.
    pub(crate) fn leak(&self) -> Option<&'static Pattern> {
        match self.kind {
            Kind::Leaky(pattern) => Some(pattern),
            Kind::Fixed | Kind::Control(_) => None,
        }
    }

    pub(crate) fn start(&self, detector: &Detector) -> io::Result<Running> {
        let mut builder = self.flavour.builder();
        builder.enable_all().name(self.runtime());
        let runtime = builder.build_watched(detector)?;
        let (stop, stopped) = oneshot::channel();
        let program = self.program;
        thread::Builder::new().spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = program() => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Running { _stop: stop })
    }
}

/// A program that runs until this is dropped; its runtime and all of its tasks end soon after.
#[derive(Debug)]
pub(crate) struct Running {
    _stop: oneshot::Sender<()>,
}
