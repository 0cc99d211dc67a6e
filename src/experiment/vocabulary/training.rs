//! The blocks of trainers: the recipe, each method's own, the decay of the rate.

use super::{Field, Owner, Takes, Unit, Word, field, word};

pub const TRAINER: Owner = Owner {
    words: "a trainer",
    doc: "A training recipe. A value may differ by iteration: `lr = { 1 => 1e-6, _ => 5e-7 }`.",
    fields: &[
        field("method", Takes::Words(METHODS), "What is learned from a row.").required(),
        field("lr", Takes::Real { low: 1e-12, high: 10.0 }, "The peak learning rate.").required().per_iteration(),
        field("decay", Takes::Words(DECAYS), "How the rate changes.").or("constant").per_iteration(),
        field("epochs", Takes::Whole { low: 1, high: 1000 }, "Passes over the rows.").required().per_iteration(),
        field("batch", Takes::Whole { low: 1, high: 1_000_000 }, "Rows an optimiser step.").required().per_iteration(),
        field(
            "accumulate",
            Takes::Whole { low: 1, high: 100_000 },
            "Parts that a batch is worked in: less memory, the same step.",
        )
        .or("1"),
        field("recompute", Takes::Bool, "Less memory for a third more work: what a layer needs for its gradient is worked out again; never changes what is learned.")
            .or("false"),
        field("max_len", Takes::Quantity(Unit::Tokens), "Longer rows are refused.").or("the model's context"),
        field("clip", Takes::Real { low: 0.0, high: 1e6 }, "The gradient's norm is clipped to this; 0 never clips.")
            .or("1"),
        field("weight_decay", Takes::Real { low: 0.0, high: 10.0 }, "AdamW's.").or("0"),
        field("lora", Takes::Block(&super::LORA), "An adapter instead of all weights.").or("the model's"),
        field(
            "command",
            Takes::Texts,
            "Train by an outside program, which gets the data set and gives an adapter back.",
        )
        .later(),
    ],
};

const METHODS: &[Word] = &[
    word("sft", "Supervised fine-tuning: negative log-likelihood.").written("sft { loss_on = agent }").with(&SFT),
    word("weighted", "The same, each row counting by the rule's `weight by`.")
        .written("weighted { loss_on = agent }")
        .with(&WEIGHTED)
        .later(),
    word("dpo", "Direct preference optimisation (Rafailov et al. 2023), on pairs.")
        .written("dpo { beta = 0.1 }")
        .with(&DPO)
        .later(),
    word("kto", "Kahneman-Tversky optimisation (Ethayarajh et al. 2024), on pairs taken apart or rows with a weight.")
        .written("kto { beta = 0.1 }")
        .with(&KTO)
        .later(),
    word("grpo", "Group-relative policy optimisation (Shao et al. 2024): the rule's `weight by` is the reward.")
        .written("grpo { beta = 0.04 }")
        .with(&GRPO)
        .later(),
];

const LOSS_ON: Field = field("loss_on", Takes::Words(LOSSES), "Which tokens of a row are learned.").required();

const LOSSES: &[Word] = &[word("agent", "What the agent wrote."), word("all", "Every token.")];

const BETA: Field =
    field("beta", Takes::Real { low: 0.0, high: 100.0 }, "How strongly it is held to the reference model.");

pub const SFT: Owner =
    Owner { words: "`sft`", doc: "Mean negative log-likelihood of the learned tokens of a batch.", fields: &[LOSS_ON] };

pub const WEIGHTED: Owner =
    Owner { words: "`weighted`", doc: "As `sft`, with each row's loss multiplied by its weight.", fields: &[LOSS_ON] };

pub const DPO: Owner = Owner {
    words: "`dpo`",
    doc: "Raises the likelihood of the chosen trajectory over the rejected one, against a reference model.",
    fields: &[
        BETA.required().per_iteration(),
        field("loss", Takes::Words(DPO_LOSSES), "What a pair's margin costs.").or("sigmoid"),
        field(
            "smoothing",
            Takes::Real { low: 0.0, high: 0.499 },
            "Share of pairs that are taken to be the wrong way round.",
        )
        .or("0"),
        field(
            "nll",
            Takes::Real { low: 0.0, high: 100.0 },
            "How much the chosen's own likelihood counts beside the margin.",
        )
        .or("0"),
    ],
};

const DPO_LOSSES: &[Word] =
    &[word("sigmoid", "As published."), word("ipo", "The squared distance to a margin (Azar et al. 2023).")];

pub const KTO: Owner = Owner {
    words: "`kto`",
    doc: "Learns from single trajectories that are wanted or not: the two halves of pairs, or rows whose weight is above zero or not.",
    fields: &[
        BETA.required().per_iteration(),
        field("wanted", Takes::Real { low: 0.0, high: 1000.0 }, "How much a wanted row counts.").or("1"),
        field("unwanted", Takes::Real { low: 0.0, high: 1000.0 }, "How much an unwanted row counts.").or("1"),
    ],
};

pub const GRPO: Owner = Owner {
    words: "`grpo`",
    doc: "A row's advantage is its reward less the mean of its task's, over their spread; the ratio to the sampling policy is clipped.",
    fields: &[
        BETA.required().per_iteration(),
        field("epsilon", Takes::Real { low: 0.0, high: 1.0 }, "How far the ratio may be from one.").or("0.2"),
        field("scale", Takes::Words(SCALES), "What an advantage is divided by.").or("std"),
    ],
};

const SCALES: &[Word] =
    &[word("std", "The standard deviation of the task's rewards."), word("none", "Nothing (Liu et al. 2025).")];

const DECAYS: &[Word] = &[
    word("constant", "It stays.").written("constant { warmup = 3% }").with(&DECAY),
    word("linear", "Down to nothing in a straight line.").written("linear { warmup = 3% }").with(&DECAY),
    word("cosine", "Down to a tenth of the peak.").written("cosine { warmup = 3% }").with(&DECAY),
];

pub const DECAY: Owner = Owner {
    words: "a decay",
    doc: "How the learning rate changes over a training.",
    fields: &[field("warmup", Takes::Share, "Share of the steps in which it rises from nothing.").or("0%")],
};
