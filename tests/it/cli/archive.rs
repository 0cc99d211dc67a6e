//! A run packed, carried elsewhere and taken in; and what somebody else may send instead.

use super::Desk;
use super::runs::{lab, quiet, value};
use agx::base::{Digest, Seed};
use agx::run::Project;
use agx::run::archive::{Asked, Form, pack, unpack};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

type Entries = BTreeMap<String, Vec<u8>>;

fn read(desk: &Desk, name: &str) -> Vec<u8> {
    std::fs::read(desk.path().join(name)).unwrap()
}

/// A lab that was run and packed, plain.
fn packed() -> Desk {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "lab-1.tar"]), Some(0));
    desk
}

fn entries(bytes: &[u8]) -> Entries {
    let mut archive = tar::Archive::new(bytes);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().to_vec()).unwrap(), bytes)
    };
    archive.entries().unwrap().map(entry).collect()
}

/// A block of a tar, whatever it says; nothing here keeps a name from leading out.
fn header(name: &[u8], size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header
}

/// Entries as they stand in an archive, the head first.
fn tar_of<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8], tar::EntryType)>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes, kind) in entries {
        tar.append(&header(name, bytes.len() as u64, kind), bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn plain(entries: &Entries) -> Vec<u8> {
    tar_of(entries.iter().map(|(name, bytes)| (name.as_bytes(), bytes.as_slice(), tar::EntryType::Regular)))
}

/// With another entry at its end.
fn with(entries: &Entries, name: &[u8], bytes: &[u8], kind: tar::EntryType) -> Vec<u8> {
    let own = entries.iter().map(|(name, bytes)| (name.as_bytes(), bytes.as_slice(), tar::EntryType::Regular));
    tar_of(own.chain([(name, bytes, kind)]))
}

/// The head as it would be, had the entries always been like this.
fn resealed(mut entries: Entries) -> Entries {
    let mut head: Value = serde_json::from_slice(&entries.remove("agx.json").unwrap()).unwrap();
    head["entries"] = json!(entries.len());
    let files = entries.iter().filter(|(name, _)| !name.starts_with("blobs/"));
    head["files"] = files.map(|(name, bytes)| (name.clone(), json!(Digest::of_bytes(bytes)))).collect();
    entries.insert("agx.json".to_owned(), head.to_string().into_bytes());
    entries
}

/// With another experiment than its source gives, in a journal that says so.
fn forged(mut entries: Entries, edit: impl FnOnce(&mut Value)) -> Entries {
    let name = "runs/lab-1/source/experiment.json";
    let mut experiment: Value = serde_json::from_slice(&entries[name]).unwrap();
    edit(&mut experiment);
    let experiment = experiment.to_string().into_bytes();
    let digest = json!(Digest::of_bytes(&experiment));
    entries.insert(name.to_owned(), experiment);
    retold(entries, |event| event["frozen"]["source/experiment.json"] = digest.clone(), "run_started")
}

/// With events that say something else, chained anew.
fn retold(mut entries: Entries, edit: impl Fn(&mut Value), event: &str) -> Entries {
    let name = "runs/lab-1/journal.jsonl";
    let text = String::from_utf8(entries[name].clone()).unwrap();
    let mut prev = None;
    let mut lines = String::new();
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if value["event"] == event {
            edit(&mut value);
        }
        if let Some(prev) = prev {
            value["prev"] = json!(prev);
        }
        let line = value.to_string();
        prev = Some(Digest::of_bytes(line.as_bytes()));
        lines.push_str(&line);
        lines.push('\n');
    }
    entries.insert(name.to_owned(), lines.into_bytes());
    resealed(entries)
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_run_is_carried_elsewhere_and_proven_there() {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| insta::assert_snapshot!("archive_export", desk.agx(&["export", "--as", "tar", "--to", "lab-1.tar.zst"])));
    let there = Desk::new();
    let bytes = read(&desk, "lab-1.tar.zst");
    there.write("lab-1.tar.zst", &bytes);
    quiet(|| insta::assert_snapshot!("archive_import", there.agx(&["import", "lab-1.tar.zst"])));
    assert!(!there.path().join("policy.json").exists(), "nothing is written beside the store");
    for level in ["0", "1", "2", "3"] {
        let said = there.agx(&["verify", "lab-1", "--level", level]);
        assert!(said.ends_with("-- exit 0\n"), "{said}");
    }
    for verb in [&["status"][..], &["report", "--json"], &["show", "select@1"], &["show", "select@1", "--item", "0"]] {
        let (here, there) = (desk.agx(verb), there.agx(verb));
        assert_eq!(here, there, "{verb:?}");
    }
    assert_eq!(there.code(&["export", "--as", "tar", "--to", "again.tar.zst"]), Some(0));
    assert!(read(&there, "again.tar.zst") == bytes, "the same run gives the same bytes");
    quiet(|| insta::assert_snapshot!("archive_known", there.agx(&["import", "again.tar.zst"])));

    let said = there.agx(&["run", "lab.agx", "--frozen"]);
    assert!(said.contains("-- exit 1"), "the file itself is not there: {said}");
    for name in ["lab.agx", "policy.json", "critic.json"] {
        there.write(name, read(&desk, name));
    }
    assert_eq!(there.code(&["run", "lab.agx", "--frozen"]), Some(0));
    let nodes = value(&there, &["report", "lab-2", "--json"]);
    let asked: u64 = nodes["nodes"].as_array().unwrap().iter().map(|node| &node["items"]).map(worked).sum();
    assert_eq!(asked, 0, "no model is asked for what is recorded");
}

/// Items of a node that were not taken from the store, one for a step without items of its own.
fn worked(items: &Value) -> u64 {
    let done = items["done"].as_u64().unwrap();
    if done == 1 { 0 } else { done }
}

#[test]
fn an_archive_that_is_padded_with_zeros_is_whole() {
    let (desk, there) = (packed(), Desk::new());
    there.write("a.tar", [read(&desk, "lab-1.tar"), vec![0; 200_000]].concat());
    assert_eq!(there.code(&["import", "a.tar"]), Some(0));
}

#[test]
fn a_name_that_is_taken_becomes_the_next_of_its_series() {
    let desk = packed();
    let there = lab(8);
    assert_eq!(there.code(&["run", "lab.agx", "--set", "seed=8"]), Some(0));
    there.write("lab-1.tar", read(&desk, "lab-1.tar"));
    quiet(|| insta::assert_snapshot!("archive_renamed", there.agx(&["import", "lab-1.tar"])));
    assert_eq!(there.code(&["verify", "lab-2"]), Some(0));
    assert_eq!(value(&there, &["import", "lab-1.tar", "--format", "json"])["known"], json!(true));
    assert!(!there.path().join(".agx/runs/lab-3").exists());
}

#[test]
fn a_run_that_was_interrupted_goes_on_elsewhere() {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let journal = desk.path().join(".agx/runs/lab-1/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let half: Vec<&str> = text.split_inclusive('\n').take(60).collect();
    std::fs::write(&journal, half.concat() + "{\"torn").unwrap();
    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "half.tar"]), Some(0));
    let there = Desk::new();
    there.write("half.tar", read(&desk, "half.tar"));
    assert_eq!(there.code(&["import", "half.tar"]), Some(0));
    assert_eq!(there.code(&["verify", "--level", "3"]), Some(0));
    assert_eq!(there.code(&["resume"]), Some(0));
    std::fs::write(&journal, &text).unwrap();
    let metrics = |desk: &Desk| value(desk, &["report", "--json"])["metrics"].clone();
    assert_eq!(metrics(&there), metrics(&desk), "it came to the same end");
}

#[test]
fn a_cassette_is_played_without_its_models() {
    let desk = lab(8);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    quiet(|| {
        insta::assert_snapshot!("cassette_export", desk.agx(&["export", "--as", "cassette", "--to", "lab.cassette"]))
    });
    let there = Desk::new();
    there.write("lab.cassette", read(&desk, "lab.cassette"));
    quiet(|| insta::assert_snapshot!("cassette_import", there.agx(&["import", "lab.cassette"])));
    assert_eq!(there.agx(&["report", "--json"]), desk.agx(&["report", "--json"]));
    assert_eq!(there.code(&["export", "--as", "cassette", "--to", "again.cassette"]), Some(0));
    assert!(read(&there, "again.cassette") == read(&desk, "lab.cassette"), "packed again without a model at hand");
    for name in ["lab.agx", "policy.json", "critic.json"] {
        there.write(name, read(&desk, name));
    }
    assert_eq!(there.code(&["run", "lab.agx", "--frozen"]), Some(0));
    assert_eq!(value(&there, &["report", "--json"])["metrics"], value(&desk, &["report", "--json"])["metrics"]);
    assert_eq!(there.code(&["verify"]), Some(0), "beside the models it is proven as well");
    // What a whole archive of it holds is added.
    std::fs::remove_file(there.path().join("policy.json")).unwrap();
    assert_eq!(there.code(&["verify", "lab-1", "--level", "1"]), Some(1));
    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "lab-1.tar"]), Some(0));
    there.write("lab-1.tar", read(&desk, "lab-1.tar"));
    assert_eq!(there.code(&["import", "lab-1.tar"]), Some(0));
    assert_eq!(there.code(&["verify", "lab-1", "--level", "3"]), Some(0));
    // Another seed was never recorded.
    there.write("policy.json", read(&desk, "policy.json"));
    quiet(|| {
        insta::assert_snapshot!("cassette_missing", there.agx(&["run", "lab.agx", "--frozen", "--set", "seed=8"]))
    });
}

/// What somebody sends is no archive, or was changed on its way, or was made to do harm: one message, and nothing is kept.
#[test]
fn a_hostile_archive_is_refused_and_leaves_nothing() {
    let desk = packed();
    let good = read(&desk, "lab-1.tar");
    let entries = entries(&good);
    assert!(plain(&entries) == good, "the test writes archives as the program does");
    let edited = |edit: &dyn Fn(&mut Entries)| {
        let mut entries = entries.clone();
        edit(&mut entries);
        entries
    };
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 4;
        bytes
    };
    let blob = entries.keys().find(|name| name.starts_with("blobs/")).unwrap().clone();
    let journal = "runs/lab-1/journal.jsonl";
    let of_blob = good.windows(blob.len()).position(|bytes| bytes == blob.as_bytes()).unwrap() + 512;
    let of_journal = good.windows(journal.len()).rposition(|bytes| bytes == journal.as_bytes()).unwrap() + 600;
    let extra = |name: &[u8], kind| with(&entries, name, b"", kind);
    let regular = tar::EntryType::Regular;
    let huge = |name: &[u8], size: u64| {
        let head = &entries["agx.json"];
        let mut bytes = tar_of([(b"agx.json".as_slice(), head.as_slice(), regular)]);
        bytes.truncate(bytes.len() - 1024);
        bytes.extend_from_slice(header(name, size, regular).as_bytes());
        bytes
    };
    let head = |edit: &dyn Fn(&mut Value)| {
        plain(&edited(&|entries| {
            let mut head: Value = serde_json::from_slice(&entries["agx.json"]).unwrap();
            edit(&mut head);
            entries.insert("agx.json".to_owned(), head.to_string().into_bytes());
        }))
    };
    let without = |name: &str| plain(&resealed(edited(&|entries| drop(entries.remove(name).unwrap()))));
    let zstd = zstd_of(&good);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("zeros", vec![0; 4096]),
        ("text", b"agx 2026\n".repeat(200)),
        ("other_tar", tar_of([(b"README.md".as_slice(), b"hello".as_slice(), regular)])),
        ("no_head", plain(&edited(&|entries| drop(entries.remove("agx.json"))))),
        ("head_no_json", plain(&edited(&|entries| drop(entries.insert("agx.json".to_owned(), b"{".to_vec()))))),
        ("later_form", head(&|head| head["format"] = json!("agx-archive/2"))),
        ("head_field", head(&|head| head["more"] = json!(1))),
        ("run_name", head(&|head| head["run"] = json!("../lab-1"))),
        ("long_run_name", head(&|head| head["run"] = json!(format!("{}-1", "x".repeat(300))))),
        ("cut_in_entry", good[..good.len() / 2 + 100].to_vec()),
        ("cut_between", plain(&edited(&|entries| drop(entries.remove(journal))))),
        ("cut_zstd", zstd[..zstd.len() - 40].to_vec()),
        ("flipped_zstd", flipped(&zstd, zstd.len() - 1)),
        ("flipped_blob", flipped(&good, of_blob)),
        ("flipped_header", flipped(&good, of_blob - 500)),
        ("flipped_journal", flipped(&good, of_journal)),
        ("after_the_end", [good.as_slice(), b"more"].concat()),
        ("after_the_padding", [good.as_slice(), &[0; 200_000], b"more"].concat()),
        ("upwards", extra(b"runs/lab-1/source/../../../x", regular)),
        ("absolute", extra(b"/etc/passwd", regular)),
        ("backslash", extra(b"runs\\lab-1", regular)),
        ("no_utf8", extra(b"runs/lab-1/\xff", regular)),
        ("symlink", extra(b"runs/lab-1/source/x", tar::EntryType::Symlink)),
        ("hard_link", extra(b"runs/lab-1/source/x", tar::EntryType::Link)),
        ("directory", extra(b"runs/lab-1/x", tar::EntryType::Directory)),
        ("pipe", extra(b"runs/lab-1/x", tar::EntryType::Fifo)),
        ("long_name", extra(b"runs/lab-1/x", tar::EntryType::GNULongName)),
        ("twice", extra(journal.as_bytes(), regular)),
        ("unnamed", extra(b"runs/lab-2/x", regular)),
        ("huge", huge(b"blobs/0", 1 << 60)),
        ("huge_blob", huge(format!("blobs/{}", "0".repeat(64)).as_bytes(), 5 << 30)),
        ("no_digest", plain(&resealed(edited(&|entries| drop(entries.insert("blobs/x".to_owned(), Vec::new())))))),
        ("blob_of_nobody", {
            let name = format!("blobs/{}", Digest::of_bytes(b"mine"));
            plain(&resealed(edited(&|entries| drop(entries.insert(name.clone(), b"mine".to_vec())))))
        }),
        ("no_blob", without(&blob)),
        ("no_records", without("records.jsonl")),
        ("no_journal", without(journal)),
        ("no_source", without("runs/lab-1/source/experiment.json")),
        ("no_model", without("files/0/policy.json")),
        ("another_file", plain(&resealed(edited(&|entries| drop(entries.insert("files/7/x".to_owned(), Vec::new())))))),
        (
            "another_place",
            plain(&resealed(edited(&|entries| drop(entries.insert("runs/lab-1/lock".to_owned(), Vec::new()))))),
        ),
        (
            "below_a_file",
            plain(&resealed(edited(&|entries| drop(entries.insert("files/0/policy.json/x".to_owned(), Vec::new()))))),
        ),
        (
            "bad_record",
            plain(&resealed(edited(&|entries| {
                entries.get_mut("records.jsonl").unwrap().splice(0..1, *b"x").for_each(drop)
            }))),
        ),
        (
            "changed_source",
            plain(&resealed(edited(&|entries| entries.get_mut("runs/lab-1/source/lab.agx").unwrap().push(b' ')))),
        ),
        ("forged_seed", plain(&forged(entries.clone(), |experiment| experiment["seed"] = json!(8)))),
        (
            "forged_ids",
            plain(&forged(entries.clone(), |experiment| experiment["critics"][0]["it"]["sole"]["model"] = json!(99))),
        ),
        (
            "forged_file",
            plain(&forged(entries.clone(), |experiment| {
                experiment["models"][0]["it"]["source"]["scripted"] = json!("/etc/passwd")
            })),
        ),
        (
            "forged_pick",
            plain(&retold(
                entries.clone(),
                |event| {
                    if event["node"] == "pick:winner" {
                        event["output"] = json!(Digest::of_bytes(b""))
                    }
                },
                "node_finished",
            )),
        ),
        (
            "forged_result",
            plain(&retold(
                entries.clone(),
                |event| {
                    if event["node"] == "rollout@1" {
                        event["output"] = json!(Digest::of_bytes(b""))
                    }
                },
                "node_finished",
            )),
        ),
        ("no_event", plain(&resealed(edited(&|entries| drop(entries.insert(journal.to_owned(), b"{}\n".to_vec())))))),
    ];
    let mut said = String::new();
    let kept = |there: &Desk| -> Vec<String> {
        let mut left = vec![there.path().join(".agx")];
        let mut files = Vec::new();
        while let Some(path) = left.pop() {
            for entry in std::fs::read_dir(&path).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { left.push(path) } else { files.push(path.display().to_string()) }
            }
        }
        files
    };
    for (name, bytes) in cases {
        let there = Desk::new();
        there.write("a.tar", bytes);
        let told = there.agx(&["import", "a.tar"]);
        assert!(told.ends_with("-- exit 2\n"), "{name}: {told}");
        let lock = there.path().join(".agx/lock").display().to_string();
        assert_eq!(kept(&there), [lock], "{name}");
        let runs = std::fs::read_dir(there.path().join(".agx/runs")).unwrap().count();
        assert_eq!(runs, 0, "{name}: nothing is left beside the runs");
        let told = told.split_once("-- stderr\n").unwrap().1.replace("-- exit 2\n", "");
        said.push_str(&format!("== {name}\n{told}"));
    }
    let blob = &blob["blobs/".len()..];
    let said = said.replace(blob, "[blob]").replace(&blob[..12], "[blob]");
    quiet(|| insta::assert_snapshot!("archive_hostile", said));
}

/// Wherever a bit is flipped or the end is lost, an archive is refused or is the very same run: nothing in between.
#[test]
fn a_flipped_bit_or_a_lost_end_never_gives_another_run() {
    let desk = packed();
    let good = read(&desk, "lab-1.tar");
    let packed = zstd_of(&good);
    let draw = |at: u64| Seed(7).derive(at).rng();
    for at in 0..60 {
        let (mut rng, whole) = (draw(at), if at % 2 == 0 { &good } else { &packed });
        let mut bytes = whole.clone();
        if at % 3 == 0 {
            bytes.truncate(rng.below(bytes.len()));
        } else {
            let place = rng.below(bytes.len());
            bytes[place] ^= 1 << rng.below(8);
        }
        let there = tempfile::tempdir().unwrap();
        let archive = there.path().join("a.tar");
        std::fs::write(&archive, &bytes).unwrap();
        let project = Project::at(&there.path().join(".agx")).unwrap();
        let asked = Asked { archive: &archive, most: 1, expand: &agx::cli::verify::expand };
        match unpack(&project, &asked) {
            Err(refused) => assert!(!refused.to_string().contains('\n'), "{refused}"),
            Ok(unpacked) => {
                let mut again = Vec::new();
                pack(&project, &unpacked.run, Form::Run, false, &archive, &mut again).unwrap();
                assert!(again == good, "flip {at} gave another run");
            }
        }
        let kept = std::fs::read_dir(project.runs_dir()).unwrap().count();
        assert!(kept <= 1, "flip {at} left something beside the run");
    }
}

#[test]
fn what_cannot_be_packed_or_taken_in_is_said() {
    let desk = packed();
    quiet(|| {
        insta::assert_snapshot!("archive_exists", desk.agx(&["export", "--as", "tar", "--to", "lab-1.tar"]));
        insta::assert_snapshot!("archive_no_file", desk.agx(&["import", "no.tar"]));
        insta::assert_snapshot!("archive_a_directory", desk.agx(&["import", "."]));
    });
    let there = Desk::new();
    assert_eq!(there.code(&["import", "no.tar"]), Some(2));
    assert!(!there.path().join(".agx").exists(), "nothing was made");

    // The same recipe gave something else here: a model that says its own.
    let other = lab(8);
    let script = String::from_utf8(read(&other, "policy.json")).unwrap();
    other.write("lab-1.tar", read(&desk, "lab-1.tar"));
    assert_eq!(other.code(&["run", "lab.agx"]), Some(0));
    diverge(&other);
    let before = std::fs::read_dir(other.path().join(".agx/runs")).unwrap().count();
    quiet(|| insta::assert_snapshot!("archive_diverges", other.agx(&["import", "lab-1.tar"])));
    assert_eq!(std::fs::read_dir(other.path().join(".agx/runs")).unwrap().count(), before);

    desk.write("policy.json", script.replacen("I give up.", "I gave up.", 1));
    quiet(|| insta::assert_snapshot!("archive_changed", desk.agx(&["export", "--as", "tar", "--to", "b.tar"])));
    assert!(!desk.path().join("b.tar").exists());
}

/// Lets the store say that the first item of a rollout came out otherwise.
fn diverge(desk: &Desk) {
    let key = value(desk, &["show", "rollout@1", "--format", "json"])["manifest"]["items"][0]["key"].clone();
    let store = desk.path().join(".agx");
    let key: Digest = key.as_str().unwrap().parse().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let fresh = agx::store::Store::open(kept.path().join("store")).unwrap();
    let old = agx::store::Store::open(&store).unwrap();
    let mut record = old.lookup(&key).unwrap().unwrap();
    record.output = fresh.put(b"something else").unwrap();
    fresh.record(&record).unwrap();
    drop(old);
    let runs = store.join("runs");
    std::fs::rename(&runs, kept.path().join("runs")).unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    copy(&kept.path().join("store"), &store);
    copy(&kept.path().join("runs"), &runs);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { assert!(std::fs::copy(&path, &to).is_ok()) }
    }
}

/// A trained adapter as PEFT has it, and whole, each with where it comes from beside it; here and elsewhere the same.
#[cfg(feature = "local")]
#[test]
fn an_adapter_is_exported_with_its_origin() {
    let desk = Desk::new();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/base/policy");
    copy(&base, &desk.path().join("base"));
    desk.write("base/notes.txt", "somebody's own");
    desk.write(
        "tiny.agx",
        r#"agx 2026
//! One step on a few lessons.

env desk {
  use       = builtin("desk")
  splits    { dev = 2 }
  max_steps = 2
}

model policy {
  weights = path("base")
  context = 512 tokens
  lora    { rank = 2, alpha = 3, on = [q_proj, v_proj] }
}

dataset lessons { from = desk.lessons(4) }

trainer sft { method = sft { loss_on = agent }, lr = 1e-3, epochs = 1, batch = 4 }

experiment tiny {
  seed = 1
  schedule {
    train policy on lessons with sft from @0
  }
}
"#,
    );
    assert_eq!(desk.code(&["run", "tiny.agx"]), Some(0), "{}", desk.agx(&["run", "tiny.agx"]));
    let nodes = value(&desk, &["report", "--json"])["nodes"].clone();
    let train = nodes[0]["id"].as_str().unwrap();
    assert_eq!(desk.code(&["export", "--as", "peft", "--to", "adapter", "--node", train]), Some(0));
    let origin: Value = serde_json::from_slice(&read(&desk, "adapter/agx.json")).unwrap();
    assert_eq!(
        (&origin["run"], &origin["version"], &origin["label"]),
        (&json!("tiny-1"), &json!("policy@1"), &json!("seeded"))
    );
    assert_eq!((&origin["node"], &origin["key"]), (&json!(train), &nodes[0]["key"]));
    let weights = Digest::of_bytes(&read(&desk, "adapter/adapter_model.safetensors"));
    assert_eq!(origin["training"]["weights"], json!(weights), "it is known by its own bytes");
    let source = Digest::of_bytes(&read(&desk, "tiny.agx"));
    assert_eq!(origin["source"]["source/tiny.agx"], json!(source));
    let config: Value = serde_json::from_slice(&read(&desk, "adapter/adapter_config.json")).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(2), &json!(3.0)));
    assert_eq!(desk.code(&["export", "--as", "hf", "--to", "whole", "--model", "policy"]), Some(0));
    assert_eq!(read(&desk, "whole/agx.json"), read(&desk, "adapter/agx.json"), "one version, one origin");
    let said = desk.agx(&["export", "--as", "peft", "--to", "none", "--model", "policy@0"]);
    assert!(said.contains("policy@0 is as declared: there is no adapter of it"), "{said}");

    assert_eq!(desk.code(&["export", "--as", "tar", "--to", "tiny.tar.zst"]), Some(0));
    let there = Desk::new();
    there.write("tiny.tar.zst", read(&desk, "tiny.tar.zst"));
    assert_eq!(there.code(&["import", "tiny.tar.zst"]), Some(0));
    assert!(!there.path().join(".agx/runs/tiny-1/files/0/base/notes.txt").exists(), "only what the model needs");
    assert_eq!(there.code(&["verify", "--level", "3"]), Some(0), "{}", there.agx(&["verify", "--level", "3"]));
    assert_eq!(there.code(&["export", "--as", "peft", "--to", "adapter"]), Some(0));
    for name in ["adapter/agx.json", "adapter/adapter_model.safetensors"] {
        assert!(read(&there, name) == read(&desk, name), "{name}");
    }
    assert_eq!(there.code(&["export", "--as", "tar", "--to", "again.tar.zst"]), Some(0));
    assert!(read(&there, "again.tar.zst") == read(&desk, "tiny.tar.zst"));
}
