//! Turns two results into the words for their first difference.

use crate::base::Digest;
use crate::plan::{Difference, differences};
use crate::store::{Record, Store};
use serde_json::Value;

/// A value is shown no longer than this, in characters.
const MOST_SHOWN: usize = 60;

/// The first of their blobs that differ.
pub fn records(then: (&Store, &Record), now: (&Store, &Record)) -> String {
    let (Record { output: a, also: also_then, .. }, Record { output: b, also: also_now, .. }) = (then.1, now.1);
    if a != b {
        return blobs((then.0, a), (now.0, b));
    }
    let role = also_then.iter().find(|(role, blob)| also_now.get(*role) != Some(blob));
    match role.and_then(|(role, blob)| Some((role, blob, also_now.get(role)?))) {
        Some((role, a, b)) => format!("{role}: {}", blobs((then.0, a), (now.0, b))),
        None => "its record names other blobs".to_owned(),
    }
}

/// `verdict.score is 4 in the run and 3 now`; of two blobs that are no JSON, where the first differing byte is.
pub fn blobs(then: (&Store, &Digest), now: (&Store, &Digest)) -> String {
    let read = |(store, blob): (&Store, &Digest)| store.get(blob).ok();
    match (read(then), read(now)) {
        (Some(a), Some(b)) => bytes(&a, &b),
        _ => format!("{} in the run and {} now", then.1.short(), now.1.short()),
    }
}

fn bytes(then: &[u8], now: &[u8]) -> String {
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    if let (Some(a), Some(b)) = (parsed(then), parsed(now))
        && let Some(words) = values(&a, &b)
    {
        return words;
    }
    let at = then.iter().zip(now).position(|(a, b)| a != b).unwrap_or(then.len().min(now.len()));
    format!("{} bytes in the run and {} now, of which byte {at} is the first to differ", then.len(), now.len())
}

/// The first difference of two values, with its path.
pub fn values(then: &Value, now: &Value) -> Option<String> {
    let Difference { field, was, is } = differences("", then, now).into_iter().next()?;
    let place = if field.is_empty() { "it" } else { &field };
    Some(format!("{place} is {} in the run and {} now", shown(was.as_ref()), shown(is.as_ref())))
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "not there".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(MOST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, values};
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named_with_its_place() {
        let said = |a, b| values(&a, &b);
        assert_eq!(said(json!({ "a": [1, 2] }), json!({ "a": [1, 2] })), None);
        let rows = |score| json!({ "rows": [{ "task": "t" }, { "task": "u", "verdict": { "score": score } }] });
        assert_eq!(said(rows(4), rows(3)).as_deref(), Some("rows[2].verdict.score is 4 in the run and 3 now"));
        let longer = said(json!([1]), json!([1, 2]));
        assert_eq!(longer.as_deref(), Some("[2] is not there in the run and 2 now"));
        assert_eq!(said(json!(1), json!("1")).as_deref(), Some("it is 1 in the run and \"1\" now"));
        let words = bytes(b"\x00\x01\x02", b"\x00\x07\x02\x03");
        assert_eq!(words, "3 bytes in the run and 4 now, of which byte 1 is the first to differ");
    }
}
