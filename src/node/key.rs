//! Turns a recipe into its key: what must be equal for a result to be used again. Here are the items that cost something
//! (episodes, critic's replies, trainings); a whole step's key is the plan's.
//!
//! A struct a kind of work; the `recipe!` macro writes struct, encoding and name from one list, so that a field cannot be
//! added without being in the key. `REV` is raised by hand when an operation's meaning changes.
//!
//! # Invariants
//! Never in a key: names, paths, comments, prices, budgets, concurrency, batch composition, timeouts, hosts, `until`,
//! `report`. A seed is made of root, stream, iteration, task and sample only: no order, thread count or statement name.

use crate::base::{Canonical, Digest, Hasher, Seed};
use crate::model::{Sampling, ToolCalls, ToolFormat, TrainConfig};
use crate::node::spec::AnswerSchema;

macro_rules! recipe {
    ($(#[$doc:meta])* $name:ident, $op:literal, $rev:literal { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty),* }

        impl $name {
            pub const OP: &'static str = $op;
            pub const REV: u64 = $rev;

            /// What must be equal for the result to be used again.
            pub fn key(&self) -> Digest {
                Hasher::new("agx-key/1").str(Self::OP).u64(Self::REV).put(self).finish()
            }
        }

        impl Canonical for $name {
            fn feed(&self, hasher: &mut Hasher) {
                let Self { $($field),* } = self;
                $(hasher.put($field);)*
            }
        }
    };
}

recipe!(
    /// One episode of a training rollout.
    RolloutKey, "rollout", 2 {
        env: Digest,
        task: Digest,
        prompt: Digest,
        /// Of the version's bytes: weights, adapter, tokenizer, chat template, precision.
        model: Digest,
        tool_format: ToolFormat,
        tool_calls: ToolCalls,
        sampling: Sampling,
        max_steps: u32,
        stream: String,
        iteration: u32,
        sample: u32,
        seed: Seed,
    }
);

recipe!(
    /// One episode of an evaluation: as a rollout, without iteration and stream, so that equal weights share results.
    EvaluateKey, "evaluate", 2 {
        env: Digest,
        task: Digest,
        prompt: Digest,
        model: Digest,
        tool_format: ToolFormat,
        tool_calls: ToolCalls,
        sampling: Sampling,
        max_steps: u32,
        sample: u32,
        seed: Seed,
    }
);

recipe!(
    /// One question to a critic. The reply is kept raw, so reading it otherwise costs no call.
    JudgeKey, "judge", 1 {
        model: Digest,
        sampling: Sampling,
        /// Of the rendered messages, which hold the answer's instructions.
        messages: Digest,
        answer: AnswerSchema,
        vote: u32,
        seed: Seed,
    }
);

recipe!(
    TrainKey, "train", 2 {
        /// What is declared: config, tokenizer, chat template, precision.
        model: Digest,
        /// The weights it starts from; `None` as declared.
        start: Option<Digest>,
        /// Of the tokenised rows, in order.
        rows: Digest,
        config: TrainConfig,
        seed: Seed,
    }
);

/// The seed of one item, by the id of its task: `blake3(root, stream, iteration, task, sample)`. An evaluation passes iteration 0.
pub fn item_seed(root: Seed, stream: &str, iteration: u32, task: &str, sample: u32) -> Seed {
    root.derive(stream).derive(iteration).derive(task).derive(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decay, LossOn, Method};
    use crate::node::spec::{AnswerField, AnswerKind};
    use std::collections::BTreeSet;

    fn digest(name: &str) -> Digest {
        Digest::of_bytes(name.as_bytes())
    }

    /// Every change gives a key of its own, and none gives the first one's.
    fn all_differ<T: Clone>(first: &T, key: impl Fn(&T) -> Digest, changes: &[fn(&mut T)]) {
        let mut keys = BTreeSet::from([key(first)]);
        for (at, change) in changes.iter().enumerate() {
            let mut changed = first.clone();
            change(&mut changed);
            assert!(keys.insert(key(&changed)), "change {at} is not in the key");
        }
        assert_eq!(key(first), key(&first.clone()));
    }

    fn rollout() -> RolloutKey {
        RolloutKey {
            env: digest("env"),
            task: digest("task"),
            prompt: digest("prompt"),
            model: digest("model"),
            tool_format: ToolFormat::Lines,
            tool_calls: ToolCalls::Drawn,
            sampling: Sampling::drawn(64),
            max_steps: 6,
            stream: "rollout".to_owned(),
            iteration: 1,
            sample: 0,
            seed: Seed(7),
        }
    }

    /// The two traps of every such cache are among them: samples of one prompt collapsing into one, and sampling settings
    /// that are missing from the key.
    #[test]
    fn everything_that_decides_an_episode_is_in_its_key() {
        all_differ(
            &rollout(),
            RolloutKey::key,
            &[
                |it| it.env = digest("other"),
                |it| it.task = digest("other"),
                |it| it.prompt = digest("other"),
                |it| it.model = digest("other"),
                |it| it.tool_format = ToolFormat::Json,
                |it| it.tool_calls = ToolCalls::WellFormed,
                |it| it.sampling.temperature = 0.9,
                |it| it.sampling.top_p = 0.9,
                |it| it.sampling.top_k = 40,
                |it| it.sampling.min_p = 0.1,
                |it| it.sampling.repetition_penalty = 1.1,
                |it| it.sampling.max_tokens = 65,
                |it| it.max_steps = 7,
                |it| it.stream = "again".to_owned(),
                |it| it.iteration = 2,
                |it| it.sample = 1,
                |it| it.seed = Seed(8),
            ],
        );
    }

    fn evaluation() -> EvaluateKey {
        let RolloutKey { env, task, prompt, model, tool_format, tool_calls, sampling, max_steps, sample, seed, .. } =
            rollout();
        EvaluateKey { env, task, prompt, model, tool_format, tool_calls, sampling, max_steps, sample, seed }
    }

    #[test]
    fn everything_that_decides_an_evaluation_is_in_its_key() {
        let first = evaluation();
        assert_ne!(first.key(), rollout().key());
        all_differ(
            &first,
            EvaluateKey::key,
            &[
                |it| it.env = digest("other"),
                |it| it.task = digest("other"),
                |it| it.prompt = digest("other"),
                |it| it.model = digest("other"),
                |it| it.tool_format = ToolFormat::Json,
                |it| it.tool_calls = ToolCalls::WellFormed,
                |it| it.sampling.temperature = 0.0,
                |it| it.sampling.max_tokens = 65,
                |it| it.max_steps = 7,
                |it| it.sample = 1,
                |it| it.seed = Seed(8),
            ],
        );
    }

    fn question() -> JudgeKey {
        let field =
            AnswerField { name: "score".to_owned(), kind: AnswerKind::Int { min: 0, max: 4 }, expectation: false };
        JudgeKey {
            model: digest("model"),
            sampling: Sampling::greedy(8),
            messages: digest("messages"),
            answer: AnswerSchema { fields: vec![field] },
            vote: 0,
            seed: Seed(7),
        }
    }

    #[test]
    fn everything_that_decides_a_reply_is_in_its_key() {
        all_differ(
            &question(),
            JudgeKey::key,
            &[
                |it| it.model = digest("other"),
                |it| it.sampling.temperature = 0.7,
                |it| it.sampling.top_p = 0.5,
                |it| it.sampling.top_k = 1,
                |it| it.sampling.max_tokens = 9,
                |it| it.messages = digest("other"),
                |it| it.answer.fields[0].kind = AnswerKind::Bool,
                |it| it.answer.fields[0].name = "mark".to_owned(),
                |it| it.vote = 1,
                |it| it.seed = Seed(8),
            ],
        );
    }

    fn training() -> TrainKey {
        let config = TrainConfig {
            method: Method::Sft { loss_on: LossOn::Agent },
            lr: 1e-3,
            decay: Decay::Cosine { warmup: 0.1 },
            epochs: 3,
            batch: 32,
            max_len: None,
            clip: 1.0,
            weight_decay: 0.0,
            lora: None,
            accumulate: 1,
            recompute: false,
            command: None,
        };
        TrainKey { model: digest("model"), start: None, rows: digest("rows"), config, seed: Seed(7) }
    }

    #[test]
    fn everything_that_decides_a_training_is_in_its_key() {
        all_differ(
            &training(),
            TrainKey::key,
            &[
                |it| it.model = digest("other"),
                |it| it.start = Some(digest("start")),
                |it| it.rows = digest("other"),
                |it| it.config.lr = 2e-3,
                |it| it.config.epochs = 4,
                |it| it.config.batch = 16,
                |it| it.config.decay = Decay::Constant { warmup: 0.1 },
                |it| it.config.max_len = Some(512),
                |it| it.config.method = Method::Sft { loss_on: LossOn::All },
                |it| it.seed = Seed(8),
            ],
        );
    }

    #[test]
    fn a_seed_is_of_stream_iteration_task_and_sample() {
        let first = item_seed(Seed(7), "rollout", 1, "a", 0);
        let others = [
            item_seed(Seed(8), "rollout", 1, "a", 0),
            item_seed(Seed(7), "judge", 1, "a", 0),
            item_seed(Seed(7), "rollout", 2, "a", 0),
            item_seed(Seed(7), "rollout", 1, "b", 0),
            item_seed(Seed(7), "rollout", 1, "a", 1),
        ];
        assert!(others.iter().all(|other| *other != first));
    }

    /// The written contract: these change only together with a raised `REV`.
    #[test]
    fn a_key_is_what_it_was() {
        let keys = [rollout().key(), evaluation().key(), question().key(), training().key()];
        assert_eq!(keys.map(|key| key.short()), ["185ab46dade5", "c90748df11a0", "ccae8d9e67e3", "f44663a3da71"]);
    }
}
