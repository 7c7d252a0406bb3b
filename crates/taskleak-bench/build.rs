//! Notes what the benchmark was built of, for the first lines of its report.

use std::error::Error;
use std::process::Command;
use std::{env, fs};

const LOCK_FILE: &str = "../../Cargo.lock";
/// What is measured, and what it is measured beside.
const PACKAGES: [&str; 6] = [
    "tokio",
    "hyper",
    "console-subscriber",
    "dial9",
    "await-tree",
    "async-backtrace",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LOCK_FILE}");
    let lock_file = fs::read_to_string(LOCK_FILE)?;
    let mut versions = vec![format!("rustc {}", rustc()?)];
    for package in PACKAGES {
        let version = locked(package, &lock_file);
        let version = version.ok_or_else(|| format!("no {package} in Cargo.lock"))?;
        versions.push(format!("{package} {version}"));
    }
    println!(
        "cargo::rustc-env=TASKLEAK_BENCH_VERSIONS={}",
        versions.join(" · ")
    );
    Ok(())
}

/// The version of a package in a lock file.
fn locked<'a>(package: &str, lock_file: &'a str) -> Option<&'a str> {
    let (_, after) = lock_file.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}

/// `1.95.0` of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn rustc() -> Result<String, Box<dyn Error>> {
    let said = Command::new(env::var("RUSTC")?).arg("--version").output()?;
    let version = String::from_utf8(said.stdout)?;
    Ok(version.split(' ').nth(1).ok_or("no version")?.to_owned())
}
