//! JSON: the snapshot itself, without the frames that are hidden.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::show::shown;
use crate::snapshot::{
    Frame, Group, Health, Module, Process, Runtime, Snapshot, Stack, Sweeps, Tasks, Totals, rfc3339,
};

pub(super) fn write(snapshot: &Snapshot, full: bool, sink: &mut impl Write) -> io::Result<()> {
    match full {
        true => serde_json::to_writer(&mut *sink, snapshot)?,
        false => serde_json::to_writer(&mut *sink, &Visible::of(snapshot))?,
    }
    sink.write_all(b"\n")
}

/// A [`Snapshot`] whose groups lose their hidden frames as they are written, one by one. Field by
/// field the same: a test compares them.
#[derive(Serialize)]
struct Visible<'a> {
    schema: u32,
    #[serde(with = "rfc3339")]
    taken_at: SystemTime,
    uptime_ms: u64,
    process: &'a Process,
    health: &'a Health,
    watchdog: Option<Sweeps>,
    totals: &'a Totals,
    runtimes: &'a [Runtime],
    groups: VisibleGroups<'a>,
    #[serde(skip_serializing_if = "Tasks::is_empty")]
    tasks: &'a Tasks,
    modules: &'a [Module],
}

impl<'a> Visible<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            schema: snapshot.schema,
            taken_at: snapshot.taken_at,
            uptime_ms: snapshot.uptime_ms,
            process: &snapshot.process,
            health: &snapshot.health,
            watchdog: snapshot.watchdog,
            totals: &snapshot.totals,
            runtimes: &snapshot.runtimes,
            groups: VisibleGroups(&snapshot.groups),
            tasks: &snapshot.tasks,
            modules: &snapshot.modules,
        }
    }
}

struct VisibleGroups<'a>(&'a [Group]);

impl Serialize for VisibleGroups<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(visible))
    }
}

fn visible(group: &Group) -> Group {
    Group {
        waiting_at: group.waiting_at.iter().map(visible_frames).collect(),
        created_by: visible_frames(&group.created_by),
        ..group.clone()
    }
}

fn visible_frames(stack: &Stack) -> Stack {
    let mut frames: Vec<Frame> = shown(stack, false).cloned().collect();
    // The function that a frame was inlined into may be one that is left out.
    for place in 0..frames.len() {
        let outer = frames.get(place + 1).map(|outer| outer.address);
        frames[place].inlined &= outer == Some(frames[place].address);
    }
    frames.into()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn json(snapshot: &Snapshot, full: bool) -> serde_json::Value {
        let mut sink = Vec::new();
        write(snapshot, full, &mut sink).unwrap();
        serde_json::from_slice(&sink).unwrap()
    }

    #[test]
    fn full_json_is_the_snapshot() {
        let snapshot = sample::snapshot();
        assert_eq!(
            json(&snapshot, true),
            serde_json::to_value(&snapshot).unwrap()
        );
    }

    #[test]
    fn without_hidden_frames_both_forms_are_equal() {
        let hidden = sample::snapshot();
        let plain: Snapshot = serde_json::from_value(json(&hidden, false)).unwrap();
        assert_eq!(json(&plain, true), json(&plain, false));
        assert_ne!(json(&hidden, true), json(&hidden, false));
    }

    #[test]
    fn json_of_the_sample() {
        let json = serde_json::to_string_pretty(&json(&sample::snapshot(), false)).unwrap();
        insta::assert_snapshot!(json);
    }
}
