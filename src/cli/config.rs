//! `tributary config`.

use super::failure::Failure;
use super::flags::SettingFlags;
use super::say;
use crate::config::print;

/// Prints the configuration in force.
pub fn run(flags: &SettingFlags, json: bool) -> Result<(), Failure> {
    let config = flags.load()?;
    if json {
        say(format_args!("{:#}", print::as_json(&config)));
    } else {
        say(print::as_toml(&config).trim_end());
    }
    Ok(())
}
