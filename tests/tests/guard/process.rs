//! This binary, started again for its ignored tests; by itself, as `cargo test` does, or under
//! nextest.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing here takes so long, whatever else the machine does.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a test of a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    /// What it said. Of tests that pass, harnesses don't tell it.
    pub(crate) told: String,
}

/// A process that has ended, with what it told.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) outcomes: BTreeMap<String, Outcome>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn new(output: Output, outcomes: impl Fn(&str) -> BTreeMap<String, Outcome>) -> Run {
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
        Run {
            outcomes: outcomes(&stdout),
            status: output.status,
            stdout,
            stderr,
        }
    }

    /// Fails unless that one test passed.
    #[track_caller]
    pub(crate) fn passes(&self) {
        let passed = self.stdout.contains("test result: ok. 1 passed;");
        assert!(passed && self.status.success(), "{}", self.whole());
    }

    /// Fails unless that one test failed.
    #[track_caller]
    pub(crate) fn fails(&self) {
        let failed = self
            .stdout
            .contains("test result: FAILED. 0 passed; 1 failed;");
        assert!(failed && !self.status.success(), "{}", self.whole());
    }

    /// Fails unless each of these stands in what it told.
    #[track_caller]
    pub(crate) fn tells(&self, expected: &[&str]) {
        let whole = self.whole();
        for expected in expected {
            assert!(whole.contains(expected), "no {expected:?} in:\n{whole}");
        }
    }

    /// Fails if one of these stands in what it told.
    #[track_caller]
    pub(crate) fn tells_nothing_of(&self, unexpected: &[&str]) {
        let whole = self.whole();
        for unexpected in unexpected {
            assert!(!whole.contains(unexpected), "{unexpected:?} in:\n{whole}");
        }
    }

    /// The whole of it, to be read by people.
    pub(crate) fn whole(&self) -> String {
        let Run {
            status,
            stdout,
            stderr,
            ..
        } = self;
        format!("{status}\n{stdout}\n{stderr}")
    }
}

/// The ignored tests whose path contains `filter`, run by libtest.
pub(crate) fn libtest(filter: &str, arguments: &[&str]) -> Run {
    let mut command = this_with(&["--ignored", filter]);
    command.args(arguments);
    Run::new(ended(command), read_libtest)
}

/// One ignored test, whose output is not captured, in a process of its own.
pub(crate) fn alone(test: &str) -> Run {
    alone_with(test, &[])
}

/// The same with these variables in its environment.
pub(crate) fn alone_with(test: &str, variables: &[(&str, &str)]) -> Run {
    let mut command = this_with(&["--ignored", "--exact", test, "--nocapture"]);
    command.envs(variables.iter().copied());
    Run::new(ended(command), read_libtest)
}

/// A command that starts this binary.
pub(crate) fn this_with(arguments: &[&str]) -> Command {
    let mut command = Command::new(this());
    quiet(&mut command).args(arguments);
    command
}

/// Runs a command to its end, and what it started with it.
fn ended(mut command: Command) -> Output {
    let child = command.spawn().expect("it can be started");
    let id = child.id();
    let (sender, output) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let ended = output.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        signal("KILL", &format!("-{id}"));
        output.recv().expect("it is told")
    });
    ended.expect("it can be waited for")
}

/// Sends a signal to a process, or to a group of them by its negative id.
pub(crate) fn signal(name: &str, process: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, "--", process])
        .status();
    assert!(
        sent.expect("kill can be started").success(),
        "{name} to {process}"
    );
}

/// The environment of the tests that call is not that of the tests that run.
fn quiet(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("NEXTEST") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("RUST_LOG")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
}

fn this() -> PathBuf {
    env::current_exe().expect("the path of this binary is known")
}

fn read_libtest(stdout: &str) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    for line in stdout.lines() {
        let test = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "));
        let Some((test, result)) = test else { continue };
        let test = test.trim_end_matches(" - should panic").to_owned();
        let outcome = Outcome {
            passed: result == "ok",
            told: String::new(),
        };
        outcomes.insert(test, outcome);
    }
    let mut of_failed = None;
    for line in stdout.lines() {
        let heading = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" stdout ----"));
        match heading {
            Some(test) => of_failed = outcomes.get_mut(test),
            None if line == "failures:" => of_failed = None,
            None => {
                if let Some(outcome) = &mut of_failed {
                    outcome.told.push_str(line);
                    outcome.told.push('\n');
                }
            }
        }
    }
    outcomes
}

/// nextest, told of this binary alone, so that it builds nothing.
pub(crate) struct Nextest {
    /// What is a workspace to nextest.
    root: PathBuf,
}

impl Nextest {
    /// Panics with a line that says how to get it where it is not there.
    pub(crate) fn new() -> Nextest {
        let mut version = cargo();
        version.args(["nextest", "--version"]);
        let version = ended(version);
        assert!(
            version.status.success(),
            "cargo nextest is not installed; `cargo install --locked cargo-nextest` installs it",
        );
        let root = format!("nextest-{}", std::process::id());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(root);
        let write = |name: &str, text: String| {
            fs::write(root.join(name), text).expect("the directory can be written to");
        };
        fs::create_dir_all(root.join(".config")).expect("a directory can be made");
        write("Cargo.toml", String::new());
        write(".config/nextest.toml", CONFIGURATION.to_owned());
        write("cargo.json", cargo_metadata(&root).to_string());
        write("binaries.json", binaries_metadata(&root).to_string());
        Nextest { root }
    }

    /// The ignored tests whose path begins so, each in a process of its own.
    pub(crate) fn run(&self, start: &str, arguments: &[&str]) -> Run {
        let mut command = cargo();
        command
            .args(["nextest", "run", "--run-ignored", "only", "--no-fail-fast"])
            .args([
                "--binaries-metadata",
                "binaries.json",
                "--cargo-metadata",
                "cargo.json",
            ])
            .args(["--user-config-file", "none", "--color", "never"])
            .args([
                "--message-format",
                "libtest-json",
                "--message-format-version",
                "0.1",
            ])
            .args(["--filterset", &format!("test(/^{start}/)")])
            .args(arguments)
            .current_dir(&self.root)
            .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1");
        Run {
            // It tells people the same on standard error.
            stdout: String::new(),
            ..Run::new(ended(command), read_nextest)
        }
    }
}

impl Drop for Nextest {
    fn drop(&mut self) {
        // What is left stands in `target`.
        let _removed = fs::remove_dir_all(&self.root);
    }
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    quiet(&mut command);
    command
}

const CONFIGURATION: &str = r#"
[profile.default]
slow-timeout = { period = "60s", terminate-after = 1 }
"#;

const PACKAGE: &str = "taskleak-tests";
const TEST: &str = "guard";

fn package_id(root: &Path) -> String {
    format!("path+file://{}#{PACKAGE}@0.0.0", root.display())
}

/// Of a workspace with one package, as `cargo metadata` tells it.
fn cargo_metadata(root: &Path) -> Value {
    let id = package_id(root);
    let target = json!({
        "name": TEST, "kind": ["test"], "crate_types": ["bin"], "edition": "2024",
        "src_path": root.join("guard.rs"), "test": true, "doctest": false, "doc": false,
    });
    let package = json!({
        "name": PACKAGE, "version": "0.0.0", "id": &id, "targets": [target],
        "dependencies": [], "features": {}, "manifest_path": root.join("Cargo.toml"),
    });
    let node = json!({ "id": &id, "dependencies": [], "deps": [], "features": [] });
    json!({
        "version": 1, "packages": [package], "workspace_members": [&id],
        "resolve": { "nodes": [node], "root": null },
        "workspace_root": root, "target_directory": root.join("target"),
    })
}

/// Of this binary, as `cargo nextest list --list-type binaries-only` tells it.
fn binaries_metadata(root: &Path) -> Value {
    let id = format!("{PACKAGE}::{TEST}");
    let binary = json!({
        "binary-id": &id, "binary-name": TEST, "package-id": package_id(root),
        "kind": "test", "binary-path": this(), "build-platform": "target",
    });
    json!({
        "rust-build-meta": {
            "target-directory": root.join("target"), "base-output-directories": [],
            "non-test-binaries": {}, "build-script-out-dirs": {}, "linked-paths": [],
            "target-platforms": [],
        },
        "rust-binaries": { id: binary },
    })
}

fn read_nextest(stdout: &str) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    for line in stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let passed = match event["event"].as_str() {
            _ if event["type"] != "test" => continue,
            Some("ok") => true,
            Some("failed") => false,
            _ => continue,
        };
        // taskleak-tests::guard$sample::early_return
        let name = event["name"].as_str().unwrap_or_default();
        let test = name.split_once('$').map_or(name, |(_, test)| test);
        let told = event["stdout"].as_str().unwrap_or_default().to_owned();
        outcomes.insert(test.to_owned(), Outcome { passed, told });
    }
    outcomes
}
