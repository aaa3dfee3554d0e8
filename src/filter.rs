//! AIP-160 filters, a subset.

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {}
