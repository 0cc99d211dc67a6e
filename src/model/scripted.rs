//! Turns a JSON file into a model: replies by rule, for tests and dry runs. Nothing here learns or understands anything.
//!
//! ```json
//! {
//!   "replies": [
//!     { "when": "room: Oak", "say": ["call book_room\nroom: Oak"] },
//!     { "when": "book a room", "skill": 1, "say": ["call find_room", "Done."] }
//!   ],
//!   "default": ["I do not know."]
//! }
//! ```
//!
//! A rule may say how likely numbers are in what it says, for critics that are read by expectation: `"likely": { "3": 0.7, "4": 0.3 }`.
//!
//! The first rule whose `when` is part of the last user or tool message, and whose `skill` the model has reached, answers;
//! `default` where none does. Of several texts the greedy reply (temperature 0) is the first, others are drawn by the
//! request's seed. "Training" only counts: the new version has one skill more than the one it started from, so that in a
//! dry run something changes from iteration to iteration.
//!
//! # Invariants
//! Ids spell the text ([`spelled`]). Replies depend on prompt, sampling and seed only.

use super::attend::{Candidate, Drawn, Probable, Wanted};
use super::spelled::{END, decode, encode, mark};
use super::*;
use crate::base::file;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A script is written by people, or made of the tasks of a test.
const MOST_BYTES: u64 = 1 << 28;
/// Of every token: a script knows no probabilities, and says something all the same.
const LOGPROB: f64 = -0.5;

#[derive(Debug)]
pub struct Scripted {
    script: Script,
    context: usize,
    skill: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    replies: Vec<Reply>,
    #[serde(default)]
    default: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    when: String,
    /// Trainings that the version has had at least.
    #[serde(default)]
    skill: u32,
    say: Vec<String>,
    /// How likely each number is where a reply has one.
    #[serde(default)]
    likely: BTreeMap<i64, f64>,
}

/// What is said, and how likely numbers are in it where that is known.
type Saying<'s> = (&'s str, Option<&'s BTreeMap<i64, f64>>);

/// What stands for weights.
#[derive(Debug, Serialize, Deserialize)]
struct Version {
    skill: u32,
    /// Of the version it was trained from.
    start: Option<Digest>,
    /// Of the rows, the recipe and the seed.
    training: Digest,
}

impl Scripted {
    /// # Errors
    /// A file that cannot be read or is not a script; a version that no training of a script made.
    pub fn open(path: &Path, spec: &ModelSpec, version: Option<&[u8]>) -> Result<Self, ModelError> {
        // By way of an object: a list would be read as the fields in order.
        let script: Script = serde_json::from_slice(&read(path)?)
            .and_then(|fields| serde_json::from_value(serde_json::Value::Object(fields)))
            .map_err(|error| wrong(path, &format!("is not a script: {error}")))?;
        if let Some(reply) = script.replies.iter().find(|reply| reply.say.is_empty()) {
            return Err(wrong(path, &format!("the reply to `{}` has nothing to say", reply.when)));
        }
        let shares = |reply: &&Reply| reply.likely.values().any(|share| !(0.0..=1.0).contains(share));
        if let Some(reply) = script.replies.iter().find(shares) {
            return Err(wrong(
                path,
                &format!("`likely` of the reply to `{}` has a probability outside 0 to 1", reply.when),
            ));
        }
        let skill = version.map(parse_version).transpose()?.map_or(0, |version| version.skill);
        Ok(Self { script, context: spec.context as usize, skill })
    }

    fn say(&self, request: &GenRequest) -> Result<Saying<'_>, ModelError> {
        let last = last_told(&request.prompt);
        let fits = |reply: &&Reply| reply.skill <= self.skill && last.contains(&reply.when);
        let reply = self.script.replies.iter().find(fits);
        let likely = reply.map(|reply| &reply.likely);
        let texts = reply.map_or(&self.script.default, |reply| &reply.say);
        match texts.as_slice() {
            [] => Err(ModelError::Script(last.chars().take(80).collect())),
            [first, ..] if request.sampling.temperature <= 0.0 => Ok((first, likely)),
            several => Ok((request.seed.rng().pick::<String>(several), likely)),
        }
    }

    fn reply(&self, request: &GenRequest) -> Result<GenReply, ModelError> {
        let GenRequest { prompt, seed: _, sampling, likely, form: _ } = request;
        let room = self.context.saturating_sub(prompt.len());
        if room == 0 {
            return Err(ModelError::TooLong { tokens: prompt.len(), context: self.context });
        }
        let (said, numbers) = self.say(request)?;
        let mut tokens = encode(said);
        tokens.push(END);
        let limit = room.min(sampling.max_tokens as usize);
        let stop = if tokens.len() <= limit {
            StopReason::EndOfTurn
        } else if limit == room {
            StopReason::ContextFull
        } else {
            StopReason::MaxTokens
        };
        tokens.truncate(limit);
        let logprob = LOGPROB * tokens.len() as f64;
        let text = decode(&tokens);
        let numbers = numbers.filter(|numbers| *likely && !numbers.is_empty());
        let likely = numbers.map_or_else(Vec::new, |numbers| likely_in(&text, numbers));
        Ok(GenReply { text, tokens, stop, logprob, likely, used: None })
    }
}

impl LanguageModel for Scripted {
    fn context(&self) -> usize {
        self.context
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        Ok(spelled::chat(messages))
    }

    fn continue_chat(&self, _: &[Message], reply: &GenReply, next: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        Ok(spelled::continued(&reply.tokens, next))
    }

    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError> {
        Ok(spelled::row(messages))
    }

    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        requests.iter().map(|request| self.reply(request)).collect()
    }

    /// One reply after the other. No other token was likely.
    fn attend(&self, listener: &mut dyn Listener) {
        let mut number = 0;
        loop {
            let wanted = listener.next(1);
            if wanted.is_empty() {
                break;
            }
            for Wanted { request, probable } in wanted {
                let reply = self.reply(&request);
                let drawn = |text: String| Drawn {
                    probable: probable.map(|most| {
                        let drawn = Candidate { text: text.clone(), logprob: LOGPROB };
                        Probable { likeliest: vec![drawn.clone(); most.min(1)], drawn }
                    }),
                    text,
                };
                let mut pieces = reply.as_ref().map_or_else(|_| Vec::new(), spelled::pieces).into_iter();
                if pieces.all(|text| listener.hear(number, drawn(text))) {
                    listener.done(number, reply);
                }
                number += 1;
            }
        }
    }
}

/// Every number in a text, with how likely the script has each.
fn likely_in(text: &str, numbers: &BTreeMap<i64, f64>) -> Vec<Likely> {
    let words: Vec<(String, f64)> =
        numbers.iter().map(|(number, probability)| (number.to_string(), libm::log(*probability))).collect();
    let likeliest = || words.iter().map(|(word, logprob)| (word.as_str(), *logprob));
    let starts = text.split_inclusive(|letter: char| !letter.is_ascii_digit()).scan(0, |at, word| {
        let start = *at;
        *at += word.len();
        Some((start, word.trim_end_matches(|letter: char| !letter.is_ascii_digit())))
    });
    starts.filter_map(|(at, word)| Likely::of(at, word, likeliest())).collect()
}

/// Of the script's bytes.
pub fn identity(path: &Path) -> Result<Digest, ModelError> {
    Ok(Hasher::new("agx-script/1").bytes(&read(path)?).finish())
}

/// Counts one skill up. The bytes also hold what was trained on, so that versions differ as real ones would.
pub fn train(
    start: Option<&[u8]>,
    rows: &[TrainRow],
    config: &TrainConfig,
    seed: Seed,
    monitor: &mut dyn TrainMonitor,
) -> Result<Trained, ModelError> {
    if rows.is_empty() {
        return Err(ModelError::Training("there is no row to train on".to_owned()));
    }
    if monitor.paused() {
        return Err(ModelError::Paused);
    }
    let before = start.map(parse_version).transpose()?.map_or(0, |version| version.skill);
    let version = Version {
        skill: before + 1,
        start: start.map(Digest::of_bytes),
        training: Hasher::new("agx-script-training/1").put(rows).put(config).put(&seed).finish(),
    };
    let steps = (rows.len() as u64).div_ceil(u64::from(config.batch.max(1))) * u64::from(config.epochs.max(1));
    let tokens: u64 = rows.iter().map(|row| row.tokens.len() as u64).sum::<u64>() * u64::from(config.epochs.max(1));
    let loss_at = |skill: u32| 2.0 / f64::from(skill + 1);
    let (first_loss, last_loss) = (loss_at(before), loss_at(version.skill));
    monitor.progress(TrainProgress { step: steps, steps, loss: last_loss, grad_norm: 1.0, tokens });
    let weights = serde_json::to_vec(&version).expect("a version is plain data");
    Ok(Trained { weights, steps, tokens, first_loss, last_loss })
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    file::read(path, MOST_BYTES).map_err(|error| wrong(path, &file::reason(&error)))
}

fn wrong(path: &Path, problem: &str) -> ModelError {
    ModelError::File { path: path.display().to_string(), problem: problem.to_owned() }
}

fn parse_version(bytes: &[u8]) -> Result<Version, ModelError> {
    serde_json::from_slice(bytes).map_err(|_| ModelError::Training("the start is not a version of a script".to_owned()))
}

/// The last message of the user or a tool.
fn last_told(prompt: &[TokenId]) -> String {
    let told = [mark(Role::User), mark(Role::Tool)];
    let start = prompt.iter().rposition(|id| told.contains(id)).map_or(0, |at| at + 1);
    let rest = &prompt[start..];
    let end = rest.iter().position(|id| *id == END).unwrap_or(rest.len());
    decode(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn spec(path: &Path, context: u32) -> ModelSpec {
        ModelSpec {
            source: Source::Scripted(path.to_owned()),
            adapter: None,
            context,
            dtype: Dtype::F32,
            device: Device::Cpu,
            lora: None,
            tool_format: ToolFormat::Lines,
            tool_calls: ToolCalls::Drawn,
        }
    }

    fn script(json: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(json.as_bytes()).unwrap();
        file
    }

    fn open(json: &str, version: Option<&[u8]>) -> Scripted {
        let file = script(json);
        Scripted::open(file.path(), &spec(file.path(), 200), version).unwrap()
    }

    const SCRIPT: &str = r#"{
        "replies": [
            { "when": "room: Oak", "say": ["call book_room"] },
            { "when": "Book", "skill": 1, "say": ["well done"] },
            { "when": "Book", "say": ["a", "b", "c"] }
        ],
        "default": ["pardon?"]
    }"#;

    fn ask(
        model: &Scripted,
        messages: &[Message],
        temperature: f64,
        seed: u64,
        max_tokens: u32,
    ) -> Result<GenReply, ModelError> {
        let sampling = Sampling { temperature, ..Sampling::greedy(max_tokens) };
        let request = GenRequest {
            prompt: model.encode_chat(messages).unwrap(),
            seed: Seed(seed),
            sampling,
            likely: true,
            form: None,
        };
        model.generate(&[request]).remove(0)
    }

    fn user(text: &str) -> Vec<Message> {
        vec![Message::new(Role::System, "Book"), Message::new(Role::User, text)]
    }

    #[test]
    fn the_last_thing_told_decides() {
        let model = open(SCRIPT, None);
        let mut messages = user("Book a room.");
        assert_eq!(ask(&model, &messages, 0.0, 1, 9).unwrap().text, "a");
        messages.extend([Message::new(Role::Assistant, "Book"), Message::new(Role::Tool, "room: Oak")]);
        let reply = ask(&model, &messages, 0.0, 1, 99).unwrap();
        assert_eq!((reply.text.as_str(), reply.stop), ("call book_room", StopReason::EndOfTurn));
        assert_eq!(ask(&model, &user("Hello"), 0.0, 1, 9).unwrap().text, "pardon?");
        let mute = open(r#"{ "replies": [] }"#, None);
        assert!(matches!(ask(&mute, &user("Hello"), 0.0, 1, 9), Err(ModelError::Script(told)) if told == "Hello"));
    }

    #[test]
    fn the_seed_chooses_unless_greedy_and_cuts_are_said() {
        let model = open(SCRIPT, None);
        let said = |seed| ask(&model, &user("Book"), 1.0, seed, 9).unwrap().text;
        let all: std::collections::BTreeSet<String> = (0..40).map(said).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(said(5), said(5));
        let cut = ask(&model, &user("room: Oak"), 0.0, 1, 2).unwrap();
        assert_eq!((cut.text.as_str(), cut.tokens.len(), cut.stop), ("call ", 2, StopReason::MaxTokens));
        let file = script(SCRIPT);
        let small = Scripted::open(file.path(), &spec(file.path(), 12), None).unwrap();
        assert_eq!(ask(&small, &user("room: Oak"), 0.0, 1, 99).unwrap().stop, StopReason::ContextFull);
        assert!(matches!(ask(&small, &user(&"x".repeat(99)), 0.0, 1, 9), Err(ModelError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn ids_are_the_text(text: String) {
            let ids = encode(&text);
            prop_assert_eq!(decode(&ids), text);
            prop_assert!(ids.iter().all(|id| *id > 4), "no text is a mark");
        }
    }

    #[test]
    fn a_conversation_that_goes_on_is_the_conversation_as_a_whole() {
        let model = open(SCRIPT, None);
        let before = user("Book a room.");
        let told = Message::new(Role::Tool, "ok");
        for max_tokens in [99, 1] {
            let reply = ask(&model, &user("room: Oak"), 0.0, 1, max_tokens).unwrap();
            let mut ids = model.encode_chat(&before).unwrap();
            ids.extend(&reply.tokens);
            ids.extend(model.continue_chat(&before, &reply, std::slice::from_ref(&told)).unwrap());
            let whole =
                [before.clone(), vec![Message::new(Role::Assistant, reply.text.clone()), told.clone()]].concat();
            assert_eq!(ids, model.encode_chat(&whole).unwrap());
        }
        let row = model.encode_row(&[before, vec![Message::new(Role::Assistant, "abc")]].concat()).unwrap();
        assert_eq!(row.tokens.len(), row.learn.len());
        let learned: Vec<TokenId> =
            row.tokens.iter().zip(&row.learn).filter(|(_, learn)| **learn).map(|(id, _)| *id).collect();
        assert_eq!((decode(&learned).as_str(), learned.last()), ("abc", Some(&END)));
    }

    struct Quiet(bool);

    impl TrainMonitor for Quiet {
        fn progress(&mut self, _: TrainProgress) {}
        fn paused(&mut self) -> bool {
            self.0
        }
        fn load(&mut self) -> Option<Vec<u8>> {
            None
        }
        fn save(&mut self, _: &[u8]) {}
    }

    #[test]
    fn training_counts_and_its_bytes_follow_from_what_went_in() {
        let config = TrainConfig {
            method: Method::Sft { loss_on: LossOn::Agent },
            lr: 1e-3,
            decay: Decay::Constant { warmup: 0.0 },
            epochs: 2,
            batch: 2,
            max_len: None,
            clip: 0.0,
            weight_decay: 0.0,
            lora: None,
            accumulate: 1,
            recompute: false,
            command: None,
        };
        let rows = vec![TrainRow { tokens: vec![1, 2], learn: vec![false, true] }; 3];
        let train = |start: Option<&[u8]>, rows: &[TrainRow], seed| {
            super::train(start, rows, &config, Seed(seed), &mut Quiet(false)).map(|trained| trained.weights)
        };
        let once = train(None, &rows, 1).unwrap();
        assert_eq!(once, train(None, &rows, 1).unwrap());
        assert_ne!(once, train(None, &rows[..2], 1).unwrap());
        assert_ne!(once, train(None, &rows, 2).unwrap());
        let twice = train(Some(&once), &rows, 1).unwrap();
        assert_ne!(once, twice);
        let say = |version: Option<&[u8]>| ask(&open(SCRIPT, version), &user("Book"), 0.0, 1, 9).unwrap().text;
        assert_eq!(
            (say(None), say(Some(&once)), say(Some(&twice))),
            ("a".to_owned(), "well done".to_owned(), "well done".to_owned())
        );
        assert!(train(Some(b"weights of another kind"), &rows, 1).is_err() && train(None, &[], 1).is_err());
        assert!(matches!(super::train(None, &rows, &config, Seed(1), &mut Quiet(true)), Err(ModelError::Paused)));
    }

    /// Hears so many tokens of each reply.
    struct Ear(Vec<GenRequest>, usize, Vec<String>, Vec<Option<GenReply>>);

    impl Listener for Ear {
        fn next(&mut self, room: usize) -> Vec<Wanted> {
            let came: Vec<GenRequest> = self.0.drain(..room.min(self.0.len())).collect();
            came.into_iter().map(|request| Wanted { request, probable: Some(5) }).collect()
        }

        fn hear(&mut self, number: usize, drawn: Drawn) -> bool {
            let probable = drawn.probable.unwrap();
            assert_eq!((probable.likeliest.len(), &probable.drawn.text), (1, &drawn.text));
            self.2.resize(number + 1, String::new());
            self.2[number].push_str(&drawn.text);
            self.1 -= 1;
            self.1 > 0
        }

        fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>) {
            self.3.resize(number + 1, None);
            self.3[number] = reply.ok();
        }
    }

    proptest! {
        #[test]
        fn what_is_heard_is_what_is_said(text: String, max_tokens in 1u32..20) {
            let json = serde_json::json!({ "default": [text] }).to_string();
            let model = open(&json, None);
            let request = GenRequest {
                prompt: model.encode_chat(&user("x")).unwrap(),
                seed: Seed(1),
                sampling: Sampling::greedy(max_tokens),
                likely: false,
                form: None,
            };
            let said = model.generate(std::slice::from_ref(&request)).remove(0).unwrap();
            let mut ear = Ear(vec![request; 2], usize::MAX, Vec::new(), Vec::new());
            model.attend(&mut ear);
            for (heard, done) in ear.2.iter().zip(&ear.3) {
                prop_assert_eq!(done.as_ref(), Some(&said));
                // Half a character at the end is only told with the whole.
                prop_assert!(said.text.starts_with(heard.as_str()) && said.text.len() - heard.len() <= 3);
            }
        }
    }

    #[test]
    fn a_reply_that_is_given_up_is_not_heard_of_again() {
        let model = open(SCRIPT, None);
        let request = |text: &str| GenRequest {
            prompt: model.encode_chat(&user(text)).unwrap(),
            seed: Seed(1),
            sampling: Sampling::greedy(9),
            likely: false,
            form: None,
        };
        let mut ear = Ear(vec![request("room: Oak")], 2, Vec::new(), Vec::new());
        model.attend(&mut ear);
        assert_eq!((ear.2, ear.3), (vec!["call ".to_owned()], Vec::new()));
        let mute = open("{}", None);
        let mut ear = Ear(vec![request("room: Oak")], 9, Vec::new(), Vec::new());
        mute.attend(&mut ear);
        assert_eq!((ear.2, ear.3), (Vec::new(), vec![None]));
    }

    #[test]
    fn a_script_says_how_likely_its_numbers_are_where_it_is_asked() {
        let model = open(
            r#"{ "replies": [{ "when": "Book", "say": ["score: 3, of 14"], "likely": { "3": 0.5, "4": 0.25, "2": 0 } }] }"#,
            None,
        );
        let reply = ask(&model, &user("Book"), 0.0, 1, 99).unwrap();
        let places: Vec<(usize, i64)> = reply.likely.iter().map(|it| (it.at, it.number)).collect();
        assert_eq!(places, [(7, 3), (13, 14)]);
        assert_eq!(reply.likely[0].numbers[1], (3, libm::log(0.5)));
        assert_eq!(reply.likely[0].numbers[0], (2, f64::NEG_INFINITY));
        let prompt = model.encode_chat(&user("Book")).unwrap();
        let silent = GenRequest { prompt, seed: Seed(1), sampling: Sampling::greedy(99), likely: false, form: None };
        assert_eq!(model.generate(&[silent]).remove(0).unwrap().likely, []);
        let file = script(r#"{ "replies": [{ "when": "x", "say": ["3"], "likely": { "3": 1.5 } }] }"#);
        assert!(Scripted::open(file.path(), &spec(file.path(), 9), None).is_err());
    }

    #[test]
    fn a_file_that_is_no_script_says_so() {
        for json in ["", "[]", r#"{ "reply": [] }"#, r#"{ "replies": [{ "when": "x", "say": [] }] }"#] {
            let file = script(json);
            let Err(ModelError::File { path, problem }) = Scripted::open(file.path(), &spec(file.path(), 9), None)
            else {
                panic!("{json} was taken")
            };
            assert!(
                path == file.path().display().to_string() && problem.contains("say") | problem.contains("script"),
                "{problem}"
            );
        }
        assert!(identity(Path::new("/nowhere/s.json")).is_err());
        let (one, two) = (script("{}"), script("{ }"));
        assert_ne!(identity(one.path()).unwrap(), identity(two.path()).unwrap());
    }
}
