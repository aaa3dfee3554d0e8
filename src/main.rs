//! The `tributary` command.

use std::process::ExitCode;

use clap::Parser;
use tributary::cli::{self, Cli};

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(cli::run(arguments)))
}
