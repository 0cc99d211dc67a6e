//! Holds a budget against the bounds of its plan: what cannot suffice is told before anything is spent.

use crate::base::{Diagnostic, Digest, Span};
use crate::experiment::{Checked, Experiment};
use crate::plan::{Identities, bounds, build, total};

/// Adds what the budgets of a checked file come to. As in a check, an error leaves no experiment.
pub fn afford(mut checked: Checked) -> Checked {
    let cells = checked.matrices.iter().flat_map(|matrix| &matrix.cells).map(|cell| &cell.experiment);
    let mut told: Vec<Diagnostic> = checked.experiments.iter().chain(cells).filter_map(budget).collect();
    if told.is_empty() {
        return checked;
    }
    // The cells of a matrix have the budget of their experiment: it is told once, at its worst.
    told.sort_by_key(|it| (it.primary(), it.severity));
    told.dedup_by_key(|it| it.primary());
    if told.iter().any(Diagnostic::is_error) {
        checked.experiments.clear();
        checked.matrices.clear();
    }
    checked.diagnostics.extend(told);
    checked.diagnostics.sort_by_key(Diagnostic::primary);
    checked
}

fn budget(experiment: &Experiment) -> Option<Diagnostic> {
    let tokens = experiment.budget.as_ref()?.tokens.as_ref()?;
    let plan = build(experiment, &nameless(experiment)).ok()?;
    let total = total(&bounds(experiment, &plan));
    let asked = total.prompt_tokens + total.completion_tokens;
    let (most, span): (u64, Span) = (tokens.value.0, tokens.span);
    if asked.low > most {
        let message = format!("the budget of {most} tokens cannot suffice");
        let label = format!("the plan asks for at least {} tokens", asked.low);
        return Some(
            Diagnostic::error("E0701", message, span, label).help("`agx plan` shows how many each node may take"),
        );
    }
    let high = asked.high.filter(|high| *high > most)?;
    let message = format!("the budget of {most} tokens may not suffice");
    let label = format!("the plan may ask for {high} tokens");
    let warning = Diagnostic::warning("W0701", message, span, label);
    Some(warning.help("the run would pause, and `agx resume` go on; `agx plan` shows how many each node may take"))
}

/// Bounds do not depend on what files hold.
fn nameless(experiment: &Experiment) -> Identities {
    let digests = |count: usize| vec![Digest::of_bytes(&[]); count];
    Identities {
        envs: digests(experiment.envs.len()),
        models: digests(experiment.models.len()),
        datasets: digests(experiment.datasets.len()),
    }
}
