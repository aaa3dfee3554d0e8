//! Connections and syncs over the API, against a model of what must hold: any
//! sequence of calls, with the source changing and the server restarting in
//! between. A sequence that fails is made as short as it can be and printed.
//!
//! `PROPTEST_CASES` sets how many sequences are tried, and draws new ones.

mod machine;
mod source;
mod world;

use proptest::test_runner::{Config, RngSeed};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use machine::{Machine, Model, Transition};
use world::Case;

/// Sequences tried unless told otherwise: always the same.
const CASES: u32 = 12;

fn config() -> Config {
    let mut config = Config {
        failure_persistence: None,
        // Each attempt at a shorter sequence is seconds of work.
        max_shrink_iters: 120,
        max_shrink_time: 300_000,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn any_sequence_of_calls_leaves_what_the_model_says(sequential 1..24 => Api);
}

/// The API under test.
struct Api;

impl StateMachineTest for Api {
    type SystemUnderTest = Case;
    type Reference = Machine;

    fn init_test(model: &Model) -> Case {
        Case::start(model)
    }

    fn apply(mut case: Case, model: &Model, transition: Transition) -> Case {
        world::wait_for(async {
            case.apply(model, transition).await;
            case
        })
    }

    fn check_invariants(case: &Case, model: &Model) {
        world::wait_for(case.check(model));
    }

    fn teardown(case: Case, _model: <Machine as ReferenceStateMachine>::State) {
        world::wait_for(case.remove());
    }
}
