//! Every sample gives a snapshot a floor.

use agx::base::Diagnostic;
use agx::experiment::{self, Experiment, Given, Origin, Unreadable, World};
use agx::plan::Plan;
use agx::syntax::{self, Source};
use std::path::{Path, PathBuf};

#[test]
fn the_whole_example_gives_a_tree() {
    let (file, diagnostics) = syntax::parse(include_str!("samples/whole.agx"));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"Span \{\s+start: (\d+),\s+end: (\d+),\s+\}", "$1..$2");
    settings.add_filter(r"Spanned \{\s+value: ([^\n]+),\s+span: (\d+\.\.\d+),\s+\}", "$1 @ $2");
    settings.bind(|| insta::assert_debug_snapshot!("ast_whole", file));
}

/// A world in which every file exists, and those in `samples` can be imported.
fn check(text: &str, overrides: &[(&str, &str)]) -> (Option<Experiment>, Vec<Diagnostic>) {
    let given = |(name, value): &(&str, &str)| {
        let (name, value) = ((*name).to_owned(), (*value).to_owned());
        Given { name, value, origin: Origin::Set }
    };
    let given: Vec<Given> = overrides.iter().map(given).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples");
    let read = |path: &Path| {
        let path = folder.join(path.strip_prefix("project").expect("below the root"));
        std::fs::read(path).map_err(|_| Unreadable::Missing)
    };
    let world = World { root: Path::new("project"), exists: &|_| true, read: &read };
    let checked = experiment::check(Source { name: "a.agx".to_owned(), text: text.to_owned() }, &given, world);
    (checked.experiments.into_iter().next(), checked.diagnostics)
}

fn sound(text: &str, overrides: &[(&str, &str)]) -> Experiment {
    let (experiment, diagnostics) = check(text, overrides);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    experiment.expect("nothing is wrong")
}

/// Everything of a file: its experiments, its cells.
fn whole(text: &str) -> agx::experiment::Checked {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples");
    let read = |path: &Path| {
        let path = folder.join(path.strip_prefix("project").expect("below the root"));
        std::fs::read(path).map_err(|_| Unreadable::Missing)
    };
    let world = World { root: Path::new("project"), exists: &|_| true, read: &read };
    experiment::check(Source { name: "a.agx".to_owned(), text: text.to_owned() }, &[], world)
}

const IMPORTS: &str = include_str!("samples/imports.agx");

#[test]
fn an_unused_import_is_all_that_is_wrong_with_the_whole_example() {
    let codes: Vec<_> = whole(include_str!("samples/whole.agx")).diagnostics.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["W0204"]);
}

#[test]
fn an_imported_declaration_is_as_if_written_here() {
    let imported = whole(IMPORTS);
    assert!(imported.diagnostics.is_empty(), "{:#?}", imported.diagnostics);
    let lib = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("agx") && !line.starts_with("import"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let alone = IMPORTS.replace(
        "import \"lib/critics.agx\" as critics\nimport \"lib/desk.agx\" { desk }",
        &format!("{}{}", lib(include_str!("samples/lib/desk.agx")), lib(include_str!("samples/lib/critics.agx"))),
    );
    let alone = whole(&alone.replace("critics.", ""));
    assert!(alone.diagnostics.is_empty(), "{:#?}", alone.diagnostics);
    let keys = |experiments: &[Experiment]| -> Vec<_> { experiments.iter().map(plan).collect() };
    assert_eq!(keys(&imported.experiments), keys(&alone.experiments), "no name and no path is in a key");
}

#[test]
fn a_plan_knows_what_it_may_take() {
    let judged = whole(IMPORTS).experiments.remove(1);
    let plan = unrolled(&judged);
    let bounds = agx::plan::bounds(&judged, &plan);
    let of = |id: &str| bounds[plan.steps.iter().position(|step| step.id == id).expect(id)];
    let pair = |amount: agx::plan::Amount| (amount.low, amount.high);
    let (tasks, context) = (192 * 4, 512);
    assert_eq!(pair(of("rollout@1").items), (tasks, Some(tasks)));
    assert_eq!(pair(of("rollout@1").prompt_tokens), (0, Some(tasks * 6 * context)), "nothing is fixed in its prompt");
    assert_eq!(pair(of("rollout@1").completion_tokens), (0, Some(tasks * 6 * 128)));
    assert_eq!(pair(of("judge@1").items), (tasks, Some(tasks)));
    assert_eq!(pair(of("judge@1").prompt_tokens), (tasks, Some(tasks * 768)), "`Request:` is a word");
    assert_eq!(pair(of("judge@2").items), (0, Some(tasks)), "the gate may leave it out");
    assert_eq!(pair(of("calibrate:critics.grader").items), (256, Some(256)));
    // All rows may tie at the cut of `top 40%`; a quarter of what is trained on is general.
    assert_eq!(pair(of("train@1").training_tokens), (0, Some(tasks * 4 / 3 * context * 3)));
    let total = agx::plan::total(&bounds);
    assert_eq!(total.prompt_tokens.low, tasks + 256, "what runs in any case");
    let most: u64 = bounds.iter().filter_map(|step| step.completion_tokens.high).sum();
    assert_eq!(total.completion_tokens.high, Some(most));

    // An item that fails may have taken all or nothing, each time that it is tried.
    let tolerant = IMPORTS
        .replace("samples = 4 per task", "samples = 4 per task, max_failed = 1%, retries = 2")
        .replace("judge trajs with critics.grader", "judge trajs with critics.grader { max_failed = 10, retries = 1 }");
    let judged = whole(&tolerant).experiments.remove(1);
    let plan = unrolled(&judged);
    let bounds = agx::plan::bounds(&judged, &plan);
    let of = |id: &str| bounds[plan.steps.iter().position(|step| step.id == id).expect(id)];
    assert_eq!(pair(of("rollout@1").items), (tasks, Some(tasks)));
    assert_eq!(pair(of("rollout@1").prompt_tokens), (0, Some(3 * tasks * 6 * context)));
    assert_eq!(pair(of("judge@1").items), (tasks - 7, Some(tasks)), "7 of 768 are within 1%");
    assert_eq!(pair(of("judge@1").prompt_tokens), (tasks - 7 - 10, Some(2 * tasks * 768)));

    // How long a file of dialogues is, nobody knows before it is read.
    let unknown = IMPORTS
        .replace("desk.dialogues(512)", "jsonl(\"talk.jsonl\")")
        .replace("train policy on kept mixed with 25% general with sft", "train policy on general with sft");
    let mut checked = whole(&unknown.replace("let kept ", "let _kept "));
    assert!(checked.diagnostics.iter().all(|it| !it.is_error()), "{:#?}", checked.diagnostics);
    let judged = checked.experiments.remove(1);
    let total = agx::plan::total(&agx::plan::bounds(&judged, &unrolled(&judged)));
    assert_eq!(total.training_tokens.high, None);
    assert!(total.prompt_tokens.high.is_some());
}

/// Keys of a plan, whatever the files hold.
fn plan(experiment: &Experiment) -> agx::base::Digest {
    unrolled(experiment).digest
}

fn unrolled(experiment: &Experiment) -> Plan {
    let digests = |count: usize| vec![agx::base::Digest::of_bytes(b"x"); count];
    let (envs, models) = (digests(experiment.envs.len()), digests(experiment.models.len()));
    let identities = agx::plan::Identities { envs, models, datasets: digests(experiment.datasets.len()) };
    agx::plan::build(experiment, &identities).expect("a plan")
}

#[test]
fn a_matrix_gives_a_cell_for_every_combination_but_the_excepted() {
    let checked = whole(IMPORTS);
    let [rates] = checked.matrices.as_slice() else { panic!("one matrix: {:#?}", checked.diagnostics) };
    let cells: Vec<String> = rates.cells.iter().map(|cell| agx::report::sweep::words(&cell.settings)).collect();
    insta::assert_snapshot!(cells.join("\n"), @r"
    lr=1e-4, threshold=2
    lr=1e-4, threshold=3
    lr=3e-4, threshold=2
    lr=3e-4, threshold=3
    lr=1e-3, threshold=3
    ");
    let rate = |at: usize| rates.cells[at].experiment.trainers[0].it.lr.otherwise;
    assert_eq!([rate(0), rate(3), rate(4)], [1e-4, 3e-4, 1e-3]);
    assert_ne!(rates.cells[0].experiment.rules, rates.cells[1].experiment.rules);
    assert_eq!(rates.cells[4].experiment, checked.experiments[1], "the cell of the defaults is the experiment");
    assert!(rates.params == ["critics.threshold"]);
}

const QUICKSTART: &str = include_str!("samples/quickstart.agx");

#[test]
fn samples_give_experiments() {
    for path in samples(Path::new("tests/it/samples")) {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        // What is imported is in those that import it, and a file of several has a test of its own.
        let imported = path.parent().is_some_and(|folder| folder.ends_with("lib"));
        if !imported && !matches!(name.as_str(), "whole" | "imports") {
            insta::assert_json_snapshot!(format!("experiment_{name}"), sound(&text, &[]));
        }
    }
}

#[test]
fn the_repositorys_experiments_are_sound() {
    for path in samples(Path::new("experiments")) {
        let text = std::fs::read_to_string(&path).expect("text");
        let (experiment, mut diagnostics) = check(&text, &[]);
        // Some methods are checked and planned before they are run.
        diagnostics.retain(|diagnostic| diagnostic.code != experiment::NOT_BUILT);
        assert!(diagnostics.is_empty(), "{}: {diagnostics:#?}", path.display());
        assert!(experiment.is_some());
    }
}

/// Every method of the literature that the language is there to say: what it is not run by yet, and each step with what it
/// reads.
#[test]
fn methods_are_planned() {
    let paths = samples(Path::new("experiments/methods"));
    assert!(paths.len() >= 17, "the methods are found");
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("text");
        let (experiment, diagnostics) = check(&text, &[]);
        let notes = diagnostics.iter().map(|note| format!("{} {}\n", note.code, note.message));
        let mut shown: String = notes.collect();
        let plan = unrolled(&experiment.expect("nothing is wrong"));
        for (_, step) in plan.ordered() {
            let (reads, after) = (plan.ids(&step.inputs), plan.ids(&step.after));
            shown += &step.id;
            if !reads.is_empty() {
                shown += &format!(" <- {}", reads.join(", "));
            }
            if !after.is_empty() {
                shown += &format!(" [{}]", after.join(", "));
            }
            shown.push('\n');
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        insta::assert_snapshot!(format!("plan_{name}"), shown);
    }
}

fn samples(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(samples(&path));
        } else if path.extension().is_some_and(|extension| extension == "agx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn params_are_set_from_outside() {
    let text = QUICKSTART
        .replace("  seed = 7\n", "  seed = seed\n")
        .replace("score >= 3", "score >= threshold")
        .replace("rule good", "param seed : int = 7\nparam threshold : int in 0..4 = 3\nrule good");
    let plain = sound(&text, &[]);
    assert_eq!(plain, sound(QUICKSTART, &[]), "a param with its default is its default");
    let set = sound(&text, &[("seed", "8"), ("threshold", "4"), ("rounds", "4")]);
    assert_eq!(set.seed, 8);
    assert_ne!(set.rules, plain.rules);
    assert_ne!(set.schedule, plain.schedule);
    assert_eq!(Experiment { seed: 7, rules: plain.rules.clone(), schedule: plain.schedule.clone(), ..set }, plain);
}

#[test]
fn names_order_and_layout_change_only_themselves() {
    let plain = sound(QUICKSTART, &[]);
    let spread = QUICKSTART.replace(" = ", "   =  ").replace(" | ", "\n  | ").replace('\n', "\r\n");
    assert_eq!(sound(&spread, &[]), plain, "layout");
    let numbers = QUICKSTART.replace("1e-3", "0.001").replace("512", "5_12").replace("40%", "(80% - 40%)");
    assert_eq!(sound(&numbers, &[]), plain, "how a number is written");
}

const ROWS: &str = r#"agx 2026

env desk {
  use       = builtin("desk")
  splits    { train = 100, test = 20 held_out }
  max_steps = 6
}

model policy { scripted = "policy.json", context = 4096 tokens }

prompt act(task: desk.Task) {
  user """
    {{ task.request }}
    """
}

rule some = cap 50

trainer sft { method = sft { loss_on = agent }, lr = 1e-3, epochs = 1, batch = 8 }

experiment missing {
  seed = 7

  schedule {
    let trajs = rollout policy in desk.train { prompt = act }
    let kept  = select trajs by some
    train policy on kept with sft from @prev
    evaluate policy on desk.test
  }
}
"#;

/// What may be missing is nothing to count on.
#[test]
fn rows_that_may_be_missing_are_not_counted_on() {
    let told = |tolerance: &str| {
        let text = ROWS.replace("prompt = act", &format!("prompt = act{tolerance}"));
        check(&text, &[]).1.into_iter().map(|it| format!("{} {}", it.code, it.message)).collect::<Vec<String>>()
    };
    assert_eq!(told(""), Vec::<String>::new());
    assert_eq!(told(", max_failed = 99%"), Vec::<String>::new());
    let may_be_empty = told(", max_failed = 100%");
    assert!(may_be_empty.len() == 1 && may_be_empty[0].starts_with("E0509 `kept` may be empty"), "{may_be_empty:?}");
}
