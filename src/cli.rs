//! The command line. What a command gives goes to standard output, everything
//! else to standard error; `--json` makes the output one JSON value, or one a line
//! where there is no end to wait for.

pub mod backup;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod failure;
pub mod flags;
mod health;
pub mod keys;
pub mod openapi;
pub mod parse;
mod progress;
mod sbom;
pub mod serve;
pub mod source;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use flags::SettingFlags;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage or configuration
  3  a source or store cannot be reached
  4  a login was refused, or lacks a right";

/// Brings the data of databases and drives into a searchable index and keeps it
/// exact.
#[derive(Parser)]
#[command(name = "tributary", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// Write JSON for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// See it work: sync the bundled sample, search it, and look around.
    Demo(demo::Demo),
    /// Print the configuration in force, with where each value comes from.
    Config(SettingFlags),
    /// Check configuration, key, stores, ports and disk, and say the mend.
    Doctor(SettingFlags),
    /// Print the OpenAPI document of the REST API.
    Openapi,
    /// Make, list and revoke API keys; make and rotate encryption keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Ask the server of these settings whether it is ready.
    Health(SettingFlags),
    /// Print what this build is made of, as CycloneDX JSON.
    Sbom,
    /// Copy store and index to a new folder, while the server goes on.
    Backup(backup::Backup),
    /// Bring a backup back into an empty data directory.
    Restore(backup::Restore),
    /// Take documents apart for the process that started this one.
    #[command(hide = true)]
    ParseDocuments,
    /// Try a source from the terminal, without a server.
    #[command(subcommand)]
    Source(source::Command),
}

/// Runs the command; what went wrong is said on standard error.
pub async fn run(arguments: Cli) -> ExitCode {
    let Cli { json, command } = arguments;
    let result = match command {
        Command::Serve(serve) => serve::run(serve, json).await,
        Command::Demo(demo) => demo::run(demo, json).await,
        Command::Openapi => openapi::run(),
        Command::Config(flags) => config::run(&flags, json),
        Command::Doctor(flags) => doctor::run(&flags, json).await,
        Command::Keys(command) => keys::run(command, json).await,
        Command::Health(settings) => health::run(&settings).await,
        Command::Sbom => sbom::run(),
        Command::Backup(backup) => backup::back_up(backup, json).await,
        Command::Restore(restore) => backup::restore(restore, json).await,
        Command::ParseDocuments => parse::run(),
        Command::Source(command) => source::run(command, json).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(json);
            failure.exit_code()
        }
    }
}

/// Writes a line of output. A reader that went away, as `head` does, is no error.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
