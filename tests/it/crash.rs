//! The real binary is killed at every named point and at random moments, while
//! its sources change: whatever it did, the index is exact once it has gone on.
//!
//! `TRIBUTARY_TEST_CRASH_KILLS=1000` is the long mode, and `TRIBUTARY_TEST_CRASH_SEED`
//! the seed of its first round; each further round has the next, so that a run that
//! was cut off goes on from the seed that it printed last.

mod mutants;
pub mod process;
mod resuming;
mod source;
mod trips;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tributary::failpoint::{MUTANTS, POINTS};

use process::Aim;
use trips::Trip;
use world::{Figures, Verdict, World};

/// Kills at random moments, beside one at each point.
const AT_RANDOM: usize = 12;
/// Worlds at once.
const LANES: usize = 3;
/// Rounds that share a world.
const ROUNDS: usize = 25;
/// What the keyed table of the database begins with.
const ROWS: u32 = 1_100;

/// One kill.
#[derive(Debug, Clone, Copy)]
struct Round {
    seed: u64,
    point: Option<(&'static str, u32)>,
}

impl Round {
    /// The round of a seed: a point, one of its first times, or a moment.
    fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let point = random.random_bool(0.5).then(|| {
            let point = POINTS[random.random_range(0..POINTS.len())];
            let often = matches!(Trip::to(point), Trip::Sync | Trip::First);
            (point, if often { random.random_range(1..=4) } else { 1 })
        });
        Self { seed, point }
    }

    fn trip(self, random: &mut StdRng) -> Trip {
        match self.point {
            Some((point, _)) => Trip::to(point),
            None if random.random_bool(0.4) => Trip::First,
            None => Trip::Sync,
        }
    }

    async fn play(self, world: &mut World) -> Verdict {
        let mut random = StdRng::seed_from_u64(self.seed);
        let trip = self.trip(&mut random);
        let aim = Aim { point: self.point, ..Aim::default() };
        let verdict = trip.take(world, aim, &mut random).await;
        verdict.map_err(|wrong| format!("{self:?}, {trip:?}: {wrong}\n{}", world.log()))
    }
}

/// Plays rounds in worlds of their own; what was wrong, and what was done.
async fn play(rounds: Vec<Round>) -> (Vec<String>, Figures) {
    let (done, all, begun) = (AtomicUsize::new(0), rounds.len(), Instant::now());
    let lanes: Vec<Vec<Round>> = rounds.chunks(ROUNDS.min(all.div_ceil(LANES))).map(<[Round]>::to_vec).collect();
    let played = futures::stream::iter(lanes)
        .map(|rounds| {
            let done = &done;
            async move {
                let mut world = World::new(ROWS, &["postgresql", "sqlite", "files"]).await;
                let process = world.restart().await;
                let place = world.place.clone();
                world.exact(&process, &place).await.expect("the first sync is exact");
                process.kill().await;
                for round in rounds {
                    if let Err(wrong) = round.play(&mut world).await {
                        return (Some(wrong), world.figures);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(25) {
                        let took = begun.elapsed().as_secs();
                        println!("crash: {done} of {all} rounds after {took} s, last with seed {}", round.seed);
                    }
                }
                (None, world.figures)
            }
        })
        .buffer_unordered(LANES)
        .collect::<Vec<_>>()
        .await;
    let (mut wrong, mut sum) = (Vec::new(), Figures::default());
    for (violation, figures) in played {
        let Figures { kills, comparisons, recoveries } = figures;
        wrong.extend(violation);
        sum.kills += kills;
        sum.comparisons += comparisons;
        sum.recoveries.extend(recoveries);
    }
    sum.recoveries.sort_unstable();
    (wrong, sum)
}

fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_the_index_is_exact_afterwards() {
    let long = from_environment("TRIBUTARY_TEST_CRASH_KILLS");
    let first = from_environment("TRIBUTARY_TEST_CRASH_SEED").unwrap_or(0);
    let rounds: Vec<Round> = match long {
        Some(kills) => (first..first + kills).map(Round::of).collect(),
        None => {
            let points = POINTS.iter().zip(first..).map(|(point, seed)| Round { seed, point: Some((point, 1)) });
            points.chain((0..AT_RANDOM as u64).map(|seed| Round { seed: first + seed, point: None })).collect()
        }
    };
    let (count, last) = (rounds.len(), rounds.last().map_or(first, |round| round.seed));
    let begun = Instant::now();
    let (wrong, figures) = play(rounds).await;
    let Figures { kills, comparisons, recoveries } = &figures;
    println!(
        "crash: {kills} kills in {count} rounds, {comparisons} comparisons, {} violations; {} interrupted syncs were \
         running again after p50 {:?}, p99 {:?}; {:.0} s, next seed {}",
        wrong.len(),
        recoveries.len(),
        quantile(recoveries, 0.5),
        quantile(recoveries, 0.99),
        begun.elapsed().as_secs_f64(),
        last + 1
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(*kills >= count);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_order_is_caught() {
    let begun = Instant::now();
    let played: Vec<(&str, Verdict, Verdict)> = futures::stream::iter(MUTANTS)
        .map(|mutant| async move { (*mutant, mutants::play(mutant, true).await, mutants::play(mutant, false).await) })
        .buffer_unordered(LANES)
        .collect()
        .await;
    let mut wrong = Vec::new();
    for (mutant, on, off) in &played {
        match on {
            Ok(()) => wrong.push(format!("`{mutant}` is not caught")),
            Err(found) => println!("`{mutant}` is caught: {found:.300}"),
        }
        if let Err(found) = off {
            wrong.push(format!("without `{mutant}`: {found}"));
        }
    }
    println!("{} wrong orders, {:.0} s", played.len(), begun.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The list and the code agree: no point is listed that nothing comes to, and each
/// that something comes to is killed at.
#[test]
fn each_point_and_each_wrong_order_is_in_the_code() {
    let mut code = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    let named = |call: &str| -> BTreeSet<String> {
        code.split(call).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    let listed = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(named("failpoint::reach(\""), listed(POINTS));
    assert_eq!(named("failpoint::mutant(\""), listed(MUTANTS));
}

fn collect(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), code);
        } else {
            code.push_str(&std::fs::read_to_string(entry.path()).expect("text"));
        }
    }
}
