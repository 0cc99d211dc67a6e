//! Turns every word that the language gives a meaning into one table: its class, and one line of what it means.
//!
//! The parser's messages, the checker's lists and the editors' grammars (`grammar/words.json`) are made from it; a test
//! holds it against `grammar/agx.pest` in both directions. A word may stand in several classes: `sample` is a stage and a
//! way to decode, `critic` an item and an audience.

/// What a word is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Item,
    Part,
    Statement,
    Stage,
    Clause,
    Operator,
    Literal,
    Mark,
    Directive,
    Unit,
    Period,
    Type,
    Audience,
    Role,
    Filter,
    Version,
    Outcome,
}

#[derive(Clone, Copy, Debug)]
pub struct Word {
    pub text: &'static str,
    pub doc: &'static str,
}

const fn word(text: &'static str, doc: &'static str) -> Word {
    Word { text, doc }
}

/// Every class with its words, in the order a reader meets them.
pub const TABLE: [(Class, &[Word]); 17] = [
    (
        Class::Item,
        &[
            word("agx", "the edition of the language; the first item of a file"),
            word("import", "declarations of another file"),
            word("param", "a public knob, set by `--set name=value`"),
            word("let", "a constant of the file"),
            word("env", "an environment: tasks, tools and metrics"),
            word("dataset", "static data"),
            word("model", "a model's declared version; each `train` adds one"),
            word("prompt", "typed messages with holes"),
            word("critic", "a model that judges, and how its answer is read"),
            word("rule", "which rows are kept: stages with `|` between them"),
            word("trainer", "a training recipe"),
            word("experiment", "what runs: a seed, a schedule, a report"),
            word("matrix", "an experiment run once for each combination of values"),
        ],
    ),
    (
        Class::Part,
        &[
            word("unstable", "features that may still change, each by its name"),
            word("schedule", "the statements of an experiment, in order"),
            word("report", "what the report draws and lists"),
            word("plot", "metrics as a curve"),
            word("table", "metrics as a table"),
            word("zip", "axes of a matrix that move together"),
            word("except", "values for one combination of a matrix"),
        ],
    ),
    (
        Class::Statement,
        &[
            word("let", "names what a statement makes"),
            word("rollout", "episodes: a model works on every task of a split"),
            word("judge", "a critic's verdict on each row"),
            word("select", "the rows that a rule keeps"),
            word("audit", "critic and selection against ground truth; metrics only"),
            word("calibrate", "a critic's agreement with labelled verdicts"),
            word("train", "a new version of a model"),
            word("evaluate", "a model's metrics on a split"),
            word("repeat", "iterations"),
            word("pick", "the version that a metric calls best"),
        ],
    ),
    (
        Class::Stage,
        &[
            word("where", "keeps the rows for which a condition holds"),
            word("top", "keeps a share of the rows, the best by a column"),
            word("best", "keeps a number of rows, the best by a column"),
            word("worst", "keeps a number of rows, the worst by a column"),
            word("sample", "keeps a number of rows, drawn by the seed"),
            word("dedup", "keeps one row of those alike in some columns"),
            word("majority", "keeps the rows of a task that agree with most of them"),
            word("cap", "keeps at most so many rows, or tokens"),
            word("balance", "keeps at most so many rows for each value of a column"),
            word("add", "adds the rows of a dataset"),
            word("pair", "pairs the best row of a task with its worst"),
            word("truncate", "cuts a column's text"),
            word("weight", "gives each row a weight"),
            word("require", "demands a number of rows, and says what happens otherwise"),
        ],
    ),
    (
        Class::Clause,
        &[
            word("in", "the split, the values or the range meant"),
            word("with", "the critic or the trainer meant"),
            word("by", "the rule, the column or the index meant"),
            word("per", "counted for each task, or by the time or the token"),
            word("on", "the rows, the split or the dataset meant"),
            word("from", "the version a training starts at; it has no default"),
            word("mixed", "a share of a dataset among the rows of a training"),
            word("through", "the critic whose prompt and answer make rows of labelled verdicts"),
            word("reference", "the version a training stays close to"),
            word("against", "the metric an audit compares with"),
            word("times", "how often, in `repeat N times`"),
            word("as", "the name of an index or of an import"),
            word("until", "the condition that ends a loop"),
            word("including", "evaluations of before the loop that a pick considers as well"),
            word("since", "the evaluation from which `stalls` counts"),
            word("of", "the experiment a matrix repeats"),
            word("else", "what happens when a requirement fails"),
            word("at", "in `at least`"),
            word("least", "the smallest number allowed"),
            word("max", "the largest number allowed"),
            word("margin", "the smallest distance of a pair's two rows"),
            word("task", "in `per task`"),
            word("to", "the length a text is cut to; the audience of a field"),
            word("visible", "who may see a field: `visible to agent, critic`"),
        ],
    ),
    (
        Class::Operator,
        &[
            word("or", "either holds"),
            word("and", "both hold"),
            word("not", "does not hold"),
            word("in", "lies in a range"),
            word("is", "in `is known` and `is not known`"),
            word("known", "an optional value is there"),
            word("stalls", "has not become better so many times in a row"),
        ],
    ),
    (
        Class::Literal,
        &[
            word("true", "holds"),
            word("false", "does not hold"),
            word("_", "every other case, in `{ 1 => a, _ => b }`"),
        ],
    ),
    (Class::Mark, &[word("held_out", "a split that decides nothing: it is only measured on")]),
    (
        Class::Directive,
        &[
            word("for", "repeats a part of a prompt for each element of a list"),
            word("if", "keeps a part of a prompt only where an optional value is known"),
            word("end", "ends `for` and `if`"),
        ],
    ),
    (
        Class::Unit,
        &[
            word("tokens", "tokens of text"),
            word("token", "one token of text"),
            word("ms", "milliseconds"),
            word("s", "seconds"),
            word("min", "minutes"),
            word("h", "hours"),
            word("days", "days"),
            word("day", "one day"),
            word("USD", "dollars, exact to a millionth"),
            word("KiB", "1,024 bytes"),
            word("MiB", "1,024 KiB"),
            word("GiB", "1,024 MiB"),
            word("TiB", "1,024 GiB"),
            word("KB", "1,000 bytes"),
            word("MB", "1,000 KB"),
            word("GB", "1,000 MB"),
            word("TB", "1,000 GB"),
        ],
    ),
    (
        Class::Period,
        &[
            word("task", "for each task"),
            word("s", "each second"),
            word("min", "each minute"),
            word("h", "each hour"),
            word("day", "each day"),
            word("request", "for each request"),
            word("Mtok", "for each million tokens"),
            word("token", "for each token"),
            word("tokens", "for each token"),
        ],
    ),
    (
        Class::Type,
        &[
            word("int", "a whole number"),
            word("float", "a number with a fraction"),
            word("ratio", "a number from 0 to 1, or a percentage"),
            word("text", "text"),
            word("bool", "`true` or `false`"),
            word("tokens", "a number of tokens"),
            word("duration", "a time"),
            word("money", "an amount of money"),
            word("memory", "an amount of memory"),
        ],
    ),
    (
        Class::Audience,
        &[
            word("agent", "the model that works on the tasks"),
            word("critic", "the model that judges"),
            word("none", "no model: ground truth, for metrics and audits"),
        ],
    ),
    (
        Class::Role,
        &[
            word("system", "the instructions before a conversation"),
            word("user", "what a model is told or asked"),
            word("assistant", "what a model has said"),
        ],
    ),
    (
        Class::Filter,
        &[
            word("transcript", "a trajectory as text, at most `max` tokens of it"),
            word("json", "plain data as JSON"),
            word("lines", "a list of texts, one a line"),
            word("bullets", "a list of texts, one a line after a dash"),
            word("truncate", "at most `max` tokens of a text"),
        ],
    ),
    (
        Class::Version,
        &[
            word("prev", "the version before this one"),
            word("start", "the version at the entry of the loop"),
            word("last", "the newest version"),
            word("best", "the version so far that a metric calls best"),
            word("all", "the rows of this and all earlier iterations"),
        ],
    ),
    (
        Class::Outcome,
        &[
            word("fail", "the step fails, and what needs it does not run"),
            word("stop", "the loop ends"),
            word("skip", "the rest goes on without what needs the rows"),
        ],
    ),
];

/// The words that are never a name, because they stand where a name may have ended.
pub const RESERVED: [&str; 14] =
    ["and", "or", "not", "in", "is", "by", "per", "with", "from", "else", "stalls", "since", "times", "as"];

impl Class {
    pub const fn words(self) -> &'static [Word] {
        TABLE[self as usize].1
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        self.words().iter().map(|word| word.text)
    }

    pub fn has(self, text: &str) -> bool {
        self.names().any(|name| name == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_stands_at_its_place_and_names_a_word_once() {
        for (place, (class, words)) in TABLE.iter().enumerate() {
            assert_eq!(*class as usize, place, "{class:?}");
            for (at, word) in words.iter().enumerate() {
                assert!(words[..at].iter().all(|other| other.text != word.text), "{class:?} has `{}` twice", word.text);
            }
        }
    }
}
