//! The API, by its OpenAPI document.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use super::{cell, plain};

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

pub(super) fn text(document: &Value) -> Result<String> {
    let mut text = String::from(
        "`/api/v1/openapi.json` says the same to machines. A token is shown as `Authorization: Bearer pf_…`; \
         [access.md](../access.md) says who gets which. Whatever goes wrong is answered as `application/problem+json` with `reason`, \
         `title` and `detail`.\n\n## Routes\n\n| route | for | what |\n| --- | --- | --- |\n",
    );
    let paths = document.get("paths").and_then(Value::as_object).context("paths")?;
    let mut details = String::new();
    for (path, item) in paths {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let route = format!("{} {path}", method.to_uppercase());
            let summary = string(operation, "summary").or(string(operation, "description")).unwrap_or_default();
            let _ = writeln!(text, "| `{route}` | {} | {} |", whom(operation), cell(summary));
            let _ = write!(details, "\n### {route}\n\n{}\n", plain(&about(operation)));
            parameters(operation, &mut details);
            if let Some(body) = operation.get("requestBody") {
                let _ = write!(details, "\nBody: {}\n", content(body));
            }
            answers(operation, &mut details);
        }
    }
    text.push_str(&details);
    text.push_str("\n## Objects\n");
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object).context("schemas")?;
    for (name, schema) in schemas {
        object(name, schema, &mut text);
    }
    Ok(text)
}

fn string<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn about(value: &Value) -> String {
    let both = [string(value, "summary"), string(value, "description")];
    both.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn whom(operation: &Value) -> String {
    let schemes = operation.get("security").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = schemes.iter().filter_map(Value::as_object).flat_map(Map::keys);
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "anyone".to_owned() } else { names.join(", ") }
}

fn parameters(operation: &Value, text: &mut String) {
    let parameters = operation.get("parameters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if parameters.is_empty() {
        return;
    }
    text.push_str("\n| parameter | in | type | meaning |\n| --- | --- | --- | --- |\n");
    for parameter in parameters {
        let (name, place) =
            (string(parameter, "name").unwrap_or_default(), string(parameter, "in").unwrap_or_default());
        let kind = parameter.get("schema").map(kind).unwrap_or_default();
        let _ = writeln!(text, "| `{name}` | {place} | {kind} | {} |", cell(&about(parameter)));
    }
}

fn answers(operation: &Value, text: &mut String) {
    let Some(answers) = operation.get("responses").and_then(Value::as_object) else { return };
    text.push_str("\n| answer | when | body |\n| --- | --- | --- |\n");
    for (status, answer) in answers {
        let _ = writeln!(text, "| {status} | {} | {} |", cell(&about(answer)), content(answer));
    }
}

/// The type of a body, and how it is written where that is not JSON.
fn content(body: &Value) -> String {
    let Some(content) = body.get("content").and_then(Value::as_object) else { return String::new() };
    let one = |(media, content): (&String, &Value)| {
        let kind = content.get("schema").map(kind).unwrap_or_default();
        if media.ends_with("json") { kind } else { format!("`{media}`") }
    };
    content.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A schema in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(name) = string(schema, "$ref").and_then(|reference| reference.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(schemas) = schema.get(several).and_then(Value::as_array) {
            let kinds: Vec<_> = schemas.iter().map(kind).filter(|kind| kind != "null").collect();
            return kinds.join(" or ");
        }
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(" or ");
    }
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        Some(_) | None => vec!["object"],
    };
    match (types.join(" or ").as_str(), string(schema, "format")) {
        ("array", _) => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        ("string", Some("date-time")) => "time".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn object(name: &str, schema: &Value, text: &mut String) {
    let _ = write!(text, "\n### {name}\n\n{}\n", plain(&about(schema)));
    let parts = schema.get("allOf").and_then(Value::as_array).map_or(std::slice::from_ref(schema), Vec::as_slice);
    for part in parts {
        if let Some(fields) = part.get("properties").and_then(Value::as_object) {
            text.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
            for (field, schema) in fields {
                let _ = writeln!(text, "| `{field}` | {} | {} |", kind(schema), cell(&about(schema)));
            }
        } else {
            let _ = write!(text, "\nIt is {}.\n", kind(part));
        }
    }
}
