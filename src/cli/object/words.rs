//! Turns typed values into the words of a file.

use crate::model::{Decay, Fresh, LoraConfig, Method, Sampling, Source};
use crate::node::spec::PerIteration;
use crate::node::tolerance::{MaxFailed, Tolerance};
use crate::report::text::count;
use std::path::Path;

pub fn tokens(number: u32) -> String {
    format!("{} tokens", count(number.into()))
}

/// `0.7`, and `5e-4` where a fraction would be long.
pub fn real(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 { format!("{value:e}") } else { value.to_string() }
}

pub fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0 * 1e9).round() / 1e9)
}

/// From the working directory where it lies below.
pub fn path(path: &Path) -> String {
    let here = std::path::absolute(".").unwrap_or_default();
    let below = path.strip_prefix(&here).unwrap_or(path);
    format!("path({:?})", below.display().to_string())
}

pub fn sampling(sampling: &Sampling) -> String {
    let Sampling { temperature, top_p, top_k, min_p, repetition_penalty, max_tokens: _ } = sampling;
    if *temperature == 0.0 && *repetition_penalty == 1.0 {
        return "greedy".to_owned();
    }
    let mut parts = vec![format!("temperature = {temperature:?}")];
    if *top_p < 1.0 {
        parts.push(format!("top_p = {top_p}"));
    }
    if *top_k > 0 {
        parts.push(format!("top_k = {top_k}"));
    }
    if *min_p > 0.0 {
        parts.push(format!("min_p = {min_p}"));
    }
    if *repetition_penalty != 1.0 {
        parts.push(format!("repetition_penalty = {repetition_penalty}"));
    }
    format!("sample {{ {} }}", parts.join(", "))
}

/// `, max_failed = 1%, timeout = 30 s, retries = 2`; nothing of what is not said.
pub fn tolerance(Tolerance { max_failed, timeout, retries }: &Tolerance) -> String {
    let mut words = String::new();
    if *max_failed != MaxFailed::default() {
        words.push_str(&format!(", max_failed = {max_failed}"));
    }
    if let Some(timeout) = timeout {
        words.push_str(&format!(", timeout = {} s", timeout.0 as f64 / 1e3));
    }
    if *retries > 0 {
        words.push_str(&format!(", retries = {retries}"));
    }
    words
}

pub fn per_iteration<T>(value: &PerIteration<T>, word: impl Fn(&T) -> String) -> String {
    if value.cases.is_empty() {
        return word(&value.otherwise);
    }
    let cases = value.cases.iter().map(|(at, value)| format!("{at} => {}, ", word(value)));
    format!("{{ {}_ => {} }}", cases.collect::<String>(), word(&value.otherwise))
}

pub fn method(method: &Method) -> String {
    match method {
        Method::Sft { loss_on } => format!("sft {{ loss_on = {} }}", loss_on.as_str()),
        Method::Weighted { loss_on } => format!("weighted {{ loss_on = {} }}", loss_on.as_str()),
        Method::Dpo { beta, loss, smoothing, nll } => {
            format!("dpo {{ beta = {beta}, loss = {}, smoothing = {smoothing}, nll = {nll} }}", loss.as_str())
        }
        Method::Kto { beta, wanted, unwanted } => {
            format!("kto {{ beta = {beta}, wanted = {wanted}, unwanted = {unwanted} }}")
        }
        Method::Grpo { beta, epsilon, scale } => {
            format!("grpo {{ beta = {beta}, epsilon = {epsilon}, scale = {} }}", scale.as_str())
        }
    }
}

pub fn decay(decay: &Decay) -> String {
    let word = match decay {
        Decay::Constant { .. } => "constant",
        Decay::Linear { .. } => "linear",
        Decay::Cosine { .. } => "cosine",
    };
    let warmup = decay.warmup();
    if warmup == 0.0 { word.to_owned() } else { format!("{word} {{ warmup = {} }}", percent(warmup)) }
}

pub fn lora(lora: Option<&LoraConfig>) -> String {
    let Some(LoraConfig { rank, alpha, dropout, on }) = lora else { return "none: all weights".to_owned() };
    format!("rank {rank}, alpha {alpha}, dropout {dropout}, on {}", on.join(", "))
}

pub fn source(source: &Source) -> String {
    match source {
        Source::Path(directory) => path(directory),
        Source::Gguf(file) => path(file).replacen("path", "gguf", 1),
        Source::Hub { repo, revision } => format!("hub({repo:?}, revision = {revision:?})"),
        Source::Remote(remote) => format!("openai({:?})", remote.name),
        Source::Scripted(script) => path(script),
        Source::Fresh(Fresh { tokenizer, seed, width, layers, heads, kv_heads, ffn }) => format!(
            "fresh {{ tokenizer = {}, width = {width}, layers = {layers}, heads = {heads}, kv_heads = {kv_heads}, ffn = {ffn}, seed = {seed} }}",
            path(tokenizer)
        ),
    }
}
