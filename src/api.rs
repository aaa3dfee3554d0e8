//! The services of the API, and what they share.

pub mod examples;
pub mod health;
pub mod validate;
