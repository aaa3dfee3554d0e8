//! One template of the settings: compiled when the settings are checked, rendered
//! within bounds for each record.

use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use crate::connectors::RecordError;

/// Steps that one rendering may take.
const FUEL: u64 = 500_000;
/// Longest result in bytes.
const OUTPUT_BYTES: usize = 16 * 1024 * 1024;
const NAME: &str = "template";

/// A setting that is no valid template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` {reason}")]
pub struct TemplateError {
    /// Name of the setting.
    pub setting: &'static str,
    /// What is wrong, for people.
    pub reason: String,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    setting: &'static str,
    environment: Environment<'static>,
}

impl Template {
    /// Compiles the value of a setting.
    pub fn compile(setting: &'static str, source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // It makes something big out of nothing.
        environment.remove_global("range");
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| TemplateError {
            setting,
            reason: match error.line() {
                Some(line) => format!("is not a valid template: {} in line {line}", error.kind()),
                None => format!("is not a valid template: {}", error.kind()),
            },
        })?;
        Ok(Self { setting, environment })
    }

    /// The same for a setting that may be absent or empty.
    pub fn compile_optional(setting: &'static str, source: Option<&str>) -> Result<Option<Self>, TemplateError> {
        source.filter(|source| !source.is_empty()).map(|source| Self::compile(setting, source)).transpose()
    }

    /// The result for these variables, trimmed.
    pub fn render(&self, variables: &Value) -> Result<String, RecordError> {
        let failed = |reason: String| RecordError {
            code: "template_failed",
            message: format!("`{}` failed: {reason}", self.setting),
        };
        let template = self.environment.get_template(NAME).map_err(|error| failed(error.kind().to_string()))?;
        let mut output = Bounded(Vec::new());
        let context = minijinja::Value::from(minijinja::value::Serde(variables));
        template.render_captured_to(context, &mut output).map_err(|error| failed(error.kind().to_string()))?;
        let text = String::from_utf8(output.0).map_err(|_| failed("the result is not text".to_owned()))?;
        Ok(text.trim().to_owned())
    }
}

struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES {
            return Err(std::io::Error::other("the result is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
