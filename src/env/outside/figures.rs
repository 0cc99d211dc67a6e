//! Turns what an environment says of an episode into the metrics that the file declares of it.
//!
//! A metric is what the environment calls by its name. `success`, where it does not say it, is whether its last reward (or score)
//! is all there is: 1, or 100 where it counts in hundreds. Before it says anything, a metric is 0.

use super::error::EnvError;
use crate::env::Truth;
use litemap::LiteMap;
use serde_json::{Map, Value};

const SUCCESS: &str = "success";

#[derive(Clone, Debug)]
pub struct Figures {
    /// As they were said last.
    said: LiteMap<String, Option<f64>>,
}

/// What an answer says of the episode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// Where a metric is looked for by its name, one after another.
    pub by_name: &'a [&'a Map<String, Value>],
    pub reward: Option<f64>,
    /// Nothing more will be said.
    pub done: bool,
}

impl Figures {
    pub fn new(metrics: &[String]) -> Self {
        Self { said: metrics.iter().map(|name| (name.clone(), None)).collect() }
    }

    pub fn truth(&self) -> Truth {
        self.said.iter().map(|(name, figure)| (name.clone(), figure.unwrap_or(0.0))).collect()
    }

    /// # Errors
    /// A metric that is none, since a ratio lies from 0 to 1; one that was never said when the episode is done.
    pub fn take(&mut self, Said { by_name, reward, done }: Said<'_>) -> Result<(), EnvError> {
        for (name, figure) in self.said.iter_mut() {
            let found = by_name.iter().find_map(|words| words.get(name)).filter(|value| !value.is_null());
            match (found, reward) {
                (Some(value), _) => *figure = Some(ratio(name, value)?),
                (None, Some(reward)) if name == SUCCESS => *figure = Some(f64::from(reward == 1.0 || reward == 100.0)),
                _ => {}
            }
            if done && figure.is_none() {
                return Err(EnvError::Undeclared(format!("it does not say the metric `{name}`")));
            }
        }
        Ok(())
    }
}

fn ratio(name: &str, value: &Value) -> Result<f64, EnvError> {
    let figure = match value {
        Value::Bool(is) => Some(f64::from(*is)),
        other => other.as_f64(),
    };
    figure
        .filter(|figure| (0.0..=1.0).contains(figure))
        .ok_or_else(|| EnvError::Undeclared(format!("its metric `{name}` is {value}, and a ratio lies from 0 to 1")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after(answers: &[(Value, Option<f64>, bool)]) -> Result<(f64, f64), String> {
        let mut figures = Figures::new(&["success".to_owned(), "speed".to_owned()]);
        for (words, reward, done) in answers {
            let by_name = [words.as_object().expect("an object")];
            let said = Said { by_name: &by_name, reward: *reward, done: *done };
            figures.take(said).map_err(|problem| problem.to_string())?;
        }
        let truth = figures.truth();
        let of = |name: &str| *truth.get(name).expect("it is declared");
        Ok((of("success"), of("speed")))
    }

    #[test]
    fn a_metric_is_what_was_said_last_and_success_may_be_read_off_the_reward() {
        assert_eq!(after(&[]), Ok((0.0, 0.0)));
        assert_eq!(after(&[(json!({ "speed": 0.5 }), Some(0.3), false)]), Ok((0.0, 0.5)));
        assert_eq!(after(&[(json!({ "speed": 0.5 }), Some(1.0), false), (json!({}), None, true)]), Ok((1.0, 0.5)));
        assert_eq!(after(&[(json!({ "speed": 0, "success": null }), Some(100.0), true)]), Ok((1.0, 0.0)));
        assert_eq!(after(&[(json!({ "speed": 1, "success": false }), Some(1.0), true)]), Ok((0.0, 1.0)));
        for wrong in [json!({ "speed": 1.5 }), json!({ "speed": -0.1 }), json!({ "speed": "fast" }), json!({})] {
            let said = after(&[(wrong.clone(), Some(1.0), true)]).expect_err("it is no sound answer");
            assert!(said.contains("`speed`"), "{wrong}: {said}");
        }
    }
}
