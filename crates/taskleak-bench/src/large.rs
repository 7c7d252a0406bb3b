//! The same program as a large one, of about 100 MB: what a service with many dependencies is.
//!
//! Nothing is padded: it has the functions too that nobody calls, with their debug info.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::Error;

/// The other flags are those of this program, or of the workspace.
const MORE_FLAG: &str = "-C link-dead-code";
const WORKSPACE_FLAGS: &str = "--cfg tokio_unstable";
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const BENCH: &str = "overhead";
/// Relative to the package.
const TARGET: &str = "../../target/bench/large";
/// How many bytes are 100 MB.
const ABOUT: std::ops::RangeInclusive<u64> = 80_000_000..=130_000_000;

/// Builds it, and returns where it is. Cargo shows on standard error how it goes on.
pub(crate) fn build() -> Result<PathBuf, Error> {
    let built = run_cargo().map_err(Error::BuildLarge)?;
    let bytes = fs::metadata(&built).map_err(Error::BuildLarge)?.len();
    match ABOUT.contains(&bytes) {
        true => Ok(built),
        false => Err(Error::NotLarge { bytes }),
    }
}

fn run_cargo() -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let flags = env::var("RUSTFLAGS").unwrap_or_else(|_| WORKSPACE_FLAGS.to_owned());
    let built = Command::new(cargo)
        .args(["build", "--release", "--bench", BENCH])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(Path::new(PACKAGE).join(TARGET))
        .current_dir(PACKAGE)
        .env("RUSTFLAGS", format!("{flags} {MORE_FLAG}"))
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err(io::Error::other(format!("cargo: {}", built.status)));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let found = messages.lines().filter_map(executable).next_back();
    found.ok_or_else(|| io::Error::other("cargo named no program"))
}

/// The program that a message of cargo's is about.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_ours = message["target"]["name"] == BENCH;
    let path = message["executable"].as_str().filter(|_| is_ours)?;
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_in_its_artifact() {
        let check = |message, expected: Option<&str>| {
            assert_eq!(
                executable(message),
                expected.map(PathBuf::from),
                "{message}"
            );
        };
        check(
            r#"{"target":{"name":"overhead"},"executable":"/x/overhead-1"}"#,
            Some("/x/overhead-1"),
        );
        check(r#"{"target":{"name":"tokio"},"executable":null}"#, None);
        check(r#"{"reason":"build-finished","success":true}"#, None);
    }
}
