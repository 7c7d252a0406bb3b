//! The snapshot that the tests of the renderers share: a group of each sort.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::snapshot::{
    Frame, Group, GroupId, Health, Kind, Module, Process, SCHEMA, Snapshot, SourceLocation, Spread,
    Stack, State, Sweeps, Task, Totals, Verdict, Wait,
};

/// A frame that can be refined.
pub(crate) struct Built(pub(crate) Frame);

pub(crate) fn frame(function: &str, address: u64) -> Built {
    Built(Frame {
        function: function.to_owned(),
        file: None,
        line: None,
        address,
        inlined: false,
        hidden: false,
    })
}

impl Built {
    pub(crate) fn at(self, file: &str, line: u32) -> Self {
        Self(Frame {
            file: Some(file.to_owned()),
            line: Some(line),
            ..self.0
        })
    }

    pub(crate) fn inlined(self) -> Self {
        Self(Frame {
            inlined: true,
            ..self.0
        })
    }

    pub(crate) fn hidden(self) -> Self {
        Self(Frame {
            hidden: true,
            ..self.0
        })
    }
}

pub(crate) fn stack<const N: usize>(frames: [Built; N]) -> Stack {
    frames.into_iter().map(|built| built.0).collect()
}

const POLL: &str = "tokio::runtime::task::raw::poll";

/// In `main`, as most of the sample's tasks are created.
fn created() -> Stack {
    stack([
        frame("tokio::task::spawn::spawn", 0x5555_0000_1200).hidden(),
        frame("shop::main::{async block}", 0x5555_0000_1300).at("src/main.rs", 52),
        frame("shop::main", 0x5555_0000_1400).at("src/main.rs", 40),
        frame("std::rt::lang_start", 0x5555_0000_1500).hidden(),
    ])
}

fn receive() -> Stack {
    stack([
        frame("tokio::sync::mpsc::chan::Rx::recv", 0x5555_0000_1010)
            .hidden()
            .inlined(),
        frame("shop::worker", 0x5555_0000_1010)
            .at("src/worker.rs", 31)
            .inlined(),
        frame(POLL, 0x5555_0000_1010).hidden(),
    ])
}

fn checkout(arm: &str, address: u64) -> Stack {
    stack([
        frame(arm, address).at("src/cart.rs", 70).inlined(),
        frame("shop::cart::checkout", address).at("src/cart.rs", 24),
        frame(POLL, 0x5555_0000_1020).hidden(),
    ])
}

fn unknown_symbols() -> Stack {
    stack([
        frame("", 0x7fff_0000_2345),
        frame("", 0x5555_0000_1777),
        frame("", 0x42),
    ])
}

fn group(id: u64, count: u64, state: State) -> Group {
    Group {
        id: GroupId(id),
        count,
        kind: Kind::Task,
        name: String::new(),
        runtime: "main".to_owned(),
        state,
        wait: Vec::new(),
        primitives: Vec::new(),
        blocked_ms: None,
        age_ms: Spread {
            min: 131_000,
            median: 132_000,
            max: 133_000,
        },
        verdict: None,
        allowed: None,
        spawned_at: Some(SourceLocation {
            file: "src/main.rs".to_owned(),
            line: 52,
            column: 9,
        }),
        waiting_at: Vec::new(),
        created_by: created(),
        bytes: None,
        tasks: (id * 100..).take(count.min(100) as usize).collect(),
        wakers_without_stack: 0,
        waits_guessed: 0,
        future_bytes: 512,
        blocked_total_ms: 0,
        scope: String::new(),
        outlived_ms: None,
    }
}

fn waiting(id: u64, count: u64, wait: &[(Wait, &str)], waiting_at: Vec<Stack>) -> Group {
    Group {
        wait: wait.iter().map(|(wait, _)| *wait).collect(),
        primitives: wait
            .iter()
            .map(|(_, primitive)| (*primitive).to_owned())
            .collect(),
        waiting_at,
        blocked_ms: Some(Spread {
            min: 129_000,
            median: 130_000,
            max: 131_000,
        }),
        blocked_total_ms: 130_000 * count,
        ..group(id, count, State::Waiting)
    }
}

fn groups() -> Vec<Group> {
    let mpsc = (Wait::ChanReceive, "tokio::sync::mpsc");
    let sleep = (Wait::Sleep, "tokio::time");
    let arms = || {
        vec![
            checkout("shop::cart::receipt", 0x5555_0000_1030),
            checkout("shop::cart::timeout", 0x5555_0000_1040),
        ]
    };
    vec![
        Group {
            verdict: Some(Verdict {
                level: "likely".to_owned(),
                tasks: 9990,
                evidence: vec![
                    "stalled: 9990 tasks have waited".to_owned(),
                    "growing: they rose\nfrom 20".to_owned(),
                ],
            }),
            ..waiting(0x1f0c, 10_000, &[mpsc], vec![receive()])
        },
        Group {
            name: "checkout\n1 @ 0x1".to_owned(),
            kind: Kind::Local,
            scope: "request\n2 @ 0x2".to_owned(),
            ..waiting(2, 7, &[mpsc, sleep], arms())
        },
        Group {
            wakers_without_stack: 3,
            waits_guessed: 1,
            scope: "request".to_owned(),
            outlived_ms: Some(Spread {
                min: 1500,
                median: 2500,
                max: 199_000,
            }),
            ..waiting(3, 3, &[mpsc], vec![receive()])
        },
        Group {
            spawned_at: None,
            created_by: Stack::default(),
            ..waiting(4, 2, &[(Wait::Other, "")], vec![unknown_symbols()])
        },
        Group {
            name: "heartbeat".to_owned(),
            allowed: Some("name=heartbeat".to_owned()),
            runtime: "io".to_owned(),
            blocked_ms: Some(Spread {
                min: 350,
                median: 350,
                max: 350,
            }),
            ..waiting(5, 1, &[(Wait::Nothing, "")], Vec::new())
        },
        Group {
            kind: Kind::BlockOn,
            ..waiting(6, 1, &[], Vec::new())
        },
        group(7, 1, State::Running),
        Group {
            runtime: String::new(),
            created_by: Stack::default(),
            spawned_at: None,
            ..group(8, 1, State::Runnable)
        },
        Group {
            kind: Kind::Blocking,
            ..group(9, 1, State::Blocking)
        },
    ]
}

fn task(group: &Group, place: u64) -> Task {
    let waiting = group.state == State::Waiting;
    Task {
        id: group.tasks[0] + place,
        parent: (place == 0).then_some(3),
        group: group.id,
        state: group.state,
        blocked_ms: waiting.then_some(130_000 >> place),
        runnable_ms: (group.state == State::Runnable).then_some(5),
        age_ms: 132_000,
        polls: 2,
        busy_ms: 10,
        wakers: waiting.then_some(1),
    }
}

fn module(path: &str, start: u64, build_id: &str) -> Module {
    Module {
        start,
        end: start + 0x2000,
        file_offset: 0x1000,
        bias: start - 0x1000,
        path: path.to_owned(),
        build_id: build_id.to_owned(),
    }
}

/// Groups and tasks of each sort, unknown symbols, and a detector that has something to tell.
pub(crate) fn snapshot() -> Snapshot {
    let groups = groups();
    let tasks = groups
        .iter()
        .flat_map(|group| (0..group.count.min(2)).map(|n| task(group, n)));
    Snapshot {
        schema: SCHEMA,
        taken_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_417_200_250),
        uptime_ms: 140_000,
        process: Process {
            pid: 4242,
            exe: "/srv/shop".to_owned(),
            cmdline: vec!["shop".to_owned()],
        },
        health: Health {
            recording: true,
            problems: vec!["no debug info: build with debug = \"limited\"".to_owned()],
            dropped: BTreeMap::from([("stacks".to_owned(), 12)]),
        },
        watchdog: Some(Sweeps {
            count: 139,
            last_ms: 400,
            took_us: 1234,
        }),
        totals: Totals {
            spawned: 20_000,
            unknown: 4,
            ..Totals::of(&groups)
        },
        runtimes: Vec::new(),
        tasks: tasks.collect(),
        modules: vec![
            module("/lib/libdb.so.1", 0x7fff_0000_1000, ""),
            module("/srv/shop", 0x5555_0000_0000, "c0ffee01"),
            module("/lib/libc.so.6", 0x7eee_0000_0000, "abcd"),
        ],
        groups,
    }
}
