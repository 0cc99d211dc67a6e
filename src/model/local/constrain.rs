//! Turns what form a reply is to have into the tokens that may come next.
//!
//! A form is a regular expression over bytes, made an automaton as it is walked (Brzozowski's derivatives, `derivre`); a tree of all
//! tokens (`toktrie`) is walked beside it for the tokens that a state takes, once a state.
//!
//! # Invariants
//! A token that is allowed leaves a way to a reply that is whole. Who else is constrained changes nothing but the time it takes.

use super::tokenizer::Tokenizer;
use crate::model::{Form, ModelError, TokenId};
use derivre::{Regex, RegexAst, RegexBuilder, StateID};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use toktrie::{Recognizer, SimpleVob, TokRxInfo, TokTrie};

/// Work that a form may take to be made: some hundred tools take a hundredth.
const FUEL: u64 = 50_000_000;
/// Forms, and states of one, whose tokens are remembered.
const MOST_FORMS: usize = 256;
const MOST_STATES: usize = 1024;
/// Bytes of a token that can be drawn under constraint: those above are runs of blanks.
const LONGEST: usize = 256;

/// What all constrained replies of a model share.
pub struct Constraints {
    tokenizer: Arc<Tokenizer>,
    ends: BTreeSet<TokenId>,
    tokens: OnceLock<TokTrie>,
    made: Mutex<BTreeMap<Arc<Form>, Arc<Mutex<Automaton>>>>,
}

struct Automaton {
    regex: Regex,
    /// Special tokens, which are lost when ids become text: with them a text would be another than the one that is held to the form.
    barred: Vec<TokenId>,
    /// The tokens that a state takes, the ends apart.
    taken: BTreeMap<u32, Arc<SimpleVob>>,
}

/// One reply under way.
pub struct Constrained {
    automaton: Arc<Mutex<Automaton>>,
    state: StateID,
}

/// The tokens that may come next.
pub struct Allowed<'a> {
    tokens: Arc<SimpleVob>,
    ends: Option<&'a BTreeSet<TokenId>>,
}

impl Allowed<'_> {
    /// Makes all others impossible.
    pub fn bar(&self, logits: &mut [f32]) {
        for (id, logit) in (0..).zip(logits) {
            let taken = (id as usize) < self.tokens.len() && self.tokens.is_allowed(id);
            if !taken && self.ends.is_none_or(|ends| !ends.contains(&id)) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Constraints {
    pub fn new(tokenizer: Arc<Tokenizer>, ends: BTreeSet<TokenId>) -> Self {
        Self { tokenizer, ends, tokens: OnceLock::new(), made: Mutex::default() }
    }

    fn tokens(&self) -> &TokTrie {
        self.tokens.get_or_init(|| {
            let mut words = self.tokenizer.bytes();
            self.ends.iter().for_each(|end| words.get_mut(*end as usize).into_iter().for_each(Vec::clear));
            words.iter_mut().filter(|word| word.len() > LONGEST).for_each(Vec::clear);
            let end = self.ends.first().copied().unwrap_or_default();
            TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words)
        })
    }

    fn barred(&self, form: &Form) -> Vec<TokenId> {
        let specials = self.tokenizer.specials().filter(|special| !form.marks.contains(special));
        specials.filter_map(|special| self.tokenizer.id(special)).collect()
    }

    /// Begins a reply of this form.
    ///
    /// # Errors
    /// An expression that is none, or that takes too long to be made.
    pub fn begin(&self, form: &Arc<Form>) -> Result<Constrained, ModelError> {
        let mut made = locked(&self.made);
        let automaton = match made.get(form) {
            Some(automaton) => automaton.clone(),
            None => {
                let regex =
                    regex(form).map_err(|problem| ModelError::Engine(format!("the form of a reply: {problem}")))?;
                if made.len() >= MOST_FORMS {
                    made.clear();
                }
                let automaton =
                    Arc::new(Mutex::new(Automaton { regex, barred: self.barred(form), taken: BTreeMap::new() }));
                made.insert(form.clone(), automaton.clone());
                automaton
            }
        };
        let state = locked(&automaton).regex.initial_state();
        Ok(Constrained { automaton, state })
    }

    /// What may come next.
    ///
    /// # Errors
    /// The vocabulary has no token that goes on.
    pub fn allowed(&self, reply: &Constrained) -> Result<Allowed<'_>, ModelError> {
        let mut automaton = locked(&reply.automaton);
        let tokens = automaton.taken(reply.state, self.tokens());
        let ends = automaton.regex.is_accepting(reply.state).then_some(&self.ends);
        if ends.is_none() && tokens.is_zero() {
            return Err(ModelError::Engine("no token of its vocabulary goes on with a call that was begun".to_owned()));
        }
        Ok(Allowed { tokens, ends })
    }

    /// Goes on with a token that was drawn.
    pub fn take(&self, reply: &mut Constrained, token: TokenId) {
        if !self.ends.contains(&token) {
            let bytes = self.tokens().token(token);
            reply.state = locked(&reply.automaton).regex.transition_bytes(reply.state, bytes);
        }
    }
}

/// Every text that does not begin as a call; of those that do, the whole ones.
fn regex(form: &Form) -> Result<Regex, String> {
    let Form { begun, whole, never, marks: _ } = form;
    let of = |text: &String| RegexAst::Regex(text.clone());
    let not = |ast| RegexAst::Not(Box::new(ast));
    let whole = match never {
        None => of(whole),
        Some(never) => RegexAst::And(vec![of(whole), not(of(never))]),
    };
    // What is no text is in the complement, too.
    let free = RegexAst::And(vec![RegexAst::Regex(r"[\s\S]*".to_owned()), not(of(begun))]);
    let mut builder = RegexBuilder::new();
    let made = builder.mk(&RegexAst::Or(vec![whole, free])).and_then(|ast| builder.into_regex_limited(ast, FUEL));
    made.map_err(|problem| problem.to_string())
}

impl Automaton {
    fn taken(&mut self, state: StateID, tokens: &TokTrie) -> Arc<SimpleVob> {
        if let Some(taken) = self.taken.get(&state.as_u32()) {
            return taken.clone();
        }
        let mut taken = tokens.alloc_token_set();
        tokens.add_bias(&mut Walk { regex: &mut self.regex, states: vec![state] }, &mut taken, &[]);
        self.barred.iter().for_each(|token| taken.disallow_token(*token));
        let taken = Arc::new(taken);
        if self.taken.len() >= MOST_STATES {
            self.taken.clear();
        }
        self.taken.insert(state.as_u32(), taken.clone());
        taken
    }
}

/// Where the tree of tokens is being walked, a state a byte.
struct Walk<'a> {
    regex: &'a mut Regex,
    states: Vec<StateID>,
}

impl Recognizer for Walk<'_> {
    fn pop_bytes(&mut self, count: usize) {
        self.states.truncate(self.states.len() - count);
    }

    fn collapse(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }

    fn trie_finished(&mut self) {
        self.states.truncate(1);
    }

    fn try_push_byte(&mut self, byte: u8) -> bool {
        let last = *self.states.last().expect("the first one is never taken");
        let next = self.regex.transition(last, byte);
        if !next.is_dead() {
            self.states.push(next);
        }
        !next.is_dead()
    }
}
