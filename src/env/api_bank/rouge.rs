//! ROUGE-L at summary level, as version 1.0.1 of the Python package `rouge` computes it.

use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rouge {
    pub f: f64,
    pub p: f64,
    pub r: f64,
}

/// Sentences by full stops, words by blanks.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    for sentence in text.split('.').filter(|it| !it.is_empty()) {
        let mut words: Vec<&str> = sentence.split(super::text::is_space).filter(|word| !word.is_empty()).collect();
        // A sentence of blanks alone is one empty word.
        if words.is_empty() {
            words.push("");
        }
        found.push(words);
    }
    found
}

/// Words of the longest common subsequence, by the package's own way back through the table.
fn common<'a>(reference: &[&'a str], hypothesis: &[&str]) -> BTreeSet<&'a str> {
    let (rows, columns) = (reference.len(), hypothesis.len());
    // Only whether going up is strictly better is kept of the table.
    let mut up = vec![false; rows * columns];
    let (mut before, mut row) = (vec![0u32; columns + 1], vec![0u32; columns + 1]);
    for i in 0..rows {
        for j in 0..columns {
            row[j + 1] = if reference[i] == hypothesis[j] { before[j] + 1 } else { before[j + 1].max(row[j]) };
            up[i * columns + j] = before[j + 1] > row[j];
        }
        std::mem::swap(&mut before, &mut row);
    }
    let (mut i, mut j, mut found) = (rows, columns, BTreeSet::new());
    while i > 0 && j > 0 {
        if reference[i - 1] == hypothesis[j - 1] {
            (i, j) = (i - 1, j - 1);
            found.insert(reference[i]);
        } else if up[(i - 1) * columns + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found
}

/// `None` where either text has no sentence: the package refuses it.
pub fn rouge_l(reference: &str, hypothesis: &str) -> Option<Rouge> {
    let (reference, hypothesis) = (sentences(reference), sentences(hypothesis));
    if reference.is_empty() || hypothesis.is_empty() {
        return None;
    }
    let distinct = |of: &[Vec<&str>]| of.iter().flatten().collect::<BTreeSet<_>>().len() as f64;
    let mut union = BTreeSet::new();
    for sentence in &reference {
        for other in &hypothesis {
            union.extend(common(sentence, other));
        }
    }
    let (r, p) = (union.len() as f64 / distinct(&reference), union.len() as f64 / distinct(&hypothesis));
    Some(Rouge { f: 2.0 * ((p * r) / (p + r + 1e-8)), p, r })
}
