//! Turns a [`Report`] into one HTML page that needs nothing else: no network, no script.
//!
//! [`page`] is the whole of it; [`chart`] draws the curves as SVG.
//!
//! # Invariants
//! No script, no outside address. Every word of the run goes through maud's escaping; nothing here marks text as safe but
//! our own style sheet.

pub mod chart;

use crate::experiment::ReportItem;
use crate::model::{Message, Role};
use crate::node::compare;
use crate::node::reasons::Commonest;
use crate::report::figures::{self, Confusion, Curve, Funnel, Truth};
use crate::report::human::{self, iteration_word};
use crate::report::published::{self, Beside};
use crate::report::text::{clip, count, figure, number, plain, plain_lines, value};
use crate::report::{NodeReport, Report, label_word, status_word};
use crate::run::{Metric, RunLabel};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// A trajectory to read, with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub node: String,
    pub task: String,
    pub sample: u32,
    pub messages: Vec<Message>,
    /// How many of `messages` are the prompt.
    pub prompt_len: usize,
    /// The critic's verdict, as `score 3`; `None` when it could not be read.
    pub verdict: Option<String>,
    /// Why it could not be read.
    pub unparsed: Option<String>,
    /// The stage that dropped it; `None` when it was kept.
    pub dropped_by: Option<String>,
    /// Ground truth, known to metrics only.
    pub success: Option<bool>,
}

/// `items`: what the file wants drawn. `readings`: a few trajectories. `version`: of this program.
pub fn page(report: &Report, items: &[ReportItem], readings: &[Reading], version: &str) -> String {
    let wanted = figures::wanted(report, items);
    let plots: Vec<Vec<Curve>> = wanted
        .iter()
        .filter_map(|item| match item {
            ReportItem::Plot { metrics } => Some(metrics.iter().map(|metric| figures::curve(report, metric)).collect()),
            ReportItem::Table { .. } => None,
        })
        .collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "agx " (version) };
                title { (plain(&report.experiment)) " · " (plain(&report.run)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (opening(report))
                    (headline(report, items))
                    @for curves in &plots { (plot(report, curves)) }
                    (tables(report, &wanted))
                    (beside(report))
                    (selection(report))
                    (reasons(report, "Replies that could not be read", NodeReport::unread))
                    (reasons(report, "Items that failed", |node| node.failures.commonest()))
                    (charged(report))
                    (steadiness(report))
                    (truth(report))
                    (reading(readings))
                    (nodes(report))
                    (closing(report, version))
                }
            }
        }
    };
    page.into_string()
}

fn opening(report: &Report) -> Markup {
    html! {
        header {
            h1 { (plain(&report.experiment)) }
            @if !report.title.trim().is_empty() { p.lede { (plain_lines(report.title.trim())) } }
            p.facts {
                span class={ "badge state-" (report.state.as_str()) } { (report.state.as_str()) }
                span.badge title=(label_meaning(report.label)) { (label_word(report.label)) }
                span { "run " code { (plain(&report.run)) } }
                span { "plan " code title=(report.plan) { (report.plan.short()) } }
            }
        }
    }
}

fn label_meaning(label: RunLabel) -> &'static str {
    match label {
        RunLabel::Pure => "No model took part: the same file gives the same bytes.",
        RunLabel::Seeded => {
            "Local models on the processor only: the same file and weights give the same bytes on any machine."
        }
        RunLabel::Recorded => "A remote model or a GPU took part: what is recorded of it is the truth.",
    }
}

/// The winner and what was measured outside of the loop, large.
fn headline(report: &Report, items: &[ReportItem]) -> Markup {
    let outside = figures::outside(report, items);
    html! {
        @if report.winner.is_some() || !outside.is_empty() {
            section.headline {
                @if let Some(winner) = &report.winner {
                    div.tile.winner { span.name { "winner" } span.value { (plain(winner)) } }
                }
                @for (node, metric) in outside.iter().take(6) {
                    div.tile {
                        span.name { (plain(&node.info.name)) "." (plain(&metric.name)) }
                        span.value { (value(metric)) }
                        span.note {
                            @if let Some((low, high)) = metric.interval() { (number(low)) " to " (number(high)) ", " }
                            "n " (count(metric.n))
                        }
                    }
                }
            }
        }
    }
}

/// Shares in one chart, since they have one axis; everything else in a chart of its own.
fn plot(report: &Report, curves: &[Curve]) -> Markup {
    let (ratios, others): (Vec<&Curve>, Vec<&Curve>) =
        curves.iter().filter(|curve| !curve.points.is_empty()).partition(|curve| curve.is_ratio());
    html! {
        @if !ratios.is_empty() || !others.is_empty() {
            section {
                h2 { "By iteration" }
                @if !ratios.is_empty() { (figure_of(report, &ratios)) }
                @for curve in others { (figure_of(report, &[curve])) }
                @for (node, why) in figures::endings(report) {
                    p.note { "The loop ended after iteration " (node.info.iteration) ": " (plain(&why)) }
                }
            }
        }
    }
}

fn figure_of(report: &Report, curves: &[&Curve]) -> Markup {
    let winner = figures::winning_iteration(report);
    let banded = curves.iter().any(|curve| curve.points.iter().any(|point| point.metric.ci95.is_some()));
    html! {
        figure {
            (chart::lines(curves, winner))
            figcaption {
                @if banded { "Bands are 95 % intervals: Wilson's of shares, normal of means. " }
                @if winner.is_some() { "The ring marks the winner. " }
                "“before” was measured before the first iteration."
            }
        }
    }
}

fn tables(report: &Report, wanted: &[ReportItem]) -> Markup {
    let tables = wanted.iter().filter_map(|item| match item {
        ReportItem::Table { metrics } => Some(metrics),
        ReportItem::Plot { .. } => None,
    });
    html! {
        @for metrics in tables {
            @let curves: Vec<Curve> = metrics.iter().map(|metric| figures::curve(report, metric)).collect();
            @let iterations = figures::iterations(&curves);
            @if !iterations.is_empty() {
                section {
                    h2 { "Figures" }
                    div.scroll { table {
                        thead { tr {
                            th { "iteration" }
                            @for curve in &curves { th.number { (plain(&curve.name)) } }
                        } }
                        tbody {
                            @for iteration in iterations {
                                tr {
                                    th scope="row" { (iteration_word(iteration)) }
                                    @for curve in &curves {
                                        td.number { @if let Some(point) = curve.at(iteration) { (figure(&point.metric)) } }
                                    }
                                }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn beside(report: &Report) -> Markup {
    html! {
        @for Beside { source, columns, rows } in published::beside(report) {
            section {
                h2 { "Beside published figures" }
                p.note { (plain(&source)) }
                div.scroll { table {
                    thead { tr {
                        th {}
                        @for column in &columns { th.number { (plain(column)) } }
                    } }
                    tbody {
                        @for (whose, figures) in &rows {
                            tr {
                                th scope="row" { (plain(whose)) }
                                @for figure in figures { td.number { (plain(figure)) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn selection(report: &Report) -> Markup {
    let funnels = figures::funnels(report);
    let mut names: Vec<&str> = funnels.iter().map(|funnel| funnel.name.as_str()).collect();
    names.dedup();
    html! {
        @for name in names {
            @let of_name: Vec<&Funnel> = funnels.iter().filter(|funnel| funnel.name == name).collect();
            section {
                h2 { "Selection: " (plain(name)) }
                p.note { "From what was rolled out to what the model was trained on. Each row says how many were left, and how many went at that step." }
                (funnel_table(&of_name))
            }
        }
    }
}

/// Steps down, iterations across: the rule is the same in each.
fn funnel_table(funnels: &[&Funnel]) -> Markup {
    let all = |funnel: &Funnel| funnel.rolled_out.unwrap_or(funnel.readable).max(1);
    let bar = |left: u64, before: u64, funnel: &Funnel| {
        let width = 100.0 * left as f64 / all(funnel) as f64;
        let gone = before.saturating_sub(left);
        html! {
            td {
                div.bar { span style=(format!("width:{width:.1}%")) {} }
                span.left { (count(left)) }
                @if gone > 0 { span.gone { "−" (count(gone)) } }
            }
        }
    };
    let stages = funnels.first().map_or(0, |funnel| funnel.stages.len());
    html! {
        div.scroll { table.funnel {
            thead { tr { th {} @for funnel in funnels { th { "iteration " (funnel.iteration) } } } }
            tbody {
                tr { th scope="row" { "rolled out" } @for funnel in funnels { (bar(all(funnel), all(funnel), funnel)) } }
                tr { th scope="row" { "verdict readable" } @for funnel in funnels { (bar(funnel.readable, all(funnel), funnel)) } }
                @for at in 0..stages {
                    tr {
                        th scope="row" { code { (plain(&funnels[0].stages[at].stage)) } }
                        @for funnel in funnels {
                            @if let Some(stage) = funnel.stages.get(at) {
                                (bar(stage.rows_out as u64, stage.rows_in as u64, funnel))
                            } @else { td {} }
                        }
                    }
                }
                tr.kept { th scope="row" { "kept" } @for funnel in funnels { (bar(funnel.kept, funnel.kept, funnel)) } }
            }
        } }
    }
}

fn charged(report: &Report) -> Markup {
    html! {
        @if let Some(charges) = report.charges() {
            section {
                h2 { "Charged by endpoints" }
                p.note { "Tokens sent and written, as the endpoints count them, at the declared prices." }
                div.scroll { table {
                    thead { tr { th { "node" } th.number { "sent" } th.number { "written" } th.number { "cost" } } }
                    tbody {
                        @for (node, charge) in human::charge_rows(&charges) {
                            tr {
                                th scope="row" { (plain(node)) }
                                @for words in human::charge_words(&charge) { td.number { (words) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// The commonest reasons of each node.
fn reasons(report: &Report, title: &str, of: impl Fn(&NodeReport) -> Option<Commonest>) -> Markup {
    let told: Vec<(&NodeReport, Commonest)> = report.nodes.iter().filter_map(|node| Some((node, of(node)?))).collect();
    html! {
        @if !told.is_empty() {
            section {
                h2 { (title) }
                div.scroll { table {
                    thead { tr { th { "node" } th.number { "n" } th { "why" } } }
                    tbody {
                        @for (node, commonest) in &told {
                            @for (times, reason) in commonest.told() {
                                tr {
                                    th scope="row" { (plain(&node.info.id)) }
                                    td.number { (count(times)) }
                                    td { (clip(&plain(reason), 300)) }
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// How far critics agree with themselves.
fn steadiness(report: &Report) -> Markup {
    let measured = figures::steadiness(report);
    html! {
        @if !measured.is_empty() {
            section {
                h2 { "Critics against themselves" }
                p.note { "“flips” is the share of comparisons that the order decided; “alpha” is Krippendorff's, 1 where several verdicts on a row always agree; “spread” is how far they lie apart; “unread” is the share of verdicts that could not be read." }
                div.matrices {
                    @for (node, metrics) in measured {
                        div.matrix { h3 { (plain(&node.info.id)) } dl { @for metric in metrics { (definition(metric)) } } }
                    }
                }
            }
        }
    }
}

fn truth(report: &Report) -> Markup {
    let truths = figures::truths(report);
    let audits = ["precision", "recall", "accuracy", "concordance"].map(|metric| audit_curve(&truths, metric));
    let drawn: Vec<&Curve> = audits.iter().filter(|curve| curve.points.len() > 1 && curve.is_ratio()).collect();
    let belief = ["score", "truth"].map(|metric| audit_curve(&truths, metric));
    let parts = belief.iter().all(|curve| curve.points.len() > 1 && curve.is_ratio());
    html! {
        @if !truths.is_empty() {
            section {
                h2 { "Critic against the truth" }
                p.note { "Ground truth is known to these measures only: no prompt, rule or trainer of the run has seen it." }
                @if !drawn.is_empty() { figure { (chart::lines(&drawn, None)) } }
                @if parts {
                    figure {
                        (chart::lines(&[&belief[0], &belief[1]], None))
                        figcaption { "The critic's mean score and the share truly solved, both from 0 to 1. When they part, the critic is being gamed." }
                    }
                }
                @for warning in human::warnings(report) { p.parting { (plain(&warning)) } }
                div.matrices { @for truth in &truths { (matrix(truth)) } }
            }
        }
    }
}

fn audit_curve(truths: &[Truth], metric: &str) -> Curve {
    let audits =
        truths.iter().map(|truth| truth.node).filter(|node| node.info.op == "audit" && node.info.iteration > 0);
    let points = audits.filter_map(|node| {
        let metric = node.metric(metric)?.clone();
        Some(figures::Point { iteration: node.info.iteration, metric, node: node.info.id.clone() })
    });
    Curve { name: metric.to_owned(), points: points.collect() }
}

fn matrix(truth: &Truth) -> Markup {
    html! {
        div.matrix {
            h3 { (plain(&truth.node.info.id)) }
            @if let Some(confusion) = truth.confusion { (squares(confusion)) }
            @if !truth.roc.is_empty() { (chart::roc(&truth.roc)) }
            dl { @for metric in truth.metrics.iter().filter(|metric| !figures::is_steadiness(metric)) { (definition(metric)) } }
        }
    }
}

fn definition(metric: &Metric) -> Markup {
    html! { div { dt { (plain(&metric.name)) } dd { (figure(metric)) } } }
}

fn squares(confusion: Confusion) -> Markup {
    let total = confusion.total().max(1) as f64;
    let square = |cell: u64, right: bool| {
        let share = cell as f64 / total;
        let class = if right { "right" } else { "wrong" };
        html! { td class=(class) style=(format!("--share:{share:.3}")) { (count(cell)) } }
    };
    html! {
        table.confusion {
            thead { tr { th {} th { "said good" } th { "said bad" } } }
            tbody {
                tr { th scope="row" { "is good" } (square(confusion.true_positive, true)) (square(confusion.false_negative, false)) }
                tr { th scope="row" { "is bad" } (square(confusion.false_positive, false)) (square(confusion.true_negative, true)) }
            }
        }
    }
}

fn reading(readings: &[Reading]) -> Markup {
    html! {
        @if !readings.is_empty() {
            section {
                h2 { "A few trajectories to read" }
                @for reading in readings { (trajectory(reading)) }
            }
        }
    }
}

fn trajectory(reading: &Reading) -> Markup {
    let request = reading.messages.iter().take(reading.prompt_len).rfind(|message| message.role == Role::User);
    html! {
        details {
            summary {
                span.request { (clip(&plain(request.map_or("", |message| &message.content)), 120)) }
                span.facts {
                    @match &reading.verdict {
                        Some(verdict) => span.badge { (plain(verdict)) },
                        None => span.badge.quiet title=(reading.unparsed.as_deref().map(plain).unwrap_or_default()) {
                            @if reading.unparsed.as_deref().is_some_and(compare::is_alone) { (figures::ALONE) } @else { "verdict unreadable" }
                        },
                    }
                    @match &reading.dropped_by {
                        None => span.badge.good { "kept" },
                        Some(stage) => span.badge.quiet { "dropped by " (clip(&plain(stage), 48)) },
                    }
                    @if let Some(success) = reading.success {
                        @if success { span.badge.good { "in truth solved" } } @else { span.badge.bad { "in truth not solved" } }
                    }
                }
            }
            p.note { (plain(&reading.node)) " · task " code { (plain(&reading.task)) } " · sample " (reading.sample) }
            ol.turns {
                @for (index, message) in reading.messages.iter().enumerate() {
                    li class={ "turn " (message.role.as_str()) @if index < reading.prompt_len { " prompt" } } {
                        span.role { (message.role.as_str()) }
                        pre { (plain_lines(&message.content)) }
                    }
                }
            }
        }
    }
}

fn nodes(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Nodes" }
            @if let Some(missing) = human::missing_words(report) { p { (plain(&missing)) } }
            div.scroll { table.nodes {
                thead { tr {
                    th { "node" } th { "status" } th.number { "worked" } th.number { "cached" } th.number { "failed" } th { "key" } th {}
                } }
                tbody {
                    @for node in &report.nodes {
                        tr {
                            th scope="row" { (plain(&node.info.id)) }
                            td { span class={ "status-" (status_word(node.status)) } { (status_word(node.status)) } }
                            td.number { (count(node.items.done)) }
                            td.number { (count(node.items.cached)) }
                            td.number { (count(node.items.failed)) }
                            td { code title=(node.info.key) { (node.info.key.short()) } }
                            td.note { @if let Some(reason) = &node.reason { (plain(reason)) } }
                        }
                    }
                }
            } }
        }
    }
}

fn closing(report: &Report, version: &str) -> Markup {
    html! {
        footer {
            p { (label_meaning(report.label)) }
            p { "Made by agx " (version) " from run " code { (plain(&report.run)) } "; " code { "agx report " (plain(&report.run)) " --html page.html" } " makes it again, byte for byte." }
        }
    }
}
