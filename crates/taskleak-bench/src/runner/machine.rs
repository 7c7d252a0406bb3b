//! What was measured, on what, and how: the first lines of a report.

use std::fs;
use std::process::Command;
use std::{env, thread};

use super::builds::workspace;

/// Lines of text.
pub(crate) fn heading() -> String {
    let arguments: String = env::args().skip(1).map(|one| format!(" {one}")).collect();
    let separator = if arguments.is_empty() { "" } else { " --" };
    [
        machine(),
        env!("TASKLEAK_BENCH_VERSIONS").to_owned(),
        format!(
            "commit {} · cargo run{} -p taskleak-bench{separator}{arguments}",
            commit(),
            if cfg!(debug_assertions) {
                ""
            } else {
                " --release"
            },
        ),
    ]
    .join("  \n")
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpu = read("/proc/cpuinfo");
    let memory = read("/proc/meminfo");
    let kilobytes =
        value(&memory, "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse().ok());
    format!(
        "{} · {cores} cores · {:.0} GiB · Linux {}",
        value(&cpu, "model name").unwrap_or("a processor without a name"),
        kilobytes.unwrap_or(0.0) / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// What stands behind the first `name` and its colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// Short, with a `+` if the tree has changes that it does not have.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let git = Command::new("git")
            .current_dir(workspace())
            .args(arguments)
            .output();
        git.ok()
            .filter(|git| git.status.success())
            .map(|git| git.stdout)
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changes = git(&["status", "--porcelain"]).unwrap_or_default();
    let plus = if changes.is_empty() { "" } else { "+" };
    format!("{}{plus}", String::from_utf8_lossy(&commit).trim())
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_value_is_found_by_its_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.5: fast\nMemTotal:   1 kB\n";
        assert_eq!(value(text, "model name"), Some("Some CPU @ 2.5: fast"));
        assert_eq!(value(text, "MemTotal"), Some("1 kB"));
        assert_eq!(value(text, "model"), None);
    }
}
