//! A request message from the parts of an HTTP request. The path wins: what
//! the body or the query says of a field in the path must be equal.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use crate::gateway::json::Json;
use crate::gateway::path::{self, PathSegment};
use crate::gateway::query;
use crate::gateway::read::{self, BadField};
use crate::gateway::rules::{Body, Route, resolve};
use crate::gateway::template::{Segment, Template, Variable};
use crate::gateway::well_known;

/// No message of so few levels of JSON is too deep.
const SHALLOW: usize = 16;

/// Where readers of protobuf stop.
const MAX_MESSAGE_DEPTH: usize = 100;

/// The parts of an HTTP request that become fields.
pub(super) struct Parts<'request> {
    /// The decoded path.
    pub segments: &'request [PathSegment],
    /// The decoded query.
    pub query: &'request [(String, String)],
    /// The body; `None` if there is none.
    pub body: Option<&'request Json>,
    /// `If-Match`.
    pub if_match: Option<&'request str>,
    /// `Idempotency-Key`, unquoted.
    pub idempotency_key: Option<&'request str>,
    /// `Last-Event-ID`.
    pub last_event_id: Option<&'request str>,
}

/// Builds the request message of a route.
pub(super) fn request(route: &Route, parts: &Parts<'_>) -> Result<DynamicMessage, BadField> {
    let descriptor = route.method.input();
    let (mut message, written) = from_body(route, &descriptor, parts.body)?;
    let mut bound = Vec::new();
    for (name, text) in variables(&route.template, parts.segments) {
        let fields = resolve(&descriptor, name).unwrap_or_default();
        bind_path(&mut message, &fields, &text, written.as_ref())?;
        bound.push(fields);
    }
    if route.body == Body::Whole && !parts.query.is_empty() {
        return Err(BadField::new(
            &parts.query[0].0,
            "UNKNOWN_FIELD",
            "is not taken from the query: everything is in the body",
        ));
    }
    query::bind(&mut message, parts.query, &route.body, &bound)?;
    fill_mask(route, &mut message, parts.body, &bound);
    let rest = &route.rest;
    bind_header(&mut message, &rest.idempotency_key_field, parts.idempotency_key, "Idempotency-Key")?;
    bind_header(&mut message, &rest.if_match_field, parts.if_match.filter(|etag| *etag != "*"), "If-Match")?;
    if let (Some(name), Some(text)) = (&rest.sse_resume_field, parts.last_event_id) {
        resume(&mut message, name, text)?;
    }
    check_depth(&message, parts.body)?;
    Ok(message)
}

/// A level of JSON in a `Struct` is three of protobuf, whose readers stop at
/// 100: what the service could not read is the caller's fault, not ours.
fn check_depth(message: &DynamicMessage, body: Option<&Json>) -> Result<(), BadField> {
    let is_shallow = body.is_none_or(|body| body.depth() < SHALLOW);
    if is_shallow || depth(message) < MAX_MESSAGE_DEPTH {
        return Ok(());
    }
    Err(BadField::new("", "INVALID_VALUE", "it is nested too deeply"))
}

/// How deeply messages are nested; the entry of a map is one.
fn depth(message: &DynamicMessage) -> usize {
    message.fields().map(|(_, value)| value_depth(value)).max().unwrap_or_default()
}

fn value_depth(value: &Value) -> usize {
    match value {
        Value::Message(message) => 1 + depth(message),
        Value::List(items) => items.iter().map(value_depth).max().unwrap_or_default(),
        Value::Map(entries) => 1 + entries.values().map(value_depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The values of a template's variables in a path that matches it.
pub(super) fn variables<'route>(template: &'route Template, segments: &[PathSegment]) -> Vec<(&'route str, String)> {
    let shape = template.segments();
    let rest = shape.iter().position(|segment| *segment == Segment::Rest);
    // Where a segment of the template begins in the path: what follows `**`
    // stands as far from the end in both.
    let position = |index: usize| match rest {
        Some(rest) if index > rest => segments.len() + index - shape.len(),
        _ => index,
    };
    let raw = |index: usize| match template.verb() {
        Some(verb) if index + 1 == segments.len() => without_verb(&segments[index].raw, verb),
        _ => segments[index].raw.as_str(),
    };
    let value = |variable: &Variable| {
        let covered = &shape[variable.start..variable.start + variable.length];
        let range = position(variable.start)..position(variable.start + variable.length);
        let decode = if matches!(covered, [Segment::Any | Segment::Literal(_)]) {
            path::decode
        } else {
            path::decode_unreserved
        };
        // Each segment was decoded before, so none is malformed.
        range.map(|index| decode(raw(index)).unwrap_or_default()).collect::<Vec<_>>().join("/")
    };
    template.variables().iter().map(|variable| (variable.field.as_str(), value(variable))).collect()
}

fn without_verb<'path>(raw: &'path str, verb: &str) -> &'path str {
    let is_verb = |(index, _): &(usize, &str)| path::decode(&raw[index + 1..]).as_deref() == Some(verb);
    raw.match_indices(':').find(is_verb).map_or(raw, |(index, _)| &raw[..index])
}

/// The message that the body alone makes, and the body as if it were the whole
/// message, for comparing it with the path.
fn from_body(
    route: &Route,
    descriptor: &MessageDescriptor,
    body: Option<&Json>,
) -> Result<(DynamicMessage, Option<Json>), BadField> {
    let empty = DynamicMessage::new(descriptor.clone());
    match (&route.body, body) {
        (Body::None, None) | (Body::Whole, None) => Ok((empty, None)),
        (Body::None, Some(Json::Object(members))) if members.is_empty() => Ok((empty, None)),
        (Body::None, Some(_)) => Err(BadField::new("", "INVALID_VALUE", "the request must have no body")),
        (Body::Whole, Some(json)) => {
            let json = wrap_bare(route, descriptor, json);
            refuse_empty_list(route, descriptor, &json)?;
            Ok((read::message(descriptor, &json)?, Some(json)))
        }
        (Body::Field(_), None) => Err(BadField::new("", "REQUIRED", "the request must have a body")),
        (Body::Field(_), Some(Json::Null)) => Err(BadField::new("", "WRONG_TYPE", "the body must not be null")),
        (Body::Field(field), Some(json)) => {
            let mut message = empty;
            if let Some(value) = read::value(field, json)? {
                message.set_field(field, value);
            }
            Ok((message, Some(Json::Object(vec![(field.name().to_owned(), json.clone())]))))
        }
    }
}

/// A bare object stands for one field, if no key of it is a field of the request.
fn wrap_bare(route: &Route, descriptor: &MessageDescriptor, json: &Json) -> Json {
    match (&route.rest.bare_body_field, json) {
        (Some(name), Json::Object(members))
            if members.iter().all(|(key, _)| read::field(descriptor, key).is_none()) =>
        {
            Json::Object(vec![(name.clone(), json.clone())])
        }
        _ => json.clone(),
    }
}

/// An empty list is no list on the wire, and would mean the opposite there.
fn refuse_empty_list(route: &Route, descriptor: &MessageDescriptor, json: &Json) -> Result<(), BadField> {
    let (Some(name), Json::Object(members)) = (&route.rest.not_empty_field, json) else { return Ok(()) };
    let field = descriptor.get_field_by_name(name);
    let empty = members.iter().any(|(key, value)| {
        read::field(descriptor, key) == field && matches!(value, Json::Array(elements) if elements.is_empty())
    });
    match field {
        Some(field) if empty => {
            Err(BadField::new(field.json_name(), "TOO_FEW", "must not be empty; leave it out to mean all"))
        }
        _ => Ok(()),
    }
}

fn bind_path(
    message: &mut DynamicMessage,
    fields: &[FieldDescriptor],
    text: &str,
    written: Option<&Json>,
) -> Result<(), BadField> {
    let Some(last) = fields.last() else { return Ok(()) };
    let path = fields.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
    let value = query::value(&last.kind(), text)
        .ok_or_else(|| BadField::new(&path, "INVALID_VALUE", query::expected(&last.kind())))?;
    if written.is_some_and(|json| is_written(json, fields)) && query::get(message, fields).as_ref() != Some(&value) {
        return Err(BadField::new(path, "INVALID_VALUE", "differs from the path"));
    }
    query::put(message, fields, value);
    Ok(())
}

/// Whether the JSON has a value for the field at the end of the path.
fn is_written(json: &Json, fields: &[FieldDescriptor]) -> bool {
    let Some((first, rest)) = fields.split_first() else { return *json != Json::Null };
    let Json::Object(members) = json else { return false };
    members
        .iter()
        .filter(|(key, _)| key == first.json_name() || key == first.name())
        .any(|(_, member)| is_written(member, rest))
}

/// A PATCH without a mask changes what its body names.
fn fill_mask(route: &Route, message: &mut DynamicMessage, body: Option<&Json>, bound: &[Vec<FieldDescriptor>]) {
    let (Body::Field(resource), true) = (&route.body, route.verb == http::Method::PATCH) else { return };
    let (Some(mask), Kind::Message(inner)) = (message.descriptor().get_field_by_name("update_mask"), resource.kind())
    else {
        return;
    };
    let Kind::Message(mask_type) = mask.kind() else { return };
    if mask_type.full_name() != "google.protobuf.FieldMask" || message.has_field(&mask) {
        return;
    }
    let Some(Json::Object(members)) = body else { return };
    let etag = route.rest.if_match_field.as_deref().and_then(|path| resolve(&message.descriptor(), path));
    let identifies = |field: &FieldDescriptor| {
        let own = [resource.clone(), field.clone()];
        bound.iter().chain(&etag).any(|path| path.as_slice() == own)
    };
    let paths = members
        .iter()
        .filter_map(|(key, _)| read::field(&inner, key))
        .filter(|field| !identifies(field))
        .map(|field| field.name().to_owned())
        .collect();
    message.set_field(&mask, Value::Message(well_known::mask(&mask_type, paths)));
}

fn bind_header(
    message: &mut DynamicMessage,
    field: &Option<String>,
    text: Option<&str>,
    header: &'static str,
) -> Result<(), BadField> {
    let (Some(path), Some(text)) = (field, text) else { return Ok(()) };
    let fields = resolve(&message.descriptor(), path).unwrap_or_default();
    let value = Value::String(text.to_owned());
    let given = query::get(message, &fields).filter(|given| given.as_str().is_some_and(|text| !text.is_empty()));
    if given.is_some_and(|given| given != value) {
        return Err(BadField::new(header, "INVALID_VALUE", format!("differs from the field `{path}`")));
    }
    query::put(message, &fields, value);
    Ok(())
}

/// Where an event stream goes on: a browser that reconnects repeats the query
/// it began with, so the header is the later word.
fn resume(message: &mut DynamicMessage, name: &str, text: &str) -> Result<(), BadField> {
    let fields = resolve(&message.descriptor(), name).unwrap_or_default();
    let Some(last) = fields.last() else { return Ok(()) };
    let value = query::value(&last.kind(), text)
        .ok_or_else(|| BadField::new("Last-Event-ID", "INVALID_VALUE", query::expected(&last.kind())))?;
    query::put(message, &fields, value);
    Ok(())
}
