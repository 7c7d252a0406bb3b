#[taskleak::test(flavor = "threaded")]
async fn t() {}

fn main() {}
