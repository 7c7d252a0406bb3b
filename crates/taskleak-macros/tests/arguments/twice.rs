#[taskleak::test(settle = "1s", settle = "2s")]
async fn t() {}

fn main() {}
