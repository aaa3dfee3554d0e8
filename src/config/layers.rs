//! Collects what the file, the environment and the flags say, without judging
//! values: who wins, where it is from, and what has no meaning to us.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Problem;
use super::settings::{self, Kind, Setting};
use super::spelling::closest;

/// Variables of the test suite; they mean nothing to a server.
const TEST_PREFIX: &str = "TRIBUTARY_TEST_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag(name) => formatter.write_str(name),
        }
    }
}

/// A value before it is read.
#[derive(Clone)]
pub(super) enum Raw {
    /// Text, also where a list is wanted.
    Text(String),
    /// A list out of the file.
    List(Vec<String>),
}

/// What all layers say together.
pub(super) struct Layers {
    values: HashMap<&'static str, (Raw, Origin)>,
    pub(super) problems: Vec<Problem>,
}

impl Layers {
    pub(super) fn collect(
        file: Option<&Path>,
        flags: &[(&'static str, String)],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut layers = Self { values: HashMap::new(), problems: Vec::new() };
        let mut variables: Vec<(String, String)> =
            environment.into_iter().filter(|(name, _)| name.starts_with(settings::PREFIX)).collect();
        variables.sort();
        let named_file = variables.iter().find(|(name, value)| name == settings::FILE_VARIABLE && !value.is_empty());
        let named_file = named_file.map(|(_, value)| PathBuf::from(value));
        if let Some(path) = file.map(Path::to_owned).or(named_file) {
            layers.add_file(&path);
        }
        for (name, value) in variables {
            layers.add_variable(name, value);
        }
        for (name, value) in flags {
            let origin = Origin::Flag(format!("--{}", name.replace('_', "-")));
            layers.values.insert(name, (Raw::Text(value.clone()), origin));
        }
        layers
    }

    /// The winning value of a setting, and where it is from.
    pub(super) fn get(&self, name: &str) -> Option<&(Raw, Origin)> {
        self.values.get(name)
    }

    fn refuse(&mut self, origin: Origin, message: impl Into<String>) {
        self.problems.push(Problem { origin, message: message.into() });
    }

    fn add_file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.refuse(origin, format!("cannot be read: {error}")),
        };
        let table: toml::Table = match toml::from_str(&text) {
            Ok(table) => table,
            // The error's own Display quotes the line, which may hold a secret.
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
                return self.refuse(origin, format!("line {line} is not TOML: {}", error.message()));
            }
        };
        for (name, value) in table {
            self.add_file_value(&origin, &name, value);
        }
    }

    fn add_file_value(&mut self, origin: &Origin, name: &str, value: toml::Value) {
        let Some(setting) = settings::find(name) else {
            let names = settings::ALL.iter().map(|setting| setting.name.to_owned());
            return self.refuse(origin.clone(), format!("`{name}` is not a setting{}", suggestion(name, names)));
        };
        if setting.kind == Kind::EnvironmentSecret {
            let message = format!("`{name}` belongs in the environment ({}), not in a file", setting.variable());
            return self.refuse(origin.clone(), message);
        }
        match raw_of(setting, value) {
            Some(raw) => drop(self.values.insert(setting.name, (raw, origin.clone()))),
            None => self.refuse(origin.clone(), format!("`{name}` must be {}", wanted(setting))),
        }
    }

    fn add_variable(&mut self, name: String, value: String) {
        if name == settings::FILE_VARIABLE || name.starts_with(TEST_PREFIX) {
            return;
        }
        let Some(setting) = settings::ALL.iter().find(|setting| setting.variable() == name) else {
            let names = settings::ALL.iter().map(Setting::variable).chain([settings::FILE_VARIABLE.to_owned()]);
            let message = format!("is not a setting{}", suggestion(&name, names));
            return self.refuse(Origin::Variable(name), message);
        };
        // An empty variable is how shells and compose files say "not set".
        if !value.is_empty() {
            self.values.insert(setting.name, (Raw::Text(value), Origin::Variable(name)));
        }
    }
}

fn suggestion(name: &str, names: impl Iterator<Item = String>) -> String {
    closest(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn raw_of(setting: &Setting, value: toml::Value) -> Option<Raw> {
    match (setting.kind, value) {
        (Kind::Whole(..), toml::Value::Integer(whole)) => Some(Raw::Text(whole.to_string())),
        (Kind::Switch, toml::Value::Boolean(on)) => Some(Raw::Text(on.to_string())),
        (Kind::Whole(..) | Kind::Switch, _) => None,
        (_, toml::Value::String(text)) => Some(Raw::Text(text)),
        (Kind::List, toml::Value::Array(elements)) => elements
            .into_iter()
            .map(|element| element.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Raw::List),
        _ => None,
    }
}

fn wanted(setting: &Setting) -> &'static str {
    match setting.kind {
        Kind::Whole(..) => "a whole number",
        Kind::Switch => "true or false",
        Kind::List => "a list of strings",
        Kind::Text | Kind::Word(_) | Kind::Secret | Kind::EnvironmentSecret | Kind::Url => "a string",
    }
}
