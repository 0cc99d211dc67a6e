//! Turns a seed into labelled verdicts: trajectories of an agent that makes a small model's mistakes, with what came of them.

use super::episode::DeskEpisode;
use super::expert;
use super::families::{Family, LESSONS, TASKS};
use super::lessons::opening;
use super::lexicon::Pool;
use super::mistakes::{other_found, refused, slip};
use super::moves::Value;
use super::task::{Answer, Goal, Step, answer_text, compose, found_value};
use super::tools::Tool;
use crate::base::seed::Rng;
use crate::env::call::render;
use crate::env::{Action, Call, Example, Labelled, PureEpisode};
use crate::model::{Message, Role, ToolFormat};

/// Share of the trajectories without a mistake that matters.
const RIGHT: f64 = 0.46;
/// Turns after which a trajectory is cut.
const TURNS: usize = 6;
/// Shares of the families that no task uses.
const LESSON: f64 = 0.15;
/// Share of the right trajectories with something needless: a look-up made twice, a refused call that is mended.
const NEEDLESS: f64 = 0.2;

/// Draws a family by weight; families of test count as those of train do.
pub fn family(weight: impl Fn(&Family) -> u32, rng: &mut Rng) -> &'static Family {
    let total: u32 = TASKS.iter().map(&weight).sum();
    let mut left = rng.below(total as usize) as u32;
    for family in TASKS {
        if left < weight(family) {
            return family;
        }
        left -= weight(family);
    }
    unreachable!("a draw is below the sum of the weights")
}

/// A trajectory with its truth. Families of tasks come by weight, those that only test has among them, with any words.
pub fn verdict(id: String, rng: &mut Rng) -> Example {
    let lesson = rng.chance(LESSON);
    let family = if lesson { rng.pick(LESSONS) } else { family(|family| family.train.max(family.test), rng) };
    let draft = compose(family.parts, Pool::All, rng);
    let mut hand = Hand::new(&draft.goal);
    let mistake = if rng.chance(RIGHT) { None } else { Some(Mistake::draw(&draft.goal, rng)) };
    hand.work(mistake, rng);
    let Hand { episode, turns, ended, .. } = hand;
    let truth = episode.truth();
    let mut messages = opening(&draft.tools(), &draft.request);
    messages.extend(turns.clone());
    Example { messages, labelled: Some(Labelled { task: draft.into_task(id), turns, ended, truth }) }
}

/// An expert's episode on a task like those of train.
pub fn demo(rng: &mut Rng) -> Example {
    let draft = compose(family(|family| family.train, rng).parts, Pool::Train, rng);
    let mut hand = Hand::new(&draft.goal);
    expert::actions(&draft.goal).iter().for_each(|action| drop(hand.act(action)));
    let mut messages = opening(&draft.tools(), &draft.request);
    messages.extend(hand.turns);
    Example { messages, labelled: None }
}

/// What small models do wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    /// Answers when some steps are still to be made.
    StopsEarly,
    /// Leaves one step out.
    Skips,
    /// Writes one value wrong.
    WrongValue,
    /// Calls another tool than the one that is due.
    WrongTool,
    /// Puts a value under another argument's name.
    WrongField,
    /// Makes a call twice that changes something.
    Repeats,
    /// Makes a refused call again and again.
    Stuck,
    /// Says a wrong value, or none.
    WrongAnswer,
    /// Goes on and never answers.
    NeverEnds,
}

impl Mistake {
    fn draw(goal: &Goal, rng: &mut Rng) -> Self {
        use Mistake::*;
        const OFTEN: [Mistake; 18] = [
            StopsEarly,
            StopsEarly,
            StopsEarly,
            StopsEarly,
            Skips,
            WrongValue,
            WrongValue,
            WrongValue,
            WrongValue,
            WrongValue,
            WrongValue,
            WrongValue,
            WrongTool,
            WrongField,
            Repeats,
            Stuck,
            WrongAnswer,
            NeverEnds,
        ];
        loop {
            let mistake = *rng.pick(&OFTEN);
            match mistake {
                StopsEarly | Skips if goal.plan.len() == 1 => {}
                WrongAnswer if goal.answers.is_empty() => {}
                _ => return mistake,
            }
        }
    }
}

/// Someone at work: the plan, what was found so far, and the turns to show for it.
struct Hand<'a> {
    goal: &'a Goal,
    episode: DeskEpisode,
    found: Vec<String>,
    turns: Vec<Message>,
    ended: bool,
}

impl<'a> Hand<'a> {
    fn new(goal: &'a Goal) -> Self {
        Self { goal, episode: DeskEpisode::new(goal.clone()), found: Vec::new(), turns: Vec::new(), ended: false }
    }

    /// One turn; what was observed. Nothing once the turns are used up.
    fn act(&mut self, action: &Action) -> String {
        if self.ended || self.turns.len() >= 2 * TURNS {
            return String::new();
        }
        let observation = self.episode.step(action);
        let text = match action {
            Action::Call(call) => render(call, ToolFormat::Lines),
            Action::Answer(text) | Action::Unreadable(text) => text.clone(),
        };
        self.turns.push(Message::new(Role::Assistant, text));
        self.ended = observation.done;
        if !observation.done {
            self.turns.push(Message::new(Role::Tool, observation.text.clone()));
        }
        observation.text
    }

    fn call(&mut self, call: Call) -> String {
        self.act(&Action::Call(call))
    }

    fn work(&mut self, mistake: Option<Mistake>, rng: &mut Rng) {
        let goal = self.goal;
        let steps = goal.plan.len();
        let needless = mistake.is_none() && rng.chance(NEEDLESS);
        let at = match mistake {
            Some(Mistake::StopsEarly) => 1 + rng.below(steps - 1),
            // Effects are where doing a thing twice matters.
            Some(Mistake::Repeats) => goal.plan.iter().rposition(|step| step.tool.changes()).unwrap_or_default(),
            _ => rng.below(steps),
        };
        for (place, step) in goal.plan.iter().enumerate() {
            let call = step.call(&self.found);
            let here = place == at;
            let observation = match mistake.filter(|_| here) {
                Some(Mistake::StopsEarly) => break,
                Some(Mistake::Skips) => String::new(),
                Some(Mistake::WrongValue) => self.wrong_value(step, &call, rng),
                Some(Mistake::WrongTool) => self.call(with_other_tool(&call, goal, rng)),
                Some(Mistake::WrongField) => self.call(with_other_field(&call, rng)),
                Some(Mistake::Repeats) => {
                    self.call(call.clone());
                    self.call(call)
                }
                Some(Mistake::Stuck) => {
                    let wrong = refused(step, &call, &self.episode.office, rng);
                    (0..TURNS).for_each(|_| drop(self.call(wrong.clone())));
                    return;
                }
                Some(Mistake::WrongAnswer | Mistake::NeverEnds) => self.call(call),
                None => {
                    if here && needless {
                        let lookup = !step.tool.changes();
                        let extra = if lookup && rng.chance(0.5) {
                            call.clone()
                        } else {
                            refused(step, &call, &self.episode.office, rng)
                        };
                        self.call(extra);
                    }
                    self.call(call)
                }
            };
            self.found.push(found_value(&observation));
        }
        if mistake == Some(Mistake::NeverEnds) {
            let again = goal.plan[at].call(&self.found);
            (0..TURNS).for_each(|_| drop(self.call(again.clone())));
            return;
        }
        let text = self.answer(mistake == Some(Mistake::WrongAnswer), rng);
        self.act(&Action::Answer(text));
    }

    /// A slip; when the tools refuse it, some mend it and some go on as if nothing was.
    fn wrong_value(&mut self, step: &Step, call: &Call, rng: &mut Rng) -> String {
        let observation = self.call(slip(step, call, &self.goal.world, rng));
        if observation.starts_with("error") && rng.chance(0.3) {
            return self.call(call.clone());
        }
        observation
    }

    fn answer(&self, wrong: bool, rng: &mut Rng) -> String {
        let found = |answer: &Answer| self.found.get(answer.step).filter(|value| !value.is_empty()).cloned();
        let mut answers: Vec<(Value, String)> =
            (self.goal.answers.iter()).filter_map(|answer| Some((answer.kind, found(answer)?))).collect();
        match answers.first_mut() {
            // Nothing was asked: a tiresome answer is not a wrong one.
            None => {}
            Some(_) if wrong && rng.chance(0.3) => answers.clear(),
            Some((kind, value)) if wrong => *value = other_found(*kind, value, &self.goal.world, rng),
            Some(_) => {}
        }
        answer_text(&answers)
    }
}

/// The same arguments for another granted tool.
fn with_other_tool(call: &Call, goal: &Goal, rng: &mut Rng) -> Call {
    let others: Vec<&Tool> = goal.granted.iter().filter(|tool| tool.name() != call.name).collect();
    let tool = *rng.pick(&others);
    // Small models keep to a tool's argument names and take the values from around.
    let values: Vec<&String> = call.arguments.values().collect();
    let value =
        |name: &str, rng: &mut Rng| call.arguments.get(name).unwrap_or_else(|| *rng.pick::<&String>(&values)).clone();
    let arguments = tool.parameters().iter().map(|(name, _)| ((*name).to_owned(), value(name, rng))).collect();
    Call { name: tool.name().to_owned(), arguments }
}

/// One argument under a name that the tool does not know, or two values that changed places.
fn with_other_field(call: &Call, rng: &mut Rng) -> Call {
    let mut call = call.clone();
    let names: Vec<String> = call.arguments.keys().cloned().collect();
    if names.len() > 1 && rng.chance(0.6) {
        let first = rng.below(names.len());
        let second = (first + 1) % names.len();
        let [one, other] = [first, second].map(|place| call.arguments[&names[place]].clone());
        call.arguments.insert(names[first].clone(), other);
        call.arguments.insert(names[second].clone(), one);
    } else if let Some(value) = call.arguments.remove(rng.pick(&names)) {
        let known = Tool::ALL.iter().flat_map(|tool| tool.parameters()).map(|(name, _)| *name);
        let others: Vec<&str> = known.filter(|name| !names.iter().any(|own| own == name)).collect();
        call.arguments.insert((*rng.pick(&others)).to_owned(), value);
    }
    call
}
