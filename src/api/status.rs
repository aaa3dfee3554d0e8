//! From our errors to gRPC statuses with `google.rpc` details; the one place
//! that logs causes.

use std::error::Error as StdError;
use std::fmt::Write as _;

use prost::{Message, Name};
use prost_types::Any;
use tonic::{Code, Status};
use tracing::{debug, error, warn};

use crate::error::{Error, Reason};
use crate::proto::google::rpc;
use crate::proto::google::rpc::bad_request::FieldViolation;
use crate::proto::google::rpc::precondition_failure::Violation as Precondition;

use super::convert;

/// `ErrorInfo.domain` of every error that we send.
pub const DOMAIN: &str = "tributary";

/// Bytes of a message: it repeats what the caller gave. Over gRPC errors travel in
/// trailers, of which common clients take 8 to 16 KiB in all, else end the stream.
const LONGEST_MESSAGE: usize = 1_024;
/// Bytes of one text in the details.
const LONGEST_TEXT: usize = 256;
/// Bytes of all details.
const MOST_DETAILS: usize = 6 * 1_024;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let code = Code::from_i32(error.reason().code() as i32);
        let details = embedded(&error);
        let message = details.message.clone();
        Status::with_details(code, message, details.encode_to_vec().into())
    }
}

/// The same as a message, for errors that are part of an answer.
pub fn embedded(error: &Error) -> rpc::Status {
    let message = short(error.message(), LONGEST_MESSAGE);
    rpc::Status { code: error.reason().code() as i32, message, details: details(error) }
}

/// The text, or as much of it as fits, with a mark that there was more.
fn short(text: &str, most: usize) -> String {
    const MORE: char = '…';
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most - MORE.len_utf8());
    format!("{}{MORE}", &text[..end])
}

fn log(error: &Error) {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        // Writing to a string cannot fail.
        let _ = write!(causes, "{}{next}", if causes.is_empty() { "" } else { ": " });
        cause = next.source();
    }
    match error.reason() {
        Reason::Internal => error!(reason = error.reason().name(), causes, "call failed"),
        reason @ (Reason::Unavailable | Reason::StorageFull) if !causes.is_empty() => {
            warn!(reason = reason.name(), causes, "call could not be served");
        }
        reason if !causes.is_empty() => debug!(reason = reason.name(), causes, "call refused"),
        _ => {}
    }
}

fn details(error: &Error) -> Vec<Any> {
    let mut details = vec![any(&rpc::ErrorInfo {
        reason: error.reason().name().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: error.metadata().iter().map(|(key, value)| ((*key).to_owned(), short(value, LONGEST_TEXT))).collect(),
    })];
    if !error.field_violations().is_empty() {
        details.push(any(&bad_request(error)));
    }
    if error.reason().code() == crate::error::Code::FailedPrecondition {
        details.push(any(&precondition(error)));
    }
    if let Some(wait) = error.retry_hint() {
        // Only a duration beyond 292 billion years does not fit.
        let retry_delay = prost_types::Duration::try_from(wait).ok();
        details.push(any(&rpc::RetryInfo { retry_delay }));
    }
    if let Some(report) = error.report() {
        details.push(any(&convert::report(report)));
    }
    // What says most comes first.
    let mut left = MOST_DETAILS;
    details.retain(|detail| {
        let fits = detail.value.len() <= left;
        left -= if fits { detail.value.len() } else { 0 };
        fits
    });
    details
}

fn bad_request(error: &Error) -> rpc::BadRequest {
    let violation = |violation: &crate::error::Violation| FieldViolation {
        field: short(&violation.field, LONGEST_TEXT),
        description: short(&violation.description, LONGEST_TEXT),
        reason: violation.reason.to_owned(),
        localized_message: None,
    };
    // As many as leave room for the rest.
    let mut left = MOST_DETAILS / 2;
    let all = error.field_violations().iter().map(violation);
    let field_violations = all.take_while(|violation| {
        let fits = violation.encoded_len() <= left;
        left -= if fits { violation.encoded_len() } else { 0 };
        fits
    });
    rpc::BadRequest { field_violations: field_violations.collect() }
}

fn precondition(error: &Error) -> rpc::PreconditionFailure {
    let subject = error.metadata().first().map(|(_, value)| value.clone()).unwrap_or_default();
    let violation = Precondition {
        r#type: error.reason().name().to_owned(),
        subject: short(&subject, LONGEST_TEXT),
        description: short(error.message(), LONGEST_TEXT),
    };
    rpc::PreconditionFailure { violations: vec![violation] }
}

/// Packs a message; its type URL is the one that every client library expects.
fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Violation;
    use crate::report::{Report, StageKind};

    fn decoded(status: &Status) -> rpc::Status {
        rpc::Status::decode(status.details()).expect("details are a google.rpc.Status")
    }

    fn types(status: &Status) -> Vec<String> {
        decoded(status).details.into_iter().map(|any| any.type_url).collect()
    }

    #[test]
    fn every_error_has_exactly_one_error_info_with_our_domain() {
        for reason in Reason::ALL {
            let status = Status::from(Error::new(*reason, "message").with("syncId", "sync_1"));
            let details = decoded(&status).details;
            let info = rpc::ErrorInfo::decode(details[0].value.as_slice()).expect("the first detail is an ErrorInfo");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.name(), "tributary"));
            assert_eq!(info.metadata.get("syncId").map(String::as_str), Some("sync_1"));
            assert_eq!(status.code() as i32, reason.code() as i32);
        }
    }

    #[test]
    fn violations_retry_and_report_travel_as_details() {
        let mut report = Report::default();
        report.failed(StageKind::Login, None, Duration::from_millis(3), "login_refused", "check the password");
        let wrong = vec![Violation::new("credentials.port", "REQUIRED", "is missing")];
        let error = Error::violations(Reason::InvalidCredentials, wrong)
            .retry_after(Duration::from_secs(2))
            .with_report(report);
        let listed = types(&Status::from(error));
        for name in ["google.rpc.BadRequest", "google.rpc.RetryInfo", "tributary.v1.TestReport"] {
            assert!(listed.contains(&format!("type.googleapis.com/{name}")), "{name} in {listed:?}");
        }
    }

    #[test]
    fn an_error_fits_into_the_trailers_of_a_call() {
        let long = "ä".repeat(100_000);
        let wrong = (0..1_000).map(|number| Violation::new(format!("{number}{long}"), "UNKNOWN", long.clone()));
        let error = Error::violations(Reason::InvalidArgument, wrong.collect()).with("name", long.clone());
        let status = Status::from(error);
        assert!(status.details().len() < 8 * 1_024, "{}", status.details().len());
        assert!(status.message().len() <= LONGEST_MESSAGE);
        assert!(types(&status).contains(&"type.googleapis.com/google.rpc.BadRequest".to_owned()));
        let status = Status::from(Error::new(Reason::NotFound, long).with("name", "short"));
        assert!(status.message().len() <= LONGEST_MESSAGE && status.message().ends_with('…'));
        let info = rpc::ErrorInfo::decode(decoded(&status).details[0].value.as_slice()).expect("an ErrorInfo");
        assert_eq!(info.metadata["name"], "short");
    }

    #[test]
    fn the_private_cause_of_an_internal_error_is_not_sent() {
        let status = Status::from(Error::internal(std::io::Error::other("secret-marker")));
        assert!(!status.message().contains("secret-marker"));
        assert!(!String::from_utf8_lossy(status.details()).contains("secret-marker"));
    }
}
