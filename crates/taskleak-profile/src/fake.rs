//! What tests take for the recorder: tasks, and what their ids mean.

use std::sync::Arc;

use crate::raw::{RawTask, Source};
use crate::resolve::ResolvedStack;
use crate::snapshot::{Frame, Kind, SourceLocation, State, Wait};

/// Stack, name, location and runtime `id` read as those of `id - shift` in `FAMILIES`.
pub(crate) struct Fake {
    shift: u32,
    asked: Vec<u32>,
}

const FAMILIES: u32 = 5;

impl Fake {
    pub(crate) fn new(shift: u32) -> Self {
        Self {
            shift,
            asked: Vec::new(),
        }
    }
}

impl Source for Fake {
    fn stack(&mut self, id: u32) -> Arc<ResolvedStack> {
        assert!(!self.asked.contains(&id), "stack {id} was asked for twice");
        self.asked.push(id);
        let family = (id - self.shift) % FAMILIES;
        Arc::new(ResolvedStack {
            frames: [frame(&format!("f{family}"))].into(),
            wait: Wait::ALL[family as usize],
            primitive: format!("p{family}"),
            identity: 1000 + u64::from(family),
        })
    }

    fn name(&mut self, id: u32) -> String {
        format!("name {}", (id - self.shift) % 2)
    }

    fn location(&mut self, id: u32) -> Option<SourceLocation> {
        let line = (id - self.shift) % 2;
        Some(SourceLocation {
            file: "a.rs".to_owned(),
            line,
            column: 1,
        })
    }

    fn runtime(&mut self, _: u32) -> String {
        "main".to_owned()
    }
}

fn frame(function: &str) -> Frame {
    Frame {
        function: function.to_owned(),
        file: None,
        line: None,
        address: 1,
        inlined: false,
        hidden: false,
    }
}

pub(crate) fn raw(id: u64) -> RawTask {
    RawTask {
        id,
        parent: 0,
        kind: Kind::Task,
        state: State::Waiting,
        daemon: false,
        scope: 0,
        outlived_ms: None,
        lost_ms: None,
        lost_by: 0,
        created: 1,
        waits: [2, 0, 0, 0, 0, 0, 0, 0],
        waits_len: 1,
        wakers: Some(1),
        wakers_explained: 1,
        waits_guessed: false,
        name: 0,
        spawned_at: 1,
        runtime: 1,
        in_state_ms: id * 10,
        age_ms: id * 100,
        polls: 1,
        busy_ms: 0,
        future_bytes: 64,
    }
}
