//! The services of the API, and what they share.

pub mod health;
pub mod validate;
