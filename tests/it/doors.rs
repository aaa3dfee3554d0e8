//! What HTTP clients of every kind expect of the one port, byte by byte where a
//! library would tidy it up.

mod grpc_web;
mod headers;
mod random;
mod raw;
mod rest;

use raw::{Raw, get, send};
