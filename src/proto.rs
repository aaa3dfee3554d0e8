//! The generated API: messages, clients, servers, and the descriptors behind
//! reflection, the gateway and OpenAPI.

/// The encoded `FileDescriptorSet` of every proto, with comments and options.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tributary.bin"));

/// Package `tributary`. Nested as the protos are: generated code refers across
/// packages by `super`.
pub mod tributary {
    /// The API, package `tributary.v1`.
    #[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tributary.v1");
    }
}

pub use tributary::v1;

/// Error details, package `google.rpc`.
pub mod google {
    /// Package `google.rpc`.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// The standard health service, package `grpc.health.v1`.
pub mod grpc {
    /// Package `grpc.health`.
    pub mod health {
        /// Package `grpc.health.v1`.
        #[allow(missing_docs, clippy::all, unreachable_pub)]
        pub mod v1 {
            tonic::include_proto!("grpc.health.v1");
        }
    }
}

mod redact {
    //! `Debug` of the messages that carry secrets.

    use std::fmt;

    use super::v1;

    impl fmt::Debug for v1::CreateSourceConnectionRequest {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter
                .debug_struct("CreateSourceConnectionRequest")
                .field("collection_id", &self.collection_id)
                .field("source_short_name", &self.source_short_name)
                .finish_non_exhaustive()
        }
    }

    impl fmt::Debug for v1::UpdateSourceConnectionCredentialsRequest {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter
                .debug_struct("UpdateSourceConnectionCredentialsRequest")
                .field("id", &self.id)
                .finish_non_exhaustive()
        }
    }

    impl fmt::Debug for v1::UpdateSourceConnectionConfigRequest {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.debug_struct("UpdateSourceConnectionConfigRequest").field("id", &self.id).finish_non_exhaustive()
        }
    }

    impl fmt::Debug for v1::CreateApiKeyResponse {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.debug_struct("CreateApiKeyResponse").field("api_key", &self.api_key).finish_non_exhaustive()
        }
    }
}
