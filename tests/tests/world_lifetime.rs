//! NATs that end a mapping a minute after it began, however busy it is: the conversation does not notice.

use std::time::Duration;

use tests::bench::lifetime::{mortal, talk};
use tests::nat::Profile;
use tests::world::Access;

/// Long enough for the first mapping, which nobody knows anything of, and for two that are renewed.
const TIME: Duration = Duration::from_secs(150);

async fn assert_unnoticed(accesses: [&Access; 2]) {
    let outcome = talk(1, accesses, TIME).await.expect("all lines arrive");
    assert!(outcome.direct >= 99.9, "{accesses:?}: {outcome:?}");
    assert!(outcome.gap <= Duration::from_millis(200), "{accesses:?}: {outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn on_both_sides() {
    let random = mortal(Profile::eim_apdf_random());
    assert_unnoticed([&random, &random]).await;
}

#[tokio::test(start_paused = true)]
async fn behind_a_carrier() {
    assert_unnoticed([&mortal(Profile::cgnat()), &Access::Public]).await;
}

/// The path has a mapping of its own from the beginning, hardly younger than that to the server.
#[tokio::test(start_paused = true)]
async fn of_a_counter() {
    let counter = mortal(Profile::symmetric_sequential());
    assert_unnoticed([&counter, &Access::Nat(Profile::eim_apdf_random())]).await;
}
