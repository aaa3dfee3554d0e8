//! What the tests start: real servers on free ports, gone when the test process
//! is gone.

// A library for the tests, though its crate is not one.
#![allow(unreachable_pub)]

pub mod apache;
pub mod canary;
pub mod crowd;
pub mod dovecot;
pub mod git;
pub mod grpc;
pub mod h2;
pub mod mariadb;
pub mod mongodb;
pub mod names;
pub mod oidc;
pub mod postgres;
pub mod process;
pub mod seaweed;
pub mod server;
pub mod tls;
pub mod tools;
