#[taskleak::test(flavor = "multi_thread", start_paused = true)]
async fn of_many_threads() {}

#[taskleak::test(start_paused = "yes")]
async fn no_switch() {}

fn main() {}
