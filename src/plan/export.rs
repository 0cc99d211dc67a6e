//! Turns a plan into text for other programs: Graphviz, Mermaid, JSON.

use crate::plan::{Edge, Op, Plan};
use petgraph::visit::EdgeRef;
use std::fmt::Write;

/// Graphviz: one box a step, a cluster an iteration, dashed edges from gates.
pub fn to_dot(plan: &Plan) -> String {
    let mut text = String::from("digraph plan {\n  rankdir = TB;\n  node [shape = box, fontname = \"monospace\"];\n");
    for (iteration, ids) in by_iteration(plan) {
        let indent = if iteration == 0 { "  " } else { "    " };
        if iteration > 0 {
            line(&mut text, format_args!("  subgraph cluster_{iteration} {{\n    label = \"iteration {iteration}\";"));
        }
        for at in ids {
            let step = &plan.steps[at];
            let shape = if step.op == Op::Gate { ", shape = diamond" } else { "" };
            let label = format!("{}\\n{}", step.id, step.key.short());
            line(&mut text, format_args!("{indent}\"{}\" [label = \"{label}\"{shape}];", step.id));
        }
        if iteration > 0 {
            line(&mut text, format_args!("  }}"));
        }
    }
    for (from, to, kind) in edges(plan) {
        let style = if kind == Edge::Control { " [style = dashed]" } else { "" };
        line(&mut text, format_args!("  \"{from}\" -> \"{to}\"{style};"));
    }
    text.push_str("}\n");
    text
}

/// Mermaid's flowchart, as GitHub draws it in Markdown.
pub fn to_mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    for (iteration, ids) in by_iteration(plan) {
        if iteration > 0 {
            line(&mut text, format_args!("  subgraph i{iteration}[\"iteration {iteration}\"]"));
        }
        for at in ids {
            let step = &plan.steps[at];
            let (open, close) = if step.op == Op::Gate { ("{\"", "\"}") } else { ("[\"", "\"]") };
            line(&mut text, format_args!("  s{at}{open}{}{close}", step.id));
        }
        if iteration > 0 {
            line(&mut text, format_args!("  end"));
        }
    }
    for edge in plan.graph.edge_references() {
        let arrow = if *edge.weight() == Edge::Control { "-.->" } else { "-->" };
        line(&mut text, format_args!("  s{} {arrow} s{}", edge.source().index(), edge.target().index()));
    }
    text
}

/// `{"plan": digest, "nodes": [{"id", "op", "iteration", "name", "key", "inputs", "after"}]}`, in the order they run.
pub fn to_json(plan: &Plan) -> String {
    let nodes: Vec<serde_json::Value> = plan
        .ordered()
        .map(|(_, step)| {
            serde_json::json!({
                "id": step.id,
                "op": step.op,
                "iteration": step.iteration,
                "name": step.name,
                "key": step.key,
                "inputs": plan.ids(&step.inputs),
                "after": plan.ids(&step.after),
            })
        })
        .collect();
    let value = serde_json::json!({ "plan": plan.digest, "nodes": nodes });
    serde_json::to_string_pretty(&value).expect("a plan is plain data")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a string");
}

/// Steps by their iteration, in the order they run.
fn by_iteration(plan: &Plan) -> std::collections::BTreeMap<u32, Vec<usize>> {
    let mut iterations = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (id, step) in plan.ordered() {
        iterations.entry(step.iteration).or_default().push(id.0);
    }
    iterations
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&str, &str, Edge)> {
    plan.graph.edge_references().map(|edge| {
        let word = |node: petgraph::graph::NodeIndex| plan.steps[node.index()].id.as_str();
        (word(edge.source()), word(edge.target()), *edge.weight())
    })
}
