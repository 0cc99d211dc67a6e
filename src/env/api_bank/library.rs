//! Reads a copy of API-Bank: databases, specifications of tools, dialogues, recorded results.
//!
//! # Invariants
//! Read once, shared by every world. What is not in the copy is not made up: a tool without a specification cannot be called.

use super::dialogues::{self, Dialogue, Sample};
use super::tools::world_facts::Facts;
use super::tools::{self, Tool, lookup, search_engine, tool_searcher};
use super::value::{Dict, Key, Text, Value};
use super::world::{Level, Table, Tables};
use crate::base::file;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No file of the data is longer.
pub(super) const MOST: u64 = 1 << 28;

/// A copy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}

#[derive(Debug)]
pub struct Library {
    pub tables: Tables,
    pub bank: Dict,
    pub stocks: Dict,
    pub history: Dict,
    pub documents: Dict,
    pub symptoms: Dict,
    pub recordings: Dict,
    pub wiki: Dict,
    pub captions: BTreeMap<Text, Value>,
    pub engine: search_engine::Index,
    /// What services online answered, by tool.
    pub online: BTreeMap<&'static str, BTreeMap<String, Value>>,
    pub facts: Facts,
    /// Levels 1 and 2, in the order of their files' names.
    pub dialogues: [Vec<Dialogue>; 2],
    pub samples: Vec<Sample>,
    /// ToolRL's answers by level, where the copy has them.
    pub toolrl: [Vec<Value>; 3],
    suites: [Suite; 2],
}

/// The tools of a level.
#[derive(Debug, Default)]
pub struct Suite {
    pub specs: BTreeMap<Text, Spec>,
    pub index: tool_searcher::Index,
    /// Which tool the data's own search found for keywords.
    pub searched: BTreeMap<String, Text>,
}

pub struct Spec {
    pub tool: &'static Tool,
    /// Name, description, input and output parameters.
    pub value: Value,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(&self.value.json())
    }
}

impl Spec {
    pub fn parameters(&self) -> &Dict {
        static NONE: std::sync::LazyLock<Dict> = std::sync::LazyLock::new(Dict::default);
        self.value.get("input_parameters").and_then(Value::as_dict).unwrap_or(&NONE)
    }
}

/// A value of a file.
pub fn read(path: &Path) -> Result<Value, Unreadable> {
    let unreadable = |reason: String| Unreadable { path: path.to_owned(), reason };
    let text = file::read_text(path, MOST).map_err(|problem| unreadable(file::reason(&problem)))?;
    serde_json::from_str(&text).map_err(|problem| unreadable(problem.to_string()))
}

fn dict(value: Value) -> Dict {
    match value {
        Value::Dict(dict) => Arc::unwrap_or_clone(dict),
        _ => Dict::default(),
    }
}

impl Library {
    /// # Errors
    /// A file that is missing or is not what it should be.
    pub fn open(data: &Path) -> Result<Arc<Self>, Unreadable> {
        let database = |name: &str| read(&data.join("init_database").join(name).with_extension("json"));
        let mut tables: Tables = std::array::from_fn(|_| Arc::default());
        for (table, name) in Table::FILES {
            tables[table as usize] = Arc::new(dict(database(name)?));
        }
        let first = Value::dict([("account", Value::str("test"))]);
        tables[Table::BankAccounts as usize] = Arc::new(Dict::from_rows(vec![(Key::Int(0), first)]));
        let dialogues = [dialogues::read(data, "level-1-given-desc")?, dialogues::read(data, "level-2-toolsearcher")?];
        let samples = dialogues::samples(&read(&data.join("test-data/level-3.json"))?);
        let engine = database("SearchEngine")?;
        let list = |name: &str| engine.get(name).and_then(Value::as_list).unwrap_or_default();
        let engine = search_engine::Index::new(list("raw_documents"), list("tokenized_documents"));
        let mut captions = BTreeMap::new();
        for row in database("ImageCaptioning")?.as_list().unwrap_or_default() {
            if let (Some(Value::Str(url)), Some(caption)) = (row.get("url"), row.get("caption")) {
                captions.entry(url.clone()).or_insert_with(|| caption.clone());
            }
        }
        let suites = suites(data, &dialogues, &samples)?;
        Ok(Arc::new(Self {
            tables,
            bank: dict(database("Bank")?),
            stocks: dict(database("Stock")?),
            history: dict(database("History")?),
            documents: dict(database("QuestionAnswering")?),
            symptoms: dict(database("Symptom")?),
            recordings: dict(database("SpeechRecognition")?),
            wiki: dict(database("Wiki")?),
            captions,
            engine,
            online: online(&dialogues),
            facts: Facts::new(&samples),
            toolrl: toolrl(data)?,
            dialogues,
            samples,
            suites,
        }))
    }

    /// The place of a dialogue of level 1 or 2, by its file's name.
    pub fn place(&self, level: u32, file: &str) -> Option<usize> {
        self.dialogues[level as usize - 1].binary_search_by(|dialogue| dialogue.file.as_str().cmp(file)).ok()
    }

    pub fn suite(&self, level: Level) -> &Suite {
        &self.suites[usize::from(level == Level::Three)]
    }
}

/// What Dictionary and Translate once answered.
fn online(dialogues: &[Vec<Dialogue>; 2]) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    let mut found: BTreeMap<&'static str, BTreeMap<String, Value>> = BTreeMap::new();
    for call in dialogues.iter().flatten().flat_map(|dialogue| dialogue.turns.iter().filter_map(|turn| turn.call())) {
        let argument = |name: &str| call.arguments.get(name).map(Value::display);
        let (tool, key) = match call.name.as_ref() {
            "Dictionary" => ("Dictionary", lookup::dictionary_key(&argument("keyword").unwrap_or_default())),
            "Translate" => ("Translate", lookup::translate_key(argument)),
            _ => continue,
        };
        if let Some(output) = call.result.get("output").filter(|output| !output.is_none()) {
            found.entry(tool).or_default().insert(key, output.clone());
        }
    }
    found
}

fn toolrl(data: &Path) -> Result<[Vec<Value>; 3], Unreadable> {
    let mut levels: [Vec<Value>; 3] = Default::default();
    for (place, level) in levels.iter_mut().enumerate() {
        let path = data.join(format!("toolrl/level-{}-api_processed.json", place + 1));
        if path.exists() {
            *level = read(&path)?.as_list().unwrap_or_default().to_vec();
        }
    }
    Ok(levels)
}

fn suites(data: &Path, dialogues: &[Vec<Dialogue>; 2], samples: &[Sample]) -> Result<[Suite; 2], Unreadable> {
    let path = data.join("vectors/tool_specs.json");
    let [general, three] = if path.exists() {
        let specs = read(&path)?;
        ["./apis", "./lv3_apis"].map(|name| specs.get(name).and_then(Value::as_list).unwrap_or_default().to_vec())
    } else {
        let found = |call: &dialogues::Recorded| {
            let output = call.result.get("output").filter(|_| call.name.as_ref() == "ToolSearcher").cloned();
            output.into_iter().flat_map(|output| output.as_list().map_or_else(|| vec![output.clone()], <[_]>::to_vec))
        };
        let mut three: Vec<Value> = samples.iter().flat_map(|sample| &sample.calls).flat_map(found).collect();
        let general = dialogues::prompted(data)?;
        // No search finds the search itself; it is the same at every level.
        three.extend(general.iter().filter(|spec| spec.get("name") == Some(&Value::str("ToolSearcher"))).cloned());
        [general, three]
    };
    let mut first = suite(tools::general(), &general);
    for call in dialogues[1].iter().flat_map(|dialogue| dialogue.turns.iter().filter_map(|turn| turn.call())) {
        let keywords =
            call.arguments.get("keywords").map(Value::display).filter(|_| call.name.as_ref() == "ToolSearcher");
        // Of two the first is the one that gets a token.
        let output = call.result.get("output");
        let tool = output.map(|output| output.as_list().and_then(<[_]>::last).unwrap_or(output));
        if let (Some(keywords), Some(Value::Str(name))) = (keywords, tool.and_then(|tool| tool.get("name"))) {
            first.searched.entry(keywords).or_insert_with(|| name.clone());
        }
    }
    Ok([first, suite(tools::level_three(), &three)])
}

fn suite(tools: impl Iterator<Item = &'static Tool>, found: &[Value]) -> Suite {
    let fields = ["name", "description", "input_parameters", "output_parameters"];
    let mut specs: BTreeMap<Text, Spec> = BTreeMap::new();
    for tool in tools {
        let Some(spec) = found.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(tool.name)) else {
            continue;
        };
        let mut value = Dict::default();
        fields.iter().for_each(|field| value.set(field, spec.get(field).cloned().unwrap_or(Value::None)));
        specs.insert(tool.name.into(), Spec { tool, value: Value::Dict(Arc::new(value)) });
    }
    let described = |(name, spec): (&Text, &Spec)| {
        let description = spec.value.get("description").map(Value::display).unwrap_or_default();
        (name.clone(), description)
    };
    let searched: Vec<(Text, String)> =
        specs.iter().filter(|(name, _)| name.as_ref() != "ToolSearcher").map(described).collect();
    Suite { index: tool_searcher::Index::new(&searched), searched: BTreeMap::new(), specs }
}
