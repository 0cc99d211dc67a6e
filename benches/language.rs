//! How long a file takes from text to experiment: `cargo bench --no-default-features --bench language`.
//!
//! The files are made like those that people write, only longer: declarations that name each other, rules of several
//! stages, prompts with text and holes, and a schedule that uses all of them.

use agx::experiment::{self, Checked, Unreadable, World};
use agx::syntax::{self, Source};
use std::fmt::Write;
use std::path::Path;

fn main() {
    divan::main();
}

/// A sound file of at least so many lines.
fn file(lines: usize) -> String {
    let mut text = String::from("agx 2026\n//! A long file.\n\nparam rounds : int in 1..8 = 3\n\n");
    text += "env desk {\n  use       = builtin(\"desk\")\n  splits    { train = 192, dev = 64, test = 128 held_out }\n  \
             max_steps = 6\n}\n\nmodel policy { weights = path(\"base/policy\"), context = 512 tokens }\n\n\
             dataset general { from = desk.dialogues(512) }\n\nprompt act(task: desk.Task) {\n  system \"\"\"\n    You work at \
             a desk.\n    {{ task.tools | lines }}\n    \"\"\"\n  user \"\"\"\n    {{ task.request }}\n    \"\"\"\n}\n\n\
             trainer sft { method = sft { loss_on = agent }, lr = 1e-3, epochs = 3, batch = 32 }\n";
    // What one critic takes, with its part of the schedule.
    let each = 50;
    let critics = lines.saturating_sub(30).div_ceil(each).max(1);
    for n in 0..critics {
        write!(
            text,
            r#"
/// The {n}th critic.
param threshold_{n} : int in 0..4 = 3   // how good is good
let share_{n} = (20% + 20%)
model grader_lm_{n} {{
  weights = path("base/critic_{n}")
  context = 768 tokens
  lora    {{ rank = 8, alpha = 16, on = [attention, mlp] }}
}}
dataset verdicts_{n} {{ from = desk.verdicts(256) }}
prompt grade_{n}(task: desk.Task, traj: Trajectory) {{
  system """
    You judge the work of others. Say how well the request was met, from 0 for not at all to 4 for wholly.
    Look at what was asked, at what was done, and at what is left.
    """
  user """
    Request: {{{{ task.request }}}}
    {{% for tool in task.tools %}}
    - {{{{ tool }}}}
    {{% end %}}
    {{{{ traj | transcript(max = 400 tokens) }}}}
    {{{{ answer.format }}}}
    """
}}
critic grader_{n} {{
  model       = grader_lm_{n}
  prompt      = grade_{n}
  answer      {{ reason: text, score: int in 0..4, sure: bool }}
  on_unparsed = drop
}}
rule good_{n} =
    where score >= threshold_{n} and (traj.ended or traj.steps in 1..5) and sure
  | top share_{n} by score
  | dedup by traj.actions
  | cap 100
  | require at least 16
trainer sft_{n} {{
  method = sft {{ loss_on = agent }}
  lr     = {{ 1 => 1e-3, _ => 5e-4 }}
  decay  = cosine {{ warmup = 3% }}
  epochs = 3
  batch  = 32
}}
"#
        )
        .expect("writing to a string");
    }
    text += "\nexperiment long {\n  seed = 7\n\n  schedule {\n";
    for n in 0..critics {
        writeln!(text, "    calibrate grader_{n} on verdicts_{n}").expect("writing to a string");
    }
    text += "    let base = evaluate policy on desk.dev { prompt = act }\n    repeat rounds times as i {\n";
    for n in 0..critics {
        write!(
            text,
            "      let trajs_{n}  = rollout policy in desk.train {{ prompt = act, samples = 4 per task }}\n      \
             let graded_{n} = judge trajs_{n} with grader_{n}\n      let kept_{n}   = select graded_{n} by good_{n}\n      \
             train policy on kept_{n} mixed with 25% general with sft_{n} from @prev\n      \
             let dev_{n}    = evaluate policy on desk.dev {{ prompt = act }}\n",
        )
        .expect("writing to a string");
    }
    text += "    } until dev_0.success stalls 2 by 0.01 since base\n    train policy on general with sft from @prev\n  }\n\n  \
             report {\n";
    for n in 0..critics {
        writeln!(text, "    table dev_{n}.success, graded_{n}.score.mean by i").expect("writing to a string");
    }
    text + "  }\n}\n"
}

fn check(text: &str) -> Checked {
    let read = |_: &Path| Err(Unreadable::Missing);
    let world = World { root: Path::new("project"), exists: &|_| true, read: &read };
    experiment::check(Source { name: "long.agx".to_owned(), text: text.to_owned() }, &[], world)
}

#[divan::bench(args = [1_000, 10_000])]
fn from_text_to_tree(bencher: divan::Bencher, lines: usize) {
    let text = file(lines);
    assert!(text.lines().count() >= lines);
    bencher.bench(|| syntax::parse(&text));
}

#[divan::bench(args = [1_000, 10_000])]
fn from_text_to_experiment(bencher: divan::Bencher, lines: usize) {
    let text = file(lines);
    let checked = check(&text);
    assert!(checked.experiments.len() == 1, "{:#?}", checked.diagnostics.first());
    bencher.bench(|| check(&text));
}

/// Nothing is right in it: every line is told, up to the bound.
#[divan::bench(args = [1_000, 10_000])]
fn of_a_file_full_of_unknown_names(bencher: divan::Bencher, lines: usize) {
    let text = file(lines).replace("critic grader_", "critic grad_").replace("trainer sft_", "trainer s_");
    assert!(check(&text).diagnostics.len() > lines / 50);
    bencher.bench(|| check(&text));
}
