//! Turns minijinja's filters and tests into Jinja2's, where they differ.

use super::{json, python};
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

/// minijinja's own `format`, under a name that no template uses.
const PRINTF: &str = "printf";

/// Adds what Jinja2 has, and what `transformers` adds to it.
pub fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", json::to_json);
    environment.add_filter("string", python::text);
    environment.add_filter("upper", |value: &Value| Ok::<_, Error>(python::text(value)?.to_uppercase()));
    environment.add_filter("lower", |value: &Value| Ok::<_, Error>(python::text(value)?.to_lowercase()));
    environment.add_filter("capitalize", |value: &Value| Ok::<_, Error>(capitalized(&python::text(value)?)));
    environment.add_filter("title", title);
    environment.add_filter("trim", trim);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("indent", indent);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("center", |value: &Value, width: Option<usize>| {
        centred(&python::text(value)?, width.unwrap_or(80), ' ')
    });
    environment.add_filter("wordcount", |value: &Value| {
        let words = |c: char| !(c.is_alphanumeric() || c == '_');
        Ok::<_, Error>(python::text(value)?.split(words).filter(|word| !word.is_empty()).count())
    });
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("list", list);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter("format", format);
    environment.add_filter(PRINTF, minijinja::filters::format);
    environment.add_filter("looped", looped);
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map)
    });
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_function("dict", dict);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
}

/// The first character large, the others small.
pub fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(titled).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

/// A character as a word begins with it: a ligature gives one large letter.
pub fn titled(c: char) -> String {
    let mut upper = c.to_uppercase();
    upper.next().into_iter().chain(upper.flat_map(char::to_lowercase)).collect()
}

/// A text in the middle of so many characters, as Python's `center` puts it.
pub fn centred(text: &str, width: usize, fill: char) -> Result<String, Error> {
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let left = missing / 2 + (missing & width & 1);
    Ok(format!("{}{text}{}", padding(left, fill)?, padding(missing - left, fill)?))
}

/// # Errors
/// More than a template may write.
pub fn padding(width: usize, fill: char) -> Result<String, Error> {
    if width > 1 << 16 { Err(python::wrong("the width is too large")) } else { Ok(fill.to_string().repeat(width)) }
}

/// Jinja2's own: words begin after white space and opening brackets, not after an apostrophe.
fn title(value: &Value) -> Result<String, Error> {
    let text = python::text(value)?;
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| python::is_space(c) || "-({[<".contains(c)) {
        let mut chars = word.chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(&chars.as_str().to_lowercase());
    }
    Ok(out)
}

fn trim(value: &Value, chars: Option<&str>) -> Result<String, Error> {
    let text = python::text(value)?;
    Ok(match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)),
        None => text.trim_matches(python::is_space),
    }
    .to_owned())
}

fn replace(value: &Value, old: &Value, new: &Value, count: Option<i64>, options: Kwargs) -> Result<Value, Error> {
    let count = count.or(options.get("count")?).and_then(|count| usize::try_from(count).ok());
    options.assert_all_used()?;
    let (text, old, new) = (python::text(value)?, python::text(old)?, python::text(new)?);
    Ok(count.map_or_else(|| text.replace(&old, &new), |count| text.replacen(&old, &new, count)).into())
}

fn join(
    state: &mut State,
    value: &Value,
    between: Option<&Value>,
    attribute: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let given = options.get::<Option<Value>>("d")?;
    let between = between.cloned().or(given).filter(|value| !value.is_none()).unwrap_or_default();
    let attribute = attribute.or(options.get::<Option<Value>>("attribute")?);
    options.assert_all_used()?;
    let items = match attribute {
        Some(attribute) => state.apply_filter("map", minijinja::args![value, attribute => attribute])?,
        None => value.clone(),
    };
    let between = python::text(&between)?;
    let mut out = python::Text::default();
    for (index, item) in looped(items)?.try_iter()?.enumerate() {
        out.put(if index > 0 { &between } else { "" })?;
        out.put(&python::text(&item)?)?;
    }
    Ok(out.finish().into())
}

/// `indent(width=4, first=False, blank=False)`; the width may be what to put there.
fn indent(value: &Value, args: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let mut args = args.0.into_iter();
    let mut option = |name: &str| -> Result<Option<Value>, Error> {
        let given = options.get::<Option<Value>>(name)?;
        Ok(args.next().or(given))
    };
    let by = match option("width")? {
        None => padding(4, ' ')?,
        Some(width) if width.as_str().is_some() => python::text(&width)?,
        Some(width) => padding(usize::try_from(i64::try_from(width)?.max(0)).unwrap_or(usize::MAX), ' ')?,
    };
    let first = option("first")?.is_some_and(|value| value.is_true());
    let blank = option("blank")?.is_some_and(|value| value.is_true());
    options.assert_all_used()?;
    let Some(text) = value.as_str() else {
        return Err(python::wrong(format!("`indent` takes a text, not {}", value.kind())));
    };
    let text = format!("{text}\n");
    let mut out = python::Text::default();
    for (index, line) in python::lines(&text, false).into_iter().enumerate() {
        out.put(if index > 0 { "\n" } else { "" })?;
        if if index == 0 { first } else { blank || !line.is_empty() } {
            out.put(&by)?;
        }
        out.put(line)?;
    }
    Ok(out.finish().into())
}

/// What a loop may go through: minijinja takes none for empty, Python does not.
fn looped(value: Value) -> Result<Value, Error> {
    if value.is_none() { Err(python::wrong("none is not iterable")) } else { Ok(value) }
}

fn list(state: &mut State, value: Value) -> Result<Value, Error> {
    minijinja::filters::list(state, looped(value)?)
}

/// An argument by its place or by its name.
fn argument(given: Option<Value>, options: &Kwargs, name: &str) -> Result<Option<Value>, Error> {
    Ok(given.or(options.get::<Option<Value>>(name)?))
}

/// Python's `int`, and the default, 0, for what it refuses.
fn int(value: &Value, default: Option<Value>, base: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = argument(default, &options, "default")?.unwrap_or_else(|| 0.into());
    let base = argument(base, &options, "base")?.map_or(Ok(10), i64::try_from)?;
    options.assert_all_used()?;
    let Some(text) = value.as_str() else {
        let whole = match value.kind() {
            ValueKind::Bool => Some(i64::from(value.is_true()).into()),
            ValueKind::Number if value.is_integer() => Some(value.clone()),
            ValueKind::Number => whole(f64::try_from(value.clone())?),
            _ => None,
        };
        return Ok(whole.unwrap_or(default));
    };
    let text = text.trim_matches(python::is_space).replace('_', "").to_lowercase();
    let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
    let prefixed = [(16, "0x"), (8, "0o"), (2, "0b")]
        .into_iter()
        .find(|(of, prefix)| digits.starts_with(prefix) && (base == 0 || base == *of));
    let (base, digits) = match prefixed {
        Some((base, prefix)) => (base, &digits[prefix.len()..]),
        None => (if base == 0 { 10 } else { base }, digits),
    };
    let number = match u32::try_from(base) {
        Ok(base @ 2..=36) if !digits.starts_with(['+', '-']) => {
            i128::from_str_radix(&format!("{sign}{digits}"), base).ok()
        }
        _ => None,
    };
    Ok(number.map(Value::from).or_else(|| number_of(&text).and_then(whole)).unwrap_or(default))
}

fn whole(float: f64) -> Option<Value> {
    float.is_finite().then(|| Value::from(float.trunc() as i128))
}

/// Python's `float` of a text.
fn number_of(text: &str) -> Option<f64> {
    text.trim_matches(python::is_space).parse().ok()
}

/// Python's `float`, and the default, 0.0, for what it refuses.
fn float(value: &Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = argument(default, &options, "default")?.unwrap_or_else(|| 0.0.into());
    options.assert_all_used()?;
    let number = match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => Some(f64::try_from(value.clone())?),
        _ => value.as_str().and_then(number_of),
    };
    Ok(number.map_or(default, Value::from))
}

/// Its arguments by their places, too, which minijinja takes by name alone.
fn dictsort(value: &Value, args: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let mut args = args.0.into_iter();
    let mut all = Vec::new();
    for name in ["case_sensitive", "by", "reverse"] {
        all.extend(argument(args.next(), &options, name)?.map(|value| (name, value)));
    }
    options.assert_all_used()?;
    minijinja::filters::dictsort(value, all.into_iter().collect())
}

/// With the entities that MarkupSafe writes.
fn escape(value: &Value) -> Result<String, Error> {
    let mut out = python::Text::default();
    for c in python::text(value)?.chars() {
        let mut plain = [0; 4];
        out.put(match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            c => c.encode_utf8(&mut plain),
        })?;
    }
    Ok(out.finish())
}

/// Python's `dict`: of a mapping or of pairs, and of what is named.
fn dict(from: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    if let Some(from) = from {
        for item in from.try_iter()? {
            pairs.push(match from.kind() {
                ValueKind::Map => (item.clone(), from.get_item(&item)?),
                _ => (item.get_item_by_index(0)?, item.get_item_by_index(1)?),
            });
        }
    }
    for name in named.args() {
        pairs.push((name.into(), named.get(name)?));
    }
    Ok(Value::from_pairs(pairs))
}

/// `'%s' % values`, where `%s` and `%r` print as Python does.
fn format(state: &mut State, value: &Value, args: Rest<Value>) -> Result<Value, Error> {
    let (template, mut args) = (python::text(value)?, args.0);
    let mut plain = String::with_capacity(template.len());
    let (mut chars, mut place) = (template.chars(), 0);
    while let Some(c) = chars.next() {
        plain.push(c);
        if c != '%' {
            continue;
        }
        let conversion = chars.by_ref().inspect(|c| plain.push(*c)).find(|c| c.is_alphabetic() || *c == '%');
        if let Some(value) =
            args.get_mut(place).filter(|value| conversion.is_some_and(|c| c != '%') && !value.is_kwargs())
        {
            match conversion {
                Some('s') => *value = python::text(value)?.into(),
                Some('d' | 'i') if value.is_number() && !value.is_integer() => {
                    *value = Value::from(f64::try_from(value.clone())? as i64);
                }
                Some('r') => {
                    *value = python::quoted(value)?.into();
                    plain.pop();
                    plain.push('s');
                }
                _ => {}
            }
            place += 1;
        }
    }
    args.insert(0, plain.into());
    state.apply_filter(PRINTF, &args)
}

/// Python's `len`: nothing where nothing is defined.
fn length(value: &Value) -> Result<usize, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(0),
        ValueKind::Iterable => Ok(value.try_iter()?.count()),
        kind => value.len().ok_or_else(|| python::wrong(format!("{kind} has no length"))),
    }
}
