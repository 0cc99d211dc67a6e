//! The blocks of critics.

use super::{Owner, Takes, Unit, Word, field, word};
use crate::experiment::scope::Kind;

pub const CRITIC: Owner = Owner {
    words: "a critic",
    doc: "A model with a prompt and the shape of its answer: it judges trajectories.",
    fields: &[
        field("model", Takes::Name(Kind::Model), "Who judges: the newest version of it.").one_of(),
        field("prompt", Takes::Name(Kind::Prompt), "What it is asked; it shows a trajectory.").one_of(),
        field(
            "answer",
            Takes::Own(&ANSWER),
            "What it answers: its instructions, the parser, and the columns that rules see.",
        )
        .one_of(),
        field(
            "on_unparsed",
            Takes::Words(ON_UNPARSED),
            "What becomes of a row whose verdict cannot be read. It is never a number.",
        )
        .one_of(),
        field(
            "panel",
            Takes::Panel(Kind::Critic, JOINED),
            "Several critics instead of one model: their verdicts become one.",
        )
        .one_of(),
        field("judges_itself", Takes::Bool, "That it judges what its own model has done is meant.").or("false"),
        field("kind", Takes::Words(KINDS), "What one verdict is about.").or("each"),
        field("votes", Takes::Votes(JOINED), "How often each row is asked, and how the verdicts become one.").or("1"),
        field("decode", Takes::Words(super::schedule::DECODE), "How it answers.").or("greedy"),
        field("max_tokens", Takes::Quantity(Unit::Tokens), "How long an answer may be.").or("64 tokens"),
    ],
};

const ON_UNPARSED: &[Word] =
    &[word("drop", "It has no verdict and reaches no rule; it is counted."), word("fail", "The question fails.")];

const KINDS: &[Word] = &[
    word("each", "One trajectory."),
    word("pairs", "Two trajectories of one task, asked in both orders; a flip is a tie."),
    word("group", "All samples of a task at once; each gets its verdict."),
];

const JOINED: &[Word] = &[
    word("mean", "The mean."),
    word("median", "The median; of an even number, the mean of the middle two."),
    word("majority", "The most frequent; ties to the lowest."),
    word("min", "The lowest."),
    word("max", "The highest."),
];

/// What may follow an answer's scale.
pub const BY_EXPECTATION: &[Word] =
    &[word("expectation", "The scale weighted by the model's probability of each answer: a finer ranking.")];

pub const ANSWER: Owner = Owner {
    words: "answer fields",
    doc: "`score: int in 0..4`: a name and a type, `int in LOW..HIGH`, `bool` or `text`, in the order in which they are answered. \
          `by expectation` weights the scale by the model's probability of each answer.",
    fields: &[],
};
