//! The tools: what each does to a world, what it answers, and when its answer counts as the right one.
//!
//! A room is a family of tools; [`check`] holds the ways in which answers are compared. What a tool is called with and what
//! it looks up comes from the data.
//!
//! # Invariants
//! No arguments make a tool panic, hang, or keep more than they are long.

pub mod account;
pub mod bookings;
pub mod calculator;
pub mod check;
pub mod health;
pub mod home;
pub mod lookup;
pub mod meetings;
pub mod office;
pub mod search_engine;
pub mod tool_searcher;
pub mod trips;
pub mod world_facts;

use super::text::{self, Moment};
use super::value::{Dict, Key, Text, Value, quoted};
use super::world::{Table, World};
use std::sync::Arc;

/// An error that leaves the tool, by the original's class of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub kind: &'static str,
    pub message: String,
}

impl Raised {
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

pub enum Fault {
    /// The tool answers with it.
    Told(String),
    Escapes(Raised),
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::Told(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Fault::Told(message.to_owned())
    }
}

pub type Output = Result<Value, Fault>;

/// What of its arguments a tool shows in its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All parameters; what was not given is none.
    All,
    /// What was given.
    Given,
    Nothing,
}

pub struct Tool {
    pub name: &'static str,
    pub run: fn(&mut Call) -> Output,
    pub check: check::Check,
    pub optional: &'static [&'static str],
    pub shown: Shown,
    /// Whether its answers carry its name.
    pub named: bool,
}

impl Tool {
    pub const fn new(name: &'static str, run: fn(&mut Call) -> Output, check: check::Check) -> Self {
        Self { name, run, check, optional: &[], shown: Shown::All, named: true }
    }

    pub const fn nameless(self) -> Self {
        Self { named: false, ..self }
    }

    pub const fn optional(self, optional: &'static [&'static str], shown: Shown) -> Self {
        Self { optional, shown, ..self }
    }
}

/// The tools of levels 1 and 2.
pub fn general() -> impl Iterator<Item = &'static Tool> {
    let families = [
        office::TOOLS,
        meetings::TOOLS,
        account::TOOLS,
        bookings::TOOLS,
        health::TOOLS,
        home::TOOLS,
        lookup::TOOLS,
        search_engine::TOOLS,
        calculator::TOOLS,
        tool_searcher::TOOLS,
    ];
    families.into_iter().flatten()
}

/// The tools of level 3.
pub fn level_three() -> impl Iterator<Item = &'static Tool> {
    [world_facts::TOOLS, trips::TOOLS, calculator::TOOLS, tool_searcher::TOOLS].into_iter().flatten()
}

/// One call under way.
pub struct Call<'a> {
    pub world: &'a mut World,
    pub input: Dict,
}

impl Call<'_> {
    pub fn arg(&self, name: &str) -> Value {
        self.input.get(name).cloned().unwrap_or(Value::None)
    }

    /// A text on which the tool is about to call a method.
    pub fn text(&self, name: &str, method: &str) -> Result<Text, Fault> {
        match self.arg(name) {
            Value::Str(text) => Ok(text),
            other => Err(format!("'{}' object has no attribute '{method}'", other.kind()).into()),
        }
    }

    pub fn stripped(&self, name: &str) -> Result<String, Fault> {
        self.text(name, "strip").map(|text| text::strip(&text).to_owned())
    }

    pub fn moment(&self, name: &str, format: &str) -> Result<Moment, Fault> {
        match self.arg(name) {
            Value::Str(text) => Ok(text::parse(&text, format)?),
            Value::None => Err("strptime() argument 1 must be str, not None".into()),
            other => Err(format!("strptime() argument 1 must be str, not {}", other.kind()).into()),
        }
    }

    /// A time that may be left empty.
    pub fn moment_if_given(&self, name: &str) -> Result<(), Fault> {
        if self.arg(name).truthy() { self.moment(name, text::SECOND).map(drop) } else { Ok(()) }
    }

    /// Whose token it is.
    pub fn user(&self) -> Result<Text, Fault> {
        let token = self.arg("token");
        let accounts = self.world.table(Table::Account).rows().iter();
        let mut owners = accounts.filter(|(_, account)| account.get("token") == Some(&token));
        match owners.next() {
            Some((Key::Text(name), _)) => Ok(name.clone()),
            _ => Err("The token is invalid.".into()),
        }
    }

    pub fn table(&self, table: Table) -> &Dict {
        self.world.table(table)
    }

    pub fn table_mut(&mut self, table: Table) -> &mut Dict {
        self.world.table_mut(table)
    }

    /// A new row of the parameters `names`, of `user`.
    pub fn row(&self, user: Text, names: &[&str]) -> Value {
        let mut row = Dict::default();
        row.set("username", Value::Str(user));
        names.iter().for_each(|name| row.set(name, self.arg(name)));
        Value::Dict(Arc::new(row))
    }

    /// The place of a user's first row in which one of the fields is what the parameter says: (field, parameter).
    pub fn find(&self, table: Table, user: &Text, any: &[(&str, &str)]) -> Option<usize> {
        let user = Value::Str(user.clone());
        let given: Vec<(&str, Value)> = any.iter().map(|(field, parameter)| (*field, self.arg(parameter))).collect();
        self.table(table).rows().iter().position(|(_, row)| {
            row.get("username") == Some(&user) && given.iter().any(|(field, value)| row.get(field) == Some(value))
        })
    }

    pub fn at(&self, table: Table, place: usize) -> Value {
        self.table(table).rows()[place].1.clone()
    }
}

/// A row to write to.
pub fn fields(row: &mut Value) -> &mut Dict {
    if !matches!(row, Value::Dict(_)) {
        *row = Value::Dict(Arc::default());
    }
    match row {
        Value::Dict(dict) => Arc::make_mut(dict),
        _ => unreachable!("it was made a dictionary"),
    }
}

pub fn success() -> Output {
    Ok(Value::str("success"))
}

/// A key that a dictionary does not have.
pub fn no_key(key: &Value) -> Fault {
    match key {
        Value::List(_) | Value::Dict(_) => Fault::Told(format!("unhashable type: '{}'", key.kind())),
        other => Fault::Told(other.repr()),
    }
}

/// Types the arguments as the specification says, then calls the tool.
///
/// # Errors
/// What the original raises instead of answering.
pub fn call(world: &mut World, tool: &Tool, parameters: &Dict, given: Vec<(Text, Value)>) -> Result<Value, Raised> {
    let mut typed = Dict::default();
    // Of what is given twice the later one is taken, before anything is made of either.
    let given = Dict::from_rows(given.into_iter().map(|(name, value)| (Key::Text(name), value)).collect());
    for (key, value) in given.rows() {
        let name = key.text().unwrap_or_default();
        let Some(parameter) = parameters.get(name) else {
            return Err(Raised::new("AssertionError", format!("invalid parameter name. parameter: {name}")));
        };
        let ty = parameter.get("type").and_then(Value::as_str).unwrap_or_default();
        typed.insert(key.clone(), coerce(ty, value.clone())?);
    }
    let names = || parameters.rows().iter().filter_map(|(name, _)| name.text());
    let missing: Vec<&str> =
        names().filter(|name| typed.get(name).is_none() && !tool.optional.contains(name)).collect();
    if !missing.is_empty() {
        return Err(Raised::new("TypeError", missing_words(tool.name, &missing)));
    }
    if tool.shown == Shown::All {
        for name in tool.optional {
            if typed.get(name).is_none() {
                typed.set(name, Value::None);
            }
        }
    }
    let mut call = Call { world, input: typed };
    let (output, exception) = match (tool.run)(&mut call) {
        Ok(output) => (output, Value::None),
        Err(Fault::Told(message)) => (Value::None, Value::str(message)),
        Err(Fault::Escapes(raised)) => return Err(raised),
    };
    let input = if tool.shown == Shown::Nothing { Value::None } else { Value::Dict(Arc::new(call.input)) };
    let answer = Dict::of([("input", input), ("output", output), ("exception", exception)]);
    let mut rows = answer.rows().to_vec();
    if tool.named {
        rows.insert(0, (Key::Text("api_name".into()), Value::str(tool.name)));
    }
    Ok(Value::Dict(Arc::new(Dict::from_rows(rows))))
}

fn missing_words(tool: &str, missing: &[&str]) -> String {
    let quotes: Vec<String> = missing.iter().map(|name| format!("'{name}'")).collect();
    let list = match quotes.as_slice() {
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
        [] => String::new(),
    };
    let s = if missing.len() == 1 { "" } else { "s" };
    format!("{tool}.call() missing {} required positional argument{s}: {list}", missing.len())
}

/// Digits beyond these the original refuses to read.
const MOST_DIGITS: usize = 4300;

fn coerce(ty: &str, value: Value) -> Result<Value, Raised> {
    let digits = |text: &str| !text.is_empty() && text.chars().all(char::is_numeric);
    match (ty, &value) {
        ("str" | "list" | "list(str)", _) => Ok(value),
        ("bool", _) => Ok(Value::Bool(value.as_str() == Some("True"))),
        ("int", Value::Str(text)) if !digits(text) => {
            Err(Raised::new("AssertionError", format!("invalid parameter type. parameter: {text}")))
        }
        ("int", Value::Str(text)) => whole(text),
        ("int", Value::Int(_) | Value::Big(_)) => Ok(value),
        ("int", Value::Bool(it)) => Ok(Value::Int(i64::from(*it))),
        ("int", Value::Float(it)) if it.is_finite() => whole(&format!("{:.0}", it.trunc())),
        ("int", Value::Float(_)) => Err(Raised::new("OverflowError", "cannot convert float infinity to integer")),
        ("int", other) => {
            let what = "int() argument must be a string, a bytes-like object or a real number";
            Err(Raised::new("TypeError", format!("{what}, not '{}'", other.kind())))
        }
        ("float", Value::Str(text)) if !digits(&text.replacen('.', "", 1)) => {
            Err(Raised::new("AssertionError", "invalid parameter type."))
        }
        ("float", Value::Str(text)) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| Raised::new("ValueError", format!("could not convert string to float: {}", quoted(text)))),
        ("float", other) => other.number().map(Value::Float).ok_or_else(|| {
            let what = "float() argument must be a string or a real number";
            Raised::new("TypeError", format!("{what}, not '{}'", other.kind()))
        }),
        _ => Err(Raised::new("Exception", "invalid parameter type.")),
    }
}

fn whole(text: &str) -> Result<Value, Raised> {
    if text.len() > MOST_DIGITS {
        let digits = text.len();
        let message = format!(
            "Exceeds the limit ({MOST_DIGITS} digits) for integer string conversion: value has {digits} digits; use \
             sys.set_int_max_str_digits() to increase the limit"
        );
        return Err(Raised::new("ValueError", message));
    }
    if let Ok(it) = text.parse() {
        return Ok(Value::Int(it));
    }
    let (sign, digits) = if let Some(digits) = text.strip_prefix('-') { ("-", digits) } else { ("", text) };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("invalid literal for int() with base 10: {}", quoted(text));
        return Err(Raised::new("ValueError", message));
    }
    let digits = digits.trim_start_matches('0');
    Ok(digits.parse().map_or_else(|_| Value::Big(format!("{sign}{digits}").into()), Value::Int))
}
