//! Reports of a made-up run: every form shows the same figures, and no word of the run can act.

use agx::base::Digest;
use agx::experiment::{MetricRef, ReportItem};
use agx::model::{Message, Role, Tokens};
use agx::report::html::{Reading, page};
use agx::report::{Report, RunState, human, markdown};
use agx::run::{Charge, ItemCounts, ItemOutcome, Metric, NodeInfo, NodeStatus, RunEvent, RunLabel};
use serde_json::{Value, json};

const HOSTILE: &str = "</style><script>alert(1)</script>\u{1b}[2J\" onload=x '`|*";

fn key(text: &str) -> Digest {
    Digest::of_bytes(text.as_bytes())
}

fn node(id: &str, name: &str, inputs: &[&str]) -> NodeInfo {
    let (op, rest) = id.split_once(['@', ':']).unwrap();
    NodeInfo {
        id: id.to_owned(),
        op: op.to_owned(),
        iteration: rest.parse().unwrap_or(0),
        name: name.to_owned(),
        key: key(id),
        inputs: inputs.iter().map(|id| (*id).to_owned()).collect(),
        after: Vec::new(),
    }
}

fn metric(name: &str, value: f64, n: u64, ci95: Option<f64>) -> Metric {
    Metric { name: name.to_owned(), value, n, ci95 }
}

fn finished(id: &str, done: u64, metrics: Vec<Metric>, detail: Value) -> RunEvent {
    RunEvent::NodeFinished {
        node: id.to_owned(),
        status: NodeStatus::Done,
        items: ItemCounts { done, cached: 0, failed: 0 },
        output: Some(key(id)),
        metrics,
        detail,
        reason: None,
    }
}

fn success(value: f64, n: u64) -> Vec<Metric> {
    vec![metric("success", value, n, Some(0.1))]
}

/// Two of three iterations: the gate after the second ends the loop.
fn quickstart() -> Vec<RunEvent> {
    let mut nodes = vec![node("calibrate:grader", "grader", &[]), node("evaluate:base", "base", &[])];
    let mut events = Vec::new();
    let confusion = json!({"true_positive": 88, "false_positive": 21, "false_negative": 14, "true_negative": 133});
    events.push(finished(
        "calibrate:grader",
        256,
        vec![
            metric("accuracy", 0.863_281_25, 256, Some(0.042)),
            metric("kappa", 0.717, 256, None),
            metric("auc", 0.911, 256, Some(0.037)),
        ],
        json!({"confusion": confusion, "roc": [
            {"at": 4.0, "false_positive_rate": 0.05, "true_positive_rate": 0.61},
            {"at": 3.0, "false_positive_rate": 0.14, "true_positive_rate": 0.86},
            {"at": 0.0, "false_positive_rate": 1.0, "true_positive_rate": 1.0},
        ]}),
    ));
    events.push(finished("evaluate:base", 96, success(0.40625, 96), Value::Null));
    for (node, prompt, spend) in [("calibrate:grader", 41_200, 112_040), ("judge@1", 1_310_000, 3_514_400)] {
        let charge = Charge { tokens: Tokens { prompt, completion: prompt / 50 }, spend: Some(spend) };
        events.push(RunEvent::NodeCharged { node: node.to_owned(), charge });
    }
    for i in 1..=3_u32 {
        let at = |op: &str| format!("{op}@{i}");
        let before = if i == 1 { "evaluate:base".to_owned() } else { format!("gate@{}", i - 1) };
        nodes.push(node(&at("rollout"), "trajs", &[]));
        nodes.push(node(&at("judge"), "graded", &[&at("rollout")]));
        nodes.push(node(&at("select"), "kept", &[&at("judge")]));
        nodes.push(node(&at("audit"), "kept", &[&at("select")]));
        nodes.push(node(&at("train"), "policy", &[&at("select")]));
        nodes.push(node(&at("evaluate"), "dev", &[&at("train")]));
        nodes.push(node(&at("gate"), "until", &["evaluate:base", &at("evaluate"), &before]));
        if i == 3 {
            for op in ["rollout", "judge", "select", "audit", "train", "evaluate", "gate"] {
                events.push(RunEvent::NodeFinished {
                    node: at(op),
                    status: NodeStatus::Skipped,
                    items: ItemCounts::default(),
                    output: None,
                    metrics: Vec::new(),
                    detail: Value::Null,
                    reason: Some("the loop ended at 2".to_owned()),
                });
            }
            continue;
        }
        let f = f64::from(i);
        events.push(finished(&at("rollout"), 768, success(0.3 + 0.1 * f, 768), Value::Null));
        events.push(finished(
            &at("judge"),
            768,
            vec![metric("score.mean", 1.8 + 0.3 * f, 760, None), metric("better.flips", 0.1 * f, 2304, Some(0.01))],
            Value::Null,
        ));
        let kept = 120 + 10 * i;
        let funnel = json!([
            {"stage": "where score >= 3 and traj.ended", "rows_in": 760, "rows_out": 402},
            {"stage": "top 40% by score", "rows_in": 402, "rows_out": 202},
            {"stage": "dedup by task.id, traj.actions", "rows_in": 202, "rows_out": kept},
            {"stage": "require at least 16", "rows_in": kept, "rows_out": kept},
        ]);
        events.push(finished(
            &at("select"),
            1,
            vec![metric("count", f64::from(kept), 1, None)],
            json!({ "funnel": funnel }),
        ));
        let confusion =
            json!({"true_positive": 250 + i, "false_positive": 60, "false_negative": 40, "true_negative": 410});
        events.push(finished(
            &at("audit"),
            1,
            vec![
                metric("precision", 0.8 + 0.03 * f, 402, Some(0.03)),
                metric("recall", 0.7 + 0.02 * f, 300, None),
                metric("gap", 0.08 * f - 0.05, 760, Some(0.03)),
            ],
            json!({ "confusion": confusion }),
        ));
        events.push(finished(&at("train"), 1, vec![metric("loss", 0.4 / f, 1, None)], Value::Null));
        events.push(finished(&at("evaluate"), 96, success(0.40625 + 0.1 * f, 96), Value::Null));
        events.push(finished(
            &at("gate"),
            1,
            Vec::new(),
            json!({"stop": i == 2, "why": "dev.success: grew by less than 0.01"}),
        ));
    }
    nodes.push(node("pick:winner", "winner", &["evaluate:base", "evaluate@1", "evaluate@2"]));
    nodes.push(node("evaluate:after", "after", &["pick:winner"]));
    events.push(finished(
        "pick:winner",
        1,
        Vec::new(),
        json!({"version": "policy@2", "candidates": [
            {"node": "evaluate:base", "version": "policy@0", "value": 0.40625},
            {"node": "evaluate@1", "version": "policy@1", "value": 0.50625},
            {"node": "evaluate@2", "version": "policy@2", "value": 0.60625},
        ]}),
    ));
    events.push(finished("evaluate:after", 256, vec![metric("success", 0.609_375, 256, Some(0.06))], Value::Null));
    events.push(RunEvent::RunFinished { failed: false, winner: Some("policy@2".to_owned()) });
    let started = RunEvent::RunStarted {
        run: "quickstart-1".to_owned(),
        experiment: "quickstart".to_owned(),
        title: "Critic-supervised iterative training at your desk.".to_owned(),
        plan: key("plan"),
        label: RunLabel::Seeded,
        nodes,
        frozen: Default::default(),
    };
    std::iter::once(started).chain(events).collect()
}

fn items() -> Vec<ReportItem> {
    let metric = |name: &str, metric: &str| MetricRef { name: name.to_owned(), metric: metric.to_owned() };
    vec![
        ReportItem::Plot { metrics: vec![metric("dev", "success"), metric("kept", "precision")] },
        ReportItem::Table {
            metrics: vec![
                metric("dev", "success"),
                metric("kept", "count"),
                metric("kept", "precision"),
                metric("graded", "score.mean"),
            ],
        },
    ]
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn reading(text: &str) -> Reading {
    Reading {
        unparsed: None,
        node: "rollout@1".to_owned(),
        task: "train-0012".to_owned(),
        sample: 2,
        messages: vec![
            Message::new(Role::System, "You work at a desk."),
            Message::new(Role::User, text),
            Message::new(Role::Assistant, text),
            Message::new(Role::Tool, text),
        ],
        prompt_len: 2,
        verdict: Some("score 4".to_owned()),
        dropped_by: None,
        success: Some(true),
    }
}

#[test]
fn a_finished_run_reads_well_in_a_terminal() {
    let report = Report::fold(&quickstart()).unwrap();
    insta::assert_snapshot!("report_human", plain(&human::report(&report, &items())));
    insta::assert_snapshot!("report_status", plain(&human::status(&report)));
}

#[test]
fn markdown_and_json_hold_the_same_figures() {
    let report = Report::fold(&quickstart()).unwrap();
    insta::assert_snapshot!("report_markdown", markdown::markdown(&report, &items()));
    let json = report.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(json["roc"][0]["points"][1]["at"], 3.0);
    for key in ["run", "experiment", "plan", "label", "nodes", "metrics", "winner"] {
        assert!(keys.iter().any(|it| *it == key), "{key} is missing");
    }
    let dev: Vec<f64> = json["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|metric| metric["name"] == "dev.success")
        .map(|metric| metric["value"].as_f64().unwrap())
        .collect();
    assert_eq!(dev, [0.50625, 0.60625]);
    insta::assert_json_snapshot!("report_json_node", json["nodes"][4]);
    insta::assert_json_snapshot!("report_json_metric", json["metrics"][0]);
}

#[test]
fn the_page_stands_alone() {
    let report = Report::fold(&quickstart()).unwrap();
    let page = page(&report, &items(), &[reading("Book a room for Ada.")], "0.1.0");
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["http://", "https://", "<script", "<link", "<img", "url("] {
        assert!(!page.contains(outside), "the page reaches outside by {outside}");
    }
    for shown in [
        "dev.success",
        "policy@2",
        "where score &gt;= 3",
        "verdict readable",
        "Book a room for Ada.",
        "0.609",
        "class=\"roc\"",
    ] {
        assert!(page.contains(shown), "{shown} is missing");
    }
    assert_eq!(page.matches("class=\"ring\"").count(), 1, "the winner is ringed");
    if let Some(path) = option_env!("AGX_KEEP_PAGE") {
        std::fs::write(path, page).unwrap();
    }
}

/// A gap that grows by more than chance is told in every form; one that does not, or that narrows, in none.
#[test]
fn a_critic_that_parts_from_the_truth_is_told() {
    let told = |from: (f64, f64), to: (f64, f64)| {
        let mut events = quickstart();
        for event in &mut events {
            if let RunEvent::NodeFinished { node, metrics, .. } = event
                && let Some((_, iteration)) = node.split_once("audit@")
            {
                let (value, ci95) = if iteration == "1" { from } else { to };
                metrics.retain(|metric| metric.name != "gap");
                metrics.push(metric("gap", value, 760, Some(ci95)));
            }
        }
        let report = Report::fold(&events).unwrap();
        let forms = [
            plain(&human::report(&report, &items())),
            markdown::markdown(&report, &items()),
            page(&report, &items(), &[], "0.1.0"),
            report.json()["warnings"].to_string(),
        ];
        let told = forms.map(|form| form.contains("parts from the truth"));
        assert!(told.iter().all(|it| *it == told[0]), "{told:?}");
        told[0]
    };
    assert!(told((0.03, 0.03), (0.11, 0.03)));
    assert!(!told((-0.20, 0.03), (0.01, 0.03)), "a harsh critic has come to the truth");
    assert!(!told((0.03, 0.06), (0.11, 0.06)), "it may be chance");
    assert!(!told((0.20, 0.03), (0.05, 0.03)), "it narrows");
}

#[test]
fn hostile_words_do_nothing_anywhere() {
    let mut events = quickstart();
    let RunEvent::RunStarted { run, experiment, title, nodes, .. } = &mut events[0] else { panic!("starts") };
    let first = &mut nodes[0];
    for text in [run, experiment, title, &mut first.id, &mut first.name] {
        *text = HOSTILE.to_owned();
    }
    let published = json!({ "source": HOSTILE, "figures": [[HOSTILE, { "success": 0.5, HOSTILE: 1.0 }]] });
    for event in &mut events {
        if let RunEvent::NodeFinished { node, detail, .. } = event
            && node == "evaluate:base"
        {
            *detail = json!({ "published": published });
        }
    }
    let report = Report::fold(&events).unwrap();
    assert!(human::report(&report, &items()).contains("Beside published figures"));
    let mut hostile = reading(HOSTILE);
    hostile.verdict = Some(HOSTILE.to_owned());
    hostile.dropped_by = Some(HOSTILE.to_owned());
    let page = page(&report, &items(), &[hostile], "0.1.0");
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    assert_eq!(page.matches("</style>").count(), 1);
    for text in [human::report(&report, &items()), human::status(&report)] {
        assert!(!text.contains("[2J") || !text.contains("\u{1b}[2J"));
    }
    let markdown = markdown::markdown(&report, &items());
    assert!(!markdown.contains("<script") && !markdown.contains('\u{1b}'));
}

#[test]
fn a_run_that_goes_on_starts_its_unfinished_nodes_over() {
    let all = quickstart();
    let mut events = all[..4].to_vec();
    let item = |item: &str, outcome| RunEvent::ItemFinished {
        node: "rollout@1".to_owned(),
        item: item.to_owned(),
        key: key(item),
        outcome,
        took: agx::model::Tokens::default(),
    };
    events.truncate(3);
    events.push(RunEvent::NodeStarted { node: "rollout@1".to_owned(), items: 768, cached: 0 });
    events.push(item("a", ItemOutcome::Done { blob: key("a") }));
    events.push(item("b", ItemOutcome::Failed { reason: "no reply".to_owned() }));
    let report = Report::fold(&events).unwrap();
    let rollout = report.node("rollout@1").unwrap();
    assert_eq!(rollout.items, ItemCounts { done: 1, cached: 0, failed: 1 });
    assert_eq!(report.state, RunState::Running);

    // Who pauses says no counts of its own.
    let mut paused = events.clone();
    paused.push(RunEvent::NodeFinished {
        node: "rollout@1".to_owned(),
        status: NodeStatus::Paused,
        items: ItemCounts::default(),
        output: None,
        metrics: Vec::new(),
        detail: serde_json::Value::Null,
        reason: None,
    });
    let report = Report::fold(&paused).unwrap();
    let rollout = report.node("rollout@1").unwrap();
    assert_eq!((rollout.items, rollout.total), (ItemCounts { done: 1, cached: 0, failed: 1 }, 768));

    // A skip is for good, and is not told again.
    events.push(RunEvent::NodeFinished {
        node: "rollout@2".to_owned(),
        status: NodeStatus::Skipped,
        items: ItemCounts::default(),
        output: None,
        metrics: Vec::new(),
        detail: serde_json::Value::Null,
        reason: Some("gate@1 ended the loop".to_owned()),
    });
    events.push(RunEvent::RunResumed { run: "quickstart-1".to_owned() });
    let report = Report::fold(&events).unwrap();
    assert_eq!(report.node("rollout@1").unwrap().status, NodeStatus::Pending);
    assert_eq!(report.node("evaluate:base").unwrap().status, NodeStatus::Done);
    assert_eq!(report.node("rollout@2").unwrap().status, NodeStatus::Skipped);

    events.push(RunEvent::NodeStarted { node: "rollout@1".to_owned(), items: 768, cached: 1 });
    let report = Report::fold(&events).unwrap();
    assert_eq!(report.node("rollout@1").unwrap().items, ItemCounts { done: 0, cached: 1, failed: 0 });
}

#[test]
fn no_event_is_no_report() {
    assert_eq!(Report::fold(&[]), None);
    assert_eq!(Report::fold(&[RunEvent::RunFinished { failed: false, winner: None }]), None);
}
