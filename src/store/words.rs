//! Enums as words in a column.

use crate::store::StoreError;

/// A column holds a word that we do not know.
#[derive(Debug, thiserror::Error)]
#[error("a row holds the unknown word `{0}`")]
struct UnknownWord(String);

/// The one among all that is spelled like this.
pub(super) fn read<T: Copy>(all: &[T], spell: fn(T) -> &'static str, text: &str) -> Result<T, StoreError> {
    all.iter()
        .copied()
        .find(|word| spell(*word) == text)
        .ok_or_else(|| StoreError::Failed(Box::new(UnknownWord(text.to_owned()))))
}
