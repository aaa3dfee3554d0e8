//! Tests through the doors that users use, against real servers.

#![allow(clippy::disallowed_methods, reason = "tests reach their own servers")]
#![allow(unreachable_pub, reason = "nothing outside can reach into a test binary")]

mod abuse;
mod audit;
mod authorization;
mod backup;
mod canary;
mod clients;
mod conformance;
mod connectors;
mod crash;
mod cursors;
mod demo;
mod deploy;
mod documented;
mod doors;
mod egress;
mod faults;
mod follow;
mod hostile;
mod limits;
mod model;
mod oidc;
mod outages;
mod plan;
mod push;
mod replay;
mod simulator;
mod stability;
mod store;
mod stress;
mod support;
mod syncs;
mod tidy;
mod tls;
mod unmoved;
mod vault;
