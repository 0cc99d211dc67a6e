//! The blocks of models: where weights come from, adapters, remote endpoints with their price and limits.

use super::{Owner, Takes, Unit, Word, field, word};

const fn size(high: u64) -> Takes {
    Takes::Whole { low: 1, high }
}

pub const MODEL: Owner = Owner {
    words: "a model",
    doc: "A slot with versions: `policy@0` is what is declared here, each `train policy` adds one.",
    fields: &[
        field("weights", Takes::Words(WEIGHTS), "Where the weights come from.").one_of(),
        field("remote", Takes::Words(REMOTES), "A model behind an endpoint; it cannot be trained.").one_of(),
        field("scripted", Takes::Text, "A file of replies instead of a model: for tests and dry runs.").one_of(),
        field("adapter", Takes::Words(ADAPTERS), "An adapter that is merged into the weights before anything else."),
        field("context", Takes::Quantity(Unit::Tokens), "Tokens that prompt and reply may hold together.").required(),
        field("dtype", Takes::Words(DTYPES), "What its weights are rounded to.").or("f32"),
        field(
            "device",
            Takes::Words(DEVICES),
            "Where it computes. What a GPU says is recorded, and its own: it is in the key.",
        )
        .or("auto"),
        field("lora", Takes::Block(&LORA), "Train an adapter instead of all weights."),
        field("tool_format", Takes::Words(TOOL_FORMATS), "How it writes a tool call.").or("lines"),
        field("tool_calls", Takes::Words(TOOL_CALLS), "Whether its calls may be broken.").or("drawn"),
    ],
};

const WEIGHTS: &[Word] = &[
    word("path", "A directory in the Hugging Face layout.").written("path(\"base/policy\")"),
    word("fresh", "Random weights of a given shape, from a seed.").written("fresh { … }").with(&FRESH),
    word("hub", "A model of the Hugging Face hub at one commit.").written("hub(\"org/name\", revision = \"…\")"),
    word("gguf", "A GGUF file of a Llama, Mistral, Qwen2 or Qwen3.").written("gguf(\"model.gguf\")"),
];

const ADAPTERS: &[Word] =
    &[word("path", "A directory as PEFT saves it: `adapter_config.json` and `adapter_model.safetensors`.")
        .written("path(\"adapters/desk\")")];

const REMOTES: &[Word] = &[word("openai", "Any endpoint that speaks OpenAI's chat completions.")
    .written("openai(\"gpt-4o-2024-08-06\") { … }")
    .with(&REMOTE)];

const DTYPES: &[Word] = &[
    word("f32", "Single precision."),
    word("bf16", "Brain float."),
    word("f16", "Half precision."),
    word("int8", "Weights of eight bits, a scale for each row."),
];

const DEVICES: &[Word] = &[
    word("auto", "The processor: the same bytes on every machine."),
    word("cpu", "The same, said."),
    word("cuda", "An NVIDIA GPU; wants a build with `--features cuda`."),
    word("metal", "An Apple GPU; no build has it yet."),
];

const TOOL_FORMATS: &[Word] = &[
    word("lines", "`call NAME` and one `argument: value` a line: short, without quotes, for small models."),
    word("json", "One JSON object: `{\"name\": …, \"arguments\": {…}}`."),
    word("hermes", "Hermes and Qwen: `<tool_call>{…}</tool_call>`."),
    word("llama3", "Llama 3: `{\"name\": …, \"parameters\": {…}}` after `<|python_tag|>`."),
    word("mistral", "Mistral: `[TOOL_CALLS] […]`."),
    word("api_bank", "API-Bank: `[ApiName(key='value')]`."),
    word("react", "ReAct: `Action: …` and `Action Input: …`."),
];

const TOOL_CALLS: &[Word] = &[
    word("drawn", "A reply is what was drawn; a broken call is told to the agent."),
    word("well_formed", "Tokens that would break a call are not drawn. Of local models."),
];

pub const FRESH: Owner = Owner {
    words: "fresh weights",
    doc: "The shape of a Llama-family decoder with random weights; embeddings are tied.",
    fields: &[
        field("tokenizer", Takes::Words(TOKENIZERS), "The directory of tokenizer and chat template.").required(),
        field("seed", Takes::Whole { low: 0, high: u64::MAX }, "What the weights are drawn from.").required(),
        field("width", size(65_536), "The size of the residual stream.").required(),
        field("layers", size(256), "Decoder layers.").required(),
        field("heads", size(1024), "Attention heads; they share the width evenly.").required(),
        field("kv_heads", size(1024), "Key-value heads; they share the heads evenly.").required(),
        field("ffn", size(1 << 20), "The inner size of the feed-forward layers.").required(),
    ],
};

const TOKENIZERS: &[Word] = &[word("path", "A path, relative to the file.").written("path(\"base/tokenizer\")")];

pub const REMOTE: Owner = Owner {
    words: "a remote model",
    doc: "How to reach it. Addresses, keys, prices and limits are in no cache key.",
    fields: &[
        field("base_url", Takes::Text, "The address before `/chat/completions`.").or("\"https://api.openai.com/v1\""),
        field(
            "key",
            Takes::Words(SECRETS),
            "The secret it is asked with: the name of an environment variable, never the secret.",
        ),
        field("price", Takes::Block(&PRICE), "What it costs; a budget of money needs it."),
        field("limits", Takes::Block(&LIMITS), "How fast it may be asked."),
    ],
};

const SECRETS: &[Word] = &[word("secret", "Read from the environment when the run starts; never printed or stored.")
    .written("secret(\"NAME\")")];

pub const PRICE: Owner = Owner {
    words: "a price",
    doc: "Money a number of tokens: `input = 2.50 USD per Mtok`.",
    fields: &[
        field("input", Takes::Quantity(Unit::Price), "Of what is sent.").required(),
        field("output", Takes::Quantity(Unit::Price), "Of what is answered.").required(),
        field("cached", Takes::Quantity(Unit::Price), "Of what is sent and was sent before."),
    ],
};

pub const LIMITS: Owner = Owner {
    words: "limits",
    doc: "How fast an endpoint may be asked.",
    fields: &[
        field("rate", Takes::Quantity(Unit::Rate), "Requests in a time."),
        field("in_flight", size(10_000), "Requests at once.").or("8"),
        field("timeout", Takes::Quantity(Unit::Time), "How long one may take.").or("2 min"),
        field("connect", Takes::Quantity(Unit::Time), "Of that, how long until it is connected.").or("10 s"),
        field("first_byte", Takes::Quantity(Unit::Time), "Of that, how long until an answer begins."),
        field("retries", Takes::Whole { low: 0, high: 100 }, "How often one that failed is sent again.").or("4"),
    ],
};

pub const LORA: Owner = Owner {
    words: "a LoRA",
    doc: "Low-rank adaptation (Hu et al. 2021): the weights stay, an adapter is trained over them.",
    fields: &[
        field("rank", size(4096), "Rows of the small matrices.").required(),
        field("alpha", Takes::Real { low: 0.0, high: 1e6 }, "The adapter counts by `alpha / rank`.").required(),
        field("dropout", Takes::Real { low: 0.0, high: 0.99 }, "Share of the adapter's inputs left out in training.")
            .or("0"),
        field("on", Takes::WordList(LINEARS), "Which linears are adapted.").or("[attention, mlp]"),
    ],
};

const LINEARS: &[Word] = &[
    word("attention", "All four of attention."),
    word("mlp", "All three of the feed-forward layer."),
    word("q_proj", "Queries."),
    word("k_proj", "Keys."),
    word("v_proj", "Values."),
    word("o_proj", "Attention's output."),
    word("gate_proj", "The gate."),
    word("up_proj", "Into the feed-forward layer."),
    word("down_proj", "Out of it."),
];
