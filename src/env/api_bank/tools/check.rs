//! When a tool's answer counts as the recorded one: not the same question for each tool.

use super::Raised;
use crate::env::api_bank::text;
use crate::env::api_bank::value::{Dict, Value, quoted};
use std::collections::BTreeSet;
use std::sync::Arc;

pub type Verdict = Result<bool, Raised>;
pub type Check = fn(&Pair) -> Verdict;

/// An answer beside the recorded one.
pub struct Pair<'a> {
    pub response: &'a Value,
    pub gold: &'a Value,
}

fn item<'a>(of: &'a Value, key: &str) -> Result<&'a Value, Raised> {
    match of {
        Value::Dict(dict) => dict.get(key).ok_or_else(|| Raised::new("KeyError", quoted(key))),
        other => Err(Raised::new("TypeError", format!("'{}' object is not subscriptable", other.kind()))),
    }
}

impl<'a> Pair<'a> {
    pub fn both(&self, key: &str) -> Result<[&'a Value; 2], Raised> {
        Ok([item(self.response, key)?, item(self.gold, key)?])
    }

    pub fn same(&self, key: &str) -> Verdict {
        self.both(key).map(|[a, b]| a == b)
    }

    /// An argument on both sides.
    pub fn input(&self, key: &str) -> Result<[&'a Value; 2], Raised> {
        let [a, b] = self.both("input")?;
        Ok([item(a, key)?, item(b, key)?])
    }

    pub fn same_input(&self, key: &str) -> Verdict {
        self.input(key).map(|[a, b]| a == b)
    }

    pub fn texts(&self, key: &str) -> Result<[&'a str; 2], Raised> {
        let [a, b] = self.input(key)?;
        let text = |value: &'a Value| {
            let message = || format!("'{}' object has no attribute 'strip'", value.kind());
            value.as_str().ok_or_else(|| Raised::new("AttributeError", message()))
        };
        Ok([text(a)?, text(b)?])
    }

    pub fn result(&self) -> Verdict {
        Ok(self.same("output")? && self.same("exception")?)
    }

    pub fn same_name(&self) -> Result<(), Raised> {
        if self.same("api_name")? { Ok(()) } else { Err(Raised::new("AssertionError", "The API name is not correct.")) }
    }

    /// Two texts, equal once both were read alike; one that cannot be read is equal to none.
    pub fn alike<T: PartialEq, E>(&self, key: &str, read: impl Fn(&str) -> Result<T, E>) -> Verdict {
        let [a, b] = self.texts(key)?;
        Ok(matches!((read(a), read(b)), (Ok(a), Ok(b)) if a == b))
    }

    pub fn stripped(&self, key: &str) -> Verdict {
        self.alike(key, |it| Ok::<_, ()>(text::strip(it).to_owned()))
    }

    pub fn folded(&self, key: &str) -> Verdict {
        self.alike(key, |it| Ok::<_, ()>(text::strip(it).to_lowercase()))
    }

    pub fn raised(&self, key: &str) -> Verdict {
        self.alike(key, |it| Ok::<_, ()>(text::strip(&it.to_uppercase()).to_owned()))
    }

    /// More than half of all words in common, as sets.
    pub fn overlap(&self, key: &str, fold: bool) -> Verdict {
        let words = |text: &str| -> BTreeSet<String> {
            let text = if fold { text.to_lowercase() } else { text.to_owned() };
            text.split(' ').map(str::to_owned).collect()
        };
        let [a, b] = self.texts(key)?.map(words);
        Ok(a.intersection(&b).count() * 2 > a.union(&b).count())
    }

    /// The arguments without one of them.
    pub fn rest_of_input(&self, without: &str) -> Verdict {
        let [a, b] = self.both("input")?;
        let rest = |value: &Value| -> Result<Dict, Raised> {
            item(value, without)?;
            let mut dict = value.as_dict().cloned().unwrap_or_default();
            dict.remove(without);
            Ok(dict)
        };
        Ok(rest(a)? == rest(b)?)
    }
}

pub fn exact(pair: &Pair) -> Verdict {
    Ok(pair.same("input")? && pair.result()?)
}

pub fn named_exact(pair: &Pair) -> Verdict {
    pair.same_name()?;
    Ok(pair.result()? && pair.same("input")?)
}

pub fn result_only(pair: &Pair) -> Verdict {
    pair.result()
}

pub fn named_result(pair: &Pair) -> Verdict {
    Ok(pair.same("api_name")? && pair.result()?)
}

/// What a check leaves of an answer that it took apart: the meetings' checks take the topic out.
pub fn left_of(answer: &Value, taken: Option<&str>) -> Value {
    let mut answer = answer.clone();
    if let (Some(taken), Value::Dict(dict)) = (taken, &mut answer)
        && let Some(Value::Dict(input)) = Arc::make_mut(dict).get_mut("input")
    {
        Arc::make_mut(input).remove(taken);
    }
    answer
}
