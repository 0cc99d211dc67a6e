//! Turns `@2`, `@prev` and `@best(dev.success)` into the version that they mean.
//!
//! # Invariants
//! A numbered version is made before the statement that names it, if no loop ends early.

use super::Checker;
use super::error::CheckError;
use super::metric::Wanted;
use super::model::{MetricRef, ModelId, Version};
use super::schedule::Flow;
use crate::syntax::ast::{self, Path, VersionKind};
use crate::syntax::similar::similar;
use crate::syntax::words::Class;

impl Checker<'_> {
    pub(super) fn version(&mut self, version: &ast::Version, model: ModelId, flow: &mut Flow) -> Option<Version> {
        match &version.kind {
            VersionKind::Number(0) => Some(Version::Declared),
            VersionKind::Number(number) => {
                // Every version before this point, if no loop ends early.
                let most = flow.versions.get(&model).copied().unwrap_or(0);
                if u64::from(*number) > most {
                    if flow.doubts.trainings {
                        return None;
                    }
                    let name = &self.models[model.0].name;
                    let help = match most {
                        0 => format!("nothing has trained `{name}` yet: there is `@0`"),
                        most => format!("at this point `{name}` has versions `@0` to `@{most}`"),
                    };
                    self.error(CheckError::NoVersion { span: version.span, help });
                    return None;
                }
                Some(Version::Trained(*number))
            }
            VersionKind::Word { word, argument } => match (word.value.as_str(), argument) {
                ("prev" | "last", None) => Some(Version::Newest),
                ("start", None) => Some(Version::Start),
                ("best", Some(metric)) => self.best(metric, model, flow).map(Version::Best),
                ("best", None) => {
                    let help = "name the metric: `@best(dev.success)`".to_owned();
                    self.error(CheckError::NoVersion { span: version.span, help });
                    None
                }
                (other, _) => {
                    let near = similar(other, Class::Version.names().filter(|word| *word != "all"));
                    let help = crate::syntax::similar::did_you_mean(&near).unwrap_or_else(|| {
                        "versions are `@0`, `@prev`, `@start`, `@last` and `@best(metric)`".to_owned()
                    });
                    self.error(CheckError::NoVersion { span: version.span, help });
                    None
                }
            },
        }
    }

    /// The metric of `@best(…)`: of an evaluation of this model, which may also come later in the loop.
    pub(super) fn best(&mut self, path: &Path, model: ModelId, flow: &mut Flow) -> Option<MetricRef> {
        let first = &path.parts[0].value;
        if flow.within().is_some() && path.parts.len() > 1 && flow.too_early(first, path.span).is_some() {
            flow.awaited.push((path.clone(), model));
            let metric = path.parts[1..].iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            return Some(MetricRef { name: first.clone(), metric });
        }
        let metric = self.metric(path, flow, Wanted::Choice)?;
        self.measures(&metric.name, model.0, path.span, flow).then_some(metric)
    }
}
