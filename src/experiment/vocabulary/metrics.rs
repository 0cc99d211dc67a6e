//! What is measured and what a row has, in words. An environment's own metrics stand in its schema.

/// What a metric says.
pub fn metric(name: &str) -> &'static str {
    let known = MEASURED.iter().find(|(known, _)| *known == name);
    known.map_or_else(
        || match name.rsplit_once('.') {
            Some((_, "mean")) => "the mean over the rows that have a verdict",
            Some((_, "alpha")) => {
                "how far several verdicts on a row agree: Krippendorff's alpha, 1 for always, 0 for by chance"
            }
            Some((_, "flips")) => {
                "the share of comparisons of two texts in which the two orders disagree: the place decided"
            }
            Some((_, "spread")) => "how far a row's highest verdict is above its lowest, on the average",
            _ => "what the environment says of finished episodes, from 0 to 1",
        },
        |(_, doc)| doc,
    )
}

const MEASURED: &[(&str, &str)] = &[
    ("count", "how many rows"),
    ("ended", "the share of trajectories that the agent ended itself"),
    ("truncated", "the share of trajectories that ran out of steps or tokens"),
    ("error", "the share of trajectories in which a call failed or a turn could not be read"),
    ("steps", "the mean number of turns; of a training, the optimiser's steps"),
    ("tokens", "the mean number of tokens; of a training, all it has seen"),
    ("parsed", "the share of verdicts that could be read"),
    ("unread", "the share of verdicts that could not be read; a reply about a group gives one on each row"),
    ("accuracy", "the share of verdicts that agree with the truth"),
    ("kappa", "the agreement with the truth beyond chance"),
    (
        "auc",
        "how well verdicts rank: the chance that of a solved and an unsolved trajectory the solved one has the higher",
    ),
    ("precision", "of what was kept or called good, the share that is"),
    ("recall", "of what is good, the share that was kept or called so"),
    ("loss", "the mean loss of the training"),
    ("loss.first", "the loss before the first step"),
    ("rows", "how many rows were trained on"),
    ("score", "the mean verdict, from 0 to 1"),
    ("truth", "the share that is good by the ground truth"),
    ("gap", "how far the mean verdict is above the truth"),
    (
        "concordance",
        "of the pairs of a task's trajectories of which one is good, the share in which it has the higher verdict",
    ),
];

/// What a column of a trajectory says.
pub fn column(name: &str) -> &'static str {
    TRAJECTORY.iter().find(|(known, _)| *known == name).map_or("", |(_, doc)| doc)
}

const TRAJECTORY: &[(&str, &str)] = &[
    ("steps", "the agent's turns"),
    ("calls", "the calls that were made"),
    ("actions", "every call with its arguments, in order: what `dedup` compares"),
    ("ended", "whether the agent ended the episode itself"),
    ("truncated", "whether it ran out of steps or tokens"),
    ("tokens", "the tokens of its turns"),
    ("error", "whether a call failed or a turn could not be read"),
];
