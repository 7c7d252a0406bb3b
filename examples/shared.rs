//! What the examples share: the detector from the command line, and how they end.

use std::error::Error;
use std::process::ExitCode;

use taskleak::{CONSOLE_ADDRESS, Detector, Report};

/// Installs the detector, which tells of verdicts on the standard error, with tokio-console's
/// server beside it if asked for.
///
/// # Errors
///
/// Those of [`taskleak::Builder::install`].
pub fn install(console: bool) -> Result<Detector, Box<dyn Error>> {
    let builder = Detector::builder().on_verdict(tell);
    Ok(if console {
        builder.console(CONSOLE_ADDRESS).install()?
    } else {
        builder.install()?
    })
}

/// A service with a `tracing` subscriber needs no callback: verdicts are events there.
fn tell(report: &Report) {
    let (change, group) = (report.change.word(), &report.group);
    let Some(verdict) = &group.verdict else {
        return;
    };
    eprintln!(
        "{change}: {} tasks, leak {}: {} in {}",
        group.count,
        verdict.level,
        group.doing(),
        group.waiting_in()
    );
    for fact in &verdict.evidence {
        eprintln!("    {fact}");
    }
}

/// Says what to open.
pub fn print_addresses(endpoint: std::net::SocketAddr, console: bool) {
    println!("the tasks, grouped:   curl http://{endpoint}/debug/tasks");
    println!("each task:            curl http://{endpoint}/debug/tasks?debug=2");
    println!("leaks, as it judges:  curl http://{endpoint}/debug/leaks");
    println!("as JSON:              curl http://{endpoint}/debug/tasks?format=json");
    println!("go tool pprof -top    http://{endpoint}/debug/pprof/tasks");
    if console {
        println!("tokio-console         http://{CONSOLE_ADDRESS}");
    }
}

/// The exit code of a program that ended so; an error is told in one line.
pub fn ended(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
