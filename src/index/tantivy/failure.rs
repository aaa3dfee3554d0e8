//! What went wrong, in the index's terms.

use std::io::{Error as IoError, ErrorKind};

use tantivy::TantivyError;
use tantivy::directory::error::{OpenDirectoryError, OpenReadError, OpenWriteError};

use crate::ids::CollectionId;
use crate::index::IndexError;

/// Any failure.
pub(crate) fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> IndexError {
    IndexError::Failed(Box::new(cause))
}

/// A failure with only words to it.
pub(crate) fn failed_because(message: &str) -> IndexError {
    IndexError::Failed(message.into())
}

/// A failed file operation.
pub(crate) fn from_io(cause: IoError) -> IndexError {
    if is_full(&cause) { IndexError::StorageFull(Box::new(cause)) } else { failed(cause) }
}

/// A failure of an index in use.
pub(crate) fn from_tantivy(collection: &CollectionId, cause: TantivyError) -> IndexError {
    if io_cause(&cause).is_some_and(is_full) {
        return IndexError::StorageFull(Box::new(cause));
    }
    match &cause {
        TantivyError::DataCorruption(_)
        | TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(_) | OpenReadError::IncompatibleIndex(_))
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::DeserializeError(_) => damaged(collection, cause),
        _ => failed(cause),
    }
}

/// A failure to open an index: it is damaged unless the disk is to blame.
pub(crate) fn from_opening(collection: &CollectionId, cause: TantivyError) -> IndexError {
    match (&cause, io_cause(&cause)) {
        (_, Some(io)) if is_full(io) => IndexError::StorageFull(Box::new(cause)),
        (TantivyError::LockFailure(..), _) => failed(cause),
        (_, Some(io)) if !matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => failed(cause),
        _ => damaged(collection, cause),
    }
}

fn damaged(collection: &CollectionId, cause: TantivyError) -> IndexError {
    IndexError::Damaged { collection: collection.clone(), cause: Box::new(cause) }
}

fn is_full(error: &IoError) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn io_cause(error: &TantivyError) -> Option<&IoError> {
    match error {
        TantivyError::IoError(io) => Some(io),
        TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. })
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
        | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error, .. }) => Some(io_error),
        _ => None,
    }
}
