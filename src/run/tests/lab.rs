//! A project in a temporary directory with scripted models, and what its runs said.

use super::*;

/// A project in a temporary directory, an experiment with scripted models, a clock that ticks.
pub(super) struct Lab {
    pub(super) project: Project,
    pub(super) experiment: Experiment,
    pub(super) directory: tempfile::TempDir,
}

impl Lab {
    pub(super) fn new(times: u32) -> Self {
        // Thousands of small files: in memory where the system has a place for that.
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let directory = in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let experiment = quickstart(directory.path(), times);
        write_scripts(directory.path(), &experiment);
        let project = Project::open(directory.path()).expect("a project");
        Self { project, experiment, directory }
    }

    pub(super) fn start(&self) -> (RunOutcome, Vec<RunEvent>) {
        self.start_with(&RunOptions::default(), &Control::default(), &mut |_| {})
    }

    pub(super) fn start_with(
        &self,
        options: &RunOptions,
        control: &Control,
        watch: &mut (dyn FnMut(&RunEvent) + Send),
    ) -> (RunOutcome, Vec<RunEvent>) {
        let mut events = Vec::new();
        let subject = Subject {
            file_name: "quickstart.agx",
            source: "agx 2026\n",
            overrides: &BTreeMap::new(),
            experiment: &self.experiment,
        };
        let outcome = start(&self.project, &subject, options, control, &tick(), &mut |event| {
            events.push(event.clone());
            watch(event);
        });
        (outcome.expect("the run runs"), events)
    }

    pub(super) fn resume(&self, run: &str) -> (RunOutcome, Vec<RunEvent>) {
        let mut events = Vec::new();
        let (options, control) = (RunOptions::default(), Control::default());
        let sink = &mut |event: &RunEvent| events.push(event.clone());
        let outcome = resume(&self.project, run, &options, &control, &tick(), sink);
        (outcome.expect("the run goes on"), events)
    }

    pub(super) fn survey(&self) -> BTreeMap<String, (SurveyStatus, u64, Option<u64>)> {
        let identities = identify(&self.experiment).expect("files are there");
        let plan = crate::plan::build(&self.experiment, &identities).expect("can be planned");
        let surveys = survey(&self.project, &self.experiment, &identities, &plan).expect("can be looked at");
        surveys.into_iter().map(|it| (it.id, (it.status, it.items.cached, it.items.total))).collect()
    }
}

pub(super) fn tick() -> impl Fn() -> u64 + Sync {
    let time = AtomicU64::new(0);
    move || time.fetch_add(1, Ordering::Relaxed)
}

/// A policy that solves every third task, one third more after each training, and sometimes gives up when it draws; a
/// critic that sees who gave up, and says nothing readable of one task.
pub(super) fn write_scripts(directory: &Path, experiment: &Experiment) {
    let env = Env::open(&experiment.envs[0].it);
    let mut replies = Vec::new();
    for split in &experiment.envs[0].it.splits {
        for (at, task) in env.tasks(&split.name).iter().enumerate() {
            let mut episode = env.start(task);
            let mut last = task.fields["request"].as_str().expect("a request").to_owned();
            for (turn, action) in crate::env::desk::expert(task).into_iter().enumerate() {
                let text = match &action {
                    Action::Call(call) => call::render(call, ToolFormat::Lines),
                    Action::Answer(text) | Action::Unreadable(text) => text.clone(),
                };
                let say = if turn == 0 { vec![text, "I give up.".to_owned()] } else { vec![text] };
                replies.push(json!({ "when": last, "skill": if turn == 0 { at % 3 } else { 0 }, "say": say }));
                last = episode.step(&action).text;
            }
        }
    }
    let write = |name: &str, script: serde_json::Value| {
        std::fs::write(directory.join(name), script.to_string()).expect("can be written");
    };
    write("policy.json", json!({ "replies": replies, "default": ["I do not know."] }));
    let unreadable = env.tasks("train")[3].fields["request"].clone();
    let critic = json!({
        "replies": [
            { "when": unreadable, "say": ["hard to say"] },
            { "when": "I do not know", "say": ["score: 0"] },
            { "when": "I give up", "say": ["score: 1"] },
        ],
        "default": ["score: 4"],
    });
    write("critic.json", critic);
}

pub(super) fn finished(events: &[RunEvent]) -> BTreeMap<String, (NodeStatus, ItemCounts)> {
    let node = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, status, items, .. } => Some((node.clone(), (*status, *items))),
        _ => None,
    };
    events.iter().filter_map(node).collect()
}

/// What must not depend on how the run went: outputs, figures, decisions.
pub(super) fn results(events: &[RunEvent]) -> BTreeMap<String, String> {
    let node = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, status, output, metrics, detail, .. } if *status != NodeStatus::Paused => {
            Some((node.clone(), format!("{output:?} {metrics:?} {detail}")))
        }
        _ => None,
    };
    events.iter().filter_map(node).collect()
}

pub(super) fn metric(events: &[RunEvent], id: &str, name: &str) -> f64 {
    let value = |event: &RunEvent| match event {
        RunEvent::NodeFinished { node, metrics, .. } if node == id => {
            metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
        }
        _ => None,
    };
    events.iter().find_map(value).unwrap_or_else(|| panic!("{id} has no {name}"))
}

pub(super) fn statuses(events: &[RunEvent], of: NodeStatus) -> Vec<String> {
    finished(events).into_iter().filter(|(_, (status, _))| *status == of).map(|(id, _)| id).collect()
}
