//! Each stage against an oracle that asks of one row at a time how many others stand before it.

use super::*;
use crate::base::Seed;
use proptest::prelude::*;

fn column(name: &str) -> Column {
    match name.split_once('.') {
        Some(("traj", name)) => Column::Traj(name.to_owned()),
        Some(("task", name)) => Column::Task(name.to_owned()),
        _ if name == "iteration" => Column::Iteration,
        _ => Column::Answer(name.to_owned()),
    }
}

fn of(name: &str) -> Expr {
    Expr::Column(column(name))
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
}

fn rule(stages: impl Into<Vec<Stage>>) -> Rule {
    Rule { stages: stages.into() }
}

/// A row with its score (missing where `None`), tokens and actions.
fn row(task: u32, sample: u32, score: Option<i32>, tokens: u32, actions: &str) -> Row {
    let mut cells = BTreeMap::from([
        (column("traj.tokens"), CellValue::Number(f64::from(tokens))),
        (column("traj.actions"), CellValue::Text(actions.to_owned())),
        (column("traj.ended"), CellValue::Bool(tokens.is_multiple_of(2))),
    ]);
    cells.extend(score.map(|score| (column("score"), CellValue::Number(f64::from(score)))));
    Row { task: format!("t{task}"), sample, iteration: 1, cells }
}

fn score(row: &Row) -> Option<i64> {
    match row.cells.get(&column("score"))? {
        CellValue::Number(score) => Some(*score as i64),
        _ => None,
    }
}

fn number(row: &Row, name: &str) -> i64 {
    match row.cells[&column(name)] {
        CellValue::Number(value) => value as i64,
        _ => unreachable!(),
    }
}

fn place(row: &Row) -> (String, u32) {
    (row.task.clone(), row.sample)
}

/// Rows of a few tasks, no two of one place, in a mixed order.
fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    let one = (0u32..4, 0u32..6, proptest::option::weighted(0.85, 0i32..5), 1u32..9, "[ab]{1,2}");
    proptest::collection::vec(one, 0..24).prop_map(|rows| {
        let mut seen = std::collections::BTreeSet::new();
        rows.into_iter()
            .map(|(task, sample, score, tokens, actions)| row(task, sample, score, tokens, &actions))
            .filter(|row| seen.insert(place(row)))
            .collect()
    })
}

/// The places that a single stage keeps, sorted.
fn kept(stage: &Stage, rows: &[Row]) -> Vec<(String, u32)> {
    let selection = apply(&rule([stage.clone()]), rows, Seed(7));
    let mut places: Vec<_> = selection.kept.iter().map(|&at| place(&rows[at])).collect();
    places.sort();
    places
}

/// The places of the rows of which `keeps` is true, sorted.
fn expected(rows: &[Row], keeps: impl Fn(&Row) -> bool) -> Vec<(String, u32)> {
    let mut places: Vec<_> = rows.iter().filter(|row| keeps(row)).map(place).collect();
    places.sort();
    places
}

fn share_of(percent: usize, rows: usize) -> usize {
    (percent * rows).div_ceil(100)
}

proptest! {
    #[test]
    fn pooled_top_keeps_the_share_and_all_ties_at_its_cut(rows in some_rows(), percent in 1usize..=100) {
        let stage = Stage::Top { share: percent as f64 / 100.0, per_task: false, by: of("score"), ties: Ties::Keep };
        let scores: Vec<i64> = rows.iter().filter_map(score).collect();
        let wanted = share_of(percent, scores.len());
        let better = |mine: i64| scores.iter().filter(|other| **other > mine).count();
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, |row| score(row).is_some_and(|mine| better(mine) < wanted)));
    }

    #[test]
    fn top_per_task_is_exact_and_ties_go_to_the_first_sample(rows in some_rows(), percent in 1usize..=100) {
        let stage = Stage::Top { share: percent as f64 / 100.0, per_task: true, by: of("score"), ties: Ties::Keep };
        let keeps = |row: &Row| {
            let Some(mine) = score(row) else { return false };
            let group: Vec<&Row> = rows.iter().filter(|other| other.task == row.task && score(other).is_some()).collect();
            let before = |other: &&&Row| {
                let theirs = score(other).unwrap();
                theirs > mine || theirs == mine && other.sample < row.sample
            };
            group.iter().filter(before).count() < share_of(percent, group.len())
        };
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, keeps));
    }

    #[test]
    fn drawn_ties_fill_the_share_exactly(rows in some_rows(), percent in 1usize..=100, per_task: bool, seed: u64) {
        let stage = Stage::Top { share: percent as f64 / 100.0, per_task, by: of("score"), ties: Ties::Sample };
        let selection = apply(&rule([stage]), &rows, Seed(seed));
        let tasks: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.task.as_str()).collect();
        let pools: Vec<Vec<&Row>> = if per_task {
            tasks.iter().map(|task| rows.iter().filter(|row| row.task == *task).collect()).collect()
        } else {
            vec![rows.iter().collect()]
        };
        for pool in pools {
            let scored: Vec<&Row> = pool.into_iter().filter(|row| score(row).is_some()).collect();
            let stays = |row: &Row| selection.kept.iter().any(|&at| place(&rows[at]) == place(row));
            let (inside, outside): (Vec<&Row>, Vec<&Row>) = scored.iter().copied().partition(|row| stays(row));
            prop_assert_eq!(inside.len(), share_of(percent, scored.len()));
            let worst_inside = inside.iter().filter_map(|row| score(row)).min();
            let best_outside = outside.iter().filter_map(|row| score(row)).max();
            prop_assert!(worst_inside.zip(best_outside).is_none_or(|(inside, outside)| inside >= outside));
        }
    }

    #[test]
    fn best_and_worst_count_who_stands_before(rows in some_rows(), count in 0u32..8, per_task: bool, lowest: bool) {
        let by = vec![of("score"), Expr::Negate(Box::new(of("traj.tokens")))];
        let stage = if lowest { Stage::Worst { count, per_task, by } } else { Stage::Best { count, per_task, by } };
        let key = |row: &Row| score(row).map(|score| (score, -number(row, "traj.tokens")));
        let keeps = |row: &Row| {
            let Some(mine) = key(row) else { return false };
            let before = |other: &&Row| {
                let Some(theirs) = key(other).filter(|_| !per_task || other.task == row.task) else { return false };
                let ahead = if lowest { theirs < mine } else { theirs > mine };
                ahead || theirs == mine && place(other) < place(row)
            };
            rows.iter().filter(before).count() < count as usize
        };
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, keeps));
    }

    #[test]
    fn where_keeps_what_holds_and_drops_what_lacks_the_column(rows in some_rows(), least in 0i32..5) {
        let high = binary(BinaryOp::Ge, of("score"), Expr::Number(f64::from(least)));
        let stage = Stage::Where { condition: binary(BinaryOp::Or, of("traj.ended"), high) };
        let ended = |row: &Row| number(row, "traj.tokens") % 2 == 0;
        let keeps = |row: &Row| score(row).is_some_and(|score| ended(row) || score >= i64::from(least));
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, keeps));
    }

    #[test]
    fn dedup_keeps_the_first_of_equals(rows in some_rows()) {
        let stage = Stage::Dedup { by: vec![column("traj.actions"), column("score")] };
        let key = |row: &Row| Some((score(row)?, row.cells[&column("traj.actions")].clone()));
        let keeps = |row: &Row| {
            let mine = key(row);
            mine.is_some() && !rows.iter().any(|other| key(other) == mine && place(other) < place(row))
        };
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, keeps));
    }

    #[test]
    fn caps_and_balance_count_from_the_front(rows in some_rows(), limit in 0u32..12) {
        let before = |row: &Row, of: &dyn Fn(&Row) -> bool| {
            rows.iter().filter(|other| place(other) < place(row) && of(other)).count() as u32
        };
        let stage = Stage::CapRows { count: limit };
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, |row| before(row, &|_| true) < limit));

        let tokens = u64::from(limit) * 3;
        let so_far = |row: &Row| {
            rows.iter().filter(|other| place(other) <= place(row)).map(|other| number(other, "traj.tokens")).sum::<i64>()
        };
        let stage = Stage::CapTokens { tokens };
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, |row| so_far(row) <= tokens as i64));

        let stage = Stage::Balance { by: column("score"), max: limit };
        let keeps = |row: &Row| score(row).is_some() && before(row, &|other| score(other) == score(row)) < limit;
        prop_assert_eq!(kept(&stage, &rows), expected(&rows, keeps));
    }

    #[test]
    fn samples_are_of_the_wanted_size_and_keep_the_order(rows in some_rows(), count in 0u32..8, per_task: bool, seed: u64) {
        let selection = apply(&rule([Stage::Sample { count, per_task }]), &rows, Seed(seed));
        let places: Vec<_> = selection.kept.iter().map(|&at| place(&rows[at])).collect();
        prop_assert!(places.is_sorted());
        let of_task = |task: &str| rows.iter().filter(|row| row.task == task).count().min(count as usize);
        let tasks: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.task.as_str()).collect();
        let wanted = if per_task { tasks.into_iter().map(of_task).sum() } else { rows.len().min(count as usize) };
        prop_assert_eq!(places.len(), wanted);
    }

    #[test]
    fn the_order_in_which_rows_come_changes_nothing(rows in some_rows(), order in any::<u64>(), percent in 1u32..=100) {
        let rule = rule([
            Stage::Top { share: f64::from(percent) / 100.0, per_task: false, by: of("score"), ties: Ties::Sample },
            Stage::Dedup { by: vec![column("traj.actions")] },
            Stage::Sample { count: 3, per_task: true },
            Stage::Best { count: 7, per_task: false, by: vec![of("traj.tokens")] },
        ]);
        let mut mixed = rows.clone();
        Seed(order).rng().shuffle(&mut mixed);
        let places = |rows: &[Row]| -> Vec<_> {
            apply(&rule, rows, Seed(3)).kept.iter().map(|&at| place(&rows[at])).collect()
        };
        prop_assert_eq!(places(&rows), places(&mixed));
    }

    #[test]
    fn the_funnel_and_the_reasons_agree_with_what_is_kept(rows in some_rows(), percent in 1u32..=100) {
        let rule = rule([
            Stage::Where { condition: binary(BinaryOp::Ge, of("score"), Expr::Number(1.0)) },
            Stage::Top { share: f64::from(percent) / 100.0, per_task: false, by: of("score"), ties: Ties::Keep },
            Stage::Require { count: 4, otherwise: Otherwise::Skip },
            Stage::CapRows { count: 5 },
        ]);
        let Selection { kept, funnel, dropped_at, unmet } = apply(&rule, &rows, Seed(7));
        prop_assert_eq!(funnel.len(), 4);
        prop_assert_eq!((funnel[0].rows_in, funnel[3].rows_out), (rows.len(), kept.len()));
        for (at, step) in funnel.iter().enumerate() {
            let dropped = dropped_at.iter().filter(|dropped| **dropped == Some(at)).count();
            prop_assert_eq!(step.rows_in - step.rows_out, dropped);
        }
        prop_assert_eq!(dropped_at.iter().filter(|dropped| dropped.is_none()).count(), kept.len());
        prop_assert!(kept.iter().all(|&at| dropped_at[at].is_none()));
        prop_assert_eq!(unmet, (funnel[2].rows_in < 4).then_some(Otherwise::Skip));
    }
}

#[test]
fn stages_after_an_order_work_on_the_best_first() {
    let rows = [
        row(0, 0, Some(1), 1, "a"),
        row(0, 1, Some(4), 1, "a"),
        row(1, 0, Some(3), 1, "b"),
        row(1, 1, Some(2), 1, "c"),
    ];
    let rule = rule([
        Stage::Top { share: 1.0, per_task: false, by: of("score"), ties: Ties::Keep },
        Stage::Dedup { by: vec![column("traj.actions")] },
        Stage::CapRows { count: 2 },
    ]);
    let Selection { kept, dropped_at, .. } = apply(&rule, &rows, Seed(7));
    assert_eq!(kept, [1, 2], "the better of two equal rows, then the best two");
    assert_eq!(dropped_at, [Some(1), None, None, Some(2)]);
}

#[test]
fn no_task_is_favoured_among_ties_and_seven_percent_of_a_hundred_is_seven() {
    let tied: Vec<Row> = (0..10).map(|task| row(task, 0, Some(2), 1, "a")).collect();
    let top = |share, ties| rule([Stage::Top { share, per_task: false, by: of("score"), ties }]);
    assert_eq!(apply(&top(0.1, Ties::Keep), &tied, Seed(7)).kept.len(), 10);
    assert_eq!(apply(&top(0.1, Ties::Sample), &tied, Seed(7)).kept.len(), 1);
    let many: Vec<Row> = (0..100).map(|task| row(task, 0, Some(task as i32), 1, "a")).collect();
    assert_eq!(apply(&top(0.07, Ties::Keep), &many, Seed(7)).kept.len(), 7);
    assert_eq!(apply(&top(0.071, Ties::Keep), &many, Seed(7)).kept.len(), 8, "rounded up");
}

#[test]
fn draws_are_fair_follow_the_seed_and_ignore_who_else_is_there() {
    let rows: Vec<Row> = (0..10).map(|task| row(task, 0, Some(1), 1, "a")).collect();
    let one = rule([Stage::Sample { count: 1, per_task: false }]);
    let mut counts = [0usize; 10];
    for seed in 0..5000 {
        counts[apply(&one, &rows, Seed(seed)).kept[0]] += 1;
    }
    assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    let five = rule([Stage::Sample { count: 5, per_task: false }]);
    let all = apply(&five, &rows, Seed(7)).kept;
    let fewer: Vec<Row> = rows[..9].to_vec();
    let left = apply(&five, &fewer, Seed(7)).kept;
    assert!(all.iter().filter(|&&at| at < 9).all(|at| left.contains(at)), "a row that goes makes room, no more");
    let twice = rule([Stage::Sample { count: 5, per_task: false }, Stage::Sample { count: 2, per_task: false }]);
    assert_ne!(
        apply(&twice, &rows, Seed(7)).kept,
        apply(&rule([Stage::Sample { count: 2, per_task: false }]), &rows, Seed(7)).kept
    );
    assert!(draws(&five) && !draws(&rule([Stage::CapRows { count: 1 }])));
}

#[test]
fn rows_of_several_iterations_keep_apart() {
    let rows: Vec<Row> = (1..=3).map(|iteration| Row { iteration, ..row(0, 0, Some(1), 1, "a") }).collect();
    let newest = rule([Stage::Best { count: 1, per_task: true, by: vec![of("iteration")] }]);
    assert_eq!(apply(&newest, &rows, Seed(7)).kept, [2]);
    let drawn: std::collections::BTreeSet<usize> = (0..60)
        .map(|seed| apply(&rule([Stage::Sample { count: 1, per_task: false }]), &rows, Seed(seed)).kept[0])
        .collect();
    assert_eq!(drawn.len(), 3);
}

#[test]
fn what_has_no_value_keeps_no_row() {
    let rows = [row(0, 0, Some(2), 4, "a")];
    let keeps = |condition: Expr| apply(&rule([Stage::Where { condition }]), &rows, Seed(7)).kept.len() == 1;
    let two = || Expr::Number(2.0);
    assert!(keeps(binary(BinaryOp::Eq, binary(BinaryOp::Div, of("traj.tokens"), of("score")), two())));
    assert!(!keeps(binary(BinaryOp::Ne, binary(BinaryOp::Div, two(), Expr::Number(0.0)), two())), "a division by zero");
    assert!(!keeps(binary(BinaryOp::Ne, of("score"), Expr::Text("2".to_owned()))), "types that do not fit");
    assert!(!keeps(Expr::Not(Box::new(of("reason")))), "a missing column");
    assert!(!keeps(of("score")), "a number is not a truth value");
    let by_text = Stage::Best { count: 1, per_task: false, by: vec![of("traj.actions")] };
    assert_eq!(apply(&rule([by_text]), &rows, Seed(7)).kept.len(), 0);
}

#[test]
fn a_stage_describes_itself_as_the_file_would() {
    let high = binary(BinaryOp::Ge, of("score"), Expr::Number(3.0));
    let either = binary(BinaryOp::Or, of("traj.ended"), Expr::Bool(false));
    let condition = binary(BinaryOp::And, high, either);
    let ratio = binary(BinaryOp::Div, of("score"), binary(BinaryOp::Sub, of("traj.tokens"), Expr::Number(0.5)));
    let name = |text: &str| binary(BinaryOp::Eq, of("task.kind"), Expr::Text(text.to_owned()));
    let described = [
        (Stage::Where { condition }, "where score >= 3 and (traj.ended or false)"),
        (Stage::Where { condition: Expr::Not(Box::new(name("a \"b\""))) }, r#"where not (task.kind == "a \"b\"")"#),
        (Stage::Top { share: 0.07, per_task: false, by: of("score"), ties: Ties::Keep }, "top 7% by score"),
        (
            Stage::Top { share: 0.125, per_task: true, by: ratio, ties: Ties::Sample },
            "top 12.5% per task by score / (traj.tokens - 0.5) { ties = sample }",
        ),
        (
            Stage::Best { count: 2, per_task: true, by: vec![of("score"), Expr::Negate(Box::new(of("traj.steps")))] },
            "best 2 per task by score, -traj.steps",
        ),
        (Stage::Worst { count: 1, per_task: false, by: vec![of("iteration")] }, "worst 1 by iteration"),
        (Stage::Sample { count: 3, per_task: true }, "sample 3 per task"),
        (
            Stage::Dedup { by: vec![column("traj.actions"), Column::Truth("success".to_owned())] },
            "dedup by traj.actions, truth.success",
        ),
        (Stage::CapRows { count: 9 }, "cap 9"),
        (Stage::CapTokens { tokens: 4000 }, "cap 4000 tokens"),
        (Stage::Balance { by: column("task.kind"), max: 4 }, "balance by task.kind max 4"),
        (Stage::Require { count: 16, otherwise: Otherwise::Fail }, "require at least 16"),
        (Stage::Require { count: 16, otherwise: Otherwise::Skip }, "require at least 16 else skip"),
    ];
    for (stage, text) in described {
        assert_eq!(stage.describe(), text);
    }
}

#[test]
fn rules_and_rows_survive_being_stored() {
    let columns = ["task.kind", "traj.steps", "score", "iteration"].map(column);
    for column in
        columns.into_iter().chain([Column::Truth("success".to_owned()), Column::Answer("iteration".to_owned())])
    {
        let text = serde_json::to_string(&column).unwrap();
        assert_eq!(serde_json::from_str::<Column>(&text).unwrap(), column, "{text}");
    }
    let row = row(1, 2, Some(3), 4, "a\nb");
    assert_eq!(serde_json::from_str::<Row>(&serde_json::to_string(&row).unwrap()).unwrap(), row);
    assert!(serde_json::from_str::<Column>("\"elsewhere.x\"").is_err());
    let one = rule([Stage::CapRows { count: 1 }]);
    assert_ne!(one.digest(), rule([Stage::CapRows { count: 2 }]).digest());
    assert_ne!(one.digest(), rule([Stage::CapTokens { tokens: 1 }]).digest());
}
