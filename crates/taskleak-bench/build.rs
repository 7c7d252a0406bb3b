//! Notes what the benchmark was built of, for the first line of its report.

use std::error::Error;
use std::process::Command;
use std::{env, fs};

const LOCK_FILE: &str = "../../Cargo.lock";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LOCK_FILE}");
    println!(
        "cargo::rustc-env=TASKLEAK_BENCH_TOKIO={}",
        locked("tokio", &fs::read_to_string(LOCK_FILE)?).ok_or("no tokio in Cargo.lock")?
    );
    println!("cargo::rustc-env=TASKLEAK_BENCH_RUSTC={}", rustc()?);
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
