#[taskleak::test(worker_threads = 2)]
async fn of_one_thread() {}

#[taskleak::test(flavor = "multi_thread", worker_threads = 0)]
async fn none() {}

#[taskleak::test(flavor = "multi_thread", worker_threads = "two")]
async fn no_number() {}

fn main() {}
