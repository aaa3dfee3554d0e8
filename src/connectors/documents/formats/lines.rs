//! Text that grows by words, paragraphs and rows of tables.

/// The lines of a document. A row of a table is one line, whatever its cells hold.
#[derive(Default)]
pub(super) struct Lines {
    body: String,
    line: String,
    /// Depth of table cells around the current paragraph.
    cells: usize,
}

impl Lines {
    pub(super) fn push(&mut self, text: &str) {
        self.line.push_str(text);
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.body.len() + self.line.len()
    }

    /// The line so far, its white space made even.
    pub(super) fn line(&self) -> String {
        self.line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Ends a paragraph: a line, but in a table, where the row ends it.
    pub(super) fn end_paragraph(&mut self) {
        if self.cells > 0 { self.line.push(' ') } else { self.end_line() }
    }

    pub(super) fn end_line(&mut self) {
        let line = self.line();
        let line = line.trim_end_matches(['|', ' ']);
        if !line.is_empty() {
            self.body.push_str(line);
            self.body.push('\n');
        }
        self.line.clear();
    }

    /// Leaves an empty line, where there is something before it.
    pub(super) fn end_part(&mut self) {
        self.end_line();
        if !self.body.is_empty() && !self.body.ends_with("\n\n") {
            self.body.push('\n');
        }
    }

    pub(super) fn start_cell(&mut self) {
        self.cells += 1;
    }

    pub(super) fn end_cell(&mut self) {
        self.cells = self.cells.saturating_sub(1);
        self.line.push_str(" | ");
    }

    pub(super) fn end_row(&mut self) {
        if self.cells == 0 {
            self.end_line();
        }
    }

    pub(super) fn into_body(mut self) -> String {
        self.end_line();
        let length = self.body.trim_end().len();
        self.body.truncate(length);
        if !self.body.is_empty() {
            self.body.push('\n');
        }
        self.body
    }
}
