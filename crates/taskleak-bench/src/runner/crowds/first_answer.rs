//! The first answer of a process, which reads its symbols: of the contestant, and of a large one.
//!
//! The large one is what a service with many dependencies is. Nothing in it is padded: it has the
//! functions too that nobody calls, with their debug info.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Column;
use crate::protocol::{FirstAnswer, Request};
use crate::runner::Size;
use crate::runner::builds::Build;
use crate::runner::error::Error;
use crate::runner::figures::{Section, Shape, Unit};
use crate::runner::process::Worker;
use crate::runner::progress::Progress;
use crate::runner::units;
use crate::variant::Variant;

/// The programs that answer.
pub(crate) const BUILDS: [Build; 2] = [Build::Framehop, Build::Large];

/// How many bytes are 100 MB.
const LARGE: RangeInclusive<u64> = 80_000_000..=130_000_000;

/// Whether the large program is as large as it should be.
pub(crate) fn check_large() -> Result<(), Error> {
    let bytes = fs::metadata(Build::Large.program()).map_or(0, |file| file.len());
    match LARGE.contains(&bytes) {
        true => Ok(()),
        false => Err(Error::NotLarge { bytes }),
    }
}

pub(crate) fn measure(size: &Size, progress: &Progress) -> Result<Section, Error> {
    let tasks = size.smallest();
    let mut figures = Vec::new();
    for build in BUILDS {
        let mut answers: Vec<FirstAnswer> = Vec::new();
        for _ in 0..size.first_answers {
            let mut worker = Worker::start_of(build, Variant::Subscriber)?;
            let _bytes: f64 = worker.ask(Request::Crowd { tasks })?;
            answers.push(worker.ask(Request::FirstAnswer)?);
        }
        let program = answers.first().map_or(0, |answer| answer.program);
        let column = Column {
            case: match build {
                Build::Large => "first-answer-large",
                _ => "first-answer",
            }
            .to_owned(),
            variant: Variant::Subscriber,
            heading: units::bytes(program as f64),
        };
        let times = |of: fn(&FirstAnswer) -> Duration| answers.iter().map(of);
        let most = |of: fn(&FirstAnswer) -> u64| answers.iter().map(of).max().unwrap_or(0) as f64;
        figures.extend([
            column.times("", Unit::Ns, times(|answer| answer.wall), "time"),
            column.times(
                "",
                Unit::CpuNs,
                times(|answer| answer.processor),
                "CPU time",
            ),
            column.figure(
                "-peak",
                Unit::Bytes,
                [most(|answer| answer.peak_growth)],
                "growth of resident memory, at its peak",
            ),
            column.figure(
                "-anonymous",
                Unit::Bytes,
                [most(|answer| answer.anonymous_growth)],
                "… afterwards, without pages of files",
            ),
            column.times(
                "-second",
                Unit::Ns,
                times(|answer| answer.second),
                "time of the second answer",
            ),
        ]);
        progress.step();
    }
    Ok(Section {
        title: "first answer of a process, of a program of".to_owned(),
        shape: Shape::Columns,
        figures,
        notes: vec![format!(
            "{} processes each, with {} tasks in ten groups; the program's file is in the page cache.",
            size.first_answers,
            units::count(tasks)
        )],
    })
}
