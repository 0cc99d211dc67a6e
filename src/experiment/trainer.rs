//! Turns the block of a trainer into its recipe, with values that may differ by iteration, and the block of a LoRA.

use super::Checker;
use super::error::CheckError;
use super::fields::{later, optional, optional_block, required};
use super::value::Value;
use crate::model::{Decay, LoraConfig, LossOn, Method};
use crate::node::spec::{PerIteration, TrainerSpec};
use crate::syntax::ast::{Block, Expr, ExprKind};

impl Checker<'_> {
    pub(super) fn lora(&mut self, block: &Block) -> Option<LoraConfig> {
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
}
