//! Turns a `train` statement into its typed form: what may be learned from, and where a round starts.
//!
//! # Invariants
//! Where a training starts is always written. Labelled data and held-out tasks train nothing, but for labelled data under
//! `unstable(oracle)`.

use super::Checker;
use super::error::CheckError;
use super::model::{Critic, CriticId, DatasetId, Mixed, ModelId, Statement, TrainData, TrainerId};
use super::schedule::{Flow, Made};
use super::scope::Kind;
use crate::base::Span;
use crate::model::{Method, ModelSpec, Source};
use crate::syntax::ast::{Path, Slot, Train};

impl Checker<'_> {
    pub(super) fn train(&mut self, train: &Train, span: Span, flow: &mut Flow) -> Option<Statement> {
        let model = self.reference_path(&train.model, Kind::Model);
        let on = self.train_data(&train.on, train.through.as_ref(), flow);
        let mixed: Vec<Option<Mixed>> = train.mixed.iter().map(|mixed| self.mixed(mixed)).collect();
        if let [_, second, ..] = train.mixed.as_slice() {
            self.later(second.dataset.span, "`mixed with` twice");
        }
        if let Some(model) = model
            && let Some(ModelSpec { source: Source::Remote(_), .. }) = self.models[model].it
        {
            self.error(CheckError::TrainsRemote { span: train.model.span, name: train.model.text() });
        }
        let end = Span { start: span.end, end: span.end };
        let mut missing = |clause, help, edit| self.error(CheckError::MissingClause { span, end, clause, help, edit });
        if train.with.is_none() {
            missing("with", "name the recipe: `with sft`", None);
        }
        if train.from.is_none() {
            let help = "`from @prev` goes on from the newest version, `from @start` from before the loop, `from @0` from what \
                        is declared";
            missing("from", help, Some(" from @prev"));
        }
        let trainer = train.with.as_ref().and_then(|path| self.trainer_id(path));
        let from = match (&train.from, model) {
            (Some(version), Some(model)) => self.version(version, ModelId(model), flow),
            _ => None,
        };
        let reference = match (&train.reference, model) {
            (Some(version), Some(model)) => Some(self.version(version, ModelId(model), flow)),
            (Some(_), None) => Some(None),
            (None, _) => None,
        };
        if let Some(trainer) = trainer {
            self.fits(train, trainer, span, flow);
        }
        if let Some(model) = model {
            flow.changed.insert(self.models[model].name.clone(), flow.place.clone());
            *flow.versions.entry(ModelId(model)).or_default() += 1;
        }
        let mixed: Option<Vec<Mixed>> = mixed.into_iter().collect();
        let mixed = mixed?;
        let share: f64 = mixed.iter().map(|mixed| mixed.share).sum();
        if let [_, .., last] = train.mixed.as_slice()
            && share >= 1.0
        {
            let of = "all shares of `mixed with` together, in percent,".to_owned();
            let (span, value) = (last.share.span, share * 100.0);
            self.error(CheckError::Range { span, of, value, low: 0.0, high: 99.0, declared: None });
            return None;
        }
        let reference = match reference {
            None => None,
            Some(reference) => Some(reference?),
        };
        Some(Statement::Train { model: ModelId(model?), on: on?, mixed, trainer: trainer?, from: from?, reference })
    }

    /// Whether the recipe can learn from such rows: pairs, rows with a weight, a reference where it needs one.
    fn fits(&mut self, train: &Train, trainer: TrainerId, span: Span, flow: &Flow) {
        let Some(spec) = &self.trainers[trainer.0].it else { return };
        let method = spec.method.otherwise;
        let refers = method.refers();
        match &train.reference {
            None if refers => {
                let end = Span { start: span.end, end: span.end };
                let help =
                    "`reference @prev` holds it to the model the round starts with, `reference @0` to what is declared";
                let edit = Some(" reference @prev");
                self.error(CheckError::MissingClause { span, end, clause: "reference", help, edit });
            }
            Some(reference) if !refers => {
                let name = self.trainers[trainer.0].name.clone();
                self.error(CheckError::NoReference { span: reference.span, name });
            }
            _ => {}
        }
        let binding = flow.names.get(&train.on.path.text());
        let (pairs, weighted, samples) = match binding.map(|binding| &binding.made) {
            Some(Made::Rows(rows)) => (rows.pairs, rows.weighted, rows.samples),
            Some(_) => return,
            None => (false, false, 1),
        };
        let (why, help) = match method {
            Method::Sft { .. } | Method::Weighted { .. } | Method::Grpo { .. } if pairs => (
                "learns from rows, and these are pairs",
                "train on pairs with `dpo` or `kto`, or leave `pair` out of the rule",
            ),
            Method::Dpo { .. } if !pairs => {
                ("learns from pairs, and these are rows", "end the rule with `pair best with worst per task by …`")
            }
            Method::Kto { .. } if !pairs && !weighted => (
                "learns from pairs or from rows with a weight, and these have none",
                "add `weight by …` to the rule: above zero is wanted",
            ),
            Method::Weighted { .. } | Method::Grpo { .. } if !weighted => {
                ("learns from rows with a weight, and these have none", "add `weight by …` to the rule")
            }
            Method::Sft { .. } if weighted => (
                "does not read the weights of these rows",
                "use `weighted { … }`, or leave `weight by` out of the rule",
            ),
            Method::Grpo { .. } if samples < 2 => {
                ("compares the samples of a task, of which there is one", "roll out with `samples = 8 per task`")
            }
            _ => return,
        };
        let name = self.trainers[trainer.0].name.clone();
        let span = train.with.as_ref().map_or(span, |path| path.span);
        let declared = binding.map(|binding| binding.span);
        self.error(CheckError::TrainerMisfit { span, name, why, help, declared });
    }

    fn train_data(&mut self, on: &Slot, through: Option<&Path>, flow: &mut Flow) -> Option<TrainData> {
        let name = on.path.text();
        let is_dataset = matches!(self.symbols.find(&name), Some((Some(Kind::Dataset), _)));
        if !flow.names.contains_key(&name) && (is_dataset || through.is_some()) {
            return self.train_dataset(on, through);
        }
        if let Some(through) = through {
            self.error(CheckError::ThroughRows { span: through.span });
            return None;
        }
        let (reference, rows) = self.rows(on, flow)?;
        if rows.held_out {
            self.error(CheckError::TrainsHeldOut { span: on.span, split: rows.split });
            return None;
        }
        flow.trained.insert((rows.env, rows.split.clone()));
        if rows.low == 0 {
            let declared = flow.names.get(&reference.name).map(|binding| binding.span);
            self.error(CheckError::MayBeEmpty { span: on.span, name: reference.name, declared });
            return None;
        }
        Some(TrainData::Rows(reference))
    }

    fn train_dataset(&mut self, on: &Slot, through: Option<&Path>) -> Option<TrainData> {
        if let Some(version) = &on.version {
            self.error(CheckError::NoVersion { span: version.span, help: "a dataset has no versions".to_owned() });
            return None;
        }
        let dataset = self.reference_path(&on.path, Kind::Dataset);
        let critic = through.map(|path| self.reference_path(path, Kind::Critic));
        let dataset = dataset?;
        let labelled = self.datasets[dataset].it.as_ref()?.labelled;
        if labelled && !self.has_oracle() {
            let what = format!("`{}` is labelled by ground truth", on.path.text());
            self.error(CheckError::NeedsOracle { span: on.span, what });
            return None;
        }
        match critic {
            None if labelled => {
                self.error(CheckError::NeedsThrough { span: on.span, name: on.path.text() });
                None
            }
            None => Some(TrainData::Dataset(DatasetId(dataset))),
            Some(_) if !labelled => {
                self.error(CheckError::NotLabelled { span: on.span, name: on.path.text() });
                None
            }
            Some(critic) => {
                let critic = critic?;
                if matches!(self.critics[critic].it.as_ref()?.it, Critic::Panel(_)) {
                    let name = self.critics[critic].name.clone();
                    let (span, wanted) =
                        (through.map_or(on.span, |path| path.span), "the name of one of its members".to_owned());
                    self.error(CheckError::Arguments { span, wanted, name });
                    return None;
                }
                if self.compares(critic, through.map_or(on.span, |path| path.span)) {
                    return None;
                }
                Some(TrainData::Through { dataset: DatasetId(dataset), critic: CriticId(critic) })
            }
        }
    }

    fn mixed(&mut self, mixed: &crate::syntax::ast::Mixed) -> Option<Mixed> {
        let share = self.share(&mixed.share, "the share of `mixed with`");
        let dataset = self.reference_path(&mixed.dataset, Kind::Dataset)?;
        if self.datasets[dataset].it.as_ref()?.labelled {
            // Even an oracle's run needs a critic's prompt around a label.
            let what = format!("`{}` is labelled by ground truth", mixed.dataset.text());
            if self.has_oracle() {
                self.error(CheckError::NeedsThrough { span: mixed.dataset.span, name: mixed.dataset.text() });
            } else {
                self.error(CheckError::NeedsOracle { span: mixed.dataset.span, what });
            }
            return None;
        }
        let share = share?;
        if share >= 1.0 {
            let of = "the share of `mixed with`, in percent,".to_owned();
            self.error(CheckError::Range {
                span: mixed.share.span,
                of,
                value: 100.0,
                low: 0.0,
                high: 99.0,
                declared: None,
            });
            return None;
        }
        Some(Mixed { share, dataset: DatasetId(dataset) })
    }
}
