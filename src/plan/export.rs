//! Turns a plan into text for other programs: Graphviz, Mermaid, JSON.

use crate::plan::Plan;

pub fn to_dot(plan: &Plan) -> String {
    let _ = plan;
    todo!()
}

pub fn to_mermaid(plan: &Plan) -> String {
    let _ = plan;
    todo!()
}

/// `{"plan": digest, "nodes": [{"id", "op", "iteration", "name", "key", "inputs", "after"}]}`
pub fn to_json(plan: &Plan) -> String {
    let _ = plan;
    todo!()
}
