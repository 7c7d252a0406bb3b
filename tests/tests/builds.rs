//! What is left of the stacks in builds of every kind: each is made, run and read.
//!
//! The program is `tests/fixture`. It is compiled once for each kind, so these tests are ignored
//! but in CI: `cargo test -p taskleak-tests --test builds -- --ignored`. What pprof reads is
//! looked at through `go tool pprof`, if there is a `go`.
//!
//! A frame is written here as its function and, where the build knows the line, what stands on
//! that line of the program. Builds without debug info know the functions that were not inlined:
//! a compiler that inlines others changes their tables.

#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use taskleak_profile::snapshot::{Frame, Group, Snapshot};

/// How the program is built.
struct Build {
    /// Its directory in `target/builds`, no other test's.
    name: &'static str,
    /// `debug` of the profile.
    debug: &'static str,
    rustflags: &'static str,
    /// Passed to the compiler of the program alone, as what is linked once needs no more.
    link: &'static [&'static str],
}

/// What is known of one task.
struct Known {
    /// What stands where it was spawned.
    spawn: &'static str,
    /// The wait and its primitive.
    wait: &'static str,
    /// Where it waits, leaf first.
    waiting_at: &'static [&'static str],
    /// Who spawned it, innermost first.
    created_by: &'static [&'static str],
}

const LIMITED: Build = Build {
    name: "limited",
    debug: "limited",
    rustflags: "",
    link: &[],
};

const MAIN: &str = "shop::main: runtime.block_on(run(detector, directory.into()))";
const CHECKOUT: Known = Known {
    spawn: "tokio::spawn(checkout())",
    wait: "chan receive (tokio::sync::mpsc)",
    waiting_at: &[
        "shop::pay: receiver.recv().await",
        "shop::checkout: let price = pay().await;",
    ],
    created_by: &[
        "shop::open_till: tokio::spawn(checkout())",
        "shop::run: let _till = open_till();",
        MAIN,
    ],
};
const DELIVER: Known = Known {
    spawn: "tokio::spawn(deliver());",
    wait: "join (tokio::task::JoinHandle)",
    waiting_at: &["shop::deliver: let _ended = receipt.await;"],
    created_by: &["shop::run: tokio::spawn(deliver());", MAIN],
};
const RECEIPT: Known = Known {
    spawn: "let receipt = tokio::spawn(receipt());",
    wait: "chan receive (tokio::sync::oneshot)",
    waiting_at: &["shop::receipt: receiver.await.ok()"],
    created_by: &["shop::deliver: let receipt = tokio::spawn(receipt());"],
};
const NAP: Known = Known {
    spawn: "tokio::spawn(nap());",
    wait: "sleep (tokio::time::Sleep)",
    waiting_at: &["shop::nap: tokio::time::sleep(Duration::from_secs(3600)).await;"],
    created_by: &["shop::run: tokio::spawn(nap());", MAIN],
};

#[test]
#[ignore = "compiles a program in release"]
fn limited_debug_info_gives_everything() {
    check(&LIMITED, None, &[CHECKOUT, DELIVER, RECEIPT, NAP]);
}

#[test]
#[ignore = "compiles a program in release"]
fn line_tables_lose_the_path_of_what_was_inlined() {
    check(
        &Build {
            name: "line-tables-only",
            debug: "line-tables-only",
            ..LIMITED
        },
        Some("`debug = \"limited\"` in the profile gives it"),
        &[
            Known {
                waiting_at: &[
                    "{async fn}: receiver.recv().await",
                    "shop::checkout: let price = pay().await;",
                ],
                created_by: &[
                    "open_till: tokio::spawn(checkout())",
                    "shop::run: let _till = open_till();",
                    MAIN,
                ],
                ..CHECKOUT
            },
            DELIVER,
            RECEIPT,
            NAP,
        ],
    );
}

#[test]
#[ignore = "compiles a program in release"]
fn v0_names_tell_the_future_that_tokio_polls() {
    check(
        &Build {
            name: "v0",
            debug: "none",
            rustflags: "-C symbol-mangling-version=v0",
            ..LIMITED
        },
        Some("`debug = \"limited\"` in the profile gives them"),
        &[
            Known {
                waiting_at: &["shop::checkout"],
                created_by: &["shop::run", "shop::main"],
                ..CHECKOUT
            },
            Known {
                waiting_at: &["shop::deliver"],
                created_by: &["shop::run", "shop::main"],
                ..DELIVER
            },
            Known {
                waiting_at: &["shop::receipt"],
                created_by: &["shop::deliver"],
                ..RECEIPT
            },
            Known {
                waiting_at: &["shop::nap"],
                created_by: &["shop::run", "shop::main"],
                ..NAP
            },
        ],
    );
}

#[test]
#[ignore = "compiles a program in release"]
fn legacy_names_tell_the_primitive() {
    check(
        &Build {
            name: "legacy",
            debug: "none",
            ..LIMITED
        },
        Some("`-C symbol-mangling-version=v0` gives some of the names"),
        &[
            Known {
                waiting_at: &["tokio::sync::mpsc::chan::Rx::recv"],
                created_by: &["shop::main"],
                ..CHECKOUT
            },
            Known {
                waiting_at: &["tokio::runtime::task::harness::can_read_output"],
                created_by: &["shop::main"],
                ..DELIVER
            },
            Known {
                waiting_at: &[
                    "<tokio::sync::oneshot::Receiver as core::future::future::Future>::poll",
                ],
                created_by: &["tokio::task::spawn::spawn"],
                ..RECEIPT
            },
            Known {
                waiting_at: &["<tokio::time::sleep::Sleep as core::future::future::Future>::poll"],
                created_by: &["shop::main"],
                ..NAP
            },
        ],
    );
}

#[test]
#[ignore = "compiles a program in release"]
fn a_stripped_binary_gives_addresses() {
    let stripped = Build {
        name: "stripped",
        // What `strip = true` in the profile passes on.
        link: &["-C", "strip=symbols"],
        ..LIMITED
    };
    check_addresses(&run(&make(&stripped)));

    // One whose original was kept: a linker that strips gives another build id.
    let original = make(&Build {
        name: "original",
        ..LIMITED
    });
    let copy = directory("stripped-copy").join("shop");
    succeed(Command::new("strip").arg("-o").arg(&copy).arg(&original));
    let output = run(&copy);
    check_addresses(&output);
    let build_id = |output: &Output| output.snapshot.modules[0].build_id.clone();
    assert_eq!(build_id(&output), build_id(&run(&original)));

    // Go's tool reads DWARF's own names, of functions that were not inlined.
    let pprof = |profile| {
        let mut pprof = pprof();
        pprof.args(["-traces", "-symbolize=demangle=full"]);
        pprof.arg(&original).arg(copy.with_file_name(profile));
        pprof
    };
    if let Some(traces) = run_go(pprof("pprof")) {
        for task in ["checkout", "deliver", "receipt", "nap"] {
            let polls = format!("poll<shop::{task}::{{async_fn_env#0}}>");
            assert!(traces.contains(&polls), "no {polls} in\n{traces}");
        }
        let is_own = |function: &str| function.contains("waker_cloned");
        assert!(!traces.lines().any(is_own), "{traces}");
    }
    // The text has the addresses too.
    if let Some(traces) = run_go(pprof("groups")) {
        let polls = "poll<shop::checkout::{async_fn_env#0}>";
        assert!(traces.contains(polls), "no {polls} in\n{traces}");
    }
}

/// Each frame is an address, and each task tells where it was spawned.
fn check_addresses(output: &Output) {
    check_health(
        output,
        Some("-symbolize=demangle=full UNSTRIPPED_BINARY` names them"),
    );
    for spawn in [CHECKOUT.spawn, DELIVER.spawn, RECEIPT.spawn, NAP.spawn] {
        let group = output.group(spawn);
        assert!(!group.waiting_at[0].is_empty() && !group.created_by.is_empty());
        for text in [output.of_groups(spawn), output.of_tasks(spawn)] {
            assert_eq!(text.wait, "other");
            let frames = text.waiting_at.iter().chain(&text.created_by);
            for frame in frames.filter(|frame| !frame.starts_with("?: ")) {
                assert!(frame.contains("+0x"), "{frame} is no address");
            }
        }
        let creator = &output.of_tasks(spawn).created_by;
        assert_eq!(*creator, [format!("?: {spawn}")]);
    }
}

/// Compares what every format says of the tasks with what is known in this build.
fn check(build: &Build, problem: Option<&str>, expected: &[Known]) {
    let output = run(&make(build));
    check_health(&output, problem);
    for known in expected {
        let group = output.group(known.spawn);
        let frames = |stack: &[Frame]| -> Vec<String> { stack.iter().map(of_json).collect() };
        assert_eq!(frames(&group.waiting_at[0]), known.waiting_at, "JSON");
        assert_eq!(frames(&group.created_by), known.created_by, "JSON");

        let text = output.of_groups(known.spawn);
        assert_eq!(text.wait, known.wait, "debug=1");
        assert_eq!(text.waiting_at, known.waiting_at, "debug=1");
        assert_eq!(text.created_by, known.created_by, "debug=1");

        let text = output.of_tasks(known.spawn);
        assert_eq!(text.wait, known.wait.split(" (").next().unwrap(), "debug=2");
        assert_eq!(text.waiting_at, known.waiting_at, "debug=2");
        // The place of the spawn is known in each build.
        let creator = format!("{}: {}", function(known.created_by[0]), known.spawn);
        assert_eq!(text.created_by, [creator], "debug=2");

        if let Some(stack) = output.of_pprof(known.spawn) {
            let frames = known.waiting_at.iter().chain(known.created_by);
            let functions: Vec<&str> = frames.map(|frame| function(frame)).collect();
            assert_eq!(stack, functions, "pprof");
        }
    }
}

/// `health` names what is missing and what would give it, in every format.
fn check_health(output: &Output, problem: Option<&str>) {
    let health = &output.snapshot.health;
    assert!(health.recording);
    match problem {
        None => assert_eq!(health.problems, [""; 0]),
        Some(problem) => {
            let told = |text: &String| text.contains(problem);
            assert!(health.problems.iter().any(told), "{:?}", health.problems);
            for text in [&output.groups, &output.tasks] {
                let mut top = text.lines().take(6);
                let told = |line: &str| line.starts_with("# problem: ") && line.contains(problem);
                assert!(top.any(told), "{text}");
            }
        }
    }
    let build_id = &output.snapshot.modules[0].build_id;
    assert!(!build_id.is_empty(), "link with -C link-arg=-Wl,--build-id");
    assert!(output.groups.trim_end().ends_with(build_id.as_str()));
}

/// What the program wrote.
struct Output {
    snapshot: Snapshot,
    /// `debug=1`
    groups: String,
    /// `debug=2`
    tasks: String,
    /// What `go tool pprof -traces` makes of the profile, if it is there.
    traces: Option<String>,
}

/// What a text says of a task.
struct Text {
    wait: String,
    waiting_at: Vec<String>,
    created_by: Vec<String>,
}

impl Output {
    fn group(&self, spawn: &str) -> &Group {
        let line = line_of(spawn);
        let is_spawned_here = |group: &&Group| {
            let at = group.spawned_at.as_ref();
            at.is_some_and(|at| at.line as usize == line)
        };
        let mut groups = self.snapshot.groups.iter().filter(is_spawned_here);
        groups
            .next()
            .unwrap_or_else(|| panic!("no task of {spawn}"))
    }

    fn of_groups(&self, spawn: &str) -> Text {
        let place = format!("# spawned at {SOURCE}:{}:", line_of(spawn));
        let group = paragraph(&self.groups, &place);
        let (waiting_at, created_by) = group.split_once("# created by\n").unwrap();
        let frames = |part: &str| -> Vec<String> {
            let frames = part.lines().filter_map(|line| line.strip_prefix("#\t0x"));
            frames
                .map(|line| {
                    let mut columns = line.split('\t').skip(1).filter(|cell| !cell.is_empty());
                    of_text(columns.next().unwrap(), columns.next())
                })
                .collect()
        };
        let summary = waiting_at.lines().nth(1).unwrap().trim_start_matches("# ");
        Text {
            wait: summary.split(" for ").next().unwrap().to_owned(),
            waiting_at: frames(waiting_at),
            created_by: frames(created_by),
        }
    }

    fn of_tasks(&self, spawn: &str) -> Text {
        let id = self.group(spawn).tasks[0];
        let task = paragraph(&self.tasks, &format!("task {id} ["));
        let (head, frames) = task.split_once("]:\n").unwrap();
        let (waiting_at, created_by) = frames.split_once("created by ").unwrap();
        let frames = |part: &str| -> Vec<String> {
            let lines: Vec<&str> = part.lines().collect();
            let pairs = lines.chunks(2);
            pairs
                .map(|pair| of_text(pair[0], pair.get(1).copied()))
                .collect()
        };
        let creator = created_by.split_once(" in task ").unwrap();
        let place = creator.1.split_once('\n').unwrap().1;
        let (_, wait) = head.split_once('[').unwrap();
        Text {
            wait: wait.split(", ").next().unwrap().to_owned(),
            waiting_at: frames(waiting_at),
            created_by: frames(&format!("{}\n{place}", creator.0)),
        }
    }

    /// The functions of the task's sample.
    fn of_pprof(&self, spawn: &str) -> Option<Vec<&str>> {
        let place = format!("spawned_at:  {SOURCE}:{}:", line_of(spawn));
        let mut samples = self.traces.as_ref()?.split("-----------+");
        let sample = samples.find(|sample| sample.contains(&place)).unwrap();
        let is_label = |line: &&str| line.contains(":  ") || line.starts_with('-');
        let stack = sample.lines().filter(|line| !is_label(line));
        Some(
            stack
                // The first line has the value.
                .map(|line| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()))
                .map(|line| line.trim_end_matches(" (inline)"))
                .filter(|line| !line.is_empty())
                .collect(),
        )
    }
}

fn paragraph<'a>(text: &'a str, holds: &str) -> &'a str {
    let mut paragraphs = text.split("\n\n");
    let found = paragraphs.find(|paragraph| paragraph.contains(holds));
    found.unwrap_or_else(|| panic!("no {holds:?} in\n{text}"))
}

fn of_json(frame: &Frame) -> String {
    let place = frame.file.as_ref().zip(frame.line);
    let place = place.map(|(file, line)| format!("{file}:{line}"));
    of_text(&frame.function, place.as_deref())
}

/// A frame with what stands on its line. A place that is an address is left out.
fn of_text(function: &str, place: Option<&str>) -> String {
    let line = place.and_then(|place| place.rsplit_once(':'));
    match line {
        Some((file, line)) => {
            assert!(file.ends_with(SOURCE), "{function} is in {file}");
            let line: usize = line.parse().unwrap();
            format!(
                "{function}: {}",
                PROGRAM.lines().nth(line - 1).unwrap().trim()
            )
        }
        None => function.to_owned(),
    }
}

/// The function of a frame in a table.
fn function(frame: &str) -> &str {
    frame.split(": ").next().unwrap()
}

const SOURCE: &str = "tests/fixture/src/main.rs";
const PROGRAM: &str = include_str!("../fixture/src/main.rs");

/// The line of the program, from 1.
fn line_of(text: &str) -> usize {
    let mut lines = PROGRAM.lines();
    1 + lines.position(|line| line.trim() == text).unwrap()
}

/// Builds the program and returns the path of the binary.
fn make(build: &Build) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    let binary = directory(build.name).join("shop");
    // With a target named, flags are not for build scripts and macros, so those are built once.
    let target = host();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--package",
            "taskleak-fixture",
        ])
        .args(["--target", &target, "--target-dir"])
        .arg(builds())
        .arg("--")
        .args(build.link)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "RUSTFLAGS",
            format!("--cfg tokio_unstable {}", build.rustflags),
        )
        .env("CARGO_PROFILE_RELEASE_DEBUG", build.debug);
    succeed(&mut cargo);
    let built = builds().join(target).join("release/shop");
    fs::copy(built, &binary).unwrap();
    println!("{}: built in {:.0?}", build.name, started.elapsed());
    binary
}

/// Runs the program and reads what it writes beside itself.
fn run(binary: &Path) -> Output {
    let directory = binary.parent().unwrap();
    succeed(Command::new(binary).arg(directory));
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let mut pprof = pprof();
    pprof.arg("-traces").arg(directory.join("pprof"));
    Output {
        snapshot: serde_json::from_str(&text("json")).unwrap(),
        groups: text("groups"),
        tasks: text("tasks"),
        traces: run_go(pprof),
    }
}

fn pprof() -> Command {
    let mut go = Command::new("go");
    go.args(["tool", "pprof"]);
    go.env("HOME", builds())
        .env("PPROF_TMPDIR", directory("go"));
    go
}

/// What it prints; `None` where Go is not installed.
fn run_go(mut go: Command) -> Option<String> {
    match go.output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{go:?}: {errors}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            println!("skipped {:?}: {error}", go.get_args().collect::<Vec<_>>());
            None
        }
    }
}

fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

fn host() -> String {
    let version = String::from_utf8(succeed(Command::new("rustc").arg("-vV"))).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

fn builds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/builds")
}

/// A directory in `target/builds`.
fn directory(name: impl AsRef<OsStr>) -> PathBuf {
    let directory = builds().join(name.as_ref());
    fs::create_dir_all(&directory).unwrap();
    directory
}
