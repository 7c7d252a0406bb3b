#[taskleak::test(on_failure = "always")]
async fn t() {}

fn main() {}
