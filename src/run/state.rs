//! How far each step has come, and what that means for the steps that read it.

use crate::base::Digest;
use crate::plan::{Plan, RowsFrom, StepId, VersionFrom, Which, Work, key::step_key};
use crate::run::manifest::Manifest;
use crate::run::resources::Version;

#[derive(Clone, Debug)]
pub enum Standing {
    /// Not there yet.
    Open,
    /// With all of its manifest but the items.
    Done(Manifest),
    Skipped,
    /// It, or something it needs, failed.
    Failed,
}

/// Whether a step can be worked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// With its key, as its inputs came to be.
    Ready(Digest),
    Skipped(String),
    Blocked(String),
    /// An input is not there yet.
    Waiting,
}

#[derive(Debug)]
pub struct State<'a> {
    pub plan: &'a Plan,
    standing: Vec<Standing>,
    /// As the inputs came to be; equal to the planned ones unless a loop ended early or items are missing.
    keys: Vec<Digest>,
}

impl<'a> State<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        let keys = plan.steps.iter().map(|step| step.key).collect();
        Self { plan, standing: vec![Standing::Open; plan.steps.len()], keys }
    }

    /// Of a step that is done, its key from now on says what is missing of it as well. Its items are let go: nobody reads them
    /// here, and those of a long run would fill the memory.
    pub fn set(&mut self, id: StepId, mut standing: Standing) {
        if let Standing::Done(manifest) = &mut standing {
            self.keys[id.0] = manifest.key(self.keys[id.0]);
            manifest.items = Vec::new();
        }
        self.standing[id.0] = standing;
    }

    /// Without its items.
    pub fn manifest(&self, id: StepId) -> Option<&Manifest> {
        match &self.standing[id.0] {
            Standing::Done(manifest) => Some(manifest),
            _ => None,
        }
    }

    fn skipped(&self, id: StepId) -> bool {
        matches!(self.standing[id.0], Standing::Skipped)
    }

    /// The steps a step reads, role by role, now that it is known who was skipped.
    pub fn reads(&self, id: StepId) -> Vec<Vec<StepId>> {
        self.plan.step(id).work.reads(&|input| self.skipped(input))
    }

    /// The steps whose rows a reference means now.
    pub fn resolve(&self, rows: &RowsFrom) -> Vec<StepId> {
        rows.resolve(&|input| self.skipped(input))
    }

    pub fn readiness(&mut self, id: StepId) -> Readiness {
        let step = self.plan.step(id);
        for &control in &step.after {
            let decider = &self.plan.step(control).id;
            match &self.standing[control.0] {
                Standing::Open => return Readiness::Waiting,
                Standing::Failed => return Readiness::Blocked(format!("{decider} did not finish")),
                Standing::Skipped => return Readiness::Skipped("the loop had ended".to_owned()),
                Standing::Done(manifest) if stops(manifest) => {
                    return Readiness::Skipped(format!("{decider} ended the loop"));
                }
                Standing::Done(_) => {}
            }
        }
        let reads = self.reads(id);
        for &input in reads.iter().flatten() {
            let name = &self.plan.step(input).id;
            match &self.standing[input.0] {
                Standing::Open => return Readiness::Waiting,
                Standing::Failed => return Readiness::Blocked(format!("{name} did not finish")),
                Standing::Skipped => return Readiness::Skipped(format!("{name} was skipped")),
                Standing::Done(_) => {}
            }
        }
        let missing = match &step.work {
            Work::Judge { .. } | Work::Select { .. } | Work::Audit { .. } | Work::Pick { .. } => reads[0].is_empty(),
            Work::Train { on: crate::plan::TrainFrom::Rows(_), .. } => reads[1].is_empty(),
            _ => false,
        };
        if missing {
            return Readiness::Skipped("the loop ended before there was anything to read".to_owned());
        }
        let key = step_key(step, &|input| self.skipped(input), &|input| self.keys[input.0]);
        self.keys[id.0] = key;
        Readiness::Ready(key)
    }

    /// Which version a reference means now.
    ///
    /// # Panics
    /// When a step it reads is not done: ask [`State::readiness`] first.
    pub fn version(&self, from: &VersionFrom) -> Version {
        let VersionFrom { model, which } = from;
        let newest = |trains: &[StepId]| {
            let train = trains.iter().copied().find(|&train| !self.skipped(train));
            train.map_or(Version { model: *model, number: 0, weights: None }, |train| self.trained(train))
        };
        match which {
            Which::Newest(trains) => newest(trains),
            Which::Best { metric, among, otherwise } => {
                let ran: Vec<StepId> = among.iter().copied().filter(|&step| !self.skipped(step)).collect();
                let values: Vec<Option<f64>> = ran.iter().map(|&step| self.done(step).metric(metric)).collect();
                crate::node::pick::best(&values).map_or_else(|| newest(otherwise), |best| self.evaluated(ran[best]))
            }
            Which::Trained(train) => newest(&[*train]),
            Which::Picked(pick) => {
                let winner = self.done(*pick).detail["winner"].as_u64().expect("a pick has a winner");
                self.evaluated(self.reads(*pick)[0][winner as usize])
            }
        }
    }

    /// What a training made.
    fn trained(&self, train: StepId) -> Version {
        let Work::Train { start, version, .. } = &self.plan.step(train).work else {
            unreachable!("only trainings make versions")
        };
        Version { model: start.model, number: *version, weights: self.done(train).output }
    }

    /// The version that an evaluation measured.
    pub fn evaluated(&self, evaluation: StepId) -> Version {
        let Work::Evaluate(episodes) = &self.plan.step(evaluation).work else {
            unreachable!("only evaluations are candidates")
        };
        self.version(&episodes.version)
    }

    /// The rollouts that rows come from, however often they were judged and selected since.
    pub fn origins(&self, rows: &RowsFrom) -> Vec<StepId> {
        let mut origins = Vec::new();
        self.walk_origins(rows, &mut |id, work| {
            if matches!(work, Work::Rollout(_)) {
                origins.push(id);
            }
        });
        origins
    }

    /// Everything on the way from the rollouts to these rows, the nearest first.
    pub fn walk_origins(&self, rows: &RowsFrom, visit: &mut dyn FnMut(StepId, &'a Work)) {
        for id in self.resolve(rows) {
            let work = &self.plan.step(id).work;
            visit(id, work);
            if let Work::Judge { rows, .. } | Work::Select { rows, .. } = work {
                self.walk_origins(rows, visit);
            }
        }
    }

    fn done(&self, id: StepId) -> &Manifest {
        self.manifest(id).expect("a step is worked after the steps it reads")
    }
}

/// Whether a gate, or a selection by its `require … else stop`, ends the loop.
fn stops(manifest: &Manifest) -> bool {
    manifest.detail["stop"].as_bool().unwrap_or(false)
}
