//! What the tests start: real servers on free ports, gone when the test process
//! is gone.

pub mod grpc;
pub mod postgres;
pub mod server;
pub mod tools;
