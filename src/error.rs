//! The one error vocabulary. A [`Reason`] owns its wire name, its gRPC code and
//! its HTTP status; nothing else maps errors to either.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::report::Report;

/// The gRPC status codes that we send (google/rpc/code.proto).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Code {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident, $http:literal;)*) => {
        /// Why a call failed: `ErrorInfo.reason`, and in lower case the REST body's
        /// `error`. Lists only grow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The word on the wire, upper case.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// The gRPC code.
            pub fn code(self) -> Code {
                match self { $(Reason::$variant => Code::$code,)* }
            }

            /// The HTTP status on the REST door.
            pub fn http_status(self) -> u16 {
                match self { $(Reason::$variant => $http,)* }
            }
        }
    };
}

reasons! {
    /// Credential validation failed, or the source refused the login.
    InvalidCredentials = "INVALID_CREDENTIALS", InvalidArgument, 400;
    /// No, malformed, expired or revoked key.
    Unauthorized = "UNAUTHORIZED", Unauthenticated, 401;
    /// The key may not use this collection or lacks the role.
    Forbidden = "FORBIDDEN", PermissionDenied, 403;
    /// What was named does not exist.
    NotFound = "NOT_FOUND", NotFound, 404;
    /// Cannot modify while syncing.
    SyncInProgress = "SYNC_IN_PROGRESS", Aborted, 409;
    /// Any other bad field, query parameter or JSON.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument, 400;
    /// The source cannot be reached.
    SourceUnreachable = "SOURCE_UNREACHABLE", FailedPrecondition, 400;
    /// Reached and logged in, but the login lacks a right.
    SourcePermissionDenied = "SOURCE_PERMISSION_DENIED", FailedPrecondition, 400;
    /// The collection still has connections.
    CollectionNotEmpty = "COLLECTION_NOT_EMPTY", FailedPrecondition, 400;
    /// The sync has already ended.
    SyncNotRunning = "SYNC_NOT_RUNNING", FailedPrecondition, 400;
    /// The name is taken.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists, 409;
    /// `If-Match` or etag does not match.
    EtagMismatch = "ETAG_MISMATCH", Aborted, 412;
    /// Idempotency key reused with another payload.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", InvalidArgument, 422;
    /// The first call with this idempotency key is still going on.
    IdempotencyKeyInUse = "IDEMPOTENCY_KEY_IN_USE", Aborted, 409;
    /// Too many calls.
    RateLimited = "RATE_LIMITED", ResourceExhausted, 429;
    /// A quota is used up.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted, 429;
    /// The request is too large.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", ResourceExhausted, 413;
    /// The path exists with other methods.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Unimplemented, 405;
    /// The body's media type is not taken.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", InvalidArgument, 415;
    /// No acceptable media type can be sent.
    NotAcceptable = "NOT_ACCEPTABLE", InvalidArgument, 406;
    /// Stopping, or a store is away.
    Unavailable = "UNAVAILABLE", Unavailable, 503;
    /// The caller's deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, 504;
    /// Our fault; the request id finds the log line.
    Internal = "INTERNAL", Internal, 500;
    /// Events before the wanted sequence are no longer kept.
    EventsExpired = "EVENTS_EXPIRED", OutOfRange, 400;
    /// The source does not support this operation.
    NotSupported = "NOT_SUPPORTED", Unimplemented, 501;
    /// The path and query are too long.
    UriTooLong = "URI_TOO_LONG", InvalidArgument, 414;
    /// The caller went away.
    Cancelled = "CANCELLED", Cancelled, 499;
    /// The disk of the server is (nearly) full.
    StorageFull = "STORAGE_FULL", ResourceExhausted, 507;
    /// The sync's worker died five times on it.
    Poisoned = "POISONED", Aborted, 409;
    /// The request did not arrive in time.
    RequestTimeout = "REQUEST_TIMEOUT", DeadlineExceeded, 408;
    /// The headers are too large.
    HeadersTooLarge = "HEADERS_TOO_LARGE", ResourceExhausted, 431;
    /// There is no deletion hold.
    NoDeletionHold = "NO_DELETION_HOLD", FailedPrecondition, 400;
    /// Documents are pushed to the source, which cannot be run; or they are read from
    /// it, and cannot be pushed.
    NotForThisSource = "NOT_FOR_THIS_SOURCE", FailedPrecondition, 400;
}

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in proto spelling (`credentials.port`).
    pub field: String,
    /// Machine-readable: `REQUIRED`, `UNKNOWN_FIELD`, `WRONG_TYPE`, `INVALID_VALUE`.
    pub reason: &'static str,
    /// For people; never holds the value.
    pub description: String,
}

impl Violation {
    /// A wrong field.
    pub fn new(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self { field: field.into(), reason, description: description.into() }
    }
}

/// An error on its way to a caller: what the caller may read, and beside it the
/// private cause, which is only logged.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    message: String,
    violations: Vec<Violation>,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    report: Option<Box<Report>>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a message that the caller reads.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            metadata: Vec::new(),
            retry_after: None,
            report: None,
            cause: None,
        }
    }

    /// Our own fault: the caller learns nothing but that.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "internal error; the request id finds it in the server's log").caused_by(cause)
    }

    /// A bad request with one wrong field.
    pub fn invalid(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self::violations(Reason::InvalidArgument, vec![Violation::new(field, reason, description)])
    }

    /// A bad request with all its wrong fields; the message names them.
    pub fn violations(reason: Reason, violations: Vec<Violation>) -> Self {
        let listed: Vec<String> =
            violations.iter().map(|violation| format!("`{}` {}", violation.field, violation.description)).collect();
        let mut error = Self::new(reason, listed.join("; "));
        error.violations = violations;
        error
    }

    /// Something does not exist.
    pub fn not_found(resource_type: &'static str, resource_id: &str) -> Self {
        Self::new(Reason::NotFound, format!("{resource_type} `{resource_id}` does not exist"))
            .with("resourceType", resource_type)
            .with("resourceId", resource_id)
    }

    /// Adds a fact for machines; what varies in the message belongs here too.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// Says when a retry makes sense.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the report of a connection test.
    pub fn with_report(mut self, report: Report) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Adds the private cause.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The wrong fields.
    pub fn field_violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Facts for machines.
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.metadata
    }

    /// When a retry makes sense.
    pub fn retry_hint(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The report of a connection test.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_errorinfo() {
        let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        for name in &names {
            assert!(name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
