//! What an environment's tasks look like, what it measures and which datasets it offers: types and who may see them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Who may see a field. `None` is ground truth: it reaches metrics and audits, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visibility {
    pub agent: bool,
    pub critic: bool,
}

impl Visibility {
    pub const ALL: Self = Self { agent: true, critic: true };
    pub const NONE: Self = Self { agent: false, critic: false };
}

/// For people: `agent, critic`.
impl fmt::Display for Visibility {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match (self.agent, self.critic) {
            (true, true) => "agent, critic",
            (true, false) => "agent",
            (false, true) => "critic",
            (false, false) => "nobody",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    Text,
    Int,
    Ratio,
    Bool,
    List(Box<FieldType>),
    /// Named fields, each with its own reader.
    Record(Vec<Field>),
    /// Values that only tools and metrics understand.
    Opaque,
}

/// For people; the language writes the same words, as far as it can say the type.
impl fmt::Display for FieldType {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            FieldType::Text => out.write_str("text"),
            FieldType::Int => out.write_str("int"),
            FieldType::Ratio => out.write_str("ratio"),
            FieldType::Bool => out.write_str("bool"),
            FieldType::List(of) => write!(out, "list<{of}>"),
            FieldType::Record(_) => out.write_str("record"),
            FieldType::Opaque => out.write_str("–"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub ty: FieldType,
    pub optional: bool,
    /// A text is at most so many tokens long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    pub visible: Visibility,
    pub doc: String,
}

/// A dataset that an environment offers: `desk.dialogues(512)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub name: String,
    /// Its rows carry ground truth as labels: may calibrate a critic; training on it needs `unstable(oracle)`.
    pub labelled: bool,
    pub doc: String,
}

/// Of an environment that comes with the program, or as a file declares it for one outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub name: String,
    pub task: Vec<Field>,
    /// Metric names, each a ratio; the first is the one that says whether a task is solved.
    pub metrics: Vec<String>,
    pub offers: Vec<Offer>,
    pub doc: String,
}

impl Schema {
    /// The metric that says whether a task is solved.
    pub fn success(&self) -> &str {
        self.metrics.first().expect("an environment measures something")
    }
}

/// Something an agent can call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolInfo {
    /// `find_room(day, people, time)`
    pub signature: String,
    /// Whether it leaves something changed behind.
    pub changes: bool,
}

/// Whether a row has the declared fields; `of` is what the names of those within a record begin with.
///
/// # Errors
/// In words, what it lacks.
pub fn fits(row: &Map<String, Value>, fields: &[Field], of: &str) -> Result<(), String> {
    for field in fields {
        let name = format!("{of}{}", field.name);
        match row.get(&field.name) {
            None | Some(Value::Null) if field.optional => {}
            None => return Err(format!("it has no `{name}`")),
            Some(value) => is(value, &field.ty, &name)?,
        }
        if let (Some(most), Some(Value::String(text))) = (field.max_tokens, row.get(&field.name)) {
            // No tokenizer that is in use makes one token of two words; how many more it makes, only a model's own knows.
            let words = text.split_whitespace().count();
            if words > most as usize {
                return Err(format!(
                    "`{name}` has {words} words, and so more than the {most} tokens that are declared"
                ));
            }
        }
    }
    Ok(())
}

fn is(value: &Value, ty: &FieldType, name: &str) -> Result<(), String> {
    let wanted = match (ty, value) {
        (FieldType::Opaque, _)
        | (FieldType::Text, Value::String(_))
        | (FieldType::Bool, Value::Bool(_))
        | (FieldType::Ratio, Value::Number(_)) => return Ok(()),
        (FieldType::Int, Value::Number(number)) if number.is_i64() || number.is_u64() => return Ok(()),
        (FieldType::List(item), Value::Array(items)) => {
            return items.iter().try_for_each(|value| is(value, item, name));
        }
        (FieldType::Record(fields), Value::Object(row)) => return fits(row, fields, &format!("{name}.")),
        (FieldType::Text, _) => "text",
        (FieldType::Bool, _) => "true or false",
        (FieldType::Int, _) => "a whole number",
        (FieldType::Ratio, _) => "a number",
        (FieldType::List(_), _) => "a list",
        (FieldType::Record(_), _) => "a record",
    };
    Err(format!("`{name}` is not {wanted}"))
}
