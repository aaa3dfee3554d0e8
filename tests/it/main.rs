//! Tests through the doors that users use, against real servers.

#![allow(unreachable_pub, reason = "nothing outside can reach into a test binary")]

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
