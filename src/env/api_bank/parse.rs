//! Turns a reply into a call, as the original's regular expressions find one.
//!
//! # Invariants
//! Linear in the text. [`api_call`] and [`parameters`] take exactly what the original takes; [`written`] takes what was meant.

use super::text::is_space;

/// A call as it stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// With its brackets.
    pub text: &'a str,
    pub name: &'a str,
    pub inside: &'a str,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// `[Name(…)]`: the first that begins, to the last `)]` of its line.
pub fn api_call(text: &str) -> Option<Found<'_>> {
    for line in text.split('\n') {
        let Some(last) = line.rfind(")]") else { continue };
        for (open, _) in line.match_indices('[') {
            let name = word(&line[open + 1..]);
            let inside = open + 1 + name.len() + 1;
            if inside > last {
                break;
            }
            if !name.is_empty() && line[open + 1 + name.len()..].starts_with('(') {
                return Some(Found { text: &line[open..last + 2], name, inside: &line[inside..last] });
            }
        }
    }
    None
}

/// `name='value'`, `name=[…]` and `name=word`, in order; a quoted value ends at the next quote of either kind and is at
/// least one character long.
pub fn parameters(inside: &str) -> Vec<(&str, &str)> {
    let last_bracket = inside.rfind(']');
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(skip) = inside[at..].find(is_word) {
        let start = at + skip;
        let name = word(&inside[start..]);
        let end = start + name.len();
        at = end;
        let Some(value) = inside[end..].trim_start_matches(is_space).strip_prefix('=') else { continue };
        let value = value.trim_start_matches(is_space);
        let from = inside.len() - value.len();
        if let Some(quoted) = value.strip_prefix(['\'', '"']) {
            let first = quoted.chars().next().map_or(0, char::len_utf8);
            if let Some(length) = quoted[first..].find(['\'', '"']).filter(|_| first > 0) {
                let text = &quoted[..first + length];
                found.push((name, text));
                at = from + 1 + text.len() + 1;
            }
        } else if value.starts_with('[') {
            if let Some(last) = last_bracket.filter(|last| *last > from) {
                found.push((name, &inside[from..=last]));
                at = last + 1;
            }
        } else if !word(value).is_empty() {
            found.push((name, word(value)));
            at = from + word(value).len();
        }
    }
    found
}

/// The same by what was meant: a quoted value ends where the next parameter begins or the call ends, so that lists,
/// apostrophes and empty texts come through whole.
pub fn written(inside: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = inside.trim_start_matches(|c| is_space(c) || c == ',');
    loop {
        let name = word(rest);
        let Some(value) =
            rest[name.len()..].trim_start_matches(is_space).strip_prefix('=').filter(|_| !name.is_empty())
        else {
            return found;
        };
        let value = value.trim_start_matches(is_space);
        let (text, after) = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let body = &value[1..];
                let end = body.match_indices(quote).map(|(end, _)| end).find(|end| ends(&body[end + 1..]));
                let end = end.unwrap_or(body.len());
                (&body[..end], body.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let end = value.match_indices(',').map(|(end, _)| end).find(|end| ends(&value[*end..]));
                let end = end.unwrap_or(value.len());
                (value[..end].trim_end_matches(is_space), &value[end..])
            }
        };
        found.push((name, text));
        rest = after.trim_start_matches(|c| is_space(c) || c == ',');
    }
}

/// Whether nothing follows, or the next parameter.
fn ends(after: &str) -> bool {
    let after = after.trim_start_matches(is_space);
    let Some(next) = after.strip_prefix(',') else { return after.is_empty() };
    let next = next.trim_start_matches(is_space);
    let name = word(next);
    !name.is_empty() && next[name.len()..].trim_start_matches(is_space).starts_with('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_quirks_are_kept_and_what_was_meant_is_read_beside_them() {
        let call = api_call("Sure: [Book(title='it's', rooms=2, who=['A','B'])] [x(y='z')]\n").unwrap();
        assert_eq!((call.name, parameters("title='it's', n=1.5")), ("Book", vec![("title", "it"), ("n", "1")]));
        assert_eq!(parameters("who='['A','B']'"), [("who", "[")]);
        assert_eq!(
            written("who='['A','B']', title='it's', n=1.5, e=''"),
            [("who", "['A','B']"), ("title", "it's"), ("n", "1.5"), ("e", "")]
        );
        assert_eq!(api_call("[Book(title='a'\n)]"), None);
    }
}
