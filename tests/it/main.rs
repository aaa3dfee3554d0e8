//! Tests through the doors that users use, against real servers.

mod connectors;
mod support;
