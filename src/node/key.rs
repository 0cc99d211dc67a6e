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
use crate::env::Task;
use crate::model::{Sampling, ToolFormat, TrainConfig};
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
    RolloutKey, "rollout", 1 {
        env: Digest,
        task: Digest,
        prompt: Digest,
        /// Of the version's bytes: weights, adapter, tokenizer, chat template, precision.
        model: Digest,
        tool_format: ToolFormat,
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
    EvaluateKey, "evaluate", 1 {
        env: Digest,
        task: Digest,
        prompt: Digest,
        model: Digest,
        tool_format: ToolFormat,
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
    TrainKey, "train", 1 {
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

/// The seed of one item: `blake3(root, stream, iteration, task, sample)`. An evaluation passes iteration 0.
pub fn item_seed(root: Seed, stream: &str, iteration: u32, task: &Task, sample: u32) -> Seed {
    root.derive(stream).derive(iteration).derive(task.id.as_str()).derive(sample)
}
