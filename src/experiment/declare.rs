//! Turns the blocks of environments, datasets and models into their specs.

use super::error::CheckError;
use super::fields::Fields;
use super::index::Sort;
use super::jsonl::Rows;
use super::model::{Dataset, EnvId};
use super::scope::Kind;
use super::{Checker, DatasetInfo, EnvInfo, vocabulary};
use crate::base::Span;
use crate::env::api_bank::{Declared, Mode, Tasks, training};
use crate::env::{EnvKind, EnvSpec, Split};
use crate::model::hub::{is_commit, is_repo};
use crate::model::{Device, Dtype, Fresh, ModelSpec, Source, ToolCalls, ToolFormat};
use crate::syntax::ast::{Apply, Argument, Block, EntryKind, Expr, ExprKind, Path};
use crate::syntax::similar::similar;
use std::path::PathBuf;

/// Tasks of a split.
const MOST_TASKS: u32 = 1_000_000;

impl Checker<'_> {
    pub(super) fn env(&mut self, body: &Block) -> Option<EnvInfo> {
        let fields = self.fields(body, &vocabulary::ENV);
        let kind = self.choice_of(&fields, "use").flatten().and_then(|(apply, word)| match word.name {
            "builtin" => {
                self.not_outside(&fields);
                self.builtin(apply)
            }
            _ => self.outside(body, &fields, apply, word),
        });
        let splits = fields.block("splits").map(|block| self.splits(block));
        // Without it tasks, tools and splits are still known, and what names them can be held against them.
        let max_steps = self.small_of(&fields, "max_steps").flatten().unwrap_or(1);
        Some(self.env_info(EnvSpec { kind: kind?, splits: splits?, max_steps }))
    }

    fn builtin(&mut self, apply: &Apply) -> Option<EnvKind> {
        let name = self.text_argument(apply)?;
        let place = apply.arguments.as_ref().map_or(apply.path.span, |list| list[0].value.span);
        match (name.as_str(), &apply.block) {
            ("desk", None) => {
                let doc = crate::env::schema(&EnvKind::Desk).doc.clone();
                self.index.brought(place, Sort::Environment, &name, "", doc);
                Some(EnvKind::Desk)
            }
            ("api-bank", Some(block)) => self.api_bank(block),
            ("desk" | "api-bank", _) => {
                let wanted = match name.as_str() {
                    "desk" => "builtin(\"desk\")",
                    _ => "builtin(\"api-bank\") { data = path(\"…\"), mode = repaired }",
                };
                self.error(CheckError::Arguments { span: apply.path.span, wanted: wanted.to_owned(), name });
                None
            }
            _ => {
                let known = ["desk", "api-bank"];
                let near = similar(&name, known);
                let near = near.into_iter().map(|name| format!("\"{name}\"")).collect();
                let (of, known) = ("`builtin`".to_owned(), known.map(str::to_owned).into());
                self.error(CheckError::UnknownWord { span: place, of, found: Some(name), near, known });
                None
            }
        }
    }

    fn api_bank(&mut self, block: &Block) -> Option<EnvKind> {
        let fields = self.fields(block, &vocabulary::API_BANK);
        let data = self.choice_of(&fields, "data").flatten().and_then(|(apply, _)| self.file_argument(apply));
        let kinds = [("dialogues", Tasks::Dialogues), ("turns", Tasks::Turns), ("training", Tasks::Training)];
        let tasks = self.word_of(&fields, "tasks", &kinds).unwrap_or(Some(Tasks::Dialogues));
        let training = tasks == Some(Tasks::Training);
        let otherwise = if training { (3, 3) } else { (1, 2) };
        let level = self.small_range_of(&fields, "level").unwrap_or(Some(otherwise));
        if let (true, Some((from, to)), Some(span)) = (training, level, fields.span("level"))
            && (from, to) != (3, 3)
        {
            let (of, value) = ("the level of training rows".to_owned(), f64::from(from));
            self.error(CheckError::Range { span, of, value, low: 3.0, high: 3.0, declared: None });
            return None;
        }
        let modes = [("official", Mode::Official), ("repaired", Mode::Repaired)];
        let mode = self.word_of(&fields, "mode", &modes).flatten();
        let ((from, to), data) = (level?, data?);
        if training && let Some(met) = training::meeting(&data, &|path| (self.world.read)(path).ok()) {
            let span = fields.span("tasks").unwrap_or(block.span);
            self.error(CheckError::TrainsEvaluation { span, what: met.to_string() });
            return None;
        }
        Some(EnvKind::ApiBank(Declared { data, from, to, mode: mode?, tasks: tasks? }))
    }

    fn splits(&mut self, block: &Block) -> Vec<Split> {
        let mut splits: Vec<Split> = Vec::new();
        let mut places: Vec<(String, Span)> = Vec::new();
        for entry in &block.entries {
            let name = entry.key.text();
            if let Some((_, first)) = places.iter().find(|(known, _)| *known == name) {
                let first = *first;
                self.error(CheckError::FieldTwice { span: entry.key.span, name, first });
                continue;
            }
            places.push((name.clone(), entry.key.span));
            let (value, held_out) = match &entry.kind {
                EntryKind::Value(Expr { kind: ExprKind::Marked { of, .. }, .. }) => (Some(&**of), true),
                EntryKind::Value(value) => (Some(value), false),
                EntryKind::Broken => (None, false),
                EntryKind::Block(_) | EntryKind::Type(_) => {
                    let wanted = format!("{name} = 100");
                    self.error(CheckError::WrongForm { span: entry.span, name: name.clone(), wanted });
                    (None, false)
                }
            };
            // The split exists, and a size that cannot be read is too small for nothing.
            let size =
                value.and_then(|value| self.small(value, "a split's size", 1..=MOST_TASKS)).unwrap_or(MOST_TASKS);
            splits.push(Split { name, size, held_out });
        }
        splits
    }

    /// `desk.lessons(60000)` and the other things a dataset may come from.
    pub(super) fn dataset(&mut self, body: &Block) -> Option<DatasetInfo> {
        let fields = self.fields(body, &vocabulary::DATASET);
        let from = fields.value("from")?;
        let ExprKind::Apply(apply) = &from.kind else {
            if !matches!(from.kind, ExprKind::Broken) {
                self.error(CheckError::NotSource { span: from.span });
            }
            return None;
        };
        match apply.path.text().as_str() {
            "jsonl" => {
                let path = self.file_argument(apply)?;
                let rows = self.conversations(&path, from.span)?;
                Some(DatasetInfo { it: Dataset::Jsonl { path }, env: None, labelled: false, rows })
            }
            "hub" => {
                self.later(apply.path.span, "a dataset from the hub");
                let [repo, revision, split] = self.hub(apply, &["revision", "split"])?;
                let it = Dataset::Hub { repo, revision, split };
                Some(DatasetInfo { it, env: None, labelled: false, rows: Rows::default() })
            }
            _ => self.offered(apply, from.span),
        }
    }

    fn offered(&mut self, apply: &Apply, span: Span) -> Option<DatasetInfo> {
        let [env_name, offer_name] = apply.path.parts.as_slice() else {
            self.error(CheckError::NotSource { span });
            return None;
        };
        let id = self.reference(env_name, Kind::Env)?;
        let schema = self.envs[id].it.as_ref()?.schema.clone();
        let Some(offer) = schema.offers.iter().find(|offer| offer.name == offer_name.value) else {
            let known: Vec<String> = schema.offers.iter().map(|offer| offer.name.clone()).collect();
            let near = similar(&offer_name.value, known.iter().map(String::as_str));
            let (span, name, env) = (offer_name.span, offer_name.value.clone(), env_name.value.clone());
            self.error(CheckError::UnknownOffer { span, name, env, near, known });
            return None;
        };
        let data = if offer.labelled { "labelled verdicts" } else { "conversations" };
        self.index.brought(offer_name.span, Sort::Offer, &offer.name, data, &*offer.doc);
        let Some([argument @ Argument { name: None, .. }]) = apply.arguments.as_deref() else {
            let name = apply.path.text();
            self.error(CheckError::Arguments { span: apply.path.span, wanted: format!("{name}(512)"), name });
            return None;
        };
        let count = self.small(&argument.value, "the number of examples", 1..=100_000_000)?;
        let it = Dataset::Offered { env: EnvId(id), offer: offer.name.clone(), count };
        let rows = Rows { count: u64::from(count), ..Rows::default() };
        Some(DatasetInfo { it, env: Some(EnvId(id)), labelled: offer.labelled, rows })
    }

    /// A path of a file, from where that file stands.
    pub(super) fn existing(&mut self, path: &str, span: Span) -> Option<PathBuf> {
        let full = self.world.root.join(self.symbols.directory(span)).join(path);
        if !(self.world.exists)(&full) {
            self.error(CheckError::NoFile { span, path: full.display().to_string() });
            return None;
        }
        Some(full)
    }

    /// The file or directory that the text in the parentheses names.
    pub(super) fn file_argument(&mut self, apply: &Apply) -> Option<PathBuf> {
        let path = self.text_argument(apply)?;
        let span = apply.arguments.iter().flatten().next().map_or(apply.path.span, |argument| argument.value.span);
        self.existing(&path, span)
    }

    pub(super) fn model(&mut self, body: &Block) -> Option<ModelSpec> {
        let fields = self.fields(body, &vocabulary::MODEL);
        let given: Vec<&str> = ["weights", "remote", "scripted"].into_iter().filter(|name| fields.has(name)).collect();
        let source = match given.as_slice() {
            ["weights"] => self.weights(&fields),
            ["remote"] => self.remote(&fields).map(Source::Remote),
            ["scripted"] => {
                let path = self.text_of(&fields, "scripted").flatten();
                let span = fields.span("scripted").unwrap_or(body.span);
                path.and_then(|path| self.existing(&path, span)).map(Source::Scripted)
            }
            [] => {
                self.due_field(body, &fields, "weights");
                None
            }
            several => {
                let span = several.iter().filter_map(|name| fields.span(name)).max().unwrap_or(body.span);
                self.error(CheckError::OneSource { span });
                None
            }
        };
        let adapter = self.choice_of(&fields, "adapter").flatten().map(|(apply, _)| self.file_argument(apply));
        let context = self.tokens_of(&fields, "context").flatten();
        let dtypes = [Dtype::F32, Dtype::Bf16, Dtype::F16, Dtype::Int8].map(|dtype| (dtype.as_str(), dtype));
        let dtype = self.word_of(&fields, "dtype", &dtypes);
        let devices = [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda", Device::Cuda), ("metal", Device::Metal)];
        let device = self.word_of(&fields, "device", &devices);
        let formats = ToolFormat::ALL.map(|format| (format.as_str(), format));
        let tool_format = self.word_of(&fields, "tool_format", &formats);
        let calls = [ToolCalls::Drawn, ToolCalls::WellFormed].map(|calls| (calls.as_str(), calls));
        let tool_calls = self.word_of(&fields, "tool_calls", &calls);
        if let (Some(Some(Dtype::Int8)), Some(Some(device)), Some(span)) = (&dtype, &device, fields.span("dtype"))
            && device.is_gpu()
        {
            self.error(CheckError::NotOnGpu { span, device: device.as_str() });
        }
        let lora = fields.block("lora").map(|block| self.lora(block));
        if let (Some(Some(ToolCalls::WellFormed)), Some(Source::Remote(_) | Source::Scripted(_)), Some(span)) =
            (&tool_calls, &source, fields.span("tool_calls"))
        {
            self.error(CheckError::NotHeld { span });
        }
        if let (Some(Source::Remote(_) | Source::Scripted(_)), Some(span)) = (&source, fields.span("adapter")) {
            self.error(CheckError::NoWeights { span });
        }
        Some(ModelSpec {
            source: source?,
            adapter: match adapter {
                None => None,
                Some(adapter) => Some(adapter?),
            },
            context: context?,
            dtype: dtype.unwrap_or(Some(Dtype::default()))?,
            device: device.unwrap_or(Some(Device::default()))?,
            lora: match lora {
                None => None,
                Some(lora) => Some(lora?),
            },
            tool_format: tool_format.unwrap_or(Some(ToolFormat::default()))?,
            tool_calls: tool_calls.unwrap_or(Some(ToolCalls::default()))?,
        })
    }

    fn weights(&mut self, fields: &Fields) -> Option<Source> {
        let (apply, word) = self.choice_of(fields, "weights")??;
        match word.name {
            "path" => self.file_argument(apply).map(Source::Path),
            "fresh" => {
                let block = self.due_block(apply, word)?;
                self.fresh(block).map(Source::Fresh)
            }
            "gguf" => self.file_argument(apply).map(Source::Gguf),
            _ => {
                let [repo, revision] = self.hub(apply, &["revision"])?;
                Some(Source::Hub { repo, revision })
            }
        }
    }

    /// `hub("org/name", revision = "…")`: what has no revision may be something else tomorrow.
    fn hub<const N: usize>(&mut self, apply: &Apply, names: &[&str]) -> Option<[String; N]> {
        let arguments = apply.arguments.as_deref().unwrap_or_default();
        let is_named =
            |argument: &Argument, wanted: &str| argument.name.as_ref().is_some_and(|name| name.value == wanted);
        let repo = arguments.iter().find(|argument| argument.name.is_none());
        let named = names.iter().map(|name| arguments.iter().find(|argument| is_named(argument, name)));
        let found: Option<Vec<&Argument>> = [repo].into_iter().chain(named).collect();
        match found {
            Some(found) if found.len() == arguments.len() => {
                let texts: Vec<Option<String>> =
                    found.iter().map(|argument| self.text(&argument.value, "`hub(…)`")).collect();
                if let Some(Some(repo)) = texts.first()
                    && !is_repo(repo)
                {
                    let (span, of) = (found[0].value.span, "`hub`".to_owned());
                    self.error(CheckError::TextForm { span, of, what: "an owner and a name", wanted: "owner/name" });
                    return None;
                }
                if let [Some(repo), Some(revision), ..] = texts.as_slice()
                    && !is_commit(revision)
                {
                    self.error(CheckError::NotCommit { span: found[1].value.span, repo: repo.clone() });
                    return None;
                }
                texts.into_iter().collect::<Option<Vec<_>>>()?.try_into().ok()
            }
            _ => {
                let named: String = names.iter().map(|name| format!(", {name} = \"…\"")).collect();
                let (name, wanted) = ("hub".to_owned(), format!("hub(\"org/name\"{named})"));
                self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
                None
            }
        }
    }

    fn fresh(&mut self, block: &Block) -> Option<Fresh> {
        let fields = self.fields(block, &vocabulary::FRESH);
        let tokenizer = self.choice_of(&fields, "tokenizer").flatten().and_then(|(apply, _)| self.file_argument(apply));
        let mut size = |name: &str| self.small_of(&fields, name).flatten();
        let (width, layers) = (size("width"), size("layers"));
        let (heads, kv_heads, ffn) = (size("heads"), size("kv_heads"), size("ffn"));
        let seed = self.whole_of(&fields, "seed").flatten();
        let (width, heads, kv_heads) = (width?, heads?, kv_heads?);
        for (of, name, whole, part) in [
            ("width", "heads", width, heads),
            ("heads", "kv_heads", heads, kv_heads),
            ("width", "2 × heads", width, 2 * heads),
        ] {
            if whole % part != 0 {
                let span = fields.span(of).unwrap_or(block.span);
                self.error(CheckError::Shape { span, of, whole, name, part });
                return None;
            }
        }
        Some(Fresh { tokenizer: tokenizer?, seed: seed?, width, layers: layers?, heads, kv_heads, ffn: ffn? })
    }

    /// A value that must be the name of a declaration.
    pub(super) fn named(&mut self, value: &Expr, kind: Kind) -> Option<usize> {
        match &value.kind {
            ExprKind::Apply(Apply { path, version: None, arguments: None, block: None }) => {
                self.reference_path(path, kind)
            }
            ExprKind::Broken => None,
            _ => {
                self.error(CheckError::NotName { span: value.span, what: kind.words() });
                None
            }
        }
    }

    /// The environment and split that a path such as `desk.dev` names.
    pub(super) fn split(&mut self, path: &Path) -> Option<(EnvId, Split)> {
        let [env_name, split_name] = path.parts.as_slice() else {
            self.error(CheckError::NotSplit { span: path.span });
            return None;
        };
        let id = self.reference(env_name, Kind::Env)?;
        if let Some(declared) = self.symbols.declared(&env_name.value, env_name.span) {
            self.index.member(split_name.span, declared, &split_name.value);
        }
        let splits = &self.envs[id].it.as_ref()?.spec.splits;
        match splits.iter().find(|split| split.name == split_name.value) {
            Some(split) => Some((EnvId(id), split.clone())),
            None => {
                let known: Vec<String> = splits.iter().map(|split| split.name.clone()).collect();
                let near = similar(&split_name.value, known.iter().map(String::as_str));
                let (span, name, env) = (split_name.span, split_name.value.clone(), env_name.value.clone());
                self.error(CheckError::UnknownSplit { span, name, env, near, known });
                None
            }
        }
    }
}
