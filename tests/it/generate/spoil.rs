//! Sound files with bytes and tokens lost, doubled, swapped and put in, and ends cut off: each is answered.

use super::items;
use super::out::Dice;
use crate::hostile::{PIECES, answer};
use agx::syntax::{MAX_BYTES, Source};
use rayon::prelude::*;

const SPOILED: u64 = 2_000;

/// Where words, signs and spaces begin.
fn bounds(text: &str) -> Vec<usize> {
    let class = |c: char| (c.is_alphanumeric() || c == '_', c.is_whitespace());
    let mut bounds = vec![0];
    let mut before = None;
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| before != class(c) || class(c) == (false, false)) {
            bounds.push(at);
        }
        before = Some(class(c));
    }
    bounds.push(text.len());
    bounds
}

fn spoil(text: &mut String, dice: &mut Dice) {
    let bounds = bounds(text);
    let token = |dice: &mut Dice| {
        let at = dice.below(bounds.len() - 1);
        bounds[at]..bounds[at + 1]
    };
    let place = token(dice);
    match dice.below(7) {
        0 => text.replace_range(place, ""),
        1 => {
            let double = text[place.clone()].to_owned();
            text.insert_str(place.start, &double);
        }
        2 => {
            let (a, b) = (place, token(dice));
            let (a, b) = if a.start <= b.start { (a, b) } else { (b, a) };
            if a.end <= b.start {
                let (first, second) = (text[a.clone()].to_owned(), text[b.clone()].to_owned());
                text.replace_range(b, &first);
                text.replace_range(a, &second);
            }
        }
        3 => text.truncate(place.start),
        4 => text.replace_range(..place.start, ""),
        5 => {
            // One character, also in the middle of a word.
            let mut at = dice.below(text.len().max(1));
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            if at < text.len() {
                text.remove(at);
            }
        }
        _ => text.insert_str(place.start, dice.pick(PIECES)),
    }
}

#[test]
fn spoiled_files_are_answered() {
    let samples: Vec<String> = ["experiments", "tests/it/samples"]
        .iter()
        .flat_map(|folder| crate::fmt::files(folder))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    (0..SPOILED).into_par_iter().for_each(|seed| {
        let mut dice = Dice::new(seed);
        let mut text = match samples.get(dice.below(samples.len() * 2)) {
            Some(sample) => sample.clone(),
            None => items::file(seed),
        };
        for _ in 0..1 + dice.below(4) {
            spoil(&mut text, &mut dice);
        }
        answer(&text);
    });
}

/// What 10 MB of are refused at the door; less of them is read to the end.
const FLOODS: [&str; 12] = [
    "{",
    "\"",
    "\"\"\"",
    "#",
    "// a comment\n",
    "/// of the next\n",
    "let a = 1\n",
    "x ",
    "model m { weights = path(\"a\"), context = 512 tokens }\n",
    "rule r = where a and b | top 40% by c\n",
    "{{ }} {% %} \"\"\" | ",
    "\r",
];

#[test]
fn floods_are_answered() {
    let mut dice = Dice::new(1);
    let noise: String = (0..50_000).map(|_| char::from(32 + dice.below(95) as u8)).collect();
    FLOODS.par_iter().copied().chain([noise.as_str()]).for_each(|flood| {
        answer(&flood.repeat(50_000 / flood.len()));
        let (_, problem) = Source::from_bytes("flood.agx", flood.repeat(10_000_000 / flood.len()).into_bytes());
        assert_eq!(problem.map(|problem| problem.code), Some("E0005"), "more than {MAX_BYTES} bytes");
    });
}
