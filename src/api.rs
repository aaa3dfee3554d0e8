//! The gRPC services: request -> domain -> reply, a handful of lines a method.

pub mod convert;
pub mod status;
