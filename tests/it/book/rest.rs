//! What stands around a block that is no whole file.

/// What stands around a block that is no whole file: an item each, left out when the block declares its name.
pub const REST: [(&str, &str); 10] = [
    (
        "desk",
        "env desk {\n  use = builtin(\"desk\")\n  splits { train = 64, dev = 32, test = 32 held_out }\n  max_steps = 6\n}\n",
    ),
    ("policy", "model policy { weights = path(\"base/policy\"), context = 512 tokens }\n"),
    ("grader_lm", "model grader_lm { weights = path(\"base/critic\"), context = 512 tokens }\n"),
    ("general", "dataset general { from = desk.dialogues(64) }\n"),
    ("verdicts", "dataset verdicts { from = desk.verdicts(64) }\n"),
    (
        "act",
        "prompt act(task: desk.Task) {\n  system \"\"\"\n    Work.\n    {{ task.tools | lines }}\n    \"\"\"\n  user \"\"\"\n    {{ task.request }}\n    \"\"\"\n}\n",
    ),
    (
        "grade",
        "prompt grade(task: desk.Task, traj: Trajectory) {\n  user \"\"\"\n    {{ task.request }}\n    {{ traj | transcript(max = 400 tokens) }}\n    {{ answer.format }}\n    \"\"\"\n}\n",
    ),
    (
        "grader",
        "critic grader {\n  model = grader_lm\n  prompt = grade\n  answer { score: int in 0..4 }\n  on_unparsed = drop\n}\n",
    ),
    ("good", "rule good = where score >= 3 and traj.ended | top 40% by score | require at least 16\n"),
    ("sft", "trainer sft { method = sft { loss_on = agent }, lr = 5e-4, epochs = 3, batch = 32 }\n"),
];

pub const SCHEDULE: &str = "\
calibrate grader on verdicts
let base = evaluate policy on desk.dev { prompt = act, decode = greedy }
repeat 2 times as i {
  let trajs  = rollout policy in desk.train { prompt = act, samples = 4 per task, temperature = 1.0 }
  let graded = judge trajs with grader
  let kept   = select graded by good
  audit kept
  train policy on kept mixed with 25% general with sft from @prev
  let dev    = evaluate policy on desk.dev { prompt = act, decode = greedy }
}
let winner = pick policy best by dev.success including base
let after  = evaluate winner on desk.test { prompt = act, decode = greedy }
";
