//! What the examples share: the detector from the command line.

use std::error::Error;

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
