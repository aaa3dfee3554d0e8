//! Tributary brings the rows, pages and files of databases and drives into a
//! searchable index and keeps it exact. One protobuf API, three doors: gRPC,
//! gRPC-Web and JSON.
//!
//! Modules are listed from the floor up; each uses only floors below its own
//! (see `ARCHITECTURE.md`, and `tests/it/tidy.rs`, which checks it).

// Floor 0: words.
pub mod config;
pub mod error;
pub mod failpoint;
pub mod filter;
pub mod ids;
pub mod record;
pub mod report;
pub mod telemetry;

// Floor 1: what touches the world outside.
pub mod access;
pub mod connectors;
pub mod demo_data;
pub mod disk;
pub mod egress;
pub mod index;
pub mod secrets;

// Floor 2: our own stores.
pub mod store;

// Floor 3: the domain. `etag` and `paging` serve the others.
pub mod audit;
pub mod backup;
pub mod catalog;
pub mod collections;
pub mod connections;
pub mod etag;
pub mod history;
pub mod keys;
pub mod oidc;
pub mod paging;
pub mod search;
pub mod syncs;

// Floor 4: the services, and the gate before them.
pub mod api;
pub mod auth;
pub mod proto;

// Floor 5: the REST door. Imports nothing of ours.
pub mod gateway;

// Floor 6: all of it put together.
pub mod server;

// Floor 7: the command.
pub mod cli;

#[cfg(test)]
mod tests;
