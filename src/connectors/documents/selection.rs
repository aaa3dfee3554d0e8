//! Which files and folders the settings take.

use crate::connectors::documents::globs;

/// Name of the object that holds the files of the folder itself.
pub(in crate::connectors) const ROOT: &str = ".";
/// Levels of folders that are read.
pub(in crate::connectors) const DEEPEST: usize = 64;

/// Which files and folders the settings take.
pub(in crate::connectors) struct Selection<'a> {
    include: &'a [String],
    exclude: &'a [String],
}

impl<'a> Selection<'a> {
    /// What these globs take; none to include means all.
    pub(in crate::connectors) fn of(include: &'a [String], exclude: &'a [String]) -> Self {
        Self { include, exclude }
    }

    /// True when files of the object may be taken: of the folder itself, or of one
    /// directly below it.
    pub(in crate::connectors) fn takes_object(&self, object: &str) -> bool {
        if object != ROOT {
            return self.enters(object);
        }
        let for_root = |glob: &String| {
            let glob = glob.trim_matches('/');
            !glob.contains('/') || glob.starts_with("**/")
        };
        self.include.is_empty() || self.include.iter().any(for_root)
    }

    /// True when files below the folder may be taken.
    pub(in crate::connectors) fn enters(&self, folder: &str) -> bool {
        let inside = format!("{folder}/");
        let left_out = |glob: &String| {
            globs::matches(glob, folder) || (glob.ends_with("/**") && globs::matches(glob, &format!("{inside}x")))
        };
        (self.include.is_empty() || self.include.iter().any(|glob| globs::may_match_below(glob, folder)))
            && !self.exclude.iter().any(left_out)
    }

    /// True when the file is taken.
    pub(in crate::connectors) fn takes_file(&self, path: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|glob| globs::matches(glob, path)))
            && !self.exclude.iter().any(|glob| globs::matches(glob, path))
    }
}
