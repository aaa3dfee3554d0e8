//! A source that is made up: its records, their changes, its slowness and its faults
//! follow from a seed and a script. For tests of what is built on this service, and of
//! the service. The catalogue has it only where the server is told to.
//!
//! How often it was read decides what it holds: each reading is a *pass*, counted from
//! 0 by the server for each config.

mod config;
mod read;
mod world;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Deserialize;

use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::{
    Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec,
};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::{Report, StageKind};
pub use config::Config;
use config::FaultKind;
use world::World;

/// The connector, with how often each config was read.
#[derive(Default)]
pub struct Simulator {
    passes: Mutex<HashMap<String, u64>>,
}

/// There are none.
#[derive(Deserialize)]
pub struct NoCredentials {}

impl Simulator {
    /// The pass that the next reading is.
    fn next(&self, config: &Config) -> u64 {
        let passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        passes.get(&config.identity()).copied().unwrap_or(0)
    }

    /// Begins a pass.
    fn begin(&self, config: &Config) -> u64 {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = passes.entry(config.identity()).or_default();
        *next += 1;
        *next - 1
    }
}

fn login_refused(config: &Config, pass: u64) -> Result<(), ConnectorError> {
    match config.fault(pass, FaultKind::LoginRefused, None) {
        Some(_) => Err(ConnectorError::LoginRefused(None)),
        None => Ok(()),
    }
}

#[async_trait]
impl Connector for Simulator {
    type Credentials = NoCredentials;
    type Config = Config;
    type Shape = ();

    fn spec(&self) -> Spec {
        Spec {
            short_name: "simulator",
            name: "Simulator",
            description: "Made-up records with scripted changes, delays and faults, for tests",
            auth_methods: &[AuthMethod::None],
            labels: &["Test"],
            supports_continuous: false,
            auth_fields: Vec::new(),
            config_fields: config::fields(),
            mapper_version: 1,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        config.violations()
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        world::number_of(object).is_some_and(|number| number < config.objects())
    }

    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        let (config, begun) = (&account.config, Instant::now());
        for stage in [StageKind::Resolve, StageKind::Connect, StageKind::Tls] {
            report.skipped(stage, "not_needed");
        }
        if let Err(error) = login_refused(config, self.next(config)) {
            let hint = "the script of this simulator refuses the login of this pass";
            report.failed(StageKind::Login, None, begun.elapsed(), "login_refused", hint);
            return Err(error);
        }
        report.ok(StageKind::Login, None, begun.elapsed());
        for number in 0..config.objects() {
            report.ok(StageKind::Read, Some(&world::name_of(number)), Duration::ZERO);
        }
        Ok(())
    }

    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        let config = &account.config;
        let pass = self.next(config);
        login_refused(config, pass)?;
        let world = World::new(config, pass);
        let names = (0..config.objects()).map(world::name_of).filter(|_| parent.is_none());
        let wanted = names.filter(|name| page.after.is_none_or(|after| name.as_str() > after));
        let object = |path| SourceObject {
            path,
            kind: ObjectKind::Table,
            has_children: false,
            selected: true,
            estimated_items: Some(world.records()),
        };
        Ok(wanted.take(page.limit).map(object).collect())
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        let pass = self.begin(&account.config);
        login_refused(&account.config, pass)?;
        read::pass(&account.config, pass, &request, &output).await
    }

    fn decode(
        &self,
        _account: &Account<Self>,
        _object: &str,
        _shape: &(),
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        world::document(record)
    }
}
