//! Makes GGUF files, right ones and others.

use super::*;

/// A value of the metadata.
#[derive(Clone, Debug)]
pub enum Entry {
    Whole(u32),
    Real(f32),
    Is(bool),
    Text(String),
    Texts(Vec<String>),
    Reals(Vec<f32>),
    Kinds(Vec<i32>),
}

/// A file in the making.
#[derive(Clone)]
pub struct Made {
    pub version: u32,
    pub entries: Vec<(String, Entry)>,
    pub tensors: Vec<Part>,
}

#[derive(Clone)]
pub struct Part {
    pub name: String,
    /// Row-major.
    pub dims: Vec<u64>,
    pub kind: u32,
    pub bytes: Vec<u8>,
    /// What is said, where that is not where it lies.
    pub offset: Option<u64>,
}

const MODULES: [(&str, &str); 14] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("model.layers", "blk"),
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
];

/// The vocabulary of [`super::super::tokenizer`], by id.
pub fn tokens() -> Vec<String> {
    let directory = tokenizer();
    let text = std::fs::read_to_string(directory.path().join("tokenizer.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vocab = value["model"]["vocab"].as_object().unwrap();
    let mut all: Vec<(u64, String)> = vocab.iter().map(|(token, id)| (id.as_u64().unwrap(), token.clone())).collect();
    all.sort();
    all.into_iter().map(|(_, token)| token).collect()
}

fn number(kind: GgmlDType) -> u32 {
    match kind {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q4_1 => 3,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q5_1 => 7,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q2K => 10,
        GgmlDType::Q3K => 11,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::BF16 => 30,
        other => panic!("{other:?}"),
    }
}

/// `LlamaModel.permute` of llama.cpp's converter: `reshape(heads, 2, rows / heads / 2, …).swapaxes(1, 2)`.
fn permuted(array: &Array, heads: usize) -> Vec<f32> {
    let (rows, width) = (array.shape[0], array.len() / array.shape[0]);
    let half = rows / heads / 2;
    let mut out = vec![0.0; array.len()];
    for head in 0..heads {
        for side in 0..2 {
            for at in 0..half {
                let (from, to) = ((head * 2 + side) * half + at, (head * half + at) * 2 + side);
                out[to * width..(to + 1) * width].copy_from_slice(&array.floats()[from * width..(from + 1) * width]);
            }
        }
    }
    out
}

impl Made {
    /// As llama.cpp's converter writes a model; matrices are kept as `kind`, all else in f32.
    pub fn of(shape: &Shape, arrays: &Arrays, kind: GgmlDType) -> Self {
        let arch = match shape.family {
            Family::Llama | Family::Mistral => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        };
        let mut made = Self { version: 3, entries: Vec::new(), tensors: Vec::new() };
        made.put("general.architecture", Entry::Text(arch.to_owned()));
        made.put("general.name", Entry::Text("tiny".to_owned()));
        let at = |key: &str| format!("{arch}.{key}");
        for (key, size) in [
            ("block_count", shape.layers),
            ("context_length", shape.positions),
            ("embedding_length", shape.width),
            ("feed_forward_length", shape.ffn),
            ("attention.head_count", shape.heads),
            ("attention.head_count_kv", shape.kv_heads),
            ("attention.key_length", shape.head_dim),
            ("attention.value_length", shape.head_dim),
            ("rope.dimension_count", shape.head_dim),
            ("vocab_size", shape.vocab),
        ] {
            made.put(&at(key), Entry::Whole(size as u32));
        }
        made.put(&at("attention.layer_norm_rms_epsilon"), Entry::Real(shape.norm_eps as f32));
        made.put(&at("rope.freq_base"), Entry::Real(shape.rope.theta as f32));
        if let Some(window) = shape.windows[0] {
            made.put(&at("attention.sliding_window"), Entry::Whole(window as u32));
        }
        let word = |word: &str| Entry::Text(word.to_owned());
        match shape.rope.scaling {
            None => {}
            Some(Scaling::Linear { factor }) => {
                made.put(&at("rope.scaling.type"), word("linear"));
                made.put(&at("rope.scaling.factor"), Entry::Real(factor as f32));
            }
            Some(Scaling::Yarn { factor, original, .. }) => {
                made.put(&at("rope.scaling.type"), word("yarn"));
                made.put(&at("rope.scaling.factor"), Entry::Real(factor as f32));
                made.put(&at("rope.scaling.original_context_length"), Entry::Whole(original as u32));
            }
            Some(Scaling::Llama3 { factor, low, high, original }) => {
                let values = factors(shape, [factor, low, high, original].map(|number| number as f32));
                made.part("rope_freqs.weight", &[values.len()], GgmlDType::F32, &values);
            }
        }
        made.words("gpt2", &tokens());
        for (name, dims) in layout(shape) {
            let array = &arrays[&name];
            let heads = match &*name {
                name if arch == "llama" && name.contains("q_proj") => Some(shape.heads),
                name if arch == "llama" && name.contains("k_proj") => Some(shape.kv_heads),
                _ => None,
            };
            let data = heads.map_or_else(|| array.floats().into_owned(), |heads| permuted(array, heads));
            let theirs = MODULES
                .iter()
                .fold(name.replace("lm_head", "output"), |name, (ours, theirs)| name.replace(ours, theirs));
            let kind = if dims.len() == 2 { kind } else { GgmlDType::F32 };
            made.part(&theirs, &dims, kind, &data);
        }
        made
    }

    /// A vocabulary with the five special tokens first.
    pub fn words(&mut self, model: &str, tokens: &[String]) {
        let kinds = (0..tokens.len()).map(|id| if id < 5 { 3 } else { 1 }).collect();
        self.put("tokenizer.ggml.model", Entry::Text(model.to_owned()));
        self.put("tokenizer.ggml.pre", Entry::Text("llama-bpe".to_owned()));
        self.put("tokenizer.ggml.tokens", Entry::Texts(tokens.to_vec()));
        self.put("tokenizer.ggml.token_type", Entry::Kinds(kinds));
        self.put("tokenizer.ggml.merges", Entry::Texts(Vec::new()));
        self.put("tokenizer.ggml.eos_token_id", Entry::Whole(0));
        self.put("tokenizer.ggml.eot_token_id", Entry::Whole(2));
        self.put("tokenizer.chat_template", Entry::Text(crate::model::local::tokenizer::TEMPLATE.to_owned()));
    }

    /// Adds an entry, or puts it in the place of the one that is there.
    pub fn put(&mut self, key: &str, entry: Entry) {
        match self.entries.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) => *old = entry,
            None => self.entries.push((key.to_owned(), entry)),
        }
    }

    pub fn part(&mut self, name: &str, dims: &[usize], kind: GgmlDType, data: &[f32]) {
        let tensor = Tensor::from_slice(data, data.len(), &CandleDevice::Cpu).unwrap();
        let bytes = QTensor::quantize(&tensor, kind).unwrap().data().unwrap().into_owned();
        let dims = dims.iter().map(|dim| *dim as u64).collect();
        self.tensors.push(Part { name: name.to_owned(), dims, kind: number(kind), bytes, offset: None });
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        for (key, entry) in &self.entries {
            text(&mut out, key);
            entry.write(&mut out);
        }
        let mut offset = 0u64;
        for part in &self.tensors {
            text(&mut out, &part.name);
            out.extend((part.dims.len() as u32).to_le_bytes());
            part.dims.iter().rev().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(part.kind.to_le_bytes());
            out.extend(part.offset.unwrap_or(offset).to_le_bytes());
            offset += (part.bytes.len() as u64).next_multiple_of(32);
        }
        for part in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(&part.bytes);
        }
        out
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        let list = |out: &mut Vec<u8>, kind: u32, count: usize| {
            out.extend(9u32.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend((count as u64).to_le_bytes());
        };
        match self {
            Entry::Whole(value) => [4u32, *value].iter().for_each(|word| out.extend(word.to_le_bytes())),
            Entry::Real(value) => [6u32, value.to_bits()].iter().for_each(|word| out.extend(word.to_le_bytes())),
            Entry::Is(value) => {
                out.extend(7u32.to_le_bytes());
                out.push(u8::from(*value));
            }
            Entry::Text(value) => {
                out.extend(8u32.to_le_bytes());
                text(out, value);
            }
            Entry::Texts(values) => {
                list(out, 8, values.len());
                values.iter().for_each(|value| text(out, value));
            }
            Entry::Reals(values) => {
                list(out, 6, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
            Entry::Kinds(values) => {
                list(out, 5, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

/// `rope_freqs` as llama.cpp's converter makes them, in f32.
fn factors(shape: &Shape, [factor, low, high, original]: [f32; 4]) -> Vec<f32> {
    let dim = shape.head_dim as f32;
    let one = |pair: usize| {
        let frequency = 1.0 / libm::powf(shape.rope.theta as f32, 2.0 * pair as f32 / dim);
        let wavelength = 2.0 * std::f32::consts::PI / frequency;
        let smooth = (original / wavelength - low) / (high - low);
        match wavelength {
            short if short < original / high => 1.0,
            long if long > original / low => factor,
            _ => 1.0 / ((1.0 - smooth) / factor + smooth),
        }
    };
    (0..shape.head_dim / 2).map(one).collect()
}
