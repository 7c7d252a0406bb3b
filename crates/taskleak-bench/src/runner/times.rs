//! The time cases: which variants race at which, and for how long.

use std::time::Duration;

use super::Size;
use super::builds::Build;
use super::error::Error;
use super::figures::{Figure, Section, Shape, Unit};
use super::progress::Progress;
use super::race::{Batch, Course, Effort, calibrate, race};
use super::units;
use crate::case::{CONNECTIONS, Case};
use crate::variant::Variant;

/// Those that race together, the base first.
const FIELD: [Variant; 9] = [
    Variant::Base,
    Variant::NoTracing,
    Variant::BaseFp,
    Variant::Reads,
    Variant::Subscriber,
    Variant::SubscriberFp,
    Variant::Layer,
    Variant::AwaitTree,
    Variant::AsyncBacktrace,
];

/// Those that race apart, each with the base alone: a thread of theirs goes on after a batch,
/// and would slow whoever comes next.
const APART: [Variant; 2] = [Variant::Console, Variant::Dial9];

/// What the base takes for a round of [`Case::Parks`].
const ROUND: Duration = Duration::from_micros(1);

/// The builds that are needed.
pub(crate) fn builds() -> impl Iterator<Item = Build> {
    FIELD.into_iter().chain(APART).map(Build::of)
}

/// The rounds of all races of a case.
pub(crate) fn steps(case: Case, size: &Size) -> usize {
    let field = size.effort(case, false);
    let apart = size.effort(case, true);
    field.heats * field.rounds + APART.len() * apart.heats * apart.rounds
}

/// Measures cases.
pub(crate) fn measure(cases: &[Case], size: &Size, progress: &Progress) -> Result<Section, Error> {
    let mut figures = Vec::new();
    for case in cases.iter().copied() {
        progress.begin(case.name());
        let work = match case {
            Case::Parks => calibrate(case, Variant::Base, ROUND)?,
            _ => 0,
        };
        let course = Course { case, work };
        figures.extend(raced(&FIELD, course, size.effort(case, false), progress)?);
        for variant in APART {
            let effort = size.effort(case, true);
            let beside = raced(&[Variant::Base, variant], course, effort, progress)?;
            figures.extend(
                beside
                    .into_iter()
                    .filter(|figure| figure.variant == variant),
            );
        }
    }
    Ok(Section {
        title: "case".to_owned(),
        shape: Shape::Matrix,
        figures,
        notes: notes(cases, size),
    })
}

fn raced(
    variants: &[Variant],
    course: Course,
    effort: Effort,
    progress: &Progress,
) -> Result<Vec<Figure>, Error> {
    let times = race(variants, course, effort, progress)?;
    let base = &times[0];
    let figures = variants.iter().zip(&times).flat_map(|(variant, times)| {
        let figure = |unit, own, base| Figure::raced(course.case.name(), *variant, unit, own, base);
        [
            figure(Unit::Ns, &times.wall, &base.wall),
            figure(Unit::CpuNs, &times.cpu, &base.cpu),
        ]
    });
    Ok(figures.collect())
}

fn notes(cases: &[Case], size: &Size) -> Vec<String> {
    let mut notes = vec![
        "A ratio to the base (the median of those of each round), the time of an operation, and ± within which half of the batches \
         lie. CPU time is that of all threads of the process."
            .to_owned(),
        "await-tree and async-backtrace: the same programs, instrumented by hand. console and \
         dial9 raced apart, beside a base each, because a thread of theirs goes on after a batch. \
         dial9 takes its task dumps; it needs no `tracing`, and has not what that costs."
            .to_owned(),
        "reads: a subscriber that reads what tokio says of its tasks and keeps nothing, so the \
         least that a detector costs which rests on `tracing`."
            .to_owned(),
    ];
    notes.push(batches(cases, size));
    if cases.iter().any(|case| case.is_server()) {
        notes.push(format!(
            "http: {CONNECTIONS} connections that are kept, each asked again once it has answered, \
             by another process; the server has one worker."
        ));
    }
    let bursts = [false, true].map(|apart| size.effort(Case::Burst, apart).batch);
    if let (true, [Batch::Of(field), Batch::Of(console)]) = (cases.contains(&Case::Burst), bursts) {
        notes.push(format!(
            "burst: {} tasks at once; {} under those who race apart, because the console keeps 50 kB \
             for each that ended.",
            units::count(field as usize),
            units::count(console as usize),
        ));
    }
    notes
}

/// How much was measured of each case, those alike in one.
fn batches(cases: &[Case], size: &Size) -> String {
    let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
    for case in cases {
        let [field, apart] = [false, true].map(|apart| size.effort(*case, apart));
        let effort = format!("{field}, apart {apart}");
        match alike.iter_mut().find(|(same, _)| *same == effort) {
            Some((_, names)) => names.push(case.name()),
            None => alike.push((effort, vec![case.name()])),
        }
    }
    let lines = alike
        .iter()
        .map(|(effort, names)| format!("{}: {effort}.", names.join(", ")));
    lines.collect::<Vec<_>>().join(" ")
}
