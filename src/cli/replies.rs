//! Turns what critics were asked about a row, and what they said, into words: every reply of which its verdict was made, each with
//! what the row was in that question.

use crate::base::Digest;
use crate::cli::exit::{Exit, Failure};
use crate::cli::reading::read;
use crate::node::judge::JudgeReply;
use crate::report::{NodeReport, Report};
use crate::run::manifest::{Manifest, ManifestItem, RowEntry};
use crate::run::missing::Lack;
use crate::run::{ItemOutcome, MissingItem, Project, RunEvent, directory};
use std::collections::BTreeMap;

/// A critic's reply to a question about a row.
pub struct Reply {
    /// The question's name: `train-0012/0-3#2`.
    pub item: String,
    /// `vote 2, this one as a, sample 3 as b`; nothing where it was the only question about that row alone.
    pub asked: String,
    pub text: String,
}

/// The questions that a node's rows were judged by: its own, or those of the nodes it goes back to.
pub fn questions(project: &Project, report: &Report, node: &NodeReport) -> Result<Vec<ManifestItem>, Failure> {
    let (mut waiting, mut seen, mut questions) = (vec![node], Vec::new(), Vec::new());
    while let Some(node) = waiting.pop() {
        if seen.contains(&&node.info.id) {
            continue;
        }
        seen.push(&node.info.id);
        match (node.info.op.as_str(), node.output) {
            ("judge", Some(output)) => questions.extend(read::<Manifest>(&project.store, &output)?.items),
            ("select" | "train", _) => waiting.extend(node.info.inputs.iter().filter_map(|id| report.node(id))),
            _ => {}
        }
    }
    Ok(questions)
}

/// What was said of a row, in the order in which it was asked.
pub fn replies(project: &Project, questions: &[ManifestItem], row: &RowEntry) -> Result<Vec<Reply>, Failure> {
    let own: Vec<Digest> = row.reply.iter().chain(&row.replies).copied().collect();
    let said = |item: &ManifestItem| -> Option<(String, String, Digest)> {
        let (ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob }) = &item.outcome else { return None };
        Some((item.item.clone(), asked(item, row)?, *blob)).filter(|_| own.contains(blob))
    };
    let mut found: Vec<(String, String, Digest)> = questions.iter().filter_map(said).collect();
    if found.is_empty() {
        found.extend(own.into_iter().map(|blob| (String::new(), String::new(), blob)));
    }
    let reply = |(item, asked, blob)| {
        let JudgeReply { text, .. } = read(&project.store, &blob)?;
        Ok(Reply { item, asked, text })
    };
    found.into_iter().map(reply).collect()
}

/// An item without a trajectory of its own: what came to nothing, or what a critic was asked.
pub struct Bare {
    pub item: String,
    /// Why it came to nothing.
    pub why: Option<String>,
    /// What the critic said: it is recorded, also where it cannot be read and fails.
    pub reply: Option<String>,
}

/// Which items are asked for: those of a task, or one by its name or its place.
pub struct Wanted<'a> {
    pub task: Option<&'a str>,
    pub item: Option<&'a str>,
    /// Among all, in the order of their names.
    pub place: Option<usize>,
}

impl Wanted<'_> {
    fn has(&self, item: &str) -> bool {
        let begins = |with: &str, then: &[char]| {
            item.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with(then))
        };
        match (self.task, self.item) {
            (Some(task), _) => begins(task, &['/', '@', '#']),
            (None, name) => name.is_some_and(|name| begins(name, &['@', '#'])),
        }
    }
}

/// What is asked for of a node's items, as the journal says last; it names those of a node that has failed, too.
pub fn bare(
    project: &Project,
    run: &str,
    node: &NodeReport,
    manifest: Option<&Manifest>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Bare>, Failure> {
    let mut items: BTreeMap<String, (Digest, Option<String>)> = BTreeMap::new();
    let kept = |item: &str| wanted.place.is_some() || wanted.has(item);
    directory::each_event(project, run, |_, event| {
        let (of, item, key, why) = match event {
            RunEvent::ItemCached { node, item, key } => (node, item, key, None),
            RunEvent::ItemFinished { node, item, key, outcome, .. } => {
                let why = match outcome {
                    ItemOutcome::Failed { reason } => Some(reason),
                    ItemOutcome::Timeout => Some(Lack::Timeout.as_str().to_owned()),
                    ItemOutcome::Done { .. } | ItemOutcome::Unparsed { .. } => None,
                };
                (node, item, key, why)
            }
            _ => return,
        };
        if of == node.info.id && kept(&item) {
            items.insert(item, (key, why));
        }
    })?;
    // What a node left says what it has and lacks; the words are the journal's.
    for ManifestItem { item, key, .. } in manifest.iter().flat_map(|it| &it.items).filter(|it| kept(&it.item)) {
        items.insert(item.clone(), (*key, None));
    }
    for MissingItem { item, key, kind } in manifest.iter().flat_map(|it| &it.missing).filter(|it| kept(&it.item)) {
        let (_, why) = items.entry(item.clone()).or_insert((*key, None));
        why.get_or_insert_with(|| kind.as_str().to_owned());
    }
    let judges = matches!(node.info.op.as_str(), "judge" | "calibrate");
    let chosen = items.into_iter().enumerate().filter(|(at, (item, _))| wanted.place == Some(*at) || wanted.has(item));
    let bare = |(_, (item, (key, why)))| {
        let loaded = if judges { project.store.load(&key) } else { Ok(None) };
        let loaded = loaded.map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
        let reply = loaded.and_then(|it| serde_json::from_slice::<JudgeReply>(&it.output).ok()).map(|it| it.text);
        Ok(Bare { item, why, reply })
    };
    chosen.map(bare).collect()
}

/// What a row was in a question; `None` where that was about others.
pub fn asked(item: &ManifestItem, row: &RowEntry) -> Option<String> {
    let rest = item.item.strip_prefix(row.task.as_str())?;
    let (place, whom) = rest.split_at(rest.find(['@', '#']).unwrap_or(rest.len()));
    let at = item.shown.iter().position(|sample| *sample == row.sample);
    let shown = match (item.shown.as_slice(), at) {
        ([], _) if place == format!("/{}", row.sample) => None,
        ([a, b], Some(at)) if place == format!("/{a}-{b}") => {
            let (own, other, sample) = if at == 0 { ("a", "b", b) } else { ("b", "a", a) };
            Some(format!("this one as {own}, sample {sample} as {other}"))
        }
        (all, Some(at)) if place.is_empty() => Some(format!("this one as {} of {}", at + 1, all.len())),
        _ => return None,
    };
    let (member, vote) = whom.split_once('#').map_or((whom, None), |(member, vote)| (member, Some(vote)));
    let member = member.strip_prefix('@').map(str::to_owned);
    Some([member, vote.map(|vote| format!("vote {vote}")), shown].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, shown: &[u32]) -> ManifestItem {
        let key = Digest::of_bytes(name.as_bytes());
        let (outcome, also) = (ItemOutcome::Done { blob: key }, litemap::LiteMap::new());
        ManifestItem { item: name.to_owned(), key, outcome, shown: shown.to_vec(), also }
    }

    fn row(task: &str, sample: u32) -> RowEntry {
        let blob = Digest::of_bytes(b"");
        RowEntry {
            task: task.to_owned(),
            sample,
            iteration: 1,
            trajectory: blob,
            truth: blob,
            reply: None,
            replies: Vec::new(),
            verdict: None,
            unparsed: None,
            dropped_by: None,
        }
    }

    #[test]
    fn a_question_says_what_a_row_was_in_it() {
        let of = |name: &str, shown: &[u32], sample: u32| asked(&item(name, shown), &row("t0", sample));
        assert_eq!(of("t0/3", &[], 3).as_deref(), Some(""));
        assert_eq!(of("t0/3#2", &[], 3).as_deref(), Some("vote 2"));
        assert_eq!(of("t0/3@careful#2", &[], 3).as_deref(), Some("careful, vote 2"));
        assert_eq!(of("t0/3", &[], 1), None);
        assert_eq!(of("t0/30", &[], 3), None);
        assert_eq!(of("t01/3", &[], 3), None, "another task");
        assert_eq!(of("t0/0-3", &[0, 3], 0).as_deref(), Some("this one as a, sample 3 as b"));
        assert_eq!(of("t0/0-3#1", &[0, 3], 3).as_deref(), Some("vote 1, this one as b, sample 0 as a"));
        assert_eq!(of("t0/0-3", &[0, 3], 1), None);
        assert_eq!(of("t0@all", &[2, 0], 0).as_deref(), Some("all, this one as 2 of 2"));
    }
}
