#[taskleak::test(settle = "5 bananas")]
async fn no_time() {}

#[taskleak::test(settle = 5)]
async fn no_text() {}

#[taskleak::test(timeout = "0s")]
async fn no_time_at_all() {}

#[taskleak::test(timeout)]
async fn no_value() {}

fn main() {}
