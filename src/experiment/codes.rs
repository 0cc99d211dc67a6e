//! Turns a diagnostic's code into its title and explanation: what `agx explain` and the book print.

pub use crate::syntax::codes::Explanation;

/// The explanation of a code, of this floor or of the one below.
pub fn explain(code: &str) -> Option<&'static Explanation> {
    all().find(|explanation| explanation.code.eq_ignore_ascii_case(code))
}

/// Every code there is, floor by floor.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    crate::syntax::codes::ALL.iter().chain(ALL)
}

const fn code(code: &'static str, title: &'static str, text: &'static str) -> Explanation {
    Explanation { code, title, text }
}

const ALL: &[Explanation] = &[
    code(
        "E0006",
        "no edition",
        "The first item of a file is its edition, `agx 2026`: it says by which rules the file is read, for good.",
    ),
    code("E0007", "an unknown edition", "This program reads edition 2026."),
    code("E0008", "the edition stands in the wrong place", "The edition is the first item, and there is one."),
    code(
        "E0009",
        "not built yet",
        "The language has it, so the file checks and plans, with the note W0009; this version of the program cannot run it. \
         Nothing is guessed in its place.",
    ),
    code(
        "E0010",
        "an unknown unstable feature",
        "`agx 2026 unstable(oracle)` allows ground truth to select and to train. There is no other feature.",
    ),
    code("E0011", "a path to nothing", "The file or directory that the file names does not exist."),
    code("E0012", "an empty file", "A file holds an `experiment`, or declarations that other files import."),
    code(
        "E0013",
        "an import that cannot be read",
        "The path of an `import` is taken from the directory of the file it stands in. What it names is an `.agx` file of text, \
         in UTF-8, within the bounds of one.",
    ),
    code(
        "E0014",
        "an import that leads out of the project",
        "An experiment is made of files of one project: imports stay within the directory of the file that is run. No path is \
         absolute, none climbs above that directory with `..`, none follows a link out of it.",
    ),
    code(
        "E0015",
        "imports in a circle",
        "A file cannot need itself, whatever way around. What two files share belongs into a third that imports neither.",
    ),
    code(
        "E0016",
        "an experiment in an imported file",
        "What is imported are declarations: environments, datasets, models, prompts, critics, rules, trainers, params and \
         `let`s. An `experiment` or a `matrix` is the beginning of a run, so it stands in the file that is run.",
    ),
    code(
        "E0017",
        "too much is imported",
        "An experiment is made of at most 64 files, which hold at most 4 MiB together.",
    ),
    code(
        "E0018",
        "an import of a name that is not there",
        "`import \"f.agx\" { a, b }` names declarations of that very file; what it imports in turn is not handed on.",
    ),
    code(
        "E0019",
        "a file imported twice",
        "One `import` of a file is enough: with `as` it brings everything, with `{ … }` what is listed.",
    ),
    code(
        "E0201",
        "an unknown name",
        "Nothing of the kind that is due here has this name. Names that may have been meant are of the same kind and at most \
         a third of their letters away.",
    ),
    code(
        "E0202",
        "a name declared twice",
        "A name means one thing in a file, whatever its kind, also within a schedule.",
    ),
    code(
        "E0203",
        "a name of the wrong kind",
        "A critic is not the model it asks, and an evaluation has no rows: the message says what the name is and what is due.",
    ),
    code(
        "E0204",
        "an unknown field",
        "Each block has its own fields. A field that nobody reads would be a wish nobody hears.",
    ),
    code(
        "E0205",
        "a missing field",
        "What changes the science has no default: a seed, a critic's `on_unparsed`, a trainer's `lr`, `epochs` and `batch`.",
    ),
    code(
        "E0206",
        "a field or a parameter given twice",
        "Which of the two would count? A critic's reply is read whatever the case of its letters, so that two fields of its answer that \
         differ in nothing else are one.",
    ),
    code(
        "E0207",
        "an unknown split",
        "The environment's `splits { … }` declares them: `train = 192, test = 128 held_out`.",
    ),
    code("E0208", "an unknown word", "The field takes one of a few words."),
    code(
        "E0209",
        "a dataset that the environment does not offer",
        "Environments offer data by name: `desk.dialogues(512)`.",
    ),
    code("E0210", "`--set` of a param that the file does not have", "Only a `param` can be set from outside."),
    code("E0211", "`--set` to a value that does not fit", "The value has the param's type and lies in its range."),
    code("E0212", "written in another form", "Some fields are `name = value`, some `name { … }`, some `name: type`."),
    code("E0213", "arguments that do not fit", "The help shows what is expected in the parentheses or braces."),
    code(
        "E0214",
        "no source of data",
        "A dataset comes from an environment, `desk.dialogues(512)`, or from `jsonl(\"…\")`.",
    ),
    code("E0215", "two sources of one model", "A model has `weights` or is `scripted`."),
    code("E0216", "a name is due", "The field takes the name of a declaration, not a value."),
    code("E0217", "no split", "A split is named by its environment: `desk.dev`."),
    code(
        "E0218",
        "a constant that needs itself",
        "A `let` may use others in any order, but not, through them, itself.",
    ),
    code(
        "E0219",
        "a secret outside a key",
        "A secret is named, never written: `key = secret(\"NAME\")` of a remote model. Its value is read from the environment \
         when the run starts, and is in no file, no key and no report.",
    ),
    code(
        "E0220",
        "a field of another kind of environment",
        "An environment that comes with the program brings its tasks and its metrics. One outside declares them; only `mcp`, \
         which has tools and no tasks, takes `tasks`.",
    ),
    code(
        "E0221",
        "a panel with fields of its own",
        "A panel asks its members, and each has its model, its prompt and its answer.",
    ),
    code(
        "E0222",
        "no member of a panel",
        "Members are critics that ask one model each and give the same answer: else there is nothing to take a mean of.",
    ),
    code(
        "E0223",
        "a line that is no row",
        "JSON lines are one object a line. A data set's rows have `messages`; the rows of `tasks` have the fields that `task { … }` \
         declares.",
    ),
    code(
        "E0224",
        "nothing gives what is declared",
        "A server that numbers its tasks itself knows an `id` and a number of each, `index` or `seed`; what else a task holds comes from \
         `tasks = jsonl(…)`. An MCP server measures nothing: metrics come of what a task holds that is `visible to none`, \
         `called` of its `gold` calls, `answered` of its `answer`, `success` of both.",
    ),
    code(
        "E0225",
        "calls that are to be well-formed where nothing can hold them so",
        "`tool_calls = well_formed` leaves tokens undrawn: behind an endpoint somebody else draws them, and a script draws none. A broken call is told to the \
         agent as an observation, so that it may mend it.",
    ),
    code(
        "E0226",
        "an answer's field with a name that every row has",
        "`iteration` and `added` are columns of every row. A rule that names one means that, so no rule could read the answer.",
    ),
    code(
        "E0227",
        "an adapter over what has no weights",
        "`adapter` is merged into `weights`. A model behind an endpoint is adapted where it is served, and a script has nothing to adapt.",
    ),
    code(
        "E0228",
        "eight bits on a GPU",
        "Weights in `int8` are multiplied by agx's own kernels, which are the processor's. A GPU computes in `f32`, `bf16` or `f16`.",
    ),
    code(
        "E0302",
        "a number without its unit",
        "Tokens, times, money and memory are types of their own: `context = 512 tokens`. A bare number could be anything.",
    ),
    code(
        "E0303",
        "a value of the wrong type",
        "Quantities are never turned into each other. Only some types have a range, a length or an expectation.",
    ),
    code("E0304", "a value out of range", "Ranges include both ends. A param's range is part of its type."),
    code(
        "E0305",
        "an unknown type",
        "Params have int, float, ratio, text, bool, tokens, duration, money or memory; answers int, bool or text.",
    ),
    code("E0306", "an empty range", "A range goes from the smaller to the larger number: `1..5`."),
    code(
        "E0307",
        "no value before the run",
        "Numbers, text, params, `let`s and arithmetic on them are known when a file is checked.",
    ),
    code(
        "E0308",
        "no such amount",
        "Times are whole milliseconds, memory whole bytes, tokens whole tokens, money whole millionths of a dollar.",
    ),
    code(
        "E0309",
        "iterations without a value",
        "`{ 1 => 1e-6, _ => 5e-7 }`: `_` is all iterations that no other case names.",
    ),
    code(
        "E0310",
        "a shape that does not divide",
        "Attention heads share the width evenly, and key-value heads the heads.",
    ),
    code("E0311", "a list is due", "Write `[a, b]`."),
    code("E0312", "a case that is no iteration", "Iterations count from 1, and each has one value."),
    code(
        "E0313",
        "an answer without a scale",
        "`score: int in 1..5` is what the critic is told, what is parsed, and the type that rules see.",
    ),
    code("E0314", "a critic without an answer", "`answer { … }` has at least one field."),
    code(
        "E0315",
        "text in another form",
        "An address begins with how it is spoken to: `https://…`, and `ws://…` for `openenv`; then a host and at most a port, from 1 to 65535. The hub names an owner and a name: \
         `Qwen/Qwen2.5-0.5B`; its revision is a commit, in 40 hexadecimal digits, for a branch or a tag may be something else \
         tomorrow.",
    ),
    code(
        "E0316",
        "a comparison without a choice",
        "A critic with `kind = pairs` sees two trajectories of a task: each `bool` of its answer says which of them, `a`, `b` or `tie`, and \
         rules see the share of its comparisons that a row wins. A `text` may stand before it; a number would be on one of them.",
    ),
    code(
        "E0317",
        "an expectation over more than digits",
        "`by expectation` weights each value of the scale by the probability of its token. `1` begins `10` as well: only of single digits \
         is it known whose a token's probability is.",
    ),
    code(
        "E0404",
        "a name that the prompt is not given",
        "A prompt sees its parameters, the variables of its loops and, if it asks a critic, `answer`. Nothing else.",
    ),
    code(
        "E0405",
        "ground truth in a prompt or a rule",
        "A field that is `visible to none` is ground truth. It reaches metrics and audits, and nothing that decides or trains: \
         so the compiler proves that an experiment works without definitive feedback.",
    ),
    code(
        "E0406",
        "no text",
        "A list, a record or a trajectory is not text. A filter makes text of it: `lines`, `json`, `transcript`.",
    ),
    code("E0407", "an unknown filter", "Filters are `transcript`, `json`, `lines`, `bullets` and `truncate`."),
    code(
        "E0408",
        "a filter that does not fit",
        "Each filter takes one kind of value; `transcript` takes a trajectory.",
    ),
    code(
        "E0409",
        "an optional field used as known",
        "It may be absent, and then there is nothing to print: put `{% if … is known %}` around it.",
    ),
    code("E0410", "no list to go through", "`{% for x in … %}` goes through a list."),
    code(
        "E0411",
        "a prompt that does not fit its reader",
        "An agent's prompt shows a task. A critic's prompt shows a trajectory, too, and may say how to answer. Both show \
         tasks of the environment they are used with.",
    ),
    code("E0412", "a late system message", "Chat templates put the system message first, or drop it."),
    code(
        "E0413",
        "a path to nothing",
        "The environment's schema says which fields a task has; a trajectory has `traj.steps` and others.",
    ),
    code("E0414", "an empty prompt", "A prompt has at least one message."),
    code(
        "E0501",
        "an unknown column",
        "Rows have `task.*`, `traj.*`, `iteration` and, once judged, the critic's answer fields.",
    ),
    code("E0502", "an expression of the wrong type in a rule", "Conditions are true or false, orders need numbers."),
    code(
        "E0503",
        "no row can pass",
        "From the scale of the critic, the steps of the environment and the stages before, the condition is always false.",
    ),
    code("E0504", "`require` can never hold", "Fewer rows than it asks for can reach it, whatever happens."),
    code(
        "E0505",
        "ground truth decides",
        "Selecting or training by ground truth is what this language is there to do without. An experiment that does it, to \
         pre-train a critic or as an upper bound, says so: `agx 2026 unstable(oracle)`.",
    ),
    code(
        "E0506",
        "labelled data without its critic, or rows with one",
        "`train M on verdicts through grader` renders labelled trajectories by the critic's prompt and teaches the true answer.",
    ),
    code(
        "E0507",
        "a dataset without labels",
        "`calibrate`, and `train … through`, need labelled data, such as `desk.verdicts(n)`.",
    ),
    code(
        "E0508",
        "a missing clause of `train`",
        "Where a round starts changes the science, so it has no default: `from @prev`, `from @start` or `from @0`.",
    ),
    code(
        "E0509",
        "training on rows that may be none",
        "A rule that can drop everything ends with `require at least N`, which says what happens then.",
    ),
    code("E0510", "training on a held-out split", "What is held out measures the end result, once."),
    code("E0511", "a held-out split decides", "Stopping or picking by a held-out split makes its figure too good."),
    code(
        "E0512",
        "no such version",
        "`@0` is what is declared, `@prev` and `@last` the newest, `@start` what a loop began with, \
        `@best(m)` the best by a metric. Rows have `@all`.",
    ),
    code(
        "E0513",
        "used outside its loop",
        "Each iteration makes it anew: `kept@all` is what all iterations have made.",
    ),
    code(
        "E0514",
        "equal samples",
        "At temperature 0 every sample of a task is the same reply, and so is each vote. A critic that stands in a panel twice is asked \
         the same with the same seed.",
    ),
    code("E0515", "a result without a name", "What is rolled out, judged, selected or picked is used by its name."),
    code(
        "E0516",
        "a name for nothing",
        "`train`, `audit`, `calibrate` and `repeat` give metrics and versions, which have names already.",
    ),
    code(
        "E0517",
        "no prompt",
        "A rollout names its prompt. An evaluation uses the one that its model is rolled out with, if there is one.",
    ),
    code("E0518", "decoding said twice", "Either `decode = …` or `temperature`, `top_p` and their like."),
    code("E0519", "nothing to audit", "An audit compares a critic's verdicts, or a selection, with the truth."),
    code("E0520", "an unknown metric", "What each statement measures is known: the message lists it."),
    code(
        "E0521",
        "not measured in the loop",
        "What ends a loop, or is shown by iteration, changes with the iteration.",
    ),
    code(
        "E0522",
        "`until` on time or spend",
        "A loop that read a clock would end otherwise on another machine. A budget pauses instead.",
    ),
    code(
        "E0523",
        "no condition to end a loop",
        "Compare a metric with a number, or write `stalls N by X`; join by `and` and `or`.",
    ),
    code(
        "E0524",
        "a stall that cannot be seen",
        "To see N iterations without progress, the loop must have more than N.",
    ),
    code("E0525", "an evaluation of another model", "Versions of a model are compared by evaluations of that model."),
    code("E0526", "an unknown index", "`by i` names the index of a `repeat … as i`."),
    code(
        "E0527",
        "used before it is made",
        "Statements run in their order; what an iteration makes is not there at its beginning.",
    ),
    code(
        "E0528",
        "a trainer that does not fit its rows",
        "`dpo` learns from pairs, `sft` from rows, `weighted` and `grpo` from rows with a weight, `kto` from pairs or from rows \
         with a weight. The rule decides which they are: `pair best with worst per task by …`, `weight by …`.",
    ),
    code(
        "E0529",
        "a reference for nothing",
        "A reference model is what `dpo`, `kto` and `grpo` are held to; supervised fine-tuning has none.",
    ),
    code("E0530", "training a remote model", "The weights of a model behind an endpoint are somebody else's."),
    code(
        "E0531",
        "a stage that does not fit what comes before it",
        "Rows become pairs by `pair`, and each side has its columns from then on: `chosen.score`, `rejected.traj.steps`. What \
         compares needs two rows of a task.",
    ),
    code(
        "E0532",
        "added rows that lack a column",
        "The rows of a dataset were never judged. A rule that reads a critic's answer would drop each of them, so `add` gives \
         it: `add demos { score = 4 }`.",
    ),
    code(
        "E0533",
        "a condition that never ends the loop",
        "What a metric may be is known: a share is 0 to 1, a mean lies on the critic's scale. `dev.success >= 90` would wait for \
         ever; `dev.success >= 90%` is meant. A margin as wide as the whole range cannot be gained, so `stalls` would count \
         rounds and read nothing.",
    ),
    code(
        "E0534",
        "training rows that are evaluated",
        "What the users of a benchmark's training rows ask for is held against what those of its evaluation ask for, by \
         digests: a row that is in both makes its figures too good.",
    ),
    code(
        "E0535",
        "nothing to compare with",
        "A critic with `kind = pairs` or `kind = group` compares samples of one task. Labelled trajectories are of a task each.",
    ),
    code(
        "W0009",
        "checked and planned, not run",
        "The language has it, and `agx check` and `agx plan` know what it means; this version of the program does not run it. \
         `agx run` refuses the file with E0009 at each place, before anything is spent. There is one note a feature.",
    ),
    code("W0201", "an unused declaration", "Nothing names it. Begin its name with `_` to keep it."),
    code("W0202", "unused rows", "They are made, at a cost, and nothing reads them."),
    code(
        "W0203",
        "an unused unstable feature",
        "Without `unstable(oracle)` the compiler proves that ground truth trains nothing.",
    ),
    code("W0204", "an unused import", "Nothing in the file uses what the import brings."),
    code(
        "W0205",
        "an undated model",
        "Behind a name without a date may stand another model tomorrow, and the run cannot be repeated. Providers give dated \
         names: `gpt-4o-2024-08-06`.",
    ),
    code(
        "W0206",
        "a key in the clear",
        "Over `http://` a model's key is sent as it is, and anybody between here and there can read it. On this machine itself \
         nobody is between.",
    ),
    code(
        "W0207",
        "a file in a command that is not named as one",
        "The command of an environment says what it is, and `path(\"env.py\")` in it also by what is in that file. With the name alone a \
         changed program gives the results of the old one.",
    ),
    code("W0401", "a condition that always holds", "The field is never absent."),
    code(
        "W0402",
        "a prompt that shows nothing of the task",
        "An agent that reads the same words for every task cannot know what is asked.",
    ),
    code(
        "W0404",
        "a prompt that never says how to answer",
        "A critic's reply is parsed by its `answer`. A prompt that prints neither `{{ answer.format }}` nor the name of one of the \
         answer's fields leaves the critic to guess, and what cannot be read is dropped or fails.",
    ),
    code(
        "W0405",
        "a prompt that never prints its trajectories' ids",
        "A critic of a `group` answers with a line for each trajectory, by its id: `score 2: 4`. Where the prompt does not print \
         `{{ t.id }}` beside each, the critic can only guess which is meant.",
    ),
    code("W0501", "a stage that every row passes", "From what is known before the run, the condition is always true."),
    code(
        "W0502",
        "a stage without effect",
        "It keeps as many rows as can reach it, or the stages before it have done its work.",
    ),
    code("W0503", "evaluating on training tasks", "The figure also measures what was memorised."),
    code("W0504", "a model that judges itself", "A critic with the weights of the policy shares its mistakes."),
    code("W0505", "a loop that ends at once", "Whatever is measured, the condition holds after the first iteration."),
    code("W0506", "the same again", "It gives the figures that are there already."),
    code(
        "E0601",
        "an axis that leads to nothing",
        "An axis of a matrix is a `param`, or a field of a declaration or of the experiment, by its path: `rounds`, `sft.lr`, \
         `critic.grader.model`, `quickstart.seed`. What the schedule says can be an axis when a `param` stands there.",
    ),
    code(
        "E0602",
        "axes of unequal length in a `zip`",
        "The axes of a `zip` step together, so each has a value for every step.",
    ),
    code("E0603", "a matrix without cells", "Nothing would run: there is no axis, or every cell is excepted."),
    code(
        "E0604",
        "too many cells",
        "Each cell is an experiment that is checked before the first one runs. A matrix has at most 256 cells, fewer in a very \
         long file.",
    ),
    code("E0605", "an axis twice", "A place has one value in a cell."),
    code(
        "E0606",
        "an `except` of what is no axis",
        "`except { lr = 1e-3, rank = 64 }` leaves out the cells in which all of these axes have these values.",
    ),
    code("E0607", "no list of values", "An axis lists its values in brackets; `except` gives one value an axis."),
    code(
        "W0601",
        "an `except` that excepts nothing",
        "No cell has all of these values. Is one of them written otherwise in the axis?",
    ),
    code(
        "W0602",
        "a value twice in an axis",
        "Its cells are the same experiment again, and their results the same: another `seed` is an axis of its own.",
    ),
    code(
        "E0701",
        "a budget that cannot suffice",
        "What runs in any case takes more tokens, or more money by the declared prices, than the budget allows. Counted are the \
         words that stand in the prompts, each a token or more, once a task and sample, a row and an example.",
    ),
    code(
        "W0701",
        "a budget that may not suffice",
        "If every episode takes all its steps, and every prompt and answer is as long as it may be, the plan takes more \
         than the budget allows. The run would pause there.",
    ),
    code(
        "E0703",
        "a budget of money without a price",
        "Nobody knows what such a model costs, so a budget of money would pause the run before it is asked the first time. \
         Declare its `price`; one on a machine of your own may cost nothing: `0 USD per Mtok`.",
    ),
    code(
        "E0702",
        "a prompt longer than the context",
        "The text that stands in the prompt whatever its values are has more words than the model's `context` has tokens, and a \
         word is a token or more.",
    ),
    code(
        "W0702",
        "a prompt that may be longer than the context",
        "The fixed text and the values that the prompt cuts (`transcript(max = …)`, `truncate(max = …)`) come to more than the \
         model's `context` when they are as long as they may be. Such an item is cut or fails.",
    ),
];
