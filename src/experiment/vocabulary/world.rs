//! The blocks of environments and datasets.

use super::{Field, Owner, Takes, Unit, Word, field, word};

pub const ENV: Owner = Owner {
    words: "an environment",
    doc: "Where an agent works: it gives tasks, tools and metrics, and the types by which prompts and rules are checked.",
    fields: &[
        field("use", Takes::Words(KINDS), "What it is: one that comes with the program, or how to reach one outside.")
            .required(),
        field("splits", Takes::Own(&SPLITS), "How many tasks each split has, and which are held out.").required(),
        field(
            "max_steps",
            Takes::Whole { low: 1, high: 1000 },
            "Agent turns in an episode; the one beyond is not asked for.",
        )
        .required(),
        field(
            "task",
            Takes::Own(&TASK),
            "What a task of an outside environment looks like, and who may see which field.",
        ),
        field(
            "metrics",
            Takes::Own(&METRICS),
            "What an outside environment measures; the first says whether a task is solved.",
        ),
        field(
            "tasks",
            Takes::Words(TASKS),
            "Where the tasks of an outside environment come from: JSON lines. `mcp` has none of its own; a `process` is asked for \
             them otherwise, and `openenv` and `agentgym` number theirs.",
        ),
        field("limits", Takes::Own(&ENV_LIMITS), "What an outside environment may take."),
    ],
};

const KINDS: &[Word] = &[
    word("builtin", "Comes with the program: `desk`, or `api-bank` over its published data.")
        .written("builtin(\"desk\")"),
    word("process", "A program that speaks JSON lines on its standard input and output.")
        .written("process([\"python\", path(\"env.py\")])"),
    word("openenv", "An OpenEnv server, by WebSocket.").written("openenv(\"ws://localhost:8000/ws\")"),
    word("mcp", "Tools of an MCP server: a command to start, or an address. Its tasks are the file's own.")
        .written("mcp([\"npx\", \"server\"])"),
    word("agentgym", "An AgentGym server, by HTTP.").written("agentgym(\"http://localhost:36001\")"),
];

const TASKS: &[Word] =
    &[word("jsonl", "One task a line, with the fields that `task { … }` declares.").written("jsonl(\"tasks.jsonl\")")];

pub const ENV_LIMITS: Owner = Owner {
    words: "the limits of an environment",
    doc: "What an outside environment may take. None of it changes what the environment says, so none of it is in a key.",
    fields: &[
        field("timeout", Takes::Quantity(Unit::Time), "How long one answer may take; a later one ends its episode.")
            .or("60 s"),
        field(
            "in_flight",
            Takes::Whole { low: 1, high: 1000 },
            "Episodes that are open at once; of a program, how often it is started.",
        )
        .or("16"),
        field(
            "memory",
            Takes::Quantity(Unit::Memory),
            "Address space of a program that is started, where the system can hold it to that.",
        ),
        field("cpu", Takes::Quantity(Unit::Time), "Processor time of a program that is started, likewise."),
    ],
};

pub const API_BANK: Owner = Owner {
    words: "the environment `api-bank`",
    doc: "API-Bank (Li et al. 2023): where its published files lie, which of its levels are used, and how calls are taken.",
    fields: &[
        field("data", Takes::Words(PATH), "The directory with the published files.").required(),
        field(
            "level",
            Takes::Whole { low: 1, high: 3 },
            "Which levels: one, or a range such as `1..2`; training rows are of 3.",
        )
        .or("1..2"),
        field("tasks", Takes::Words(API_BANK_TASKS), "What a task is.").or("dialogues"),
        field("mode", Takes::Words(MODES), "How an agent's calls are read and made.").required(),
    ],
};

const API_BANK_TASKS: &[Word] = &[
    word("dialogues", "A dialogue: the user says what was recorded, turn by turn."),
    word("turns", "One turn of a recorded dialogue, as the benchmark asks it: published figures are of these."),
    word("training", "A dialogue of level 3's training rows: calls are answered as they were recorded."),
];

const MODES: &[Word] = &[
    word("official", "As the original does: a list that is written as text stays text, and its tools refuse it."),
    word("repaired", "Lists that are written as text are read as lists."),
];

pub const PATH: &[Word] = &[word("path", "A path, relative to the file.").written("path(\"data/api-bank\")")];

pub const SPLITS: Owner = Owner {
    words: "splits",
    doc: "`train = 192, test = 128 held_out`: a name and how many tasks it has. What is held out may be evaluated, and never \
          trains, stops or picks.",
    fields: &[],
};

pub const TASK: Owner = Owner {
    words: "a task",
    doc: "`request: text <= 300 tokens visible to agent, critic`: a name, a type, and who may see it. `visible to none` is ground \
          truth: it reaches metrics and audits, nothing else.",
    fields: &[],
};

pub const METRICS: Owner = Owner {
    words: "metrics",
    doc: "`success: ratio`: what the environment says of a finished episode, a number from 0 to 1 each.",
    fields: &[],
};

pub const DATASET: Owner = Owner {
    words: "a dataset",
    doc: "Static data: what an environment offers, a file, or a data set of the hub.",
    fields: &[FROM],
};

const FROM: Field = field("from", Takes::Words(SOURCES), "Where it comes from.").required();

const SOURCES: &[Word] = &[
    word("ENV.OFFER", "So many examples of what an environment offers.").written("desk.dialogues(512)"),
    word("jsonl", "JSON lines with `messages`.").written("jsonl(\"data.jsonl\")"),
    word("hub", "A data set of the Hugging Face hub at one commit.")
        .written("hub(\"org/name\", revision = \"…\", split = \"train\")")
        .later(),
];
