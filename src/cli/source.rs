//! `tributary source`: a connector from the terminal, with the rights of whoever
//! runs it and without a server or store.

mod read;
mod show;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::failure::{Failure, Kind};
use super::say;
use crate::connectors::erased::Session;
use crate::connectors::{ObjectPage, Registry, Resources, SourceObject, builtin};
use crate::egress::{Dialer, Policy, Timeouts};
use crate::error::Violation;
use crate::report::Report;

/// Settings are small; more is another file.
const LARGEST_FILE: u64 = 4 << 20;
const PAGE: usize = 500;

/// What to try.
#[derive(Subcommand)]
pub enum Command {
    /// List the sources and their settings.
    List,
    /// Try a connection stage by stage.
    Check(Settings),
    /// List what can be synced, one level.
    Discover {
        /// Source and settings.
        #[command(flatten)]
        settings: Settings,
        /// Object to look into.
        #[arg(long, value_name = "PATH")]
        parent: Option<String>,
    },
    /// Read records and print the documents that they become, one JSON a line.
    Read {
        /// Source and settings.
        #[command(flatten)]
        settings: Settings,
        /// Stop after so many documents.
        #[arg(long, value_name = "NUMBER")]
        limit: Option<u64>,
    },
}

/// A source and its settings.
#[derive(Args)]
pub struct Settings {
    /// Short name of the source, such as `postgresql`.
    short_name: String,
    /// Config: JSON, or @FILE with it.
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    config: String,
    /// Credentials: @FILE with JSON, or - for standard input. Never on the command
    /// line itself, where other users could read them.
    #[arg(long, value_name = "@FILE|-")]
    credentials: Option<String>,
    /// Folder that file-like sources may read below; repeat for more.
    #[arg(long = "file-roots", value_name = "FOLDER", default_value = "/")]
    file_roots: Vec<PathBuf>,
}

/// Does it.
pub async fn run(command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::List => {
            list(json);
            Ok(())
        }
        Command::Check(settings) => check(&settings, json).await,
        Command::Discover { settings, parent } => discover(&settings, parent.as_deref(), json).await,
        Command::Read { settings, limit } => read::run(open(&settings)?, limit, json).await,
    }
}

fn list(json: bool) {
    let registry = Registry::new(builtin());
    let specs: Vec<_> = registry.iter().map(|connector| connector.spec()).collect();
    if json {
        let names = specs.iter().map(|spec| json!({ "shortName": spec.short_name, "name": spec.name }));
        return say(Value::Array(names.collect()));
    }
    for spec in specs {
        say(format_args!("{:<12} {}", spec.short_name, spec.description));
        for (heading, fields) in [("credentials", &spec.auth_fields), ("config", &spec.config_fields)] {
            for field in fields {
                let required = if field.required { " (required)" } else { "" };
                say(format_args!("    {heading}.{}{required}: {}", field.name, field.description));
            }
        }
    }
}

async fn check(settings: &Settings, json: bool) -> Result<(), Failure> {
    let session = open(settings)?;
    let mut report = Report::default();
    let result = session.check(&mut report).await;
    if json {
        say(show::report_as_json(&report));
    } else {
        show::report(&report);
    }
    result?;
    match report.first_failure() {
        None => Ok(()),
        Some(_) => Err(Failure::new(Kind::Failed, "the source cannot be read as configured")),
    }
}

async fn discover(settings: &Settings, parent: Option<&str>, json: bool) -> Result<(), Failure> {
    let session = open(settings)?;
    let mut objects: Vec<SourceObject> = Vec::new();
    loop {
        let after = objects.last().map(|object| object.path.clone());
        let page = session.discover(parent, ObjectPage { after: after.as_deref(), limit: PAGE }).await?;
        let is_last = page.len() < PAGE;
        objects.extend(page);
        if is_last {
            break;
        }
    }
    if json {
        say(Value::Array(objects.iter().map(show::object_as_json).collect()));
    } else {
        objects.iter().for_each(show::object);
    }
    Ok(())
}

fn open(settings: &Settings) -> Result<Arc<dyn Session>, Failure> {
    let registry = Registry::new(builtin());
    let connector = registry.get(&settings.short_name).ok_or_else(|| {
        let names: Vec<_> = registry.iter().map(|connector| connector.spec().short_name).collect();
        Failure::usage(format!("there is no source `{}`; there are: {}", settings.short_name, names.join(", ")))
    })?;
    let credentials = match settings.credentials.as_deref() {
        None => Map::new(),
        Some(place) if place == "-" || place.starts_with('@') => object("--credentials", place)?,
        Some(_) => return Err(Failure::usage("--credentials takes @FILE or -, never the credentials themselves")),
    };
    let config = object("--config", &settings.config)?;
    let credentials = connector.credentials(&credentials).map_err(|violations| invalid(&violations))?;
    let config = connector.config(&config).map_err(|violations| invalid(&violations))?;
    // Whoever sits at this terminal reaches its networks and files anyway.
    let policy = Policy { local_allowed: true, allowed: vec![], denied: vec![], denied_databases: vec![] };
    let dialer = Arc::new(Dialer::new(policy, Timeouts::default()));
    let file_roots = settings.file_roots.clone().into();
    Ok(connector.clone().open(credentials, config, Resources { dialer, file_roots, parsers: Arc::default() })?)
}

fn invalid(violations: &[Violation]) -> Failure {
    let lines: Vec<String> =
        violations.iter().map(|violation| format!("`{}` {}", violation.field, violation.description)).collect();
    Failure::usage(lines.join("\n  "))
}

/// A JSON object out of the argument, a file or standard input. What is wrong
/// with it is said by line, without quoting it.
fn object(flag: &str, argument: &str) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    let read = match argument.strip_prefix('@') {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)),
        None if argument == "-" => std::io::stdin().take(LARGEST_FILE).read_to_string(&mut text),
        None => {
            text = argument.to_owned();
            Ok(text.len())
        }
    };
    read.map_err(|error| Failure::usage(format!("{flag} cannot be read: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{flag} is not a JSON object (line {})", error.line())))
}
