//! Turns an index of safetensors shards, `model.safetensors.index.json`, into their names.
//!
//! # Invariants
//! A name is a file in the index's own directory, or the index is refused.

use super::ModelError;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// In name order; `index` names the file in errors.
///
/// # Errors
/// A text that is no index, or points out of its directory.
pub fn named(index: &str, text: &str) -> Result<BTreeSet<String>, ModelError> {
    let wrong = |problem: String| ModelError::File { path: index.to_owned(), problem };
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("has no object `weight_map`".to_owned()))?;
    let shard = |(tensor, file): (&String, &Value)| {
        let plain = file.as_str().filter(|file| is_plain(file)).map(str::to_owned);
        plain.ok_or_else(|| wrong(format!("`{tensor}` points to {file}, not to a file here")))
    };
    map.iter().map(shard).collect()
}

fn is_plain(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    let one = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    one && !file.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn shards_are_files_beside_the_index() {
        let index = |file: &str| serde_json::json!({ "weight_map": { "a": "one.safetensors", "b": file } }).to_string();
        let names = named("i", &index("two.safetensors")).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one.safetensors", "two.safetensors"]);
        for hostile in ["../../x", "/etc/passwd", "a/b", "a/", "..", ".", "", "a\\b", "a\nb"] {
            let said = named("i.json", &index(hostile)).unwrap_err().to_string();
            assert!(said.starts_with("i.json: `b` points to ") && said.ends_with("not to a file here"), "{said}");
        }
        for (text, why) in
            [("<html>", "is not JSON"), ("[]", "has no object"), (r#"{"weight_map":3}"#, "has no object")]
        {
            assert!(named("i", text).unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
