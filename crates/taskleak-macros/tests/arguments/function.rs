#[taskleak::test]
fn not_async() {}

#[taskleak::test]
async fn with_parameter(_case: u8) {}

#[taskleak::test]
#[test]
async fn twice_a_test() {}

fn main() {}
