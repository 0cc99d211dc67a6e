//! Turns the tokens of one reply into what is said of it: text that stays, then how it ended.
//!
//! # Invariants
//! What was said is never taken back: what may be the start of a stop or of a call waits until it is clear. Half a reply is no call.

use crate::env::call::{self, Action, Call};
use crate::model::attend::{Drawn, Probable};
use crate::model::{GenReply, ModelError, StopReason, ToolFormat};
use std::sync::Arc;

/// What is said of a reply under way.
#[derive(Debug)]
pub enum Said {
    /// Further text, and the tokens since the last.
    Text(String, Vec<Probable>),
    Ended(Ended),
    Failed(ModelError),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub finish: Finish,
    pub call: Option<Call>,
    /// Tokens drawn.
    pub tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
}

impl Finish {
    pub fn as_str(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
        }
    }
}

/// One reply under way.
#[derive(Debug)]
pub struct Reply {
    /// One list for all replies of a request.
    stops: Arc<[String]>,
    /// How a call is read, where tools are offered.
    calls: Option<ToolFormat>,
    text: String,
    /// Bytes of the text that were said.
    said: usize,
    tokens: u64,
    /// Tokens that were not told yet, each with where its text begins.
    probable: Vec<(usize, Probable)>,
}

impl Reply {
    pub fn new(stops: Arc<[String]>, calls: Option<ToolFormat>) -> Self {
        Self { stops, calls, text: String::new(), said: 0, tokens: 0, probable: Vec::new() }
    }

    /// What can be said now; with its end where a stop was met.
    pub fn hear(&mut self, Drawn { text, probable }: Drawn) -> (Option<Said>, Option<Ended>) {
        self.tokens += 1;
        self.probable.extend(probable.map(|it| (self.text.len(), it)));
        if self.add(&text) {
            return self.end(true, Finish::Stop);
        }
        let held = self.stops.iter().map(|stop| call::without_start_of(&self.text, stop)).min();
        let settled = self.calls.map_or(self.text.len(), |format| call::settled(&self.text, format));
        let most = held.map_or(settled, |held| held.min(settled));
        (self.say(most, false), None)
    }

    /// The end of a reply that the model itself ended.
    pub fn done(&mut self, reply: &GenReply) -> (Option<Said>, Option<Ended>) {
        self.tokens = reply.took(0).completion;
        let stopped = reply.text.strip_prefix(&self.text).map(str::to_owned).is_some_and(|rest| self.add(&rest));
        if reply.stop == StopReason::EndOfTurn && self.probable.last().is_some_and(|(at, _)| *at == self.text.len()) {
            // The token that ends a turn is no part of what is said.
            self.probable.pop();
        }
        let whole = stopped || reply.stop == StopReason::EndOfTurn;
        self.end(whole, if whole { Finish::Stop } else { Finish::Length })
    }

    /// Whether a stop was met: what comes with it and behind it is cut off.
    fn add(&mut self, text: &str) -> bool {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = (0..=self.text.len().saturating_sub(longest)).rev().find(|at| self.text.is_char_boundary(*at));
        let from = from.unwrap_or(0);
        self.text.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.text[from..].find(stop.as_str())).min();
        if let Some(at) = found {
            self.text.truncate(from + at);
            self.probable.retain(|(start, _)| *start < from + at);
        }
        found.is_some()
    }

    fn end(&mut self, whole: bool, finish: Finish) -> (Option<Said>, Option<Ended>) {
        let tokens = self.tokens;
        let action = self.calls.filter(|_| whole).map(|format| (call::parse(&self.text, format), format));
        let (finish, call) = match action {
            Some((Action::Call(call), format)) => {
                self.text.truncate(call::settled(&self.text, format));
                (Finish::ToolCalls, Some(call))
            }
            // What stands around it is no part of it, and was held back with it.
            Some((Action::Answer(answer), ToolFormat::ApiBank | ToolFormat::React)) => {
                self.text = answer;
                (finish, None)
            }
            _ => (finish, None),
        };
        (self.say(self.text.len(), true), Some(Ended { finish, call, tokens }))
    }

    /// The text up to `most`, with the tokens that it is of; with all that are left, where it is the last.
    fn say(&mut self, most: usize, last: bool) -> Option<Said> {
        let text = self.text.get(self.said..most).unwrap_or_default().to_owned();
        let of = |(start, _): &(usize, Probable)| last || *start < most;
        let told = self.probable.iter().take_while(|it| of(it)).count();
        let probable: Vec<Probable> = self.probable.drain(..told).map(|(_, probable)| probable).collect();
        self.said = self.said.max(most);
        (!text.is_empty() || !probable.is_empty()).then_some(Said::Text(text, probable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attend::Candidate;
    use proptest::prelude::*;

    fn drawn(text: &str) -> Drawn {
        let drawn = Candidate { text: text.to_owned(), logprob: -1.0 };
        Drawn { text: text.to_owned(), probable: Some(Probable { drawn, likeliest: Vec::new() }) }
    }

    /// What is said of pieces and in the end, and the texts of the tokens that were told.
    fn told(
        pieces: &[&str],
        stop: StopReason,
        stops: &[&str],
        calls: Option<ToolFormat>,
    ) -> (Vec<String>, Ended, String) {
        let mut reply = Reply::new(stops.iter().map(|stop| (*stop).to_owned()).collect(), calls);
        let (mut texts, mut tokens) = (Vec::new(), String::new());
        let mut take = |said: Option<Said>| {
            if let Some(Said::Text(text, probable)) = said {
                texts.push(text);
                probable.iter().for_each(|it| tokens.push_str(&it.drawn.text));
            }
        };
        for piece in pieces {
            let (said, ended) = reply.hear(drawn(piece));
            take(said);
            if let Some(ended) = ended {
                return (texts, ended, tokens);
            }
        }
        let text = pieces.concat();
        let whole =
            GenReply { tokens: vec![0; pieces.len()], text, stop, logprob: 0.0, likely: Vec::new(), used: None };
        let (said, ended) = reply.done(&whole);
        take(said);
        (texts, ended.expect("it is over"), tokens)
    }

    fn ended(finish: Finish, tokens: u64) -> Ended {
        Ended { finish, call: None, tokens }
    }

    #[test]
    fn text_is_said_as_it_comes() {
        let (texts, end, tokens) = told(&["Hel", "", "lo", ""], StopReason::EndOfTurn, &[], None);
        assert_eq!((texts.concat().as_str(), end, tokens.as_str()), ("Hello", ended(Finish::Stop, 4), "Hello"));
        let (texts, end, _) = told(&["Hel", "lo"], StopReason::MaxTokens, &[], None);
        assert_eq!((texts, end), (vec!["Hel".to_owned(), "lo".to_owned()], ended(Finish::Length, 2)));
    }

    #[test]
    fn a_stop_cuts_and_what_may_become_one_waits() {
        let stops = ["END", "\n\n"];
        let (texts, end, tokens) = told(&["a E", "N", "x E", "ND b"], StopReason::EndOfTurn, &stops, None);
        assert_eq!(texts, ["a ", "ENx "]);
        assert_eq!((end, tokens.as_str()), (ended(Finish::Stop, 4), "a ENx E"));
        let (texts, end, _) = told(&["a E", "N"], StopReason::MaxTokens, &stops, None);
        assert_eq!((texts.concat().as_str(), end), ("a EN", ended(Finish::Length, 2)));
        let (texts, _, _) = told(&["é\n", "\né"], StopReason::EndOfTurn, &stops, None);
        assert_eq!(texts.concat(), "é");
    }

    #[test]
    fn a_call_is_told_as_one_and_half_of_one_as_text() {
        let hermes = Some(ToolFormat::Hermes);
        let pieces = ["I look.\n", "<tool", "_call>{\"name\": \"now\"}", "</tool_call>"];
        let (texts, end, _) = told(&pieces, StopReason::EndOfTurn, &[], hermes);
        let call = Some(Call { name: "now".to_owned(), arguments: Default::default() });
        assert_eq!((texts.concat().as_str(), end), ("I look.\n", Ended { finish: Finish::ToolCalls, call, tokens: 4 }));
        let (texts, end, _) = told(&pieces[..3], StopReason::MaxTokens, &[], hermes);
        assert_eq!((texts.concat(), end), (pieces[..3].concat(), ended(Finish::Length, 3)));
        let (texts, end, _) = told(&pieces[..3], StopReason::EndOfTurn, &[], hermes);
        assert_eq!(
            (texts.concat(), end),
            (pieces[..3].concat(), ended(Finish::Stop, 3)),
            "it cannot be read as a call"
        );
        // Before a stop, a call is whole.
        let pieces = ["Action: now\n", "Action Input: {}\n", "Observation: 12"];
        let (texts, end, _) = told(&pieces, StopReason::MaxTokens, &["Observation:"], Some(ToolFormat::React));
        assert_eq!((texts.concat().as_str(), end.finish), ("", Finish::ToolCalls));
        let (texts, _, _) = told(&["Final Answer: ", "Done."], StopReason::EndOfTurn, &[], Some(ToolFormat::React));
        assert_eq!(texts, ["Done."]);
        let (texts, _, _) = told(&["cal", "l me"], StopReason::EndOfTurn, &[], None);
        assert_eq!(texts, ["cal", "l me"], "without tools nothing is a call");
    }

    proptest! {
        /// However a reply is cut into tokens, the same is said of it in the end.
        #[test]
        fn pieces_do_not_matter(text in "[a-c\\n<{é]{0,12}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let ends: std::collections::BTreeSet<usize> =
                text.char_indices().map(|(at, _)| at).filter(|_| !text.is_empty()).collect();
            let ends: Vec<usize> = ends.into_iter().collect();
            let mut cuts: Vec<usize> = cuts.iter().filter(|_| !ends.is_empty()).map(|it| ends[it.index(ends.len())]).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            for calls in [None, Some(ToolFormat::Json), Some(ToolFormat::Hermes)] {
                let (many, end, tokens) = told(&pieces, StopReason::EndOfTurn, &["bb", "c\n"], calls);
                let (one, other, _) = told(&[&text], StopReason::EndOfTurn, &["bb", "c\n"], calls);
                prop_assert_eq!(many.concat(), one.concat());
                prop_assert_eq!((end.finish, end.call), (other.finish, other.call));
                prop_assert!(tokens.starts_with(many.concat().as_str()) || calls.is_some());
            }
        }
    }
}
