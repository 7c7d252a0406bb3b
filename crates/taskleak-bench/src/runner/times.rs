//! The time cases: which variants race at which, and for how long.

use std::time::Duration;

use super::Size;
use super::builds::Build;
use super::error::Error;
use super::figures::{Figure, Section, Shape, Unit};
use super::progress::Progress;
use super::race::{Batch, Course, Effort, calibrate, race};
use super::targets::Target;
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

/// Who races at a case.
struct Entrants {
    /// Together, the base first.
    field: Vec<Variant>,
    apart: Vec<Variant>,
}

impl Entrants {
    fn of(case: Case, size: &Size) -> Entrants {
        let wanted = |variant: &Variant| !size.only_judged || Target::judges(case.name(), *variant);
        let races = |variant: &Variant| *variant == Variant::Base || wanted(variant);
        Entrants {
            field: FIELD.into_iter().filter(races).collect(),
            apart: APART.into_iter().filter(wanted).collect(),
        }
    }
}

/// Whether somebody races at a case beside the base.
pub(crate) fn is_raced(case: Case, size: &Size) -> bool {
    let entrants = Entrants::of(case, size);
    entrants.field.len() > 1 || !entrants.apart.is_empty()
}

/// The builds that are needed for a case.
pub(crate) fn builds(case: Case, size: &Size) -> Vec<Build> {
    let Entrants { field, apart } = Entrants::of(case, size);
    field.into_iter().chain(apart).map(Build::of).collect()
}

/// The rounds of all races of a case.
pub(crate) fn steps(case: Case, size: &Size) -> usize {
    let field = size.effort(case, false);
    let apart = size.effort(case, true);
    let raced_apart = Entrants::of(case, size).apart.len();
    field.heats * field.rounds + raced_apart * apart.heats * apart.rounds
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
        let Entrants { field, apart } = Entrants::of(case, size);
        figures.extend(raced(&field, course, size.effort(case, false), progress)?);
        for variant in apart {
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
    ];
    let has_apart = |case: &Case| !Entrants::of(*case, size).apart.is_empty();
    if cases.iter().any(has_apart) {
        notes.extend([
            "await-tree and async-backtrace: the same programs, instrumented by hand. console and \
             dial9 raced apart, beside a base each, because a thread of theirs goes on after a \
             batch. dial9 takes its task dumps; it needs no `tracing`, and has not what that costs."
                .to_owned(),
            "reads: a subscriber that reads what tokio says of its tasks and keeps nothing, so the \
             least that a detector costs which rests on `tracing`."
                .to_owned(),
        ]);
    }
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
        let effort = match Entrants::of(*case, size).apart.as_slice() {
            [] => field.to_string(),
            _ => format!("{field}, apart {apart}"),
        };
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
