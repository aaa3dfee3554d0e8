//! The `tributary` command.

use std::process::ExitCode;

use clap::Parser;
use tributary::cli::{self, Cli};

/// A sync makes and drops millions of small values on many threads, which the
/// system's allocator keeps in an arena a thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is free goes back to the system at once, and nothing is taken before it is
/// used: by default the allocator keeps over a hundred megabytes between syncs. It
/// reads this when the process starts, from nowhere else.
#[cfg(unix)]
const ALLOCATOR_SETTINGS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "50"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

fn main() -> anyhow::Result<ExitCode> {
    #[cfg(unix)]
    start_with_allocator_settings();
    let arguments = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(cli::run(arguments)))
}

/// Replaces the process by itself where the environment lacks the settings. Where
/// that cannot be done it goes on, and only needs more memory.
#[cfg(unix)]
fn start_with_allocator_settings() {
    use std::os::unix::process::CommandExt as _;

    let missing: Vec<_> = ALLOCATOR_SETTINGS.iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    let mut arguments = std::env::args_os();
    if let (false, Ok(program), Some(name)) = (missing.is_empty(), std::env::current_exe(), arguments.next()) {
        let settings = missing.into_iter().map(|(name, value)| (name, value));
        // Comes back only when it fails.
        let _ = std::process::Command::new(program).arg0(name).args(arguments).envs(settings).exec();
    }
}
