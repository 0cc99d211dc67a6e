//! Turns a name nobody declared into the names that may have been meant.

use crate::base::{Diagnostic, Span};

/// Longer names are told as they are: the table of distances grows with the square of their length.
const LONGEST: usize = 200;

/// At most three of `candidates` within a third of the name's length, nearest first, then by name.
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let most = name.chars().count().max(2) / 3 + usize::from(name.chars().count() == 2);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate, most), candidate))
        .filter(|(distance, candidate)| *distance <= most && *candidate != name)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Adds the edit, if only one name may have been meant for the one at `span`, and not by one letter of three: `ppo` is no
/// `dpo`.
pub fn with_edit(diagnostic: Diagnostic, span: Span, near: &[String]) -> Diagnostic {
    match near {
        [only] if span.len() > 3 || only.len() != span.len() => diagnostic.edit(span, only.clone()),
        _ => diagnostic,
    }
}

/// "did you mean `a`, `b` or `c`?"
pub fn did_you_mean(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("did you mean {}?", join(names, "or")))
}

/// `a`, `b` or `c`
pub fn join(names: &[impl AsRef<str>], word: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, each 1. Above `most` any
/// number above `most` may come back.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most || a.len() > LONGEST {
        return most + 1;
    }
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>(), vec![0; b.len() + 1]];
    for i in 1..=a.len() {
        rows[2][0] = i;
        for j in 1..=b.len() {
            let differ = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[1][j] + 1).min(rows[2][j - 1] + 1).min(rows[1][j - 1] + differ);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[0][j - 2] + 1);
            }
            rows[2][j] = best;
        }
        // No later row gets below the lowest of this one and of the one before, which a swap reaches back to.
        if rows[1..].iter().all(|row| row.iter().all(|&cost| cost > most)) {
            return most + 1;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_only_and_nearest_first() {
        let names = ["grader", "grade", "general", "policy", "trader"];
        assert_eq!(similar("gradr", names), ["grade", "grader"]);
        assert_eq!(similar("modle", ["model"]), ["model"]);
        assert!(similar("x", ["y"]).is_empty());
        assert!(similar("abc", ["xyz"]).is_empty());
        assert_eq!(join(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
