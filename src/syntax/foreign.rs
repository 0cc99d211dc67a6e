//! Turns a word of another tool into the word that this language has for it.

use super::words::Class;

/// What `word` is called here, where `class` is due.
pub fn called_here(class: Class, word: &str) -> Option<&'static str> {
    let table: &[(&str, &[&str])] = match class {
        Class::Item => ITEMS,
        Class::Statement => STATEMENTS,
        Class::Stage => STAGES,
        _ => &[],
    };
    table.iter().find(|(_, others)| others.contains(&word)).map(|(here, _)| *here)
}

const ITEMS: &[(&str, &[&str])] = &[
    ("let", &["const", "var", "def", "val", "static"]),
    ("param", &["parameter", "arg", "input", "variable"]),
    ("env", &["environment", "world", "gym"]),
    ("dataset", &["data", "datasets", "corpus"]),
    ("model", &["llm", "lm", "policy", "agent"]),
    ("prompt", &["template", "message"]),
    ("critic", &["judge", "grader", "reward", "evaluator"]),
    ("rule", &["filter", "selection", "selector"]),
    ("trainer", &["optimizer", "training", "algorithm"]),
    ("experiment", &["run", "pipeline", "job", "workflow"]),
    ("matrix", &["sweep", "grid"]),
    ("import", &["use", "include", "require", "from"]),
];

const STATEMENTS: &[(&str, &[&str])] = &[
    ("let", &["const", "var", "val"]),
    ("rollout", &["generate", "sample", "run", "collect", "play"]),
    ("judge", &["score", "grade", "rate", "critique"]),
    ("select", &["filter", "keep"]),
    ("train", &["finetune", "fit", "update", "learn"]),
    ("evaluate", &["eval", "test", "measure", "validate"]),
    ("repeat", &["for", "while", "loop"]),
    ("pick", &["choose", "argmax"]),
];

const STAGES: &[(&str, &[&str])] = &[
    ("where", &["filter", "having", "when", "if"]),
    ("top", &["quantile", "percentile"]),
    ("best", &["limit", "take", "first", "head", "max"]),
    ("dedup", &["unique", "distinct", "deduplicate"]),
    ("sample", &["shuffle", "random"]),
    ("require", &["assert", "ensure"]),
];
