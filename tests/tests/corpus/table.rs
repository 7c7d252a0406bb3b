//! The table of a corpus run, the verdicts that need a look, and the totals that decide.

use std::collections::HashMap;
use std::fmt;

use taskleak::Snapshot;
use taskleak_profile::snapshot::Group;
use taskleak_profile::verdict::Level;

use crate::judge::{Accused, Delay, Said, leaf};
use crate::run::{Kind, Run};

pub(crate) struct Table {
    rows: Vec<Row>,
    /// Taken at the end, to show what was not found.
    snapshot: Snapshot,
}

/// A run, and what was said of it.
struct Row {
    run: Run,
    accused: Vec<Accused>,
    delay: Option<Delay>,
}

impl Table {
    pub(crate) fn new(
        runs: Vec<Run>,
        said: &Said,
        delays: &HashMap<String, Delay>,
        snapshot: Snapshot,
    ) -> Table {
        let rows = runs.into_iter().map(|run| Row {
            accused: said.of(&run.runtime()),
            delay: delays.get(&run.runtime()).copied(),
            run,
        });
        Table {
            rows: rows.collect(),
            snapshot,
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let leaks = self.rows.iter().filter_map(Row::is_recalled);
        let wrong = || self.rows.iter().flat_map(Row::wrong);
        let proven = wrong().filter(|accused| accused.level == Level::Proven);
        Totals {
            recalled: leaks.clone().filter(|recalled| *recalled).count(),
            leaks: leaks.count(),
            wrong: wrong().count(),
            wrong_proven: proven.count(),
        }
    }
}

/// What the last line says.
pub(crate) struct Totals {
    recalled: usize,
    leaks: usize,
    wrong: usize,
    wrong_proven: usize,
}

impl Totals {
    pub(crate) fn are_perfect(&self) -> bool {
        self.recalled == self.leaks && self.wrong == 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "recall {}/{}, false verdicts {}, wrong proven {}",
            self.recalled, self.leaks, self.wrong, self.wrong_proven
        )
    }
}

impl Row {
    /// Of a leak: whether a verdict in time names its function and its wait.
    fn is_recalled(&self) -> Option<bool> {
        let Kind::Leaky(pattern) = self.run.kind else {
            return None;
        };
        let mut named = self.accused.iter();
        let is_named = named.any(|accused| pattern.names(&accused.group));
        Some(is_named && self.delay.is_some_and(Delay::is_in_time))
    }

    /// The verdicts that should not be.
    fn wrong(&self) -> impl Iterator<Item = &Accused> {
        let is_meant = |accused: &&Accused| match self.run.kind {
            // One leak brings about another: what a further pattern is about may be here too.
            Kind::Leaky(_) => crate::patterns().any(|pattern| pattern.names(&accused.group)),
            Kind::Fixed => false,
            Kind::Control(control) => control.suspect.is_some() && accused.level == Level::Suspect,
        };
        self.accused
            .iter()
            .filter(move |accused| !is_meant(accused))
    }

    /// The verdict to show: of a leak the one that fits best, of a clean program the highest.
    fn shown(&self) -> Option<&Accused> {
        self.accused.iter().max_by_key(|accused| {
            let (function, wait) = self.names(accused);
            (function && wait, function, accused.level)
        })
    }

    fn names(&self, accused: &Accused) -> (bool, bool) {
        let group = &accused.group;
        match self.run.kind {
            Kind::Leaky(pattern) => (pattern.names_function(group), pattern.names_wait(group)),
            Kind::Fixed | Kind::Control(_) => (false, false),
        }
    }

    fn cells(&self) -> [String; COLUMNS] {
        let shown = self.shown();
        let is_leaky = matches!(self.run.kind, Kind::Leaky(_));
        let (function, wait) = match shown {
            Some(accused) if is_leaky => {
                let (function, wait) = self.names(accused);
                (right(function), right(wait))
            }
            _ => ("", ""),
        };
        [
            self.run.name.to_owned(),
            self.run.flavour.word().to_owned(),
            self.run.kind.word().to_owned(),
            if shown.is_some() { "yes" } else { "no" }.to_owned(),
            shown.map_or("", |accused| accused.level.word()).to_owned(),
            function.to_owned(),
            wait.to_owned(),
            self.delay.map_or(String::new(), |delay| delay.to_string()),
        ]
    }

    /// What there is to look into.
    fn notes(&self, snapshot: &Snapshot) -> Vec<String> {
        let runtime = self.run.runtime();
        let mut notes = Vec::new();
        match &self.run.kind {
            Kind::Leaky(pattern) => {
                notes.extend(self.wrong().map(|accused| told("wrong", accused)));
                if self.is_recalled() == Some(false) {
                    notes.push(format!("not recalled (source: {})", pattern.source));
                    let groups = snapshot.groups.iter();
                    let mine = groups.filter(|group| group.runtime == runtime);
                    notes.extend(mine.map(|group| format!("there are {}", tasks(group))));
                }
            }
            Kind::Fixed => notes.extend(self.accused.iter().map(|accused| told("wrong", accused))),
            Kind::Control(control) => {
                let why = control.suspect.unwrap_or("wrong");
                notes.extend(self.accused.iter().map(|accused| told(why, accused)));
            }
        }
        notes
            .iter()
            .map(|note| format!("{runtime}: {note}"))
            .collect()
    }
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "wrong" }
}

fn told(why: &str, accused: &Accused) -> String {
    let evidence = accused
        .group
        .verdict
        .iter()
        .flat_map(|verdict| &verdict.evidence);
    let evidence: String = evidence.map(|line| format!("\n    {line}")).collect();
    let (level, tasks) = (accused.level.word(), tasks(&accused.group));
    format!("{level} ({why}): {tasks}{evidence}")
}

fn tasks(group: &Group) -> String {
    let stacks = group.waiting_at.iter();
    let at: Vec<&str> = stacks.map(|stack| leaf(stack)).collect();
    format!(
        "{} {:?} {:?} on {:?} in {:?} and {} wakers without a stack, created by {}",
        group.count,
        group.state,
        group.kind,
        group.wait,
        at,
        group.wakers_without_stack,
        leaf(&group.created_by)
    )
}

const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] = [
    "pattern",
    "runtime",
    "program",
    "found",
    "verdict",
    "function",
    "wait",
    "time to detect",
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let longest = |column: usize| lines.iter().map(|line| line[column].len()).max();
        let widths: Vec<usize> = (0..COLUMNS).filter_map(longest).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        for note in self.rows.iter().flat_map(|row| row.notes(&self.snapshot)) {
            writeln!(f, "{note}")?;
        }
        let health = &self.snapshot.health;
        for problem in &health.problems {
            writeln!(f, "the detector: {problem}")?;
        }
        for (what, count) in &health.dropped {
            writeln!(f, "the detector: {count} {what}")?;
        }
        Ok(())
    }
}
