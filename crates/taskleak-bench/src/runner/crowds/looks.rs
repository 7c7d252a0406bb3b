//! Looks at crowds, while their runtime works.

use std::time::Duration;

use super::delays::{self, Delays};
use super::{Column, gathered};
use crate::protocol::{Look, Looked, Request, Window};
use crate::runner::Size;
use crate::runner::error::Error;
use crate::runner::figures::{Figure, Section, Shape, Unit};
use crate::runner::progress::Progress;
use crate::runner::units;
use crate::variant::Variant;

impl Look {
    /// The name of its cases, before the size.
    fn case(self) -> &'static str {
        match self {
            Look::Snapshot => "snapshot",
            Look::Grouped => "grouped",
            Look::Listing => "listing",
            Look::SlowListing => "listing-slow",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Look::Snapshot => "snapshot (`Detector::snapshot`), of tasks",
            Look::Grouped => "grouped text (`?debug=1` over HTTP), of tasks",
            Look::Listing => "listing of each (`?debug=2` over HTTP), of tasks",
            Look::SlowListing => "listing, to a reader that sleeps 10 ms after each MB, of tasks",
        }
    }
}

/// Looks at a crowd of each size.
pub(crate) fn measure(look: Look, size: &Size, progress: &Progress) -> Result<Section, Error> {
    let mut figures = Vec::new();
    let mut least = None;
    for &tasks in size.crowds {
        let times = times(look, tasks, size);
        let (mut worker, _) = gathered(Variant::Subscriber, tasks)?;
        let looked: Looked = worker.ask(Request::Look { look, times })?;
        let column = Column::of(look.case(), tasks, Variant::Subscriber);
        let windows = &looked.as_usual;
        let of = |of: fn(&Window) -> Duration| windows.iter().map(of);
        let wall = column.times("", Unit::Ns, of(|window| window.wall), "time");
        // A slow reader takes the time that it sleeps.
        let each = (look != Look::SlowListing).then(|| column.each(&wall, tasks, &mut least));
        figures.push(wall);
        figures.extend(each);
        figures.extend([
            column.times(
                "",
                Unit::CpuNs,
                of(|window| window.detector),
                "CPU time of the detector's threads",
            ),
            column.times(
                "-process",
                Unit::CpuNs,
                of(|window| window.process),
                "CPU time with that of the runtime, which works meanwhile",
            ),
        ]);
        let preferred = (!looked.preferred.is_empty()).then(|| delays(&looked.preferred));
        figures.extend(delays::figures(
            &column,
            &delays(windows),
            preferred.as_ref(),
        ));
        figures.push(column.times(
            "-delay-busy-thread",
            Unit::Ns,
            of(|window| window.delays.beside_spinning),
            "… beside a thread that spins instead, for as long",
        ));
        figures.extend(sizes(&column, look, windows));
        progress.step();
    }
    let notes = vec![note(look, size), delays::note(&figures)];
    Ok(Section {
        title: look.title().to_owned(),
        shape: Shape::Columns,
        figures,
        notes,
    })
}

fn sizes(column: &Column, look: Look, windows: &[Window]) -> Vec<Figure> {
    let most = |of: fn(&Window) -> u64| windows.iter().map(of).max().unwrap_or(0) as f64;
    let mut figures = vec![column.figure(
        "-peak",
        Unit::Bytes,
        [most(|window| window.peak_growth)],
        "growth of resident memory, at its peak",
    )];
    if look != Look::Snapshot {
        figures.push(column.figure(
            "-size",
            Unit::Bytes,
            [most(|window| window.bytes)],
            "size of the answer",
        ));
    }
    figures
}

fn delays(windows: &[Window]) -> Delays {
    Delays {
        with: windows.iter().map(|window| window.delays.looking).collect(),
        quiet: windows.iter().map(|window| window.delays.quiet).collect(),
    }
}

/// In how many windows a crowd is looked at.
fn times(look: Look, tasks: usize, size: &Size) -> usize {
    match look {
        Look::SlowListing => 1,
        _ if Some(&tasks) == size.crowds.last() => size.looks_at_largest,
        _ => size.looks,
    }
}

fn note(look: Look, size: &Size) -> String {
    let windows = size.crowds.iter().map(|tasks| {
        let windows = times(look, *tasks, size);
        format!("{windows} of {}", units::count(*tasks))
    });
    format!(
        "Windows: {}; each as long as a look, and no shorter than 50 ms. Each answer was checked: \
         the tasks in all, and of each of ten kinds.",
        windows.collect::<Vec<_>>().join(", ")
    )
}
