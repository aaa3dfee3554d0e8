//! The configuration in force as text: TOML with the origin of each value, or
//! JSON. Neither holds a secret.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Config, InForce, Shown};

/// TOML that could be given back as a file, but for the secrets.
pub fn as_toml(config: &Config) -> String {
    let mut text = String::new();
    for InForce { setting, value, origin } in config.in_force() {
        let line = match value {
            None => format!("# {} is not set", setting.name),
            Some(Shown::Hidden) => format!("# {} is set and not shown", setting.name),
            Some(Shown::Switch(on)) => format!("{} = {on}", setting.name),
            Some(Shown::Whole(whole)) => format!("{} = {whole}", setting.name),
            Some(Shown::Text(text)) => format!("{} = {}", setting.name, toml::Value::from(text.as_str())),
            Some(Shown::List(parts)) => format!("{} = {}", setting.name, toml::Value::from(parts.clone())),
        };
        let _ = writeln!(text, "# {}; from: {origin}\n{line}\n", setting.help);
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

/// One member a setting: `value`, `origin` and, for secrets, `set`.
pub fn as_json(config: &Config) -> Value {
    let member = |in_force: &InForce| {
        let origin = in_force.origin.to_string();
        let value = match &in_force.value {
            None => json!({ "value": null, "origin": origin }),
            Some(Shown::Hidden) => json!({ "set": true, "origin": origin }),
            Some(Shown::Switch(on)) => json!({ "value": on, "origin": origin }),
            Some(Shown::Whole(whole)) => json!({ "value": whole, "origin": origin }),
            Some(Shown::Text(text)) => json!({ "value": text, "origin": origin }),
            Some(Shown::List(parts)) => json!({ "value": parts, "origin": origin }),
        };
        (in_force.setting.name.to_owned(), value)
    };
    Value::Object(Map::from_iter(config.in_force().iter().map(member)))
}
