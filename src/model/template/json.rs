//! Turns values into JSON as Python's `json.dumps` does, which is `tojson` in `transformers`.

use super::python::{Text, deeper, number, wrong};
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, Value};

/// How it is written: the arguments of `json.dumps`.
struct Style {
    ascii: bool,
    indent: Option<String>,
    /// Between items, and between a key and its value.
    separators: (String, String),
    sort_keys: bool,
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`. Nothing is escaped for HTML.
///
/// # Errors
/// A value that JSON does not have, an argument that is not known, a value that is too deep or too long.
pub fn to_json(value: &Value, args: Rest<Value>, options: Kwargs) -> Result<String, Error> {
    let mut args = args.0.into_iter();
    let mut option = |name: &str| -> Result<Option<Value>, Error> {
        let given = options.get::<Option<Value>>(name)?.filter(|value| !value.is_none());
        Ok(args.next().filter(|value| !value.is_none()).or(given))
    };
    let ascii = option("ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = match option("indent")? {
        None => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(i64::try_from(indent)?.clamp(0, 64) as usize),
        }),
    };
    let separators = match option("separators")? {
        Some(pair) => {
            let pair: Vec<Value> = pair.try_iter()?.collect();
            let [item, key] = pair.as_slice() else { return Err(wrong("`separators` takes two texts")) };
            let text =
                |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong("`separators` takes texts"));
            (text(item)?, text(key)?)
        }
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let sort_keys = option("sort_keys")?.is_some_and(|value| value.is_true());
    options.assert_all_used()?;
    let mut out = Text::default();
    dump(&mut out, value, &Style { ascii, indent, separators, sort_keys }, 0)?;
    Ok(out.finish())
}

fn dump(out: &mut Text, value: &Value, style: &Style, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => out.put("null"),
        ValueKind::Bool => out.put(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.put(&json_number(value)),
        ValueKind::String => string(out, value.as_str().unwrap_or_default(), style.ascii),
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            container(out, ('{', '}'), keys, style, depth, |out, key, depth| {
                let name = match key.kind() {
                    ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                    ValueKind::None => "null".to_owned(),
                    ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
                    ValueKind::Number => json_number(key),
                    other => return Err(wrong(format!("a key of JSON is no {other}"))),
                };
                string(out, &name, style.ascii)?;
                out.put(&style.separators.1)?;
                dump(out, &value.get_item(key)?, style, depth)
            })
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.collect();
            container(out, ('[', ']'), items, style, depth, |out, item, depth| dump(out, item, style, depth))
        }
        other => Err(wrong(format!("JSON has no {other}"))),
    }
}

fn container(
    out: &mut Text,
    (open, close): (char, char),
    items: Vec<Value>,
    style: &Style,
    depth: usize,
    mut each: impl FnMut(&mut Text, &Value, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let inner = deeper(depth)?;
    let line = |out: &mut Text, depth: usize| match &style.indent {
        Some(indent) => out.put("\n").and_then(|()| (0..depth).try_for_each(|_| out.put(indent))),
        None => Ok(()),
    };
    out.put(open.encode_utf8(&mut [0; 4]))?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.put(&style.separators.0)?;
        }
        line(out, inner)?;
        each(out, item, inner)?;
    }
    if !items.is_empty() {
        line(out, depth)?;
    }
    out.put(close.encode_utf8(&mut [0; 4]))
}

fn json_number(value: &Value) -> String {
    match number(value).as_str() {
        "nan" => "NaN".to_owned(),
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        finite => finite.to_owned(),
    }
}

fn string(out: &mut Text, text: &str, ascii: bool) -> Result<(), Error> {
    // What it escapes is what Python does: quotes, backslashes, and what stands before the space.
    let written = serde_json::to_string(text).expect("a string is JSON");
    if !ascii {
        return out.put(&written);
    }
    for c in written.chars() {
        if matches!(c, ' '..='~') {
            out.put(c.encode_utf8(&mut [0; 4]))?;
        } else {
            c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| out.put(&format!("\\u{unit:04x}")))?;
        }
    }
    Ok(())
}
