//! Between the service and its source is a bad network: nothing is deleted
//! wrongly, nothing hangs, and afterwards the index is exact.

mod attempts;
mod frames;
mod listing;
pub mod proxy;
mod round;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tributary::egress::Timeouts;
use tributary::server::Options;
use tributary::syncs::worker::Backoff;

use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::tls::{Certificates, front};
use round::{Outcome, Place, play};
use schedule::{Kind, Schedule};

/// Rounds unless `TRIBUTARY_FAULT_SCHEDULES` says otherwise: three of each kind.
const ROUNDS: u64 = 3 * Kind::ALL.len() as u64;
const AT_ONCE: usize = 6;

/// A patient server would make a test of hours.
fn impatient() -> Options {
    let short = Duration::from_secs(2);
    Options {
        timeouts: Timeouts {
            resolve: short,
            connect: short,
            handshake: short,
            login: short,
            first_byte: short,
            idle: short,
        },
        backoff: Backoff { least: Duration::from_millis(20), most: Duration::from_millis(200) },
        ..Options::default()
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// `TRIBUTARY_FAULT_SEED` is the seed of the first round; each further round has
/// the next, so a run that failed goes on from the seed that it names.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_nothing_is_lost_and_the_next_sync_is_exact() {
    let rounds = from_environment("TRIBUTARY_FAULT_SCHEDULES", ROUNDS);
    let first = from_environment("TRIBUTARY_FAULT_SEED", 0);
    let server = Server::start_with_options(|config| config.workers = AT_ONCE, impatient).await;
    let database = Database::create().await;
    let certificates = Certificates::make("IP:127.0.0.1");
    let tls_port = front(Some(&certificates), database.port).await;
    let place = Arc::new(Place { server, database, tls_port, certificates });

    let began = Instant::now();
    let played = futures::stream::iter(first..first + rounds)
        .map(|seed| {
            let place = place.clone();
            async move { (seed, tokio::spawn(async move { play(&place, seed).await }).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;

    let mut summary: BTreeMap<Kind, (u64, Outcome)> = BTreeMap::new();
    let mut failed = Vec::new();
    for (seed, outcome) in played {
        match outcome {
            Ok(outcome) => add(summary.entry(Schedule::of(seed).kind).or_default(), outcome),
            Err(error) => failed.push((seed, Schedule::of(seed).kind, error.to_string())),
        }
    }
    failed.sort();
    print(&summary, first, rounds, began.elapsed());
    assert!(failed.is_empty(), "seeds that failed: {failed:#?}");
    for (kind, (_, outcome)) in &summary {
        assert!(outcome.struck > 0, "no fault of kind {kind:?} came to pass");
    }
}

fn add((rounds, sum): &mut (u64, Outcome), outcome: Outcome) {
    let Outcome { struck, attempts, ended, looks, longest } = outcome;
    *rounds += 1;
    sum.struck += struck;
    sum.attempts += attempts;
    sum.looks += looks;
    sum.longest = sum.longest.max(longest);
    for (how, times) in ended {
        *sum.ended.entry(how).or_default() += times;
    }
}

/// The figures that BENCHMARKS.md quotes.
fn print(summary: &BTreeMap<Kind, (u64, Outcome)>, first: u64, rounds: u64, took: Duration) {
    let mut all = (0, Outcome::default());
    for (kind, (of_kind, outcome)) in summary {
        println!(
            "{kind:?}: {of_kind} rounds, {} faults, {} attempts, {} looks, longest {:.1} s, {:?}",
            outcome.struck,
            outcome.attempts,
            outcome.looks,
            outcome.longest.as_secs_f64(),
            outcome.ended
        );
        let Outcome { struck, attempts, looks, longest, .. } = *outcome;
        add(&mut all, Outcome { struck, attempts, ended: outcome.ended.clone(), looks, longest });
        all.0 += of_kind - 1;
    }
    let (exact, sum) = all;
    println!(
        "faults: {exact} of {rounds} rounds exact (seeds {first} to {}), {} faults, {} attempts, {} looks without a \
         wrong deletion, longest sync {:.1} s, {:.0} s in all, {:?}",
        first + rounds - 1,
        sum.struck,
        sum.attempts,
        sum.looks,
        sum.longest.as_secs_f64(),
        took.as_secs_f64(),
        sum.ended
    );
}
