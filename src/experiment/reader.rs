//! Turns a prompt and who is to read it into whether the two fit.
//!
//! # Invariants
//! What only one of agent and critic may see never reaches the other.

use super::Checker;
use super::error::CheckError;
use super::model::EnvId;
use super::shown::reads;
use crate::base::Span;
use crate::node::spec::CriticKind;

impl Checker<'_> {
    /// Whether a prompt can ask a critic of this kind: it shows all that is to be judged, and only what a critic may see.
    pub(super) fn critic_prompt(&mut self, id: usize, kind: CriticKind, used: Span) -> bool {
        let name = self.prompts[id].name.clone();
        let Some(info) = &self.prompts[id].it else { return false };
        let hidden: Vec<(Span, String)> =
            info.seen.iter().filter(|seen| !seen.critic).map(|seen| (seen.span, seen.field.clone())).collect();
        let fits = info.given == kind.shows();
        let shows = fits && kind.shows().iter().all(|root| reads(&info.template, root));
        if !shows {
            let blind = info.given.is_empty() || fits;
            let (why, help) = match (kind, blind) {
                (CriticKind::Each, true) if fits => (
                    "it shows no trajectory, so the critic would judge blindly",
                    "print its trajectory: `{{ traj | transcript }}`",
                ),
                (CriticKind::Each, true) => (
                    "it shows no trajectory, so the critic would judge blindly",
                    "give it a parameter `traj: Trajectory` and print `{{ traj | transcript }}`",
                ),
                (CriticKind::Each, false) => (
                    "it shows several trajectories, and the critic judges one",
                    "give it one parameter `traj: Trajectory`, or say how the critic compares: `kind = pairs`",
                ),
                (CriticKind::Pairs, _) => (
                    "it does not show the two trajectories that the critic compares",
                    "give it `a: Trajectory, b: Trajectory` and print both: `{{ a | transcript }}`",
                ),
                (CriticKind::Group, _) => (
                    "it does not show the trajectories that the critic compares",
                    "give it `trajs: list<Trajectory>` and print each: `{% for t in trajs %}{{ t | transcript }}{% end %}`",
                ),
            };
            self.error(CheckError::PromptMisfit { span: used, name, why, help });
        }
        for (span, field) in &hidden {
            self.error(CheckError::HiddenFrom { span: *span, field: field.clone(), reader: "critic", used });
        }
        shows && hidden.is_empty()
    }

    /// Whether a prompt can ask an agent about a task of `env`.
    pub(super) fn agent_prompt(&mut self, id: usize, env: EnvId, used: Span, asked: bool) -> bool {
        let name = self.prompts[id].name.clone();
        let Some(info) = &self.prompts[id].it else { return false };
        let hidden: Vec<(Span, String)> =
            info.seen.iter().filter(|seen| !seen.agent).map(|seen| (seen.span, seen.field.clone())).collect();
        let (trajectory, answer, of) = (!info.given.is_empty(), info.answer, info.env);
        for (span, field) in &hidden {
            self.error(CheckError::HiddenFrom { span: *span, field: field.clone(), reader: "agent", used });
        }
        // What the prompt cannot be for any agent is told where a rollout names it.
        if !asked && (trajectory || answer.is_some()) {
            return false;
        }
        let misfit = if trajectory {
            Some((
                "it shows a trajectory, which does not exist before the agent has acted",
                "use a prompt without `Trajectory`",
            ))
        } else if answer.is_some() {
            Some(("it names `answer`, which only a critic has", "remove `{{ answer.format }}`, or use another prompt"))
        } else if of.is_some_and(|of| of != env) {
            Some(("it shows tasks of another environment", "use a prompt whose parameter is of this environment"))
        } else {
            None
        };
        if let Some((why, help)) = misfit {
            self.error(CheckError::PromptMisfit { span: used, name, why, help });
        }
        let fits = misfit.is_none() && hidden.is_empty();
        // Where the environment speaks first, it says what is to be done.
        let speaks = self.envs[env.0].it.as_ref().is_some_and(|info| crate::env::speaks_first(&info.spec.kind));
        if fits && !speaks {
            self.shows_task(id, used);
        }
        fits
    }
}
