//! The services of the API: request -> domain -> reply, a handful of lines a
//! method; and what they share.

pub mod convert;
pub mod health;
pub mod status;
pub mod validate;
