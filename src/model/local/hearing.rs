//! Turns drawn ids into the text that a listener hears.
//!
//! # Invariants
//! Nothing that was heard is taken back: a character is told once it is whole.

use super::generate::{Company, Sampled};
use super::reply;
use super::sample::Draw;
use super::tokenizer::Tokenizer;
use crate::model::attend::{Candidate, Drawn, Probable, Wanted};
use crate::model::{GenRequest, Listener, ModelError, TokenId};
use std::collections::BTreeMap;

pub struct Hearing<'a> {
    tokenizer: &'a Tokenizer,
    listener: &'a mut dyn Listener,
    under_way: BTreeMap<usize, Heard<'a>>,
    asked: usize,
}

struct Heard<'a> {
    read: Box<dyn FnMut(TokenId) -> String + Send + 'a>,
    probable: bool,
}

impl<'a> Hearing<'a> {
    pub fn new(tokenizer: &'a Tokenizer, listener: &'a mut dyn Listener) -> Self {
        Self { tokenizer, listener, under_way: BTreeMap::new(), asked: 0 }
    }
}

impl Company for Hearing<'_> {
    fn next(&mut self, room: usize) -> Vec<(GenRequest, usize)> {
        let mut asked = Vec::new();
        for Wanted { request, probable } in self.listener.next(room) {
            let heard = Heard { read: Box::new(self.tokenizer.reader()), probable: probable.is_some() };
            self.under_way.insert(self.asked, heard);
            self.asked += 1;
            asked.push((request, probable.unwrap_or(0)));
        }
        asked
    }

    fn hear(&mut self, number: usize, Draw { token, logprob, likeliest }: &Draw) -> bool {
        let heard = self.under_way.get_mut(&number).expect("what is drawn was asked for");
        let likely = |id: TokenId, logprob: f64| Candidate { text: self.tokenizer.shown(id), logprob };
        let probable = heard.probable.then(|| Probable {
            drawn: likely(*token, *logprob),
            likeliest: likeliest.iter().map(|(id, logprob)| likely(*id, *logprob)).collect(),
        });
        let goes_on = self.listener.hear(number, Drawn { text: (heard.read)(*token), probable });
        if !goes_on {
            self.under_way.remove(&number);
        }
        goes_on
    }

    fn done(&mut self, number: usize, sampled: Result<Sampled, ModelError>) {
        self.under_way.remove(&number);
        self.listener.done(number, sampled.and_then(|sampled| reply(self.tokenizer, sampled)));
    }
}
