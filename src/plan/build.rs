//! Unrolls the schedule: `repeat N` becomes N copies, each reference the steps that may answer it.

use crate::base::{Digest, Hasher};
use crate::experiment::{
    Critic, CriticId, Experiment, MetricRef, ModelId, ModelRef, RowsRef, Statement, TrainData, Until, Version,
};
use crate::node::spec::Joined;
use crate::plan::key::{Recipe, step_key};
use crate::plan::{
    Edge, Episodes, History, Identities, Judge, Op, Plan, PlanError, RowsFrom, Step, StepId, TrainFrom, VersionFrom,
    Which, Work,
};
use crate::select::{Otherwise, Stage};
use petgraph::graph::{DiGraph, NodeIndex};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// More than anyone runs, few enough to unroll at once.
const MOST_STEPS: usize = 10_000;

/// Unrolls the schedule and gives every step its key.
///
/// # Errors
/// More steps than anyone can want; a reference that the checker should have refused.
pub fn build(experiment: &Experiment, identities: &Identities) -> Result<Plan, PlanError> {
    let mut unroll = Unroll::new(experiment);
    unroll.statements(&experiment.schedule, &mut 0)?;
    let Unroll { mut steps, paths, .. } = unroll;

    let recipe = Recipe { experiment, identities };
    for at in 0..steps.len() {
        steps[at].recipe = recipe.digest(&steps[at].work, steps[at].iteration);
        // Steps read only what stands before them, so their inputs have their keys already.
        steps[at].key = step_key(&steps[at], &|_| false, &|input| steps[input.0].key);
    }
    let mut graph = DiGraph::new();
    for at in 0..steps.len() {
        graph.add_node(StepId(at));
    }
    for (at, step) in steps.iter().enumerate() {
        for (sources, kind) in [(&step.inputs, Edge::Input), (&step.after, Edge::Control)] {
            for source in sources {
                graph.add_edge(NodeIndex::new(source.0), NodeIndex::new(at), kind);
            }
        }
    }
    let order = kahn(&graph, &paths);
    let mut hasher = Hasher::new("agx-plan/1");
    order.iter().for_each(|id| {
        hasher.put(&steps[id.0].key);
    });
    Ok(Plan { digest: hasher.finish(), graph, steps, order })
}

/// Kahn's order; of the steps that are ready, the first by (iteration, place in the file). A step after a loop that reads
/// from it counts as of the iteration it reads.
fn kahn(graph: &DiGraph<StepId, Edge>, paths: &[Vec<u32>]) -> Vec<StepId> {
    let before = |at: usize| graph.neighbors_directed(NodeIndex::new(at), petgraph::Incoming);
    let mut ranks: Vec<Vec<u32>> = Vec::with_capacity(paths.len());
    for (at, path) in paths.iter().enumerate() {
        let latest = before(at).map(|input| &ranks[input.index()]).max();
        ranks.push(latest.max(Some(path)).expect("its own path").clone());
    }
    let mut waiting: Vec<usize> = (0..paths.len()).map(|at| before(at).count()).collect();
    let entry = |at: usize| Reverse((&ranks[at], at));
    let mut ready: BinaryHeap<_> = (0..waiting.len()).filter(|&at| waiting[at] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse((_, at))) = ready.pop() {
        order.push(StepId(at));
        for next in graph.neighbors(NodeIndex::new(at)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                ready.push(entry(next.index()));
            }
        }
    }
    order
}

struct Unroll<'a> {
    experiment: &'a Experiment,
    /// By place in the file: `judge`, `evaluate:dev`.
    words: Vec<String>,
    steps: Vec<Step>,
    /// Of each step, the iterations it stands in, outermost first.
    paths: Vec<Vec<u32>>,
    path: Vec<u32>,
    rows: BTreeMap<String, Vec<StepId>>,
    measured: BTreeMap<String, Vec<StepId>>,
    evaluations: BTreeMap<String, Vec<StepId>>,
    picks: BTreeMap<String, StepId>,
    /// Oldest first.
    trains: BTreeMap<ModelId, Vec<StepId>>,
    loops: Vec<Loop>,
}

struct Loop {
    /// The trainings before it: what `@start` goes back to.
    entry: BTreeMap<ModelId, Vec<StepId>>,
    /// Which steps decide whether the next statement runs.
    control: Vec<StepId>,
}

impl<'a> Unroll<'a> {
    fn new(experiment: &'a Experiment) -> Self {
        let mut statements = Vec::new();
        flatten(&experiment.schedule, &mut statements);
        Self {
            experiment,
            words: words(experiment, &statements),
            steps: Vec::new(),
            paths: Vec::new(),
            path: Vec::new(),
            rows: BTreeMap::new(),
            measured: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            picks: BTreeMap::new(),
            trains: BTreeMap::new(),
            loops: Vec::new(),
        }
    }

    /// `place` counts statements in the order of [`flatten`].
    fn statements(&mut self, statements: &[Statement], place: &mut usize) -> Result<(), PlanError> {
        for statement in statements {
            let here = *place;
            *place += 1;
            if let Statement::Repeat { times, index, body, until } = statement {
                self.repeat(*times, index, body, until.as_ref(), here, place)?;
            } else {
                let work = self.work(statement)?;
                self.push(here, subject(self.experiment, statement), work)?;
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        times: u32,
        index: &str,
        body: &[Statement],
        until: Option<&Until>,
        here: usize,
        place: &mut usize,
    ) -> Result<(), PlanError> {
        self.loops.push(Loop { entry: self.trains.clone(), control: Vec::new() });
        let (first_step, first_place) = (self.steps.len(), *place);
        for iteration in 1..=times {
            *place = first_place;
            let before = self.steps.len();
            self.path.push(iteration);
            self.statements(body, place)?;
            let gate = match until {
                Some(until) => {
                    let history = self.history(until, first_step);
                    Some(self.push(here, index.to_owned(), Work::Gate { until: until.clone(), history })?)
                }
                None => None,
            };
            self.path.pop();
            // What this iteration decided stands in for all that earlier ones did: whoever was stopped stops others.
            let control = &mut self.loops.last_mut().expect("inside a loop").control;
            match gate {
                Some(gate) => *control = vec![gate],
                None if control.iter().any(|step| step.0 >= before) => control.retain(|step| step.0 >= before),
                None => {}
            }
            if self.steps.len() == first_step {
                break; // An empty body: nothing to unroll, however often.
            }
        }
        let mut inside = Vec::new();
        flatten(body, &mut inside);
        *place = first_place + inside.len();
        self.loops.pop();
        Ok(())
    }

    fn push(&mut self, place: usize, name: String, work: Work) -> Result<StepId, PlanError> {
        if self.steps.len() == MOST_STEPS {
            return Err(PlanError::TooMany { most: MOST_STEPS });
        }
        let id = StepId(self.steps.len());
        let word = self.words[place].clone();
        let path: Vec<String> = self.path.iter().map(u32::to_string).collect();
        let inputs: BTreeSet<StepId> = work.reads(&|_| false).into_iter().flatten().collect();
        let unknown = Digest::of_bytes(&[]);
        self.steps.push(Step {
            id: if path.is_empty() { word } else { format!("{word}@{}", path.join(".")) },
            op: work.op(),
            iteration: self.iteration(),
            name: name.clone(),
            key: unknown,
            recipe: unknown,
            inputs: inputs.into_iter().collect(),
            after: self.loops.iter().flat_map(|around| around.control.iter().copied()).collect(),
            work: work.clone(),
        });
        self.paths.push(self.path.clone());
        self.register(id, name, &work);
        Ok(id)
    }

    /// What later statements may refer to.
    fn register(&mut self, id: StepId, name: String, work: &Work) {
        match work {
            Work::Rollout(_) | Work::Judge { .. } | Work::Select { .. } => {
                self.rows.entry(name.clone()).or_default().push(id);
            }
            Work::Train { start, .. } => self.trains.entry(start.model).or_default().push(id),
            Work::Evaluate(_) => self.evaluations.entry(name.clone()).or_default().push(id),
            Work::Pick { .. } => {
                self.picks.insert(name.clone(), id);
            }
            Work::Audit { .. } | Work::Calibrate { .. } | Work::Gate { .. } => {}
        }
        if !matches!(work, Work::Gate { .. }) {
            self.measured.entry(name).or_default().push(id);
        }
        let stops = |stage: &Stage| matches!(stage, Stage::Require { otherwise: Otherwise::Stop, .. });
        if let (Work::Select { rule, .. }, Some(around)) = (work, self.loops.last_mut())
            && self.experiment.rules[rule.0].it.stages.iter().any(stops)
        {
            around.control.push(id);
        }
    }

    fn work(&self, statement: &Statement) -> Result<Work, PlanError> {
        Ok(match statement.clone() {
            Statement::Rollout { name: _, model, env, split, prompt, samples, sampling, stream, tolerance } => {
                let (version, sampling) = (self.version(&model)?, sampling.at(self.iteration()));
                let best_by = Vec::new();
                Work::Rollout(Episodes { version, env, split, prompt, samples, sampling, stream, best_by, tolerance })
            }
            Statement::Evaluate { name: _, model, env, split, prompt, samples, sampling, best_by, tolerance } => {
                let version = self.version(&model)?;
                let best_by = best_by.map_or(Ok(Vec::new()), |critic| self.judges(critic))?;
                let stream = 0;
                Work::Evaluate(Episodes { version, env, split, prompt, samples, sampling, stream, best_by, tolerance })
            }
            Statement::Judge { name: _, rows, critic, tolerance } => {
                let (rows, by) = (self.rows(&rows)?, self.judges(critic)?);
                Work::Judge { rows, by, joined: self.joined(critic), tolerance }
            }
            Statement::Select { name: _, rows, rule } => {
                Work::Select { rows: self.rows(&rows)?, rule: rule.at(self.iteration()) }
            }
            Statement::Audit { rows, metric } => Work::Audit { rows: self.rows(&rows)?, metric },
            Statement::Calibrate { critic, dataset } => {
                Work::Calibrate { by: self.judges(critic)?, joined: self.joined(critic), dataset }
            }
            Statement::Train { model, on, mixed, trainer, from, reference } => {
                let on = match on {
                    TrainData::Rows(rows) => TrainFrom::Rows(self.rows(&rows)?),
                    TrainData::Dataset(dataset) => TrainFrom::Dataset(dataset),
                    TrainData::Through { dataset, critic } => TrainFrom::Through { dataset, critic },
                };
                let version = self.trains.get(&model).map_or(0, Vec::len) as u32 + 1;
                let start = self.version(&ModelRef { model, version: from })?;
                let reference = reference.map(|version| self.version(&ModelRef { model, version })).transpose()?;
                Work::Train { start, on, mixed, trainer, reference, version }
            }
            Statement::Pick { name: _, model, by: MetricRef { name, metric }, including } => {
                let named = including.iter().chain([&name]);
                let mut among: Vec<StepId> =
                    named.map(|name| self.evaluated(name, model)).collect::<Result<Vec<_>, _>>()?.concat();
                among.sort();
                among.dedup();
                Work::Pick { model, metric, among }
            }
            Statement::Repeat { .. } => unreachable!("a repeat is unrolled, never a step"),
        })
    }

    fn version(&self, ModelRef { model, version }: &ModelRef) -> Result<VersionFrom, PlanError> {
        let newest = |trains: &BTreeMap<ModelId, Vec<StepId>>| {
            Which::Newest(trains.get(model).into_iter().flatten().rev().copied().collect())
        };
        let which = match version {
            Version::Declared => Which::Newest(Vec::new()),
            Version::Trained(number) => {
                let trains = self.trains.get(model).map(Vec::as_slice).unwrap_or_default();
                let train = trains.get(*number as usize - 1);
                let name = || format!("{}@{number}", self.experiment.models[model.0].name);
                Which::Trained(*train.ok_or_else(|| PlanError::Undefined { name: name() })?)
            }
            Version::Newest => newest(&self.trains),
            Version::Start => self.loops.last().map_or(Which::Newest(Vec::new()), |around| newest(&around.entry)),
            Version::Best(MetricRef { name, metric }) => {
                let among = self.evaluated(name, *model).unwrap_or_default();
                let Which::Newest(otherwise) = newest(&self.trains) else { unreachable!("made just above") };
                Which::Best { metric: metric.clone(), among, otherwise }
            }
            Version::Picked(name) => {
                let pick = self.picks.get(name).ok_or_else(|| PlanError::Undefined { name: name.clone() })?;
                Which::Picked(*pick)
            }
        };
        Ok(VersionFrom { model: *model, which })
    }

    fn iteration(&self) -> u32 {
        self.path.last().copied().unwrap_or(0)
    }

    /// The critic alone, or the members of a panel.
    fn judges(&self, critic: CriticId) -> Result<Vec<Judge>, PlanError> {
        let judge = |critic: CriticId| {
            let model = self.experiment.sole(critic).model;
            Ok(Judge { critic, version: self.version(&ModelRef { model, version: Version::Newest })? })
        };
        self.experiment.members(critic).into_iter().map(judge).collect()
    }

    fn joined(&self, critic: CriticId) -> Option<Joined> {
        match &self.experiment.critics[critic.0].it {
            Critic::Sole(_) => None,
            Critic::Panel(panel) => Some(panel.by),
        }
    }

    fn rows(&self, RowsRef { name, all_iterations }: &RowsRef) -> Result<RowsFrom, PlanError> {
        let steps = self.rows.get(name).ok_or_else(|| PlanError::Undefined { name: name.clone() })?;
        Ok(match all_iterations {
            true => RowsFrom::All(steps.clone()),
            false => RowsFrom::Newest(steps.iter().rev().copied().collect()),
        })
    }

    /// The evaluations of this name so far that measured the model.
    fn evaluated(&self, name: &str, of: ModelId) -> Result<Vec<StepId>, PlanError> {
        let steps = self.evaluations.get(name).ok_or_else(|| PlanError::Undefined { name: name.to_owned() })?;
        let measures = |step: &&StepId| match &self.steps[step.0].work {
            Work::Evaluate(episodes) => episodes.version.model == of,
            _ => false,
        };
        Ok(steps.iter().filter(measures).copied().collect())
    }

    /// What a gate at this point may read, by loop iteration; `first` is the loop's first step.
    fn history(&self, until: &Until, first: usize) -> History {
        let mut history = History::default();
        self.collect_history(until, first, &mut history);
        history
    }

    fn collect_history(&self, until: &Until, first: usize, history: &mut History) {
        let (metric, since) = match until {
            Until::Stalls { metric, since, .. } => (metric, since.as_ref()),
            Until::Reaches { metric, .. } | Until::Falls { metric, .. } => (metric, None),
            Until::Any(parts) | Until::All(parts) => {
                parts.iter().for_each(|part| self.collect_history(part, first, history));
                return;
            }
        };
        let measured = |name: &str| self.measured.get(name).cloned().unwrap_or_default();
        let depth = self.path.len() - 1;
        let now = self.path[depth];
        if history.rounds.iter().all(|(known, _)| *known != metric.name) {
            let mut rounds = vec![Vec::new(); now as usize];
            for step in measured(&metric.name).into_iter().filter(|step| step.0 >= first) {
                rounds[self.paths[step.0][depth] as usize - 1].push(step);
            }
            history.rounds.push((metric.name.clone(), rounds));
        }
        if let Some(since) = since
            && history.since.iter().all(|(known, _)| known != since)
        {
            history.since.push((since.clone(), measured(since)));
        }
    }
}

/// Statements in the order of the file, a `repeat` before its body.
pub(super) fn flatten<'a>(statements: &'a [Statement], into: &mut Vec<&'a Statement>) {
    for statement in statements {
        into.push(statement);
        if let Statement::Repeat { body, .. } = statement {
            flatten(body, into);
        }
    }
}

/// What a statement's metrics are filed under.
fn subject(experiment: &Experiment, statement: &Statement) -> String {
    match statement {
        Statement::Rollout { name, .. }
        | Statement::Judge { name, .. }
        | Statement::Select { name, .. }
        | Statement::Pick { name, .. } => name.clone(),
        Statement::Evaluate { name, split, .. } => name.clone().unwrap_or_else(|| split.clone()),
        Statement::Audit { rows, .. } => rows.name.clone(),
        Statement::Calibrate { critic, .. } => experiment.critics[critic.0].name.clone(),
        Statement::Train { model, .. } => experiment.models[model.0].name.clone(),
        Statement::Repeat { index, .. } => index.clone(),
    }
}

/// One word a statement: the operation, with the name where people expect it (`evaluate:dev`, `calibrate:grader`,
/// `pick:winner`) or where several statements share the operation; a number where even that is not enough.
pub(super) fn words(experiment: &Experiment, statements: &[&Statement]) -> Vec<String> {
    let op = |statement: &Statement| match statement {
        Statement::Rollout { .. } => Op::Rollout,
        Statement::Judge { .. } => Op::Judge,
        Statement::Select { .. } => Op::Select,
        Statement::Audit { .. } => Op::Audit,
        Statement::Calibrate { .. } => Op::Calibrate,
        Statement::Train { .. } => Op::Train,
        Statement::Evaluate { .. } => Op::Evaluate,
        Statement::Repeat { .. } => Op::Gate,
        Statement::Pick { .. } => Op::Pick,
    };
    let mut counts: BTreeMap<Op, usize> = BTreeMap::new();
    statements.iter().for_each(|statement| *counts.entry(op(statement)).or_default() += 1);
    let mut taken = BTreeSet::new();
    let unique = |statement: &&Statement| {
        let op = op(statement);
        let named = matches!(op, Op::Evaluate | Op::Calibrate | Op::Pick) || counts[&op] > 1;
        let word = match named {
            true => format!("{}:{}", op.as_str(), subject(experiment, statement)),
            false => op.as_str().to_owned(),
        };
        let mut candidates = (2..).map(|nth: u32| format!("{word}-{nth}"));
        let mut candidate = word.clone();
        while !taken.insert(candidate.clone()) {
            candidate = candidates.next().expect("numbers do not end");
        }
        candidate
    };
    statements.iter().map(unique).collect()
}
