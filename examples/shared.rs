//! What the examples share: the detector from the command line, and how they end.

use std::error::Error;
use std::process::ExitCode;

use taskleak::{CONSOLE_ADDRESS, Detector};

/// Installs the detector, with tokio-console's server beside it if asked for.
///
/// # Errors
///
/// Those of [`taskleak::Builder::install`].
pub fn install(console: bool) -> Result<Detector, Box<dyn Error>> {
    let builder = Detector::builder();
    Ok(if console {
        builder.console(CONSOLE_ADDRESS).install()?
    } else {
        builder.install()?
    })
}

/// Says what to open.
pub fn print_addresses(endpoint: std::net::SocketAddr, console: bool) {
    println!("the tasks, grouped:   curl http://{endpoint}/debug/tasks");
    println!("each task:            curl http://{endpoint}/debug/tasks?debug=2");
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
