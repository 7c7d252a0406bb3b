//! Ten thousand tasks that wait for ever: each fills a vector with random integers and then
//! receives from a channel that nobody serves.
//!
//! ```text
//! cargo run --release --example leak
//! curl 127.0.0.1:6060/debug/tasks
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rand::RngExt;
use taskleak::{BuildWatched, Detector, Snapshot};
use taskleak_examples::{ended, install, print_addresses};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Parser)]
#[command(about = "Starts tasks that wait for ever, and shows them")]
struct Args {
    /// How many tasks to start
    #[arg(long, default_value_t = 10_000)]
    tasks: usize,
    /// How many integers each of them holds
    #[arg(long, default_value_t = 10_000)]
    values: usize,
    /// Where 127.0.0.1 serves the debug endpoint
    #[arg(long, default_value_t = 6060)]
    port: u16,
    /// Each task waits one second instead, so that the count is seen to fall
    #[arg(long)]
    fixed: bool,
    /// Prints the task profile once every task waits, and ends
    #[arg(long)]
    report: bool,
    /// Serves tokio-console at 127.0.0.1:6669 as well
    #[arg(long)]
    console: bool,
}

fn main() -> ExitCode {
    ended(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    let detector = install(args.console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .name("leak")
        .build_watched(&detector)?;
    let server = detector.serve(&format!("127.0.0.1:{}", args.port))?;
    if !args.report {
        print_addresses(server.local_addr(), args.console);
    }
    runtime.block_on(run(args, &detector))
}

async fn run(args: &Args, detector: &Detector) -> Result<(), Box<dyn Error>> {
    let tasks = start(args);
    if args.report {
        print!("{}", once_all_wait(detector, args.tasks).await?);
        return Ok(());
    }
    println!("started {} tasks; Ctrl-C ends this", tasks.len());
    tokio::select! {
        () = join(tasks) => {
            println!("every task has ended; Ctrl-C ends this");
            tokio::signal::ctrl_c().await?;
        }
        pressed = tokio::signal::ctrl_c() => pressed?,
    }
    Ok(())
}

fn start(args: &Args) -> Vec<JoinHandle<usize>> {
    let (values, fixed) = (args.values, args.fixed);
    (0..args.tasks)
        .map(|_| {
            if fixed {
                tokio::spawn(one_fixed(values))
            } else {
                tokio::spawn(one(values))
            }
        })
        .collect()
}

async fn one(count: usize) -> usize {
    let values = random(count);
    // The task holds the sender itself, so the channel never closes.
    let (_sender, mut receiver) = mpsc::channel::<i64>(1);
    receiver.recv().await;
    values.len()
}

async fn one_fixed(count: usize) -> usize {
    let values = random(count);
    tokio::time::sleep(Duration::from_secs(1)).await;
    values.len()
}

fn random(count: usize) -> Vec<i64> {
    let mut rng = rand::rng();
    (0..count).map(|_| rng.random()).collect()
}

async fn join(tasks: Vec<JoinHandle<usize>>) {
    for task in tasks {
        // A task that panicked has ended as well.
        let _ended = task.await;
    }
}

async fn once_all_wait(detector: &Detector, tasks: usize) -> Result<String, Box<dyn Error>> {
    loop {
        let detector = detector.clone();
        let snapshot = tokio::task::spawn_blocking(move || detector.snapshot()).await?;
        if waiting(&snapshot) >= tasks as u64 {
            return Ok(snapshot.to_string());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn waiting(snapshot: &Snapshot) -> u64 {
    let waits = snapshot
        .groups
        .iter()
        .filter(|group| !group.wait.is_empty());
    waits.map(|group| group.count).sum()
}
