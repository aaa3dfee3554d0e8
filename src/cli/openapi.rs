//! `tributary openapi`.

use super::failure::{Failure, Kind};
use super::say;
use crate::gateway::rules::Table;
use crate::{proto, server};

/// Prints the OpenAPI document that a server serves.
pub fn run() -> Result<(), Failure> {
    let table =
        Table::load(proto::DESCRIPTORS, "tributary.v1.rest").map_err(|error| Failure::of(Kind::Failed, &error))?;
    say(format_args!("{:#}", server::openapi(&table)));
    Ok(())
}
