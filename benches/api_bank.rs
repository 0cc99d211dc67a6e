//! How fast API-Bank's tools and evaluators are, over the copy of the data that `AGX_API_BANK_DIR` names:
//! `cargo bench --no-default-features --bench api_bank`.

#![allow(clippy::print_stdout, reason = "a bench that does not run says so")]

use agx::env::api_bank::library;
use agx::env::api_bank::score::{Reply, Rule, score};
use agx::env::api_bank::value::{Text, Value};
use agx::env::api_bank::{Level, Library, Network, World};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

fn main() {
    if DATA.is_some() {
        divan::main();
    } else {
        println!("skipped: `AGX_API_BANK_DIR` names no copy of API-Bank");
    }
}

#[allow(clippy::disallowed_methods, reason = "a bench asks the environment where the data lies")]
static DATA: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("AGX_API_BANK_DIR").map(PathBuf::from));

fn data() -> &'static PathBuf {
    DATA.as_ref().expect("main looked")
}

static LIBRARY: LazyLock<Arc<Library>> = LazyLock::new(|| Library::open(data()).expect("the copy can be read"));

/// A level, a tool and its arguments.
type Recorded = (Level, Text, Vec<(Text, Value)>);

/// Every recorded call of all levels but the searches, which are calls of a kind of their own.
fn calls() -> Vec<Vec<Recorded>> {
    let general = LIBRARY
        .dialogues
        .iter()
        .flatten()
        .map(|it| (Level::General, it.turns.iter().filter_map(|turn| turn.call()).collect::<Vec<_>>()));
    let three = LIBRARY.samples.iter().map(|it| (Level::Three, it.calls.iter().collect()));
    let given = |level: Level, calls: Vec<&agx::env::api_bank::dialogues::Recorded>| {
        let calls = calls.into_iter().filter(|call| call.name.as_ref() != "ToolSearcher");
        let one =
            |call: &agx::env::api_bank::dialogues::Recorded| (level, call.name.clone(), call.arguments.arguments());
        calls.map(one).collect()
    };
    general.chain(three).map(|(level, calls)| given(level, calls)).collect()
}

/// A mixed replay: each dialogue in a world of its own.
#[divan::bench]
fn tool_calls(bencher: divan::Bencher) {
    let dialogues = calls();
    let count: usize = dialogues.iter().map(Vec::len).sum();
    bencher.counter(divan::counter::ItemsCount::new(count)).bench(|| {
        for dialogue in &dialogues {
            let Some((level, ..)) = dialogue.first() else { continue };
            let mut world = World::new(&LIBRARY, *level, Network::Recorded);
            for (_, name, given) in dialogue {
                let _ = divan::black_box(world.call(name, given.clone()));
            }
        }
    });
}

/// The recorded calls and answers as replies.
fn replies() -> Vec<Reply> {
    let files = [
        (1, "level-1-api", "expected_output"),
        (1, "level-1-response", "expected_output"),
        (2, "level-2-api", "expected_output"),
        (2, "level-2-response", "expected_output"),
        (3, "level-3-batch-inf", "output"),
    ];
    let mut replies = Vec::new();
    for (level, name, field) in files {
        let rows = library::read(&data().join(format!("test-data/{name}.json"))).expect("the copy can be read");
        for row in rows.as_list().unwrap_or_default() {
            let number = |name: &str| row.get(name).and_then(Value::number).map(|it| it as usize);
            let (file, pred) = (row.get("file").map(Value::display), row.get(field).map(Value::display));
            let [id, sample_id, api_id] = ["id", "sample_id", "api_id"].map(number);
            replies.push(Reply { level, file, id, sample_id, api_id, pred: pred.unwrap_or_default() });
        }
    }
    replies
}

#[divan::bench(args = [Rule::Official, Rule::Repaired, Rule::Toolrl])]
fn evaluation(bencher: divan::Bencher, mode: Rule) {
    let replies = replies();
    bencher
        .counter(divan::counter::ItemsCount::new(replies.len()))
        .bench(|| divan::black_box(score(&LIBRARY, mode, &replies).expect("every reply answers to something")));
}

#[divan::bench(sample_count = 10)]
fn loading() -> Arc<Library> {
    Library::open(data()).expect("the copy can be read")
}
