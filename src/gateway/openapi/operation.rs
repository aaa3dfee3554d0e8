//! One operation: parameters, body and replies of a route.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use crate::gateway::openapi::comments::{Comments, summary};
use crate::gateway::openapi::schemas::{Place, Schemas, capital, described, reference};
use crate::gateway::openapi::{OpenApiSettings, replies, tag};
use crate::gateway::rules::{Body, Route, resolve};
use crate::gateway::template::Segment;

/// Writes operations and gathers the schemas that they need.
pub(super) struct Writer<'document> {
    settings: &'document OpenApiSettings,
    comments: &'document Comments,
    schemas: Schemas<'document>,
}

/// The path with its variables under the names of [`variables`].
pub(super) fn path(route: &Route) -> String {
    let variables = variables(route);
    let mut path = String::new();
    let mut index = 0;
    while let Some(segment) = route.template.segments().get(index) {
        path.push('/');
        match route.template.variables().iter().position(|variable| variable.start == index) {
            Some(position) => {
                path.push_str(&format!("{{{}}}", variables[position].0));
                index += route.template.variables()[position].length;
                continue;
            }
            None => match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Any => path.push('*'),
                Segment::Rest => path.push_str("**"),
            },
        }
        index += 1;
    }
    if let Some(verb) = route.template.verb() {
        path.push_str(&format!(":{verb}"));
    }
    path
}

/// Each variable: its name, and the fields that lead to where it goes. The name
/// is that of the last field, or of the way to it where two would be the same.
fn variables(route: &Route) -> Vec<(String, Vec<FieldDescriptor>)> {
    let input = route.method.input();
    let all: Vec<Vec<FieldDescriptor>> = route
        .template
        .variables()
        .iter()
        .map(|variable| resolve(&input, &variable.field).unwrap_or_default())
        .collect();
    let last = |fields: &[FieldDescriptor]| fields.last().map(|field| field.json_name().to_owned()).unwrap_or_default();
    all.iter()
        .map(|fields| {
            let unique = all.iter().filter(|other| last(other) == last(fields)).count() == 1;
            let (first, rest) = fields.split_at(fields.len().min(1));
            let rest = rest.iter().map(|field| capital(field.json_name()));
            let long = first.iter().map(|field| field.json_name().to_owned()).chain(rest).collect::<String>();
            (if unique { last(fields) } else { long }, fields.clone())
        })
        .collect()
}

impl<'document> Writer<'document> {
    pub(super) fn new(
        settings: &'document OpenApiSettings,
        comments: &'document Comments,
        mut schemas: Schemas<'document>,
    ) -> Self {
        replies::add_schemas(&mut schemas, &settings.reasons);
        Self { settings, comments, schemas }
    }

    pub(super) fn into_schemas(self) -> Value {
        self.schemas.into_components().into()
    }

    pub(super) fn operation(&mut self, route: &Route, id: &str) -> Value {
        let comment = self.comments.get(&route.method.parent_file(), route.method.path());
        let role = (self.settings.role_name)(route.rest.role);
        let mut operation =
            json!({"operationId": id, "tags": [tag(route, self.settings)], "summary": summary(&comment)});
        operation["description"] = match role {
            Some(role) => format!("{comment}\n\nNeeds the role `{role}`.").into(),
            None => comment.into(),
        };
        if let Some(role) = role {
            operation["x-required-role"] = role.into();
        }
        let parameters = self.parameters(route, id);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if route.body != Body::None {
            operation["requestBody"] = self.body(route, id);
        }
        operation["responses"] = self.responses(route, id);
        operation
    }

    fn example(&self, id: &str, part: &str) -> Option<&'document Value> {
        self.settings.examples.get(id)?.get(part)
    }

    fn parameters(&mut self, route: &Route, id: &str) -> Vec<Value> {
        let mut parameters: Vec<Value> =
            variables(route).iter().map(|(name, fields)| self.path_parameter(name, fields)).collect();
        if route.body != Body::Whole {
            for field in self.query_fields(route) {
                parameters.extend(self.query_parameters("", &field));
            }
            self.name_mask_paths(route, &mut parameters);
        }
        parameters.extend(header_parameters(route));
        let examples = self.example(id, "parameters");
        for parameter in &mut parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            if let Some(example) = examples.and_then(|examples| examples.get(name)) {
                parameter["example"] = example.clone();
            }
        }
        parameters
    }

    fn path_parameter(&self, name: &str, fields: &[FieldDescriptor]) -> Value {
        let description = fields.last().map(|field| self.comments.field(field)).unwrap_or_default();
        let schema = json!({"type": "string", "minLength": 1});
        described(json!({"name": name, "in": "path", "required": true, "schema": schema}), description)
    }

    /// The top-level fields that are neither in the path nor in the body.
    fn query_fields(&self, route: &Route) -> Vec<FieldDescriptor> {
        let variables = variables(route);
        let in_path = |field: &FieldDescriptor| variables.iter().any(|(_, fields)| fields.first() == Some(field));
        let in_body = |field: &FieldDescriptor| route.body == Body::Field(field.clone());
        route.method.input().fields().filter(|field| !in_path(field) && !in_body(field)).collect()
    }

    /// A mask names what can be changed, between commas.
    fn name_mask_paths(&self, route: &Route, parameters: &mut [Value]) {
        let mask = parameters.iter_mut().find(|parameter| parameter["name"] == "updateMask");
        let (Body::Field(resource), Some(mask)) = (&route.body, mask) else { return };
        let Kind::Message(message) = resource.kind() else { return };
        let rules = self.schemas.rules();
        let is_etag = |field: &FieldDescriptor| {
            let if_match = route.rest.if_match_field.as_deref().unwrap_or_default();
            if_match.strip_prefix(resource.name()).is_some_and(|rest| rest.strip_prefix('.') == Some(field.name()))
        };
        let names: Vec<String> = message
            .fields()
            .filter(|field| !rules.is_output_only(field) && !rules.is_immutable(field) && !is_etag(field))
            .map(|field| field.json_name().to_owned())
            .collect();
        let one = names.join("|");
        mask["schema"]["pattern"] = format!("^(({one})(,({one}))*)?$").into();
    }

    /// A message in the query is written with dots: one parameter a field of it.
    fn query_parameters(&mut self, prefix: &str, field: &FieldDescriptor) -> Vec<Value> {
        let name = format!("{prefix}{}", field.json_name());
        if let Kind::Message(message) = field.kind()
            && !matches!(
                message.full_name(),
                "google.protobuf.FieldMask" | "google.protobuf.Timestamp" | "google.protobuf.Duration"
            )
        {
            let is_free = message.full_name().starts_with("google.protobuf.");
            let written = !is_free && !field.is_list() && !field.is_map() && prefix.len() < 64;
            let inner: Vec<FieldDescriptor> = if written { message.fields().collect() } else { Vec::new() };
            return inner.iter().flat_map(|inner| self.query_parameters(&format!("{name}."), inner)).collect();
        }
        let required = prefix.is_empty() && self.schemas.rules().is_required(field);
        let schema = self.schemas.request_field(field, Place::Query, required);
        let mut parameter = json!({"name": name, "in": "query", "required": required, "schema": schema});
        if field.is_list() {
            parameter["style"] = "form".into();
            parameter["explode"] = true.into();
        }
        vec![described(parameter, self.comments.field(field))]
    }

    fn body(&mut self, route: &Route, id: &str) -> Value {
        let (schema, required) = match &route.body {
            Body::Field(field) => (self.field_body(route, field), true),
            _ => self.whole_body(route, id),
        };
        let mut media = json!({"schema": schema});
        if let Some(example) = self.example(id, "request") {
            media["example"] = example.clone();
        }
        // A line is one message.
        let kind = if route.method.is_client_streaming() { "application/x-ndjson" } else { "application/json" };
        json!({"required": required, "content": {kind: media}})
    }

    /// The body is the request, without what the path has. No body at all is the
    /// same as an empty object.
    fn whole_body(&mut self, route: &Route, id: &str) -> (Value, bool) {
        let input = route.method.input();
        let in_path: Vec<FieldDescriptor> =
            variables(route).iter().filter_map(|(_, fields)| fields.first().cloned()).collect();
        let mut object = self.schemas.body_object(&input, &in_path, false);
        if object["description"] == format!("Request of {}.", route.method.name()) {
            object["description"] = format!("Body of {}.", route.method.name()).into();
        }
        let required = object.get("required").is_some();
        let documented = self.named(input.name(), &format!("{}Request", bare_id(id)), object);
        match route.rest.bare_body_field.as_deref() {
            None => (documented, required),
            Some(field) => (json!({"anyOf": [documented, bare(&input, field)]}), required),
        }
    }

    fn field_body(&mut self, route: &Route, field: &FieldDescriptor) -> Value {
        let Kind::Message(message) = field.kind() else {
            return self.schemas.request_field(field, Place::Body, true);
        };
        let is_partial = route.method.input().get_field_by_name("update_mask").is_some();
        let in_path: Vec<FieldDescriptor> =
            variables(route).iter().filter_map(|(_, fields)| fields.get(1).cloned()).collect();
        if !is_partial && in_path.is_empty() {
            return self.schemas.request_field(field, Place::Body, true);
        }
        let object = self.schemas.body_object(&message, &in_path, is_partial);
        let name = format!("{}{}", message.name(), if is_partial { "Changes" } else { "Body" });
        self.named(&name, &name, object)
    }

    /// Puts a schema among the components; under the other name if the first
    /// one is taken by another schema.
    fn named(&mut self, name: &str, other: &str, schema: Value) -> Value {
        let name = if self.schemas.has(name) { other } else { name };
        self.schemas.add(name, schema);
        reference(name)
    }

    fn responses(&mut self, route: &Route, id: &str) -> Value {
        let request_id = replies::header("RequestId");
        let mut headers = json!({"X-Request-Id": request_id});
        if route.rest.etag_field.is_some() {
            headers["ETag"] = replies::header("ETag");
        }
        let content = self.content(route, id);
        let mut responses = json!({"200": {"description": "Done.", "headers": headers, "content": content}});
        if route.method.is_server_streaming() && route.rest.sse_resume_field.is_some() {
            responses["204"] = json!({
                "description": "The stream has ended: nothing follows the event in Last-Event-ID.",
                "headers": {"X-Request-Id": request_id},
            });
        }
        if route.rest.conditional_get {
            responses["304"] = json!({"description": "Still the version of If-None-Match.", "headers": headers});
        }
        let known: Vec<u16> = self.settings.reasons.iter().map(|(_, status)| *status).collect();
        for status in replies::statuses(route).into_iter().filter(|status| known.contains(status)) {
            responses[status.to_string()] = error(&replies::component(status));
        }
        responses["default"] = error("Error");
        responses
    }

    fn content(&mut self, route: &Route, id: &str) -> Value {
        let output = route.method.output();
        if route.method.is_server_streaming() {
            let event = self.schemas.reply(&output);
            return json!({
                "text/event-stream": {"schema": server_sent_event(&event)},
                "application/x-ndjson": {"schema": event},
            });
        }
        let mut media = json!({"schema": self.schemas.envelope(&output)});
        if let Some(example) = self.example(id, "response") {
            media["example"] = example.clone();
        }
        json!({"application/json": media})
    }
}

/// One server-sent event of a stream. Its data is JSON in a line of text: one of
/// the events, or the error that ends the stream.
fn server_sent_event(event: &Value) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "One server-sent event; a comment line keeps a quiet stream alive.",
        "properties": {
            "id": text("Number of the event, for `Last-Event-ID`."),
            "event": text("Name of what happened: the member that `data` has, or `error`."),
            "data": {
                "type": "string",
                "description": "An object as in NDJSON, or an error.",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [event, reference("Error")]},
            },
            "retry": {"type": "integer", "description": "Milliseconds to wait before coming back."},
        },
    })
}

/// `SearchService_Search_3` as `Search3`.
fn bare_id(id: &str) -> String {
    id.split('_').skip(1).collect()
}

fn error(component: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{component}")})
}

/// Any object that no key of is a field of the request: it is taken for one field.
fn bare(input: &MessageDescriptor, field: &str) -> Value {
    let mut names: Vec<String> =
        input.fields().flat_map(|field| [field.json_name().to_owned(), field.name().to_owned()]).collect();
    names.sort_unstable();
    names.dedup();
    json!({
        "type": "object",
        "description": format!("The same as `{{\"{field}\": {{...}}}}`, without the wrapping."),
        "minProperties": 1,
        "propertyNames": {"not": {"enum": names}},
        "additionalProperties": true,
    })
}

fn header_parameters(route: &Route) -> Vec<Value> {
    let rest = &route.rest;
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema});
    let text = || json!({"type": "string"});
    let mut parameters = Vec::new();
    if rest.idempotency_key_field.is_some() {
        let schema = json!({"type": "string", "minLength": 1, "maxLength": 255});
        parameters.push(header("Idempotency-Key", "Makes the call safe to repeat for 24 hours.", schema));
    }
    if rest.if_match_field.is_some() {
        parameters.push(header("If-Match", "ETag that must still be the current one.", text()));
    }
    if rest.conditional_get {
        parameters.push(header("If-None-Match", "ETag that the caller has; answered with 304 while current.", text()));
    }
    if rest.sse_resume_field.is_some() {
        let schema = json!({"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})?$"});
        parameters.push(header("Last-Event-ID", "Goes on after this event; empty is as not given.", schema));
    }
    parameters
}
