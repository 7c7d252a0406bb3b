#[taskleak::test(unhandled_panic = "abort")]
async fn t() {}

fn main() {}
