//! What the page shows, taken out of the OpenAPI document.

use serde::Serialize;
use serde_json::Value;

use crate::gateway::docs::json::{Token, tokens};

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct View {
    title: String,
    version: String,
    description: Vec<Vec<Span>>,
    base: String,
    groups: Vec<Group>,
    objects: Vec<Object>,
    errors: Vec<Failure>,
}

/// The operations of one service.
#[derive(Debug, Serialize)]
struct Group {
    name: String,
    anchor: String,
    description: Vec<Vec<Span>>,
    operations: Vec<Operation>,
}

/// One verb on one path.
#[derive(Debug, Serialize)]
struct Operation {
    id: String,
    verb: String,
    path: Vec<Piece>,
    name: String,
    summary: String,
    description: Vec<Vec<Span>>,
    role: Option<String>,
    parameters: Vec<Field>,
    body: Vec<Field>,
    reply: Vec<Field>,
    curl: String,
    example: Option<Vec<Token>>,
    failures: Vec<Failure>,
}

/// An object that replies hold.
#[derive(Debug, Serialize)]
struct Object {
    name: String,
    description: Vec<Vec<Span>>,
    fields: Vec<Field>,
}

/// One parameter or member.
#[derive(Debug, Serialize)]
struct Field {
    name: String,
    place: String,
    kind: String,
    link: Option<String>,
    required: bool,
    values: Vec<String>,
    limits: Vec<String>,
    description: Vec<Span>,
}

/// One error status with its words.
#[derive(Debug, Serialize)]
struct Failure {
    status: String,
    words: Vec<Span>,
}

/// A part of a path.
#[derive(Debug, Serialize)]
struct Piece {
    text: String,
    variable: bool,
}

/// A run of text; code stood between backticks.
#[derive(Debug, Serialize)]
struct Span {
    text: String,
    code: bool,
}

impl View {
    /// Reads the document.
    pub(super) fn of(document: &Value, base: &str) -> Self {
        let reader = Reader { document };
        let text = |name: &str| text(&document["info"][name]);
        Self {
            title: text("title"),
            version: text("version"),
            description: paragraphs(&text("description")),
            base: base.to_owned(),
            groups: reader.groups(),
            objects: reader.objects(),
            errors: reader.errors(),
        }
    }
}

struct Reader<'document> {
    document: &'document Value,
}

impl<'document> Reader<'document> {
    fn groups(&self) -> Vec<Group> {
        let tags = self.document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        tags.iter()
            .map(|tag| Group {
                name: text(&tag["name"]),
                anchor: format!("group-{}", text(&tag["name"]).to_lowercase().replace(' ', "-")),
                description: paragraphs(&text(&tag["description"])),
                operations: self.operations(&tag["name"]),
            })
            .collect()
    }

    fn operations(&self, tag: &Value) -> Vec<Operation> {
        let items = self.document["paths"].as_object().into_iter().flatten();
        items
            .flat_map(|(path, item)| {
                let operations = item.as_object().into_iter().flatten();
                operations.map(move |(verb, operation)| (path, verb, operation))
            })
            .filter(|(_, _, operation)| operation["tags"][0] == *tag)
            .map(|(path, verb, operation)| self.operation(path, verb, operation))
            .collect()
    }

    fn operation(&self, path: &str, verb: &str, operation: &'document Value) -> Operation {
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let description = text(&operation["description"]);
        let rest = description.split("\n\nNeeds the role").next().unwrap_or_default();
        let summary = text(&operation["summary"]);
        let reply = &operation["responses"]["200"]["content"];
        let example = &reply["application/json"]["example"];
        Operation {
            id: text(&operation["operationId"]),
            verb: verb.to_uppercase(),
            path: pieces(path),
            name: spaced(&text(&operation["operationId"])),
            // The heading is the first sentence: it is not said twice.
            description: paragraphs(rest.strip_prefix(summary.as_str()).unwrap_or(rest).trim_start_matches(['.', ' '])),
            summary,
            role: operation["x-required-role"].as_str().map(str::to_owned),
            parameters: parameters.iter().map(|parameter| self.parameter(parameter)).collect(),
            body: self.members(self.body(operation), false),
            reply: self.reply(reply),
            curl: curl(path, verb, operation, parameters),
            example: (!example.is_null()).then(|| tokens(example)),
            failures: self.failures(&operation["responses"]),
        }
    }

    fn body(&self, operation: &'document Value) -> &'document Value {
        let schema = &body_of(operation).1["schema"];
        let documented = schema["anyOf"].get(0).unwrap_or(schema);
        self.resolve(documented)
    }

    fn reply(&self, content: &'document Value) -> Vec<Field> {
        let json = &content["application/json"]["schema"];
        let schema = if json.is_null() { &content["application/x-ndjson"]["schema"] } else { json };
        self.members(self.resolve(schema), true)
    }

    fn failures(&self, responses: &Value) -> Vec<Failure> {
        let responses = responses.as_object().into_iter().flatten();
        responses
            .filter(|(status, _)| status.starts_with(['4', '5']))
            .map(|(status, response)| Failure {
                status: status.clone(),
                words: spans(&text(&self.resolve(response)["description"])),
            })
            .collect()
    }

    fn errors(&self) -> Vec<Failure> {
        let mut all: Vec<Failure> = Vec::new();
        for item in self.document["paths"].as_object().into_iter().flatten() {
            for operation in item.1.as_object().into_iter().flatten() {
                for failure in self.failures(&operation.1["responses"]) {
                    if !all.iter().any(|known| known.status == failure.status) {
                        all.push(failure);
                    }
                }
            }
        }
        all.sort_by(|one, other| one.status.cmp(&other.status));
        all
    }

    /// The objects that replies hold: what is linked from their members.
    fn objects(&self) -> Vec<Object> {
        let schemas = self.document["components"]["schemas"].as_object().into_iter().flatten();
        schemas
            .filter(|(name, schema)| is_object(name) && schema["properties"].is_object())
            .map(|(name, schema)| Object {
                name: name.clone(),
                description: paragraphs(&text(&schema["description"])),
                fields: self.members(schema, true),
            })
            .collect()
    }

    fn parameter(&self, parameter: &Value) -> Field {
        let required = parameter["required"] == true;
        let mut field = self.field(&text(&parameter["name"]), &parameter["schema"], required);
        field.place = text(&parameter["in"]);
        field.description = spans(&text(&parameter["description"]));
        field
    }

    /// The members of an object; in a reply all but the optional ones are there.
    fn members(&self, schema: &Value, is_reply: bool) -> Vec<Field> {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut fields = Vec::new();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            if !is_reply && member["readOnly"] == true {
                continue;
            }
            fields.push(self.field(name, member, required.iter().any(|required| required == name)));
            let inner = self.resolve(single(member));
            if !is_reply && inner["properties"].is_object() {
                for mut field in self.members(inner, false) {
                    field.name = format!("{name}.{}", field.name);
                    fields.push(field);
                }
            }
        }
        fields
    }

    fn field(&self, name: &str, schema: &Value, required: bool) -> Field {
        let shape = single(schema);
        let items = single(&shape["items"]);
        let is_list = shape["items"].is_object();
        let value = if is_list { items } else { shape };
        let target = value["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let kind = target.map_or_else(|| kind(value), |target| target.trim_end_matches("Input").to_owned());
        let values = value["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        Field {
            name: name.to_owned(),
            place: String::new(),
            kind: if is_list { format!("list of {kind}") } else { kind },
            link: target.filter(|target| is_object(target)).map(str::to_owned),
            required,
            values: values.iter().map(text).collect(),
            limits: limits(shape),
            description: spans(&text(&schema["description"])),
        }
    }

    fn resolve(&self, schema: &'document Value) -> &'document Value {
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(schema)
    }
}

/// Whether a schema is shown in a section of its own.
fn is_object(name: &str) -> bool {
    !["Request", "Response", "Input", "Changes", "Problem"].iter().any(|ending| name.ends_with(ending))
}

/// The documented one of several forms.
fn single(schema: &Value) -> &Value {
    schema["anyOf"].get(0).unwrap_or(schema)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(String::new, str::to_owned)
}

fn kind(schema: &Value) -> String {
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0).and_then(Value::as_str)).unwrap_or("any");
    match (kind, schema["format"].as_str()) {
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("int64")) => "integer as string".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

fn limits(schema: &Value) -> Vec<String> {
    let number = |keyword: &str| schema[keyword].as_i64();
    let mut limits = Vec::new();
    match (number("minLength"), number("maxLength")) {
        (Some(least), Some(most)) => limits.push(format!("{least} to {most} characters")),
        (None, Some(most)) => limits.push(format!("at most {most} characters")),
        _ => {}
    }
    if let Some(most) = number("maxItems") {
        limits.push(format!("at most {most}"));
    }
    if let Some(least) = number("minimum").filter(|least| *least >= 0) {
        limits.push(format!("from {least}"));
    }
    limits
}

fn paragraphs(text: &str) -> Vec<Vec<Span>> {
    text.split("\n\n").filter(|paragraph| !paragraph.is_empty()).map(spans).collect()
}

fn spans(text: &str) -> Vec<Span> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| Span { text: part.to_owned(), code: index % 2 == 1 })
        .collect()
}

/// `SyncService_ListSyncs_2` as `List syncs`.
fn spaced(operation: &str) -> String {
    let name = operation.split('_').nth(1).unwrap_or(operation);
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn pieces(path: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, part) in path.split(['{', '}']).enumerate() {
        let variable = index % 2 == 1;
        let text = if variable { format!("{{{part}}}") } else { part.to_owned() };
        pieces.push(Piece { text, variable });
    }
    pieces
}

/// What an operation takes, and as which type.
fn body_of(operation: &Value) -> (&'static str, &Value) {
    let content = &operation["requestBody"]["content"];
    let kind = if content["application/x-ndjson"].is_object() { "application/x-ndjson" } else { "application/json" };
    (kind, &content[kind])
}

/// A line that can be pasted into a shell.
fn curl(path: &str, verb: &str, operation: &Value, parameters: &[Value]) -> String {
    let mut address = path.to_owned();
    let mut query = Vec::new();
    for parameter in parameters {
        let example = match &parameter["example"] {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        let name = text(&parameter["name"]);
        match parameter["in"].as_str() {
            Some("path") => address = address.replace(&format!("{{{name}}}"), &example),
            Some("query") => query.push(format!("{name}={}", example.replace(' ', "%20"))),
            _ => {}
        }
    }
    if !query.is_empty() {
        address = format!("{address}?{}", query.join("&"));
    }
    let is_stream = operation["responses"]["200"]["content"]["text/event-stream"].is_object();
    let method = match verb {
        "get" if is_stream => "-N ".to_owned(),
        "get" => String::new(),
        verb => format!("-X {} ", verb.to_uppercase()),
    };
    let mut line = format!("curl {method}\"$BASE{address}\" \\\n  -H \"Authorization: Bearer $KEY\"");
    let (kind, body) = body_of(operation);
    let body = &body["example"];
    if body.as_object().is_some_and(|members| !members.is_empty()) {
        let body = serde_json::to_string_pretty(body).unwrap_or_default().replace('\'', r"'\''");
        line.push_str(&format!(" \\\n  -H \"Content-Type: {kind}\" \\\n  -d '{body}'"));
    }
    line
}
