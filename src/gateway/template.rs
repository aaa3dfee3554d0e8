//! Path templates of `google.api.http`: `/v1/{name=shelves/*}/**:verb`.

use std::fmt;

/// A parsed path template. `Display` gives its source form back, with
/// `{field}` for `{field=*}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<String>,
}

/// What one segment of a path must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this text (percent-decoded).
    Literal(String),
    /// `*`: any one segment.
    Any,
    /// `**`: any number of segments, none included.
    Rest,
}

/// A variable: a run of segments whose text goes into a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Path of the field in proto spelling (`source_connection.id`).
    pub field: String,
    /// Index of its first segment.
    pub start: usize,
    /// How many segments of the template it covers.
    pub length: usize,
}

/// Why a template cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(&'static str);

impl Template {
    /// Parses the grammar in `google/api/http.proto`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let path = text.strip_prefix('/').ok_or(TemplateError("a template begins with `/`"))?;
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb: None };
        if path.is_empty() {
            return Ok(template);
        }
        let (path, verb) = split_verb(path)?;
        template.verb = verb;
        let mut rest = path;
        loop {
            rest = template.parse_part(rest)?;
            match rest.strip_prefix('/') {
                Some(next) => rest = next,
                None if rest.is_empty() => break,
                None => return Err(TemplateError("a segment is a literal, `*`, `**` or one variable")),
            }
        }
        template.check_wildcards()?;
        Ok(template)
    }

    /// The segments, those inside variables included.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The variables, from left to right.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The custom verb after the last colon.
    pub fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    fn parse_part<'text>(&mut self, text: &'text str) -> Result<&'text str, TemplateError> {
        let Some(inner) = text.strip_prefix('{') else { return self.parse_segment(text) };
        let (inner, after) = inner.split_once('}').ok_or(TemplateError("a variable is not closed"))?;
        let (field, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        check_field_path(field)?;
        if self.variables.iter().any(|variable| variable.field == field) {
            return Err(TemplateError("two variables for one field"));
        }
        let start = self.segments.len();
        for part in pattern.split('/') {
            if !self.parse_segment(part)?.is_empty() {
                return Err(TemplateError("a variable holds literals, `*` and `**` only"));
            }
        }
        self.variables.push(Variable { field: field.to_owned(), start, length: self.segments.len() - start });
        Ok(after)
    }

    /// Takes one segment from the front; answers what follows it.
    fn parse_segment<'text>(&mut self, text: &'text str) -> Result<&'text str, TemplateError> {
        let end = text.find(['/', '{', '}']).unwrap_or(text.len());
        let (segment, after) = text.split_at(end);
        self.segments.push(match segment {
            "*" => Segment::Any,
            "**" => Segment::Rest,
            "" => return Err(TemplateError("a segment is empty")),
            literal => Segment::Literal(parse_literal(literal)?),
        });
        Ok(after)
    }

    fn check_wildcards(&self) -> Result<(), TemplateError> {
        let Some(rest) = self.segments.iter().position(|segment| *segment == Segment::Rest) else { return Ok(()) };
        if self.segments[rest + 1..].iter().all(|segment| matches!(segment, Segment::Literal(_))) {
            Ok(())
        } else {
            Err(TemplateError("no wildcard may follow `**`"))
        }
    }
}

/// The verb begins at the first colon behind the last slash and variable.
fn split_verb(path: &str) -> Result<(&str, Option<String>), TemplateError> {
    let last = path.rfind(['/', '}']).map_or(0, |index| index + 1);
    if path[..last].contains(':') {
        return Err(TemplateError("a colon stands only before the verb"));
    }
    match path[last..].split_once(':') {
        None => Ok((path, None)),
        Some((_, "")) => Err(TemplateError("the verb is empty")),
        Some((before, verb)) => Ok((&path[..last + before.len()], Some(decode(verb)?))),
    }
}

fn check_field_path(path: &str) -> Result<(), TemplateError> {
    let identifier = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    if path.split('.').all(identifier) { Ok(()) } else { Err(TemplateError("a variable names a field path")) }
}

fn parse_literal(literal: &str) -> Result<String, TemplateError> {
    if literal.chars().all(|letter| letter == '%' || is_plain(letter)) {
        decode(literal)
    } else {
        Err(TemplateError("a literal holds a character that a path segment may not"))
    }
}

/// May stand in a segment as it is.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.~!$&'()+,;@".contains(letter) || !letter.is_ascii()
}

/// Writes a text with everything escaped that could be taken for something else.
fn write_escaped(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|letter| match letter {
        letter if is_plain(letter) => write!(formatter, "{letter}"),
        // Only ASCII is not plain.
        letter => write!(formatter, "%{:02X}", u32::from(letter)),
    })
}

fn decode(text: &str) -> Result<String, TemplateError> {
    super::path::decode(text).ok_or(TemplateError("a percent escape is malformed"))
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut index = 0;
        while index < self.segments.len() {
            formatter.write_str("/")?;
            if let Some(variable) = self.variables.iter().find(|variable| variable.start == index) {
                let covered = &self.segments[index..index + variable.length];
                write!(formatter, "{{{}", variable.field)?;
                if covered != [Segment::Any] {
                    let parts: Vec<String> = covered.iter().map(Segment::to_string).collect();
                    write!(formatter, "={}", parts.join("/"))?;
                }
                formatter.write_str("}")?;
                index += variable.length;
            } else {
                write!(formatter, "{}", self.segments[index])?;
                index += 1;
            }
        }
        if self.segments.is_empty() {
            formatter.write_str("/")?;
        }
        self.verb.iter().try_for_each(|verb| {
            formatter.write_str(":")?;
            write_escaped(formatter, verb)
        })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Literal(text) => write_escaped(formatter, text),
            Segment::Any => formatter.write_str("*"),
            Segment::Rest => formatter.write_str("**"),
        }
    }
}
