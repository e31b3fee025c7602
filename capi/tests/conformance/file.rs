//! A file of cases: read, compared with, written.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// Lines of a written file are kept to this many characters where they can be.
const WIDTH: usize = 110;

pub struct CaseFile {
    pub path: PathBuf,
    about: String,
    pub tolerance: f64,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub name: String,
    pub call: String,
    pub expect: Value,
    /// All of it, but for `expect`.
    fields: Map<String, Value>,
}

impl CaseFile {
    pub fn read(path: PathBuf) -> CaseFile {
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let cases = value["cases"].take();
        let Value::Array(cases) = cases else { panic!("{}: no cases", path.display()) };
        let case = |value: Value| {
            let Value::Object(mut fields) = value else { panic!("{}: a case is an object", path.display()) };
            let text = |name: &str| fields[name].as_str().unwrap().to_owned();
            let (name, call) = (text("name"), text("call"));
            let expect = fields.shift_remove("expect").unwrap_or(Value::Null);
            const KNOWN: [&str; 6] = ["name", "call", "needs", "bundle", "input", "options"];
            let unknown = fields.keys().find(|key| !KNOWN.contains(&key.as_str()));
            assert!(unknown.is_none(), "{}: {name}: unknown {unknown:?}", path.display());
            Case { name, call, expect, fields }
        };
        assert_eq!(value["format"], 1, "{}", path.display());
        CaseFile {
            about: value["about"].as_str().unwrap().to_owned(),
            tolerance: value["tolerance"].as_f64().unwrap(),
            cases: cases.into_iter().map(case).collect(),
            path,
        }
    }

    pub fn to_text(&self) -> String {
        let cases: Vec<Value> = self.cases.iter().map(Case::to_value).collect();
        let head = json!({"format": 1, "about": self.about, "tolerance": self.tolerance, "cases": cases});
        to_text(&head)
    }
}

impl Case {
    /// A field; null where there is none.
    pub fn get(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    pub fn needs(&self, ability: &str) -> bool {
        self.get("needs").as_array().is_some_and(|needs| needs.iter().any(|need| need == ability))
    }

    /// Takes what was found for what is expected. Errors are expected by hand: their status, and the parts of their
    /// message that count.
    pub fn bless(&mut self, mut found: Value) {
        let steps = |value: &Value| value["steps"].as_array().map_or(0, Vec::len);
        let by_hand = |expected: &Value, found: &mut Value| {
            let expected = &expected["error"];
            let error = found.get("error").cloned().unwrap_or(Value::Null);
            if let Some(difference) = difference(expected, &error, 0.0) {
                panic!("{}: {difference}; which error is meant is written by hand", self.name);
            }
            if !expected.is_null() {
                found["error"] = expected.clone();
            }
        };
        for i in 0..steps(&found) {
            by_hand(&self.expect["steps"][i], &mut found["steps"][i]);
        }
        if steps(&found) == 0 {
            by_hand(&self.expect, &mut found);
        }
        short(&mut found);
        self.expect = found;
    }

    fn to_value(&self) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("expect".to_owned(), self.expect.clone());
        Value::Object(fields)
    }
}

/// Where what was found is not what is expected: numbers within the tolerance, an error's message by its parts, all
/// else to the letter.
pub fn difference(expected: &Value, found: &Value, tolerance: f64) -> Option<String> {
    let differs = || Some(format!("expected {expected}, found {found}"));
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => {
            let distance = (a.as_f64()? - b.as_f64()?).abs();
            if distance <= tolerance { None } else { differs() }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (a, b))| Some(format!("[{i}]{}", difference(a, b, tolerance)?)))
        }
        // The parts of a message.
        (Value::Array(parts), Value::String(message)) if !parts.is_empty() => {
            let missing = parts.iter().find(|part| !part.as_str().is_some_and(|part| message.contains(part)));
            missing.map(|part| format!(": {message:?} does not have {part}"))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(name, a)| match b.get(name) {
                Some(b) => Some(format!(".{name}{}", difference(a, b, tolerance)?)),
                None => Some(format!(".{name} is not in {found}")),
            })
        }
        _ if expected == found => None,
        _ => differs(),
    }
}

/// JSON in as few lines as fit a width.
pub fn to_text(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, indent: usize, text: &mut String) {
    let line = one_line(value);
    let column = text.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let items = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if items == 0 || (indent > 2 && column + line.chars().count() <= WIDTH) {
        text.push_str(&line);
        return;
    }
    let inner = "  ".repeat(indent + 1);
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(open);
    for i in 0..items {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&inner);
        match value {
            Value::Array(items) => write(&items[i], indent + 1, text),
            Value::Object(fields) => {
                let (name, field) = fields.iter().nth(i).unwrap();
                text.push_str(&format!("{}: ", json!(name)));
                write(field, indent + 1, text);
            }
            _ => {}
        }
    }
    text.push_str(&format!("\n{}{close}", "  ".repeat(indent)));
}

/// With a space after each comma and colon.
fn one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, field): (&String, &Value)| format!("{}: {}", json!(name), one_line(field));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// What an editor could hide or compose stands as an escape.
fn string(text: &str) -> String {
    let plain =
        |c: char| (c.is_ascii() && c != '\u{7f}') || c.is_alphanumeric() || ('\u{1f300}'..'\u{1fb00}').contains(&c);
    let mut escaped = String::new();
    for c in json!(text).to_string().chars() {
        if plain(c) {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        }
    }
    escaped
}

/// Numbers that were 32 bits wide, in as many digits as tell them apart.
fn short(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(short),
        Value::Object(fields) => fields.values_mut().for_each(short),
        Value::Number(number) if number.is_f64() => {
            let digits = number.as_f64().map(|value| (value as f32).to_string());
            *value = json!(digits.and_then(|digits| digits.parse::<f64>().ok()));
        }
        _ => {}
    }
}
