//! Turns calls of Python's methods on texts, lists and mappings into what they give.
//!
//! Most are minijinja-contrib's; here are those that it lacks, or that differ from Python.

use super::filters::{capitalized, centred, padding, titled};
use super::python;
use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{Error, State, Value};

/// # Errors
/// A method that the value does not have, arguments that it does not take.
pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => of_text(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => of_list(value, method, args)?,
        ValueKind::Map if method == "copy" => Some(value.clone()),
        _ => None,
    };
    // Containers print as Python has them.
    if method == "format" && value.as_str().is_some() {
        let text = |value: &Value| match value.kind() {
            ValueKind::Map | ValueKind::Seq if !value.is_kwargs() => python::text(value).map(Value::from),
            _ => Ok(value.clone()),
        };
        let args = args.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, method, &args);
    }
    match own {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn of_list(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == *what);
            at.map(Value::from).ok_or_else(|| python::wrong("it is not in the list"))?
        }
        "copy" => value.clone(),
        _ => return Ok(None),
    }))
}

fn of_text(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let one = || from_args::<(&str,)>(args).map(|(text,)| text);
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => strip(text, method, args)?.into(),
        "split" | "rsplit" => {
            let (separator, most, options): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(options.get("sep")?);
            let most = most.or(options.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
            options.assert_all_used()?;
            split(text, separator, most.unwrap_or(usize::MAX), method == "rsplit")?.into()
        }
        "splitlines" => {
            let (keep, options): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = keep.or(options.get("keepends")?).unwrap_or(false);
            options.assert_all_used()?;
            python::lines(text, keep).into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            let separator = separator(one()?)?;
            let forward = method == "partition";
            let parts = if forward { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match parts {
                Some((before, after)) => [before, separator, after],
                None if forward => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::new(parts.into_iter().map(Value::from).collect()))
        }
        "removeprefix" => text.strip_prefix(one()?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(one()?).unwrap_or(text).into(),
        "title" => title(text).into(),
        "capitalize" => capitalized(text).into(),
        "casefold" => text.to_lowercase().into(),
        "swapcase" => {
            let swap = |c: char| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            };
            text.chars().map(swap).collect::<String>().into()
        }
        "index" | "rindex" | "find" | "rfind" => {
            let (what, from, to): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            let (start, end) = window(text, from, to);
            let inside = text.get(start..end).unwrap_or_default();
            let found = if method.starts_with('r') { inside.rfind(what) } else { inside.find(what) };
            match found {
                Some(at) => text[..start + at].chars().count().into(),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(python::wrong("substring not found")),
            }
        }
        "startswith" | "endswith" if args.len() > 1 => {
            let (what, from, to): (Value, Option<i64>, Option<i64>) = from_args(args)?;
            let (start, end) = window(text, from, to);
            let inside = text.get(start..end).unwrap_or_default();
            let holds = |what: &Value| match what.as_str() {
                Some(what) if method == "startswith" => inside.starts_with(what),
                Some(what) => inside.ends_with(what),
                None => false,
            };
            (holds(&what) || (what.as_str().is_none() && what.try_iter()?.any(|what| holds(&what)))).into()
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (i64, Option<char>) = from_args(args)?;
            let (width, fill) = (usize::try_from(width).unwrap_or(0), fill.unwrap_or(' '));
            let fills = || padding(width.saturating_sub(text.chars().count()), fill);
            match method {
                "ljust" => format!("{text}{}", fills()?),
                "rjust" => format!("{}{text}", fills()?),
                _ => centred(text, width, fill)?,
            }
            .into()
        }
        "zfill" => {
            let (width,): (i64,) = from_args(args)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
            format!("{sign}{}{digits}", padding(missing, '0')?).into()
        }
        "isdecimal" => {
            let () = from_args(args)?;
            (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into()
        }
        "isspace" => (!text.is_empty() && text.chars().all(python::is_space)).into(),
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            let mut out = python::Text::default();
            for (index, item) in items.try_iter()?.enumerate() {
                let part =
                    item.as_str().ok_or_else(|| python::wrong(format!("`join` takes texts, not {}", item.kind())))?;
                out.put(if index > 0 { text } else { "" })?;
                out.put(part)?;
            }
            out.finish().into()
        }
        _ => return Ok(None),
    }))
}

fn separator(text: &str) -> Result<&str, Error> {
    if text.is_empty() { Err(python::wrong("empty separator")) } else { Ok(text) }
}

fn strip<'a>(text: &'a str, method: &str, args: &[Value]) -> Result<&'a str, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    let is_in = |c: char| chars.map_or_else(|| python::is_space(c), |chars| chars.contains(c));
    Ok(match method {
        "lstrip" => text.trim_start_matches(is_in),
        "rstrip" => text.trim_end_matches(is_in),
        _ => text.trim_matches(is_in),
    })
}

/// At most so many cuts, from the left or from the right; without a separator at white space, of which nothing is left.
fn split<'a>(text: &'a str, between: Option<&'a str>, most: usize, from_right: bool) -> Result<Vec<Value>, Error> {
    let parts = most.saturating_add(1);
    let mut found: Vec<&str> = match between {
        Some(between) if from_right => text.rsplitn(parts, separator(between)?).collect(),
        Some(between) => text.splitn(parts, separator(between)?).collect(),
        None => {
            let trimmed = |text: &'a str| {
                if from_right {
                    text.trim_end_matches(python::is_space)
                } else {
                    text.trim_start_matches(python::is_space)
                }
            };
            let (mut rest, mut found) = (trimmed(text), Vec::new());
            while !rest.is_empty() {
                let cut = if from_right { rest.rfind(python::is_space) } else { rest.find(python::is_space) };
                let Some(at) = cut.filter(|_| found.len() < most) else {
                    found.push(rest);
                    break;
                };
                let next = at + rest[at..].chars().next().map_or(1, char::len_utf8);
                let (word, others) =
                    if from_right { (&rest[next..], &rest[..at]) } else { (&rest[..at], &rest[next..]) };
                found.push(word);
                rest = trimmed(others);
            }
            found
        }
    };
    if from_right {
        found.reverse();
    }
    Ok(found.into_iter().map(Value::from).collect())
}

/// Python's `title`: a letter is large where none stands before it.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.push_str(&titled(c))
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    out
}

/// The bytes between two places in characters, which count from the end where they are below 0.
fn window(text: &str, from: Option<i64>, to: Option<i64>) -> (usize, usize) {
    let length = text.chars().count() as i64;
    let byte = |at: i64| {
        let at = if at < 0 { (at + length).max(0) } else { at };
        text.char_indices().nth(usize::try_from(at).unwrap_or(usize::MAX)).map_or(text.len(), |(byte, _)| byte)
    };
    (from.map_or(0, byte), to.map_or(text.len(), byte))
}
