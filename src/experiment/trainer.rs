//! Turns the block of a trainer into its recipe, with values that may differ by iteration, and the block of a LoRA.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, Given};
use super::value::Value;
use super::vocabulary::{self, Takes};
use crate::model::{Decay, DpoLoss, LoraConfig, LossOn, Method, Scale};
use crate::node::spec::{PerIteration, TrainerSpec};
use crate::syntax::ast::{Block, Expr, ExprKind};

impl Checker<'_> {
    pub(super) fn lora(&mut self, block: &Block) -> Option<LoraConfig> {
        let fields = self.fields(block, &vocabulary::LORA);
        let rank = self.small_of(&fields, "rank").flatten();
        let alpha = self.real_of(&fields, "alpha").flatten();
        let dropout = self.real_of(&fields, "dropout");
        let attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
        let mlp = ["gate_proj", "up_proj", "down_proj"];
        let linears = [attention.as_slice(), mlp.as_slice()].concat();
        let Some(Takes::WordList(words)) = vocabulary::LORA.field("on").map(|field| &field.takes) else {
            unreachable!("`on` is a list of words")
        };
        let mut on: Vec<String> = Vec::new();
        let mut fits = true;
        match fields.value("on") {
            None => on.extend(linears.iter().map(|name| (*name).to_owned())),
            Some(Expr { kind: ExprKind::List(items), span }) => {
                if items.is_empty() {
                    fits = false;
                    self.error(CheckError::EmptyList { span: *span, of: "`on`".to_owned() });
                }
                for item in items {
                    let chosen = self.choice(item, "`on`", words).map(|(_, word)| word.name);
                    fits &= chosen.is_some();
                    match chosen {
                        Some("attention") => on.extend(attention.map(str::to_owned)),
                        Some("mlp") => on.extend(mlp.map(str::to_owned)),
                        other => on.extend(other.map(str::to_owned)),
                    }
                }
            }
            Some(value) => {
                fits = false;
                self.error(CheckError::NotList { span: value.span, of: "`on`".to_owned() });
            }
        }
        // In the model's order, each once: how they are listed changes nothing.
        let on: Vec<String> =
            linears.into_iter().filter(|name| on.iter().any(|o| o == name)).map(str::to_owned).collect();
        fits.then_some(LoraConfig { rank: rank?, alpha: alpha?, dropout: dropout.unwrap_or(Some(0.0))?, on })
    }

    pub(super) fn trainer(&mut self, body: &Block) -> Option<TrainerSpec> {
        let fields = self.fields(body, &vocabulary::TRAINER);
        let method = self.method(&fields);
        let lr = self.real_each(&fields, "lr").flatten();
        let epochs = self.small_each(&fields, "epochs").flatten();
        let decay = fields.given("decay").map(|(value, _)| self.per_iteration(value, &|it, value| it.decay(value)));
        let batch = self.small_each(&fields, "batch").flatten();
        let accumulate = self.small_of(&fields, "accumulate").unwrap_or(Some(1));
        let recompute = self.bool_of(&fields, "recompute").unwrap_or(Some(false));
        let command = fields.given("command").map(|(value, _)| self.texts(value, "`command`"));
        let max_len = self.tokens_of(&fields, "max_len");
        let clip = self.real_of(&fields, "clip");
        let weight_decay = self.real_of(&fields, "weight_decay");
        let lora = fields.block("lora").map(|block| self.lora(block));
        let max_len = match max_len {
            None => None,
            Some(length) => Some(length?),
        };
        let lora = match lora {
            None => None,
            Some(lora) => Some(lora?),
        };
        let command = match command {
            None => None,
            Some(command) => Some(command?),
        };
        Some(TrainerSpec {
            method: method?,
            lr: lr?,
            decay: decay.unwrap_or(Some(PerIteration::always(Decay::Constant { warmup: 0.0 })))?,
            epochs: epochs?,
            batch: batch?,
            max_len,
            clip: clip.unwrap_or(Some(1.0))?,
            weight_decay: weight_decay.unwrap_or(Some(0.0))?,
            lora,
            accumulate: accumulate?,
            recompute: recompute?,
            command,
        })
    }

    fn method(&mut self, fields: &Fields) -> Option<PerIteration<Method>> {
        let (apply, word) = self.choice_of(fields, "method")??;
        let block = self.due_block(apply, word)?;
        let owner = word.block.expect("every method has its block");
        let fields = self.fields(block, owner);
        let losses = [("agent", LossOn::Agent), ("all", LossOn::All)];
        match word.name {
            "sft" => {
                let loss_on = self.word_of(&fields, "loss_on", &losses)??;
                Some(PerIteration::always(Method::Sft { loss_on }))
            }
            "weighted" => {
                let loss_on = self.word_of(&fields, "loss_on", &losses)??;
                Some(PerIteration::always(Method::Weighted { loss_on }))
            }
            "dpo" => {
                let beta = self.real_each(&fields, "beta").flatten();
                let losses = [("sigmoid", DpoLoss::Sigmoid), ("ipo", DpoLoss::Ipo)];
                let loss = self.word_of(&fields, "loss", &losses).unwrap_or(Some(DpoLoss::Sigmoid));
                let smoothing = self.real_of(&fields, "smoothing").unwrap_or(Some(0.0));
                let nll = self.real_of(&fields, "nll").unwrap_or(Some(0.0));
                let (loss, smoothing, nll) = (loss?, smoothing?, nll?);
                Some(beta?.map(|beta| Method::Dpo { beta, loss, smoothing, nll }))
            }
            "kto" => {
                let beta = self.real_each(&fields, "beta").flatten();
                let wanted = self.real_of(&fields, "wanted").unwrap_or(Some(1.0));
                let unwanted = self.real_of(&fields, "unwanted").unwrap_or(Some(1.0));
                let (wanted, unwanted) = (wanted?, unwanted?);
                Some(beta?.map(|beta| Method::Kto { beta, wanted, unwanted }))
            }
            _ => {
                let beta = self.real_each(&fields, "beta").flatten();
                let epsilon = self.real_of(&fields, "epsilon").unwrap_or(Some(0.2));
                let scales = [("std", Scale::Std), ("none", Scale::None)];
                let scale = self.word_of(&fields, "scale", &scales).unwrap_or(Some(Scale::Std));
                let (epsilon, scale) = (epsilon?, scale?);
                Some(beta?.map(|beta| Method::Grpo { beta, epsilon, scale }))
            }
        }
    }

    fn decay(&mut self, value: &Expr) -> Option<Decay> {
        let Some(Takes::Words(words)) = vocabulary::TRAINER.field("decay").map(|field| &field.takes) else {
            unreachable!("`decay` is one of a few words")
        };
        let (apply, word) = self.choice(value, "`decay`", words)?;
        let mut warmup = 0.0;
        if let Some(block) = &apply.block {
            let fields = self.fields(block, &vocabulary::DECAY);
            if let Some(value) = fields.value("warmup") {
                warmup = match self.value(value)? {
                    Value::Percent(0.0) | Value::Int(0) => 0.0,
                    _ => self.share(value, "`warmup`")?,
                };
            }
        }
        Some(match word.name {
            "constant" => Decay::Constant { warmup },
            "linear" => Decay::Linear { warmup },
            _ => Decay::Cosine { warmup },
        })
    }

    pub(super) fn real_each(&mut self, fields: &Fields, name: &str) -> Given<PerIteration<f64>> {
        let (value, field) = fields.given(name)?;
        debug_assert!(field.per_iteration, "`{name}` may differ by iteration");
        Some(self.per_iteration(value, &|checker, value| checker.real_as(value, field)))
    }

    pub(super) fn small_each(&mut self, fields: &Fields, name: &str) -> Given<PerIteration<u32>> {
        let (value, field) = fields.given(name)?;
        debug_assert!(field.per_iteration, "`{name}` may differ by iteration");
        Some(self.per_iteration(value, &|checker, value| checker.small_as(value, field)))
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
