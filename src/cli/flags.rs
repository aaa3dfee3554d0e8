//! Flags for settings, made from the one list of them.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::failure::Failure;
use crate::config::settings::{self, Kind, Setting};
use crate::config::{Config, Invalid};

/// The settings that were given as flags, and the file that was named.
#[derive(Debug, Clone, Default)]
pub struct SettingFlags {
    file: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
}

impl SettingFlags {
    /// The configuration of all layers.
    pub fn load(&self) -> Result<Config, Failure> {
        self.read().map_err(|invalid| Failure::usage(invalid.to_string()))
    }

    /// The same, with the problems apart.
    pub fn read(&self) -> Result<Config, Invalid> {
        // A name or value that is no UTF-8 cannot be one of ours.
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load(self.file.as_deref(), &self.given, environment)
    }

    /// Adds a flag that was not given.
    pub fn add(&mut self, name: &'static str, value: String) {
        self.given.push((name, value));
    }

    /// The file that was named by flag.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

fn argument(setting: &'static Setting, flag: String) -> Arg {
    let help = match setting.default {
        "" => format!("{} [env: {}]", setting.help, setting.variable()),
        default => format!("{} [default: {default}] [env: {}]", setting.help, setting.variable()),
    };
    let (value_name, action) = match setting.kind {
        Kind::List => ("LIST", ArgAction::Append),
        Kind::Whole(..) => ("NUMBER", ArgAction::Set),
        Kind::Switch => ("true|false", ArgAction::Set),
        _ => ("VALUE", ArgAction::Set),
    };
    let argument = Arg::new(setting.name).long(flag).value_name(value_name).help(help).action(action);
    let argument = argument.help_heading("Settings");
    // `--behind-proxy` alone says yes; what follows it is not taken for its value.
    if setting.kind == Kind::Switch {
        argument.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        argument
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config_file")
            .long("config")
            .value_name("FILE")
            .help(format!("TOML file with settings [env: {}]", settings::FILE_VARIABLE))
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading("Settings");
        settings::ALL
            .iter()
            .filter_map(|setting| setting.flag().map(|flag| argument(setting, flag)))
            .fold(command.arg(file), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { file: matches.get_one::<PathBuf>("config_file").cloned(), given: Vec::new() };
        for setting in settings::ALL.iter().filter(|setting| setting.flag().is_some()) {
            let values = matches.try_get_many::<String>(setting.name);
            let values = values.map_err(|_| clap::Error::new(ErrorKind::UnknownArgument))?;
            if let Some(values) = values {
                flags.given.push((setting.name, values.cloned().collect::<Vec<_>>().join(",")));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
