//! Which files the settings take.

use super::settings::Config;
use crate::connectors::documents::globs;

/// The globs of a config.
pub(super) struct Selection<'a> {
    include: &'a [String],
    exclude: &'a [String],
}

impl<'a> Selection<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        Self { include: &config.include, exclude: &config.exclude }
    }

    /// True when files below the folder may be taken.
    pub(super) fn enters(&self, folder: &str) -> bool {
        let anything = format!("{folder}/x");
        let left_out =
            |glob: &String| globs::matches(glob, folder) || (glob.ends_with("/**") && globs::matches(glob, &anything));
        (self.include.is_empty() || self.include.iter().any(|glob| globs::may_match_below(glob, folder)))
            && !self.exclude.iter().any(left_out)
    }

    /// True when the file is taken.
    pub(super) fn takes(&self, path: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|glob| globs::matches(glob, path)))
            && !self.exclude.iter().any(|glob| globs::matches(glob, path))
    }
}
