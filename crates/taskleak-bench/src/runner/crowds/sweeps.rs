//! The sweeps of the watchdog, while the runtime of the crowd works.

use super::delays::{self, Delays, longest};
use super::{Column, gathered};
use crate::protocol::{Request, Sweeps, Swept};
use crate::runner::Size;
use crate::runner::error::Error;
use crate::runner::figures::{Section, Shape, Unit};
use crate::runner::progress::Progress;
use crate::variant::Variant;

pub(crate) fn measure(size: &Size, progress: &Progress) -> Result<Section, Error> {
    let mut figures = Vec::new();
    let mut least = None;
    for &tasks in size.crowds {
        let (mut worker, _) = gathered(Variant::Watchdog, tasks)?;
        let seen: Sweeps = worker.ask(Request::Sweeps {
            sweeps: size.sweeps,
        })?;
        let column = Column::of("sweep", tasks, Variant::Watchdog);
        let used = &seen.as_usual.processor;
        let usual = column.times(
            "",
            Unit::CpuNs,
            used.iter().copied(),
            "CPU time of its thread",
        );
        let each = column.each(&usual, tasks, &mut least);
        let most = column.times("-longest", Unit::CpuNs, [longest(used)], "… the longest");
        figures.extend([usual, each, most]);
        let preferred = seen.preferred.map(delays);
        figures.extend(delays::figures(
            &column,
            &delays(seen.as_usual),
            preferred.as_ref(),
        ));
        progress.step();
    }
    let notes = vec![
        format!(
            "Sweeps: {} of each size, after all tasks that can be stalled were found to be.",
            size.sweeps
        ),
        delays::note(&figures),
    ];
    Ok(Section {
        title: "sweep of the watchdog, over tasks".to_owned(),
        shape: Shape::Columns,
        figures,
        notes,
    })
}

fn delays(swept: Swept) -> Delays {
    Delays {
        with: swept.delays,
        quiet: swept.quiet,
    }
}
