//! The table of a corpus run, the verdicts that need a look, and the totals that decide.

use std::fmt;

use taskleak_profile::snapshot::{Group, Health};
use taskleak_profile::verdict::Level;

use crate::judge::{Accused, Delay, leaf};
use crate::run::{Kind, Run};

pub(crate) struct Table {
    rows: Vec<Row>,
    health: Health,
}

/// A run, and what was said of it.
pub(crate) struct Row {
    pub(crate) run: Run,
    pub(crate) accused: Vec<Accused>,
    pub(crate) delay: Option<Delay>,
    /// What ran on its runtime at the end, to show where a leak was not recalled.
    pub(crate) there: Vec<Group>,
}

impl Table {
    pub(crate) fn new(rows: Vec<Row>, health: Health) -> Table {
        Table { rows, health }
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
        let pattern = self.run.leak()?;
        let mut named = self.accused.iter();
        let is_named = named.any(|accused| pattern.names(&accused.group));
        Some(is_named && self.delay.is_some_and(Delay::is_in_time))
    }

    /// The verdicts that should not be.
    fn wrong(&self) -> impl Iterator<Item = &Accused> {
        self.accused.iter().filter(|accused| self.is_wrong(accused))
    }

    fn is_wrong(&self, accused: &Accused) -> bool {
        match self.run.kind {
            // One leak brings about another: what a further pattern is about may be here too.
            Kind::Leaky(_) => !crate::patterns().any(|pattern| pattern.names(&accused.group)),
            Kind::Fixed => true,
            Kind::Control(control) => control.suspect.is_none() || accused.level > Level::Suspect,
        }
    }

    /// The verdict to show: of a leak the one that fits best, of a clean program the highest.
    fn shown(&self) -> Option<&Accused> {
        self.accused.iter().max_by_key(|accused| {
            let (function, wait) = self.names(accused);
            (function && wait, function, accused.level)
        })
    }

    /// Whether its function is right, and its wait.
    fn names(&self, accused: &Accused) -> (bool, bool) {
        let group = &accused.group;
        let leak = self.run.leak();
        (
            leak.is_some_and(|leak| leak.names_function(group)),
            leak.is_some_and(|leak| leak.names_wait(group)),
        )
    }

    fn cells(&self) -> [String; COLUMNS] {
        let shown = self.shown();
        let (function, wait) = match (self.run.leak(), shown) {
            (Some(_), Some(accused)) => {
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

    /// What there is to look into: every verdict on a clean program, and what went wrong.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for accused in &self.accused {
            match self.run.kind {
                _ if self.is_wrong(accused) => notes.push(told("wrong", accused)),
                Kind::Control(control) => {
                    notes.extend(control.suspect.map(|why| told(why, accused)));
                }
                Kind::Leaky(_) | Kind::Fixed => {}
            }
        }
        if let (Some(leak), Some(false)) = (self.run.leak(), self.is_recalled()) {
            notes.push(format!("not recalled (source: {})", leak.source));
            let there = self.there.iter();
            notes.extend(there.map(|group| format!("there are {}", tasks(group))));
        }
        let runtime = self.run.runtime();
        let notes = notes.iter().map(|note| format!("{runtime}: {note}"));
        notes.collect()
    }
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "wrong" }
}

fn told(why: &str, accused: &Accused) -> String {
    let verdict = accused.group.verdict.iter();
    let evidence = verdict.flat_map(|verdict| &verdict.evidence);
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
        for note in self.rows.iter().flat_map(Row::notes) {
            writeln!(f, "{note}")?;
        }
        for problem in &self.health.problems {
            writeln!(f, "the detector: {problem}")?;
        }
        for (what, count) in &self.health.dropped {
            writeln!(f, "the detector: {count} {what}")?;
        }
        Ok(())
    }
}
