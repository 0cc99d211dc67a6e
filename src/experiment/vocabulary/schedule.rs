//! The blocks of an experiment, of its statements, and of a rule's stages.

use super::{Field, Owner, Takes, Unit, Word, field, word};
use crate::experiment::scope::Kind;

pub const EXPERIMENT: Owner = Owner {
    words: "an experiment",
    doc: "The entry point: the seed, what happens in which order, and what is shown.",
    fields: &[
        field("seed", Takes::Whole { low: 0, high: u64::MAX }, "Every draw of the run comes from it.").required(),
        field("budget", Takes::Block(&BUDGET), "What may be spent before the run pauses."),
        field("schedule", Takes::Statements, "The statements, in order.").required(),
        field("report", Takes::Statements, "The curves and tables of the report."),
    ],
};

pub const BUDGET: Owner = Owner {
    words: "a budget",
    doc: "Pauses the run before it takes more; `agx resume --no-budget` goes on. It is in no key and decides no result.",
    fields: &[
        field("spend", Takes::Quantity(Unit::Money), "Money for remote models."),
        field("wall", Takes::Quantity(Unit::Time), "Time that the run is worked on, over all its sittings."),
        field("tokens", Takes::Quantity(Unit::Tokens), "Tokens sent to and from models; a training's are not counted."),
    ],
};

const PROMPT: Field = field("prompt", Takes::Name(Kind::Prompt), "What the agent is told first.");
const SAMPLES: Field = field("samples", Takes::PerTask, "Episodes a task.");
const TEMPERATURE: Field =
    field("temperature", Takes::Real { low: 0.0, high: 10.0 }, "How freely tokens are drawn; 0 is greedy.");
const TOP_P: Field =
    field("top_p", Takes::Real { low: 1e-6, high: 1.0 }, "Draw among the likeliest tokens that hold this share.");
const TOP_K: Field =
    field("top_k", Takes::Whole { low: 1, high: 1_000_000 }, "Draw among so many of the likeliest tokens.");
const MIN_P: Field = field(
    "min_p",
    Takes::Real { low: 0.0, high: 1.0 },
    "Draw among the tokens that have at least this share of the likeliest one's probability.",
);
const REPETITION_PENALTY: Field = field(
    "repetition_penalty",
    Takes::Real { low: 0.1, high: 10.0 },
    "Above 1, tokens that stood in prompt or reply already are less likely.",
);
const MAX_TOKENS: Field = field("max_tokens", Takes::Quantity(Unit::Tokens), "How long one turn may be.");
const DECODED: Field = field("decode", Takes::Words(DECODE), "How tokens are chosen.");

const MAX_FAILED: Field =
    field("max_failed", Takes::Some, "With how many failed items the node still completes; they are missing then.")
        .or("0");
const TIMEOUT: Field =
    field("timeout", Takes::Quantity(Unit::Time), "How long an item may take. One that takes longer counts as failed.");
const RETRIES: Field =
    field("retries", Takes::Whole { low: 0, high: 100 }, "How often an item that failed is worked again.").or("0");

pub(super) const DECODE: &[Word] = &[
    word("greedy", "Always the likeliest token."),
    word("sample", "Drawn.").written("sample { temperature = 0.7 }").with(&SAMPLE),
];

pub const SAMPLE: Owner = Owner {
    words: "`sample`",
    doc: "How tokens are drawn.",
    fields: &[
        TEMPERATURE.required(),
        TOP_P.or("1"),
        TOP_K.or("all of them"),
        MIN_P.or("0"),
        REPETITION_PENALTY.or("1"),
    ],
};

pub const ROLLOUT: Owner = Owner {
    words: "`rollout`",
    doc: "Lets a model work on the tasks of a split: the rows are trajectories.",
    fields: &[
        PROMPT.required(),
        SAMPLES.or("1 per task"),
        TEMPERATURE.or("1").per_iteration(),
        TOP_P.or("1").per_iteration(),
        TOP_K.or("all of them").per_iteration(),
        MIN_P.or("0").per_iteration(),
        REPETITION_PENALTY.or("1").per_iteration(),
        MAX_TOKENS.or("128 tokens"),
        DECODED,
        field(
            "stream",
            Takes::Whole { low: 0, high: u64::MAX },
            "Another number draws other samples from the same seed.",
        )
        .or("0")
        .later(),
        MAX_FAILED,
        TIMEOUT,
        RETRIES,
    ],
};

pub const JUDGE: Owner =
    Owner { words: "`judge`", doc: "Asks a critic about rows.", fields: &[MAX_FAILED, TIMEOUT, RETRIES] };

pub const EVALUATE: Owner = Owner {
    words: "`evaluate`",
    doc: "Measures a version on a split. Equal versions share their results.",
    fields: &[
        PROMPT.or("the one its rollouts use"),
        DECODED.or("greedy"),
        SAMPLES.or("1 per task"),
        MAX_TOKENS.or("128 tokens"),
        field(
            "best_by",
            Takes::Name(Kind::Critic),
            "Of a task's samples, only the one that this critic likes best counts.",
        )
        .later(),
        MAX_FAILED,
        TIMEOUT,
        RETRIES,
    ],
};

pub const TOP: Owner = Owner {
    words: "`top`",
    doc: "The best share of the rows.",
    fields: &[field("ties", Takes::Words(TIES), "What becomes of rows that are equal at the cut.").or("keep")],
};

const TIES: &[Word] =
    &[word("keep", "All stay, so that no task is favoured by its place."), word("sample", "Some are drawn.")];

/// What may follow `require at least N else`.
pub const ELSE: &[Word] = &[
    word("fail", "The node fails."),
    word("stop", "The loop ends, as if `until` held."),
    word("skip", "This iteration trains on nothing: its version equals the one it started from."),
];

pub const ADD: Owner = Owner {
    words: "`add`",
    doc: "`add demos { score = 4 }`: rows of a dataset beside the judged ones, with the columns they lack.",
    fields: &[],
};
