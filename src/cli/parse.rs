//! `tributary parse-documents`, which only another `tributary` starts.

use super::failure::{Failure, Kind};
use crate::connectors::documents::isolation;

/// Parses what comes on standard input, until it ends.
pub fn run() -> Result<(), Failure> {
    isolation::serve().map_err(|error| Failure::of(Kind::Failed, &error))
}
