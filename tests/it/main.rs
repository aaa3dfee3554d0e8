//! Tests through the doors that users use, against real servers.

mod authorization;
mod clients;
mod connectors;
mod demo;
mod documented;
mod doors;
mod store;
mod support;
mod syncs;
mod tidy;
