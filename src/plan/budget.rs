//! Holds a budget against the bounds of its plan: what cannot suffice is told before anything is spent.

use crate::base::units::MicroUsd;
use crate::base::{Diagnostic, Span};
use crate::experiment::{Checked, Experiment, ModelId};
use crate::model::{Remote, Source};
use crate::plan::{Amount, Step, foresee, total};

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
    let budget = experiment.budget.as_ref()?;
    let (plan, steps) = foresee(experiment)?;
    if let Some(spend) = &budget.spend
        && let Some(model) = plan.steps.iter().find_map(|step| unpriced(experiment, step))
    {
        let message = format!("`{}` has no price, so no budget of money can be held", experiment.models[model.0].name);
        let unheld = Diagnostic::error("E0703", message, spend.span, "would pause before it is asked");
        return Some(unheld.help("give the model's `remote` a `price { input = …, output = … }`"));
    }
    let total = total(&steps);
    let tokens = |amount: u64| format!("{amount} tokens");
    let asked = total.prompt_tokens + total.completion_tokens;
    let tokens = budget.tokens.as_ref().and_then(|most| suffices(most.value.0, most.span, asked, &tokens));
    let dollars = |micro: u64| MicroUsd(micro).to_string();
    let spend = budget.spend.as_ref().and_then(|most| suffices(most.value.0, most.span, total.spend, &dollars));
    // The worse one: the other shows itself once this one is mended.
    tokens.into_iter().chain(spend).min_by_key(|it| it.severity)
}

/// The model behind an endpoint that a step asks and that nobody gave a price.
fn unpriced(experiment: &Experiment, step: &Step) -> Option<ModelId> {
    let priced =
        |model: &ModelId| !matches!(&experiment.models[model.0].it.source, Source::Remote(Remote { price: None, .. }));
    step.work.answer(experiment).into_iter().find(|model| !priced(model))
}

fn suffices(most: u64, span: Span, plan: Amount, words: &dyn Fn(u64) -> String) -> Option<Diagnostic> {
    let budget = words(most);
    if plan.low > most {
        let message = format!("the budget of {budget} cannot suffice");
        let label = format!("the plan takes at least {}", words(plan.low));
        return Some(Diagnostic::error("E0701", message, span, label).help("`agx plan` shows what each node may take"));
    }
    let high = plan.high.filter(|high| *high > most)?;
    let message = format!("the budget of {budget} may not suffice");
    let warning = Diagnostic::warning("W0701", message, span, format!("the plan may take {}", words(high)));
    Some(
        warning
            .help("the run would pause, and `agx resume --no-budget` go on; `agx plan` shows what each node may take"),
    )
}
