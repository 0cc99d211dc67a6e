//! What is heard token by token is what is answered, whoever comes and goes meanwhile.

use super::*;
use crate::model::attend::{Drawn, Wanted};
use crate::model::local::LocalModel;
use crate::model::{Listener, ModelError};
use std::collections::BTreeMap;

/// Asks one more with each pass, and gives some replies up.
struct Audience {
    waiting: Vec<GenRequest>,
    heard: BTreeMap<usize, Vec<Drawn>>,
    done: BTreeMap<usize, GenReply>,
    /// After so many tokens, of these.
    gives_up: fn(usize) -> Option<usize>,
}

impl Listener for Audience {
    fn next(&mut self, room: usize) -> Vec<Wanted> {
        let came = self.waiting.pop().filter(|_| room > 0);
        came.into_iter().map(|request| Wanted { request, probable: Some(3) }).collect()
    }

    fn hear(&mut self, number: usize, drawn: Drawn) -> bool {
        assert!(!self.done.contains_key(&number));
        let heard = self.heard.entry(number).or_default();
        heard.push(drawn);
        (self.gives_up)(number).is_none_or(|after| heard.len() < after)
    }

    fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>) {
        assert!(self.done.insert(number, reply.unwrap()).is_none());
    }
}

#[test]
fn replies_heard_are_those_that_are_answered_alone() {
    let tokenizer = tokenizer();
    let model = LocalModel::open(&fresh(tokenizer.path()), None).unwrap();
    for temperature in [0.0, 1.0] {
        let requests = requests(&model, temperature);
        let alone = replies(&model, &requests);
        let gives_up = |number: usize| (number % 5 == 3).then_some(2);
        let waiting = requests.iter().rev().cloned().collect();
        let mut audience = Audience { waiting, heard: BTreeMap::new(), done: BTreeMap::new(), gives_up };
        model.attend(&mut audience);
        for (number, reply) in alone.iter().enumerate() {
            let heard = &audience.heard[&number];
            let text: String = heard.iter().map(|drawn| drawn.text.as_str()).collect();
            assert!(reply.text.starts_with(&text), "{text:?} {:?}", reply.text);
            let Some(done) = audience.done.get(&number) else {
                assert_eq!(Some(heard.len()), gives_up(number));
                continue;
            };
            assert_eq!(done, reply);
            assert_eq!(heard.len(), reply.tokens.len());
            let probable: Vec<_> = heard.iter().map(|drawn| drawn.probable.as_ref().unwrap()).collect();
            let sum: f64 = probable.iter().map(|it| it.drawn.logprob).sum();
            assert!((sum - reply.logprob).abs() < 1e-9);
            for it in probable {
                assert_eq!(it.likeliest.len(), 3);
                assert!(it.likeliest.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob));
                assert!(temperature > 0.0 || it.drawn == it.likeliest[0]);
            }
        }
        assert_eq!(audience.done.len(), (0..requests.len()).filter(|number| gives_up(*number).is_none()).count());
    }
}

/// Asks with each pass what takes a pass to be read, and would be sorted before the very first.
struct Crowd {
    first: Option<GenRequest>,
    others: Vec<GenRequest>,
    before: Option<usize>,
    done: usize,
}

impl Listener for Crowd {
    fn next(&mut self, room: usize) -> Vec<Wanted> {
        let mut came: Vec<GenRequest> = self.others.split_off(self.others.len().saturating_sub(room.min(2)));
        came.extend(self.first.take());
        came.into_iter().map(|request| Wanted { request, probable: None }).collect()
    }

    fn hear(&mut self, _: usize, _: Drawn) -> bool {
        true
    }

    fn done(&mut self, number: usize, _: Result<GenReply, ModelError>) {
        // It was the last of those that came at first.
        if number == 2 {
            self.before = Some(self.done);
        }
        self.done += 1;
    }
}

#[test]
fn who_came_earlier_is_let_in_earlier() {
    let tokenizer = tokenizer();
    let model = LocalModel::open(&ModelSpec { context: 600, ..fresh(tokenizer.path()) }, None).unwrap();
    let request = |prompt: Vec<u32>| GenRequest {
        prompt,
        seed: Seed(1),
        sampling: Sampling::greedy(1),
        likely: false,
        form: None,
    };
    let others = (0..10).map(|n| request((0..520).map(|i| (i * (n + 1) + n) % 100).collect())).collect();
    let mut crowd = Crowd { first: Some(request(vec![200; 20])), others, before: None, done: 0 };
    model.attend(&mut crowd);
    assert_eq!(crowd.done, 11);
    assert!(crowd.before.is_some_and(|before| before < 4), "{:?}", crowd.before);
}

#[test]
fn one_that_cannot_be_answered_harms_no_other() {
    let tokenizer = tokenizer();
    let model = LocalModel::open(&fresh(tokenizer.path()), None).unwrap();
    let sound = requests(&model, 0.0).remove(0);
    let empty = GenRequest { prompt: Vec::new(), ..sound.clone() };
    let foreign = GenRequest { prompt: vec![u32::MAX], ..sound.clone() };
    struct Mixed(Vec<GenRequest>, Vec<bool>);
    impl Listener for Mixed {
        fn next(&mut self, _: usize) -> Vec<Wanted> {
            self.0.pop().into_iter().map(|request| Wanted { request, probable: None }).collect()
        }
        fn hear(&mut self, _: usize, drawn: Drawn) -> bool {
            drawn.probable.is_none()
        }
        fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>) {
            assert_eq!(number >= 2, reply.is_ok());
            self.1.push(reply.is_ok());
        }
    }
    let mut mixed = Mixed(vec![sound, foreign, empty], Vec::new());
    model.attend(&mut mixed);
    assert_eq!(mixed.1, [false, false, true]);
}
