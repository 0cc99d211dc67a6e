//! Turns the blocks of environments, datasets, models, trainers and critics into their specs.

use super::error::CheckError;
use super::fields::{later, optional, optional_block, required, required_block};
use super::model::{Critic, CriticId, Dataset, EnvId, ModelId, PromptId};
use super::scope::Kind;
use super::value::Value;
use super::{Checker, DatasetInfo, EnvInfo};
use crate::base::Span;
use crate::env::{EnvKind, EnvSpec, Split, schema};
use crate::model::{Decay, Device, Dtype, Fresh, LoraConfig, LossOn, Method, ModelSpec, Sampling, Source, ToolFormat};
use crate::node::spec::{AnswerField, AnswerKind, AnswerSchema, OnUnparsed, PerIteration, TrainerSpec};
use crate::syntax::ast::{Apply, Block, EntryKind, Expr, ExprKind, Path};
use crate::syntax::similar::similar;
use std::path::PathBuf;

/// Tokens a critic may say when its block does not set `max_tokens`.
const CRITIC_TOKENS: u32 = 64;

impl Checker<'_> {
    pub(super) fn env(&mut self, body: &Block) -> Option<EnvInfo> {
        let known = [
            required("use"),
            required_block("splits"),
            required("max_steps"),
            later("task"),
            later("metrics"),
            later("tasks"),
        ];
        let fields = self.fields(body, "an environment", &known);
        let kind = fields.value("use").and_then(|value| self.env_kind(value));
        let splits = fields.block("splits").map(|block| self.splits(block));
        let max_steps = fields.value("max_steps").and_then(|value| self.small(value, "`max_steps`", 1..=1000));
        let kind = kind?;
        Some(EnvInfo { spec: EnvSpec { kind, splits: splits?, max_steps: max_steps? }, schema: schema(kind) })
    }

    fn env_kind(&mut self, value: &Expr) -> Option<EnvKind> {
        let kinds = ["builtin", "process", "openenv", "mcp", "agentgym"];
        let apply = self.choice(value, "`use`", &kinds)?;
        if apply.path.text() != "builtin" {
            self.later(apply.path.span, format!("an environment from `{}`", apply.path.text()));
            return None;
        }
        let name = self.text_argument(apply)?;
        match name.as_str() {
            "desk" => Some(EnvKind::Desk),
            "api-bank" => {
                self.later(value.span, "the environment `api-bank`");
                None
            }
            _ => {
                let known = vec!["desk", "api-bank"];
                let near = similar(&name, known.iter().copied());
                let near = near.into_iter().map(|name| format!("\"{name}\"")).collect();
                let span = apply.arguments.as_ref().map_or(value.span, |list| list[0].value.span);
                let of = "`builtin`".to_owned();
                self.error(CheckError::UnknownWord { span, of, found: Some(name), near, known });
                None
            }
        }
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
            // A size that cannot be read is 1: the split exists.
            let size = value.and_then(|value| self.small(value, "a split's size", 1..=1_000_000)).unwrap_or(1);
            splits.push(Split { name, size, held_out });
        }
        splits
    }

    /// `desk.lessons(60000)` and the other things a dataset may come from.
    pub(super) fn dataset(&mut self, body: &Block) -> Option<DatasetInfo> {
        let fields = self.fields(body, "a dataset", &[required("from")]);
        let from = fields.value("from")?;
        let ExprKind::Apply(apply) = &from.kind else {
            if !matches!(from.kind, ExprKind::Broken) {
                self.error(CheckError::NotSource { span: from.span });
            }
            return None;
        };
        match apply.path.text().as_str() {
            "jsonl" => {
                let path = self.text_argument(apply)?;
                let path = self.existing(&path, from.span)?;
                Some(DatasetInfo { it: Dataset::Jsonl { path }, env: None, labelled: false })
            }
            "hub" => {
                self.later(from.span, "a dataset from the hub");
                None
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
        let schema = self.envs[id].it.as_ref()?.schema;
        let Some(offer) = schema.offers.iter().find(|offer| offer.name == offer_name.value) else {
            let known: Vec<&'static str> = schema.offers.iter().map(|offer| offer.name).collect();
            let near = similar(&offer_name.value, known.iter().copied());
            let (span, name, env) = (offer_name.span, offer_name.value.clone(), env_name.value.clone());
            self.error(CheckError::UnknownOffer { span, name, env, near, known });
            return None;
        };
        let Some([argument]) = apply.arguments.as_deref() else {
            let name = apply.path.text();
            self.error(CheckError::Arguments { span: apply.path.span, wanted: format!("{name}(512)"), name });
            return None;
        };
        let count = self.small(&argument.value, "the number of examples", 1..=100_000_000)?;
        let it = Dataset::Offered { env: EnvId(id), offer: offer.name.to_owned(), count };
        Some(DatasetInfo { it, env: Some(EnvId(id)), labelled: offer.labelled })
    }

    /// A path of the file, from the project's root.
    pub(super) fn existing(&mut self, path: &str, span: Span) -> Option<PathBuf> {
        let full = self.world.root.join(path);
        if !(self.world.exists)(&full) {
            self.error(CheckError::NoFile { span, path: full.display().to_string() });
            return None;
        }
        Some(full)
    }

    pub(super) fn model(&mut self, body: &Block) -> Option<ModelSpec> {
        let known = [
            optional("weights"),
            optional("scripted"),
            later("remote"),
            required("context"),
            optional("dtype"),
            optional("device"),
            optional_block("lora"),
            optional("tool_format"),
        ];
        let fields = self.fields(body, "a model", &known);
        let source = match (fields.value("weights"), fields.value("scripted")) {
            (Some(weights), None) => self.weights(weights),
            (None, Some(script)) => {
                let path = self.text(script, "`scripted`");
                path.and_then(|path| self.existing(&path, script.span)).map(Source::Scripted)
            }
            (Some(_), Some(script)) => {
                self.error(CheckError::OneSource { span: script.span });
                None
            }
            (None, None) => {
                if !body.broken && !["weights", "scripted", "remote"].iter().any(|name| fields.has(name)) {
                    self.error(CheckError::MissingField { span: body.span, name: "weights", owner: "a model" });
                }
                None
            }
        };
        let context = fields.value("context").and_then(|value| self.tokens(value, "`context`"));
        let dtypes = [("f32", Dtype::F32), ("bf16", Dtype::Bf16), ("f16", Dtype::F16)];
        let dtype = fields.value("dtype").map(|value| self.word(value, "`dtype`", &dtypes));
        let devices = [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda", Device::Cuda), ("metal", Device::Metal)];
        let device = fields.value("device").map(|value| self.word(value, "`device`", &devices));
        let formats = [
            ("lines", Some(ToolFormat::Lines)),
            ("json", Some(ToolFormat::Json)),
            ("hermes", None),
            ("llama3", None),
            ("mistral", None),
            ("api_bank", None),
            ("react", None),
        ];
        let tool_format = fields.value("tool_format").map(|value| {
            let format = self.word(value, "`tool_format`", &formats)?;
            if format.is_none() {
                self.later(value.span, "this tool format");
            }
            format
        });
        let lora = fields.block("lora").map(|block| self.lora(block));
        Some(ModelSpec {
            source: source?,
            context: context?,
            dtype: dtype.unwrap_or(Some(Dtype::default()))?,
            device: device.unwrap_or(Some(Device::default()))?,
            lora: match lora {
                None => None,
                Some(lora) => Some(lora?),
            },
            tool_format: tool_format.unwrap_or(Some(ToolFormat::default()))?,
        })
    }

    fn weights(&mut self, value: &Expr) -> Option<Source> {
        let apply = self.choice(value, "`weights`", &["path", "fresh", "hub", "gguf"])?;
        match apply.path.text().as_str() {
            "path" => {
                let path = self.text_argument(apply)?;
                self.existing(&path, value.span).map(Source::Path)
            }
            "fresh" => match &apply.block {
                Some(block) => self.fresh(block).map(Source::Fresh),
                None => {
                    let (name, wanted) = ("fresh".to_owned(), "fresh { tokenizer = path(\"…\"), … }".to_owned());
                    self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
                    None
                }
            },
            other => {
                self.later(value.span, format!("weights from `{other}`"));
                None
            }
        }
    }

    fn fresh(&mut self, block: &Block) -> Option<Fresh> {
        let known = ["tokenizer", "seed", "width", "layers", "heads", "kv_heads", "ffn"].map(required);
        let fields = self.fields(block, "fresh weights", &known);
        let tokenizer = fields.value("tokenizer").and_then(|value| {
            let apply = self.choice(value, "`tokenizer`", &["path"])?;
            let path = self.text_argument(apply)?;
            self.existing(&path, value.span)
        });
        let mut size = |name: &str, most: u32| {
            let value = fields.value(name)?;
            self.small(value, &format!("`{name}`"), 1..=most)
        };
        let (width, layers) = (size("width", 65_536), size("layers", 256));
        let (heads, kv_heads, ffn) = (size("heads", 1024), size("kv_heads", 1024), size("ffn", 1 << 20));
        let seed = fields.value("seed").and_then(|value| self.whole(value, "`seed`", 0..=u64::MAX));
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

    fn lora(&mut self, block: &Block) -> Option<LoraConfig> {
        let known = [required("rank"), required("alpha"), optional("dropout"), optional("on")];
        let fields = self.fields(block, "a LoRA", &known);
        let rank = fields.value("rank").and_then(|value| self.small(value, "`rank`", 1..=4096));
        let alpha = fields.value("alpha").and_then(|value| self.real(value, "`alpha`", 0.0, 1e6));
        let dropout = fields.value("dropout").map(|value| self.real(value, "`dropout`", 0.0, 0.99));
        let attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
        let mlp = ["gate_proj", "up_proj", "down_proj"];
        let linears = [attention.as_slice(), mlp.as_slice()].concat();
        let words: Vec<&'static str> = ["attention", "mlp"].into_iter().chain(linears.iter().copied()).collect();
        let mut on: Vec<String> = Vec::new();
        let mut fits = true;
        match fields.value("on") {
            None => on.extend(linears.iter().map(|name| (*name).to_owned())),
            Some(Expr { kind: ExprKind::List(items), .. }) => {
                for item in items {
                    let chosen = self.choice(item, "`on`", &words).map(|apply| apply.path.text());
                    fits &= chosen.is_some();
                    match chosen.as_deref() {
                        Some("attention") => on.extend(attention.map(str::to_owned)),
                        Some("mlp") => on.extend(mlp.map(str::to_owned)),
                        other => on.extend(other.map(str::to_owned)),
                    }
                }
            }
            Some(value) => {
                fits = false;
                self.error(CheckError::NotList { span: value.span, of: "`on`" });
            }
        }
        // In the model's order, each once: how they are listed changes nothing.
        let on: Vec<String> =
            linears.into_iter().filter(|name| on.iter().any(|o| o == name)).map(str::to_owned).collect();
        fits.then_some(LoraConfig { rank: rank?, alpha: alpha?, dropout: dropout.unwrap_or(Some(0.0))?, on })
    }

    pub(super) fn trainer(&mut self, body: &Block) -> Option<TrainerSpec> {
        let known = [
            required("method"),
            required("lr"),
            optional("decay"),
            required("epochs"),
            required("batch"),
            optional("max_len"),
            optional("clip"),
            optional("weight_decay"),
            optional_block("lora"),
            later("accumulate"),
            later("command"),
        ];
        let fields = self.fields(body, "a trainer", &known);
        let method = fields.value("method").and_then(|value| self.method(value));
        let lr = fields
            .value("lr")
            .and_then(|value| self.per_iteration(value, &|checker, value| checker.real(value, "`lr`", 1e-12, 10.0)));
        let epochs = fields
            .value("epochs")
            .and_then(|value| self.per_iteration(value, &|checker, value| checker.small(value, "`epochs`", 1..=1000)));
        let decay = fields.value("decay").map(|value| self.decay(value));
        let batch = fields.value("batch").and_then(|value| self.small(value, "`batch`", 1..=1_000_000));
        let max_len = fields.value("max_len").map(|value| self.tokens(value, "`max_len`"));
        let clip = fields.value("clip").map(|value| self.real(value, "`clip`", 0.0, 1e6));
        let weight_decay = fields.value("weight_decay").map(|value| self.real(value, "`weight_decay`", 0.0, 10.0));
        let lora = fields.block("lora").map(|block| self.lora(block));
        let max_len = match max_len {
            None => None,
            Some(length) => Some(length?),
        };
        let lora = match lora {
            None => None,
            Some(lora) => Some(lora?),
        };
        Some(TrainerSpec {
            method: method?,
            lr: lr?,
            decay: decay.unwrap_or(Some(Decay::Constant { warmup: 0.0 }))?,
            epochs: epochs?,
            batch: batch?,
            max_len,
            clip: clip.unwrap_or(Some(1.0))?,
            weight_decay: weight_decay.unwrap_or(Some(0.0))?,
            lora,
        })
    }

    fn method(&mut self, value: &Expr) -> Option<Method> {
        let apply = self.choice(value, "`method`", &["sft", "weighted", "dpo", "kto", "grpo"])?;
        if apply.path.text() != "sft" {
            self.later(value.span, format!("the method `{}`", apply.path.text()));
            return None;
        }
        let Some(block) = &apply.block else {
            let (name, wanted) = ("sft".to_owned(), "sft { loss_on = agent }".to_owned());
            self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
            return None;
        };
        let fields = self.fields(block, "`sft`", &[required("loss_on")]);
        let words = [("agent", LossOn::Agent), ("all", LossOn::All)];
        let loss_on = fields.value("loss_on").and_then(|value| self.word(value, "`loss_on`", &words))?;
        Some(Method::Sft { loss_on })
    }

    fn decay(&mut self, value: &Expr) -> Option<Decay> {
        let apply = self.choice(value, "`decay`", &["constant", "cosine"])?;
        let mut warmup = 0.0;
        if let Some(block) = &apply.block {
            let fields = self.fields(block, "a decay", &[optional("warmup")]);
            if let Some(value) = fields.value("warmup") {
                warmup = match self.value(value)? {
                    Value::Percent(0.0) | Value::Int(0) => 0.0,
                    _ => self.share(value, "`warmup`")?,
                };
            }
        }
        Some(if apply.path.text() == "cosine" { Decay::Cosine { warmup } } else { Decay::Constant { warmup } })
    }

    /// `{ 1 => a, 2..3 => b, _ => c }`, or one value for all iterations.
    fn per_iteration<T: Copy>(
        &mut self,
        value: &Expr,
        read: &dyn Fn(&mut Self, &Expr) -> Option<T>,
    ) -> Option<PerIteration<T>> {
        let ExprKind::Cases(cases) = &value.kind else {
            return read(self, value).map(PerIteration::always);
        };
        let mut list: Vec<(u32, T)> = Vec::new();
        let mut otherwise = None;
        let mut fits = true;
        for case in cases {
            let read = read(self, &case.value);
            fits &= read.is_some();
            let Some(when) = &case.when else {
                otherwise = Some(read);
                continue;
            };
            let (low, high) = match self.value(when) {
                Some(Value::Int(at)) if (1..=1000).contains(&at) => (at as u32, at as u32),
                Some(Value::Range(low, high)) if low >= 1.0 && low <= high && high <= 1000.0 && low.fract() == 0.0 => {
                    (low as u32, high as u32)
                }
                None => {
                    fits = false;
                    continue;
                }
                Some(_) => {
                    fits = false;
                    self.error(CheckError::BadCase { span: when.span });
                    continue;
                }
            };
            if list.iter().any(|(at, _)| (low..=high).contains(at)) {
                fits = false;
                self.error(CheckError::CaseTwice { span: when.span });
            } else if let Some(read) = read {
                list.extend((low..=high).map(|at| (at, read)));
            }
        }
        list.sort_by_key(|(at, _)| *at);
        match otherwise {
            None => {
                self.error(CheckError::NoOtherwise { span: value.span });
                None
            }
            Some(otherwise) => {
                let otherwise = otherwise?;
                fits.then_some(PerIteration { cases: list, otherwise })
            }
        }
    }

    pub(super) fn critic(&mut self, body: &Block) -> Option<Critic> {
        let known = [
            required("model"),
            required("prompt"),
            required_block("answer"),
            required("on_unparsed"),
            optional("decode"),
            optional("max_tokens"),
            optional("kind"),
            later("votes"),
            later("panel"),
        ];
        let fields = self.fields(body, "a critic", &known);
        let model = fields.value("model").and_then(|value| self.named(value, Kind::Model));
        let prompt = fields.value("prompt").and_then(|value| {
            let id = self.named(value, Kind::Prompt)?;
            self.critic_prompt(id, value.span).then_some(id)
        });
        let answer = fields.block("answer").and_then(|block| self.answer(block));
        let words = [("drop", OnUnparsed::Drop), ("fail", OnUnparsed::Fail)];
        let on_unparsed = fields.value("on_unparsed").and_then(|value| self.word(value, "`on_unparsed`", &words));
        if let Some(value) = fields.value("kind") {
            let kinds = [("each", true), ("pairs", false), ("group", false)];
            if self.word(value, "`kind`", &kinds) == Some(false) {
                self.later(value.span, "a critic that compares");
            }
        }
        let max_tokens = match fields.value("max_tokens") {
            None => Some(CRITIC_TOKENS),
            Some(value) => self.tokens(value, "`max_tokens`"),
        };
        let sampling = match fields.value("decode") {
            None => max_tokens.map(Sampling::greedy),
            Some(value) => max_tokens.and_then(|max_tokens| self.decode(value, max_tokens)),
        };
        Some(Critic {
            model: ModelId(model?),
            prompt: PromptId(prompt?),
            answer: answer?,
            on_unparsed: on_unparsed?,
            sampling: sampling?,
        })
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

    fn answer(&mut self, block: &Block) -> Option<AnswerSchema> {
        let mut fields: Vec<AnswerField> = Vec::new();
        let mut fits = !block.broken;
        for entry in &block.entries {
            let name = entry.key.text();
            let EntryKind::Type(ty) = &entry.kind else {
                fits = false;
                if !matches!(entry.kind, EntryKind::Broken) {
                    let wanted = format!("{name}: int in 1..5");
                    self.error(CheckError::WrongForm { span: entry.span, name, wanted });
                }
                continue;
            };
            if let Some(first) = fields.iter().position(|field| field.name == name) {
                let first = block.entries[first].key.span;
                self.error(CheckError::FieldTwice { span: entry.key.span, name, first });
                fits = false;
                continue;
            }
            if let Some(by) = &ty.by {
                self.later(by.span, format!("`by {}`", by.value));
                fits = false;
            }
            let kind = match (ty.name.path.text().as_str(), &ty.within) {
                ("int", Some(within)) => self.answer_range(within),
                ("int", None) => {
                    self.error(CheckError::NoScale { span: ty.span, name: name.clone() });
                    None
                }
                ("bool", None) => Some(AnswerKind::Bool),
                ("text", None) => Some(AnswerKind::Text),
                ("bool" | "text", Some(within)) => {
                    self.error(CheckError::NotList { span: within.span, of: "only `int` has a range; this" });
                    None
                }
                (other, _) => {
                    let known = &["int", "bool", "text"];
                    let near = similar(other, *known);
                    self.error(CheckError::UnknownType { span: ty.name.span, name: other.to_owned(), near, known });
                    None
                }
            };
            fits &= kind.is_some();
            fields.extend(kind.map(|kind| AnswerField { name, kind }));
        }
        if fits && fields.is_empty() {
            self.error(CheckError::NoAnswer { span: block.span });
            return None;
        }
        fits.then_some(AnswerSchema { fields })
    }

    fn answer_range(&mut self, within: &Expr) -> Option<AnswerKind> {
        let (low, high) = self.range(within)?;
        if low.fract() != 0.0 || high.fract() != 0.0 || low == high {
            self.error(CheckError::EmptyRange { span: within.span, low, high });
            return None;
        }
        Some(AnswerKind::Int { min: low as i64, max: high as i64 })
    }

    /// `greedy` or `sample { temperature, top_p, top_k }`.
    pub(super) fn decode(&mut self, value: &Expr, max_tokens: u32) -> Option<Sampling> {
        let apply = self.choice(value, "`decode`", &["greedy", "sample"])?;
        if apply.path.text() == "greedy" {
            return Some(Sampling::greedy(max_tokens));
        }
        let Some(block) = &apply.block else {
            let (name, wanted) = ("sample".to_owned(), "sample { temperature = 0.7 }".to_owned());
            self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
            return None;
        };
        let fields = self.fields(block, "`sample`", &[required("temperature"), optional("top_p"), optional("top_k")]);
        let temperature = fields.value("temperature").and_then(|value| self.real(value, "`temperature`", 0.0, 10.0));
        let top_p = fields.value("top_p").map_or(Some(1.0), |value| self.real(value, "`top_p`", 1e-6, 1.0));
        let top_k = fields.value("top_k").map_or(Some(0), |value| self.small(value, "`top_k`", 1..=1_000_000));
        Some(Sampling { temperature: temperature?, top_p: top_p?, top_k: top_k?, max_tokens })
    }

    /// The environment and split that a path such as `desk.dev` names.
    pub(super) fn split(&mut self, path: &Path) -> Option<(EnvId, Split)> {
        let [env_name, split_name] = path.parts.as_slice() else {
            self.error(CheckError::NotSplit { span: path.span });
            return None;
        };
        let id = self.reference(env_name, Kind::Env)?;
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

    pub(super) fn critic_info(&self, id: CriticId) -> Option<&Critic> {
        self.critics[id.0].it.as_ref()
    }
}
