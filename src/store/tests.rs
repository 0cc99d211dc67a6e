use super::*;
use crate::base::Digest;
use proptest::prelude::*;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

fn store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path().join(".agx")).unwrap();
    (home, store)
}

fn key(name: &str) -> Digest {
    Digest::of_bytes(name.as_bytes())
}

fn loaded(store: &Store, key: &Digest) -> Option<(Record, Vec<u8>)> {
    store.load(key).unwrap().map(|Loaded { record, output, also: _ }| (record, output))
}

fn finished(store: &Store, name: &str, bytes: &[u8]) -> Record {
    Record::new(key(name), "rollout", store.put(bytes).unwrap(), RunLabel::Seeded)
}

#[test]
fn a_finished_item_comes_back_whole() {
    let (_home, store) = store();
    let truth = store.put(b"truth").unwrap();
    let record = finished(&store, "a", b"a trajectory").also("truth", truth).cost("tokens", 12);
    assert_eq!(store.load(&record.key).unwrap(), None);
    assert_eq!(store.record(&record).unwrap(), None);
    assert_eq!(loaded(&store, &record.key), Some((record.clone(), b"a trajectory".to_vec())));
    assert_eq!(store.record(&record).unwrap(), None, "the same again is no divergence");
    let health = store.verify().unwrap();
    assert_eq!((health.blobs, health.records, health.is_whole()), (2, 1, true));
    assert_eq!(store.take_damage(), []);
}

/// A large blob that does not compress.
fn noise(seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; LARGE];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn bytes_in(store: &Store) -> u64 {
    store.packs.bytes().unwrap()
}

#[test]
fn equal_bytes_are_stored_once() {
    let (_home, store) = store();
    for bytes in [b"once".to_vec(), vec![7; LARGE], noise(1)] {
        let digest = store.put(&bytes).unwrap();
        let size = bytes_in(&store);
        assert_eq!(store.put(&bytes).unwrap(), digest);
        assert_eq!(bytes_in(&store), size);
        assert_eq!(store.get(&digest).unwrap(), bytes);
        assert!(store.verify().unwrap().is_whole());
    }
    assert!(bytes_in(&store) < 1000, "what is large is no part of a pack");
}

#[test]
fn of_two_results_for_one_key_the_first_stays_and_the_second_is_kept_apart() {
    let (_home, store) = store();
    let first = finished(&store, "k", b"one").cost("ms", 1);
    let second = finished(&store, "k", b"two");
    assert_eq!(store.record(&first).unwrap(), None);
    assert_eq!(store.record(&first.clone().cost("ms", 2)).unwrap(), None, "cost is not a result");
    let divergence = store.record(&second).unwrap().unwrap();
    assert_eq!((&divergence.first, &divergence.second), (&first, &second));
    assert_eq!(store.lookup(&first.key).unwrap(), Some(first));
    let shelf = store.root().join("divergences").join(&second.key.to_string()[..2]);
    let kept: Vec<_> = fs::read_dir(shelf).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(Record::from_file(&second.key, &kept[0]), Ok(second));
}

/// Damages an entry or file, then sees that its item counts as missing, is named, and is made whole by working it again.
fn damaged_and_repaired(store: &Store, name: &Digest, record: &Record, bytes: &[u8], damage: impl FnOnce(&mut [u8])) {
    store.spoil(name, damage);
    assert_eq!(store.load(&record.key).unwrap(), None, "was taken for whole");
    let noted = store.take_damage();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted[0].to_string().contains("is damaged"), "{}", noted[0]);
    let again = Store::open(store.root()).unwrap();
    assert_eq!(again.load(&record.key).unwrap(), None, "nor by another process");
    assert_eq!(again.verify().unwrap().damaged.len(), 1);
    assert_eq!(store.put(bytes).unwrap(), record.output);
    assert_eq!(store.record(record).unwrap(), None);
    for store in [store, &Store::open(store.root()).unwrap()] {
        assert_eq!(loaded(store, &record.key), Some((record.clone(), bytes.to_vec())));
        assert_eq!(store.take_damage(), [], "it is told once");
        let health = store.verify().unwrap();
        assert!(health.is_whole(), "{health:?}");
        assert_eq!((health.blobs, health.records), (3, 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_flipped_bit_is_found_and_repaired(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..200),
            (1usize..4000).prop_map(|size| vec![b'x'; size]),
            any::<u32>().prop_map(noise),
        ],
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (_home, store) = store();
        let truth = store.put(b"stands before").unwrap();
        let record = finished(&store, "k", &bytes).also("truth", truth);
        store.record(&record).unwrap();
        store.record(&finished(&store, "stands behind", b"the end")).unwrap();
        for name in [record.output, record.key] {
            damaged_and_repaired(&store, &name, &record, &bytes, |entry| {
                let at = place.index(entry.len());
                entry[at] ^= 1 << bit;
            });
        }
    }

    #[test]
    fn a_pack_cut_anywhere_keeps_what_stands_before(cut in any::<prop::sample::Index>()) {
        let (_home, store) = store();
        let records: Vec<_> = (0..20).map(|item| finished(&store, &item.to_string(), &[item; 40])).collect();
        records.iter().for_each(|record| assert!(store.record(record).unwrap().is_none()));
        let pack = store.root().join("packs/000001.pack");
        let bytes = fs::read(&pack).unwrap();
        fs::write(&pack, &bytes[..cut.index(bytes.len())]).unwrap();
        let store = Store::open(store.root()).unwrap();
        let lost = records.iter().position(|record| store.load(&record.key).unwrap().is_none()).unwrap_or(20);
        for (at, record) in records.iter().enumerate().skip(lost) {
            assert_eq!(store.load(&record.key).unwrap(), None, "{at} of {lost}");
            assert_eq!(store.put(&[at as u8; 40]).unwrap(), record.output);
            assert_eq!(store.record(record).unwrap(), None);
        }
        let health = Store::open(store.root()).unwrap().verify().unwrap();
        assert_eq!((health.blobs, health.records, health.missing), (20, 20, Vec::new()));
    }

    #[test]
    fn whatever_is_in_the_directory_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), index: bool) {
        let (_home, store) = store();
        let record = finished(&store, "a", b"a");
        store.record(&record).unwrap();
        let other = if index { "packs/000001.index" } else { "packs/000002.pack" };
        fs::write(store.root().join(other), bytes).unwrap();
        let store = Store::open(store.root()).unwrap();
        assert!(store.load(&record.key).unwrap().is_some());
        let record = finished(&store, "b", b"b");
        store.record(&record).unwrap();
        assert!(store.load(&record.key).unwrap().is_some());
    }

    #[test]
    fn what_is_put_is_what_is_got(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let (_home, store) = store();
        let digest = store.put(&bytes).unwrap();
        prop_assert_eq!(store.get(&digest).unwrap(), bytes);
    }
}

/// A reply may hold anything, also an entry as another store has it; the salt tells them apart.
#[test]
fn nothing_that_was_stored_passes_for_an_entry() {
    let (_home, store) = store();
    let (_elsewhere, other) = self::store();
    let forged = finished(&other, "k", b"forged");
    other.record(&forged).unwrap();
    let pack = fs::read(other.root().join("packs/000001.pack")).unwrap();
    let reply = store.put(&pack).unwrap();
    store.spoil(&reply, |entry| entry[0] ^= 1);
    let store = Store::open(store.root()).unwrap();
    store.put(b"behind it").unwrap();
    assert_eq!(store.lookup(&forged.key).unwrap(), None);
    assert!(matches!(store.get(&forged.output), Err(StoreError::Missing(_))));
}

#[test]
fn a_result_that_differs_takes_the_place_of_one_that_cannot_be_read() {
    let (_home, store) = store();
    let first = finished(&store, "k", b"lost");
    store.record(&first).unwrap();
    store.sweep().unwrap().keep(|name| *name != first.output).unwrap();
    assert_eq!(store.load(&first.key).unwrap(), None);
    assert_eq!(store.verify().unwrap().missing, [(first.key, first.output)]);
    let second = finished(&store, "k", b"made again, otherwise");
    assert_eq!(store.record(&second).unwrap(), None);
    assert_eq!(store.lookup(&second.key).unwrap(), Some(second));
}

#[test]
fn a_missing_further_blob_is_a_missing_item() {
    let (_home, store) = store();
    let truth = store.put(b"truth").unwrap();
    let record = finished(&store, "a", b"a").also("truth", truth);
    store.record(&record).unwrap();
    store.sweep().unwrap().keep(|name| *name != truth).unwrap();
    assert_eq!(store.load(&record.key).unwrap(), None);
    assert!(matches!(store.get(&truth), Err(StoreError::Missing(missing)) if missing == truth));
}

/// An item of few possible keys and results, so that they meet; some are large.
fn some_item() -> impl Strategy<Value = Loaded> {
    (0..4u8, 0..3u8, 0..2u8, 0..12u8).prop_map(|(name, result, truth, large)| {
        let output = if large == 0 { noise(u32::from(result)) } else { vec![result; 90] };
        let truth = vec![truth; 9];
        let record = Record::new(key(&name.to_string()), "rollout", Digest::of_bytes(&output), RunLabel::Seeded);
        let record = record.also("truth", Digest::of_bytes(&truth));
        Loaded { record, output, also: [("truth".to_owned(), truth)].into() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn items_filed_together_are_as_filed_one_by_one(
        batches in proptest::collection::vec(proptest::collection::vec(some_item(), 0..9), 1..4),
        lost in any::<prop::sample::Index>(),
    ) {
        let ((_one, together), (_other, alone)) = (store(), store());
        for batch in batches {
            let told = together.file(&batch).unwrap();
            let one_by_one = |Loaded { record, output, also }: &Loaded| {
                for bytes in also.values().chain([output]) {
                    alone.put(bytes).unwrap();
                }
                alone.record(record).unwrap()
            };
            prop_assert_eq!(told, batch.iter().map(one_by_one).collect::<Vec<_>>());
            for Loaded { record, .. } in &batch {
                prop_assert_eq!(together.load(&record.key).unwrap(), alone.load(&record.key).unwrap());
            }
            let (health, expected) = (together.verify().unwrap(), alone.verify().unwrap());
            prop_assert_eq!(health, expected);
            // What is damaged meanwhile is made whole by whoever files it again.
            if let Some(item) = (!batch.is_empty()).then(|| &batch[lost.index(batch.len())]) {
                let name = together.lookup(&item.record.key).unwrap().unwrap().output;
                together.spoil(&name, |entry| *entry.last_mut().unwrap() ^= 1);
                together.file(&batch).unwrap();
                prop_assert!(batch.iter().all(|item| together.load(&item.record.key).unwrap().is_some()));
                prop_assert!(together.verify().unwrap().is_whole());
            }
            // Which result stays after that depends on what was whole when: no matter, from here on they start alike.
            for Loaded { record, .. } in &batch {
                together.forget(&record.key).unwrap();
                alone.forget(&record.key).unwrap();
            }
        }
    }
}

#[test]
fn many_writers_agree_on_one_winner_and_no_file_is_torn() {
    let (_home, store) = store();
    let other = Store::open(store.root()).unwrap();
    let divergences: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let store = if writer % 2 == 0 { &store } else { &other };
                scope.spawn(move || {
                    let work = |item: usize| {
                        // Even items are the same from every writer, odd ones differ.
                        let bytes =
                            if item.is_multiple_of(2) { format!("{item}") } else { format!("{item} of {writer}") };
                        let record = finished(store, &format!("item {item}"), bytes.as_bytes());
                        let diverged = store.record(&record).unwrap().is_some();
                        assert!(store.load(&record.key).unwrap().is_some());
                        usize::from(diverged)
                    };
                    (0..20).map(work).sum::<usize>()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(divergences, 10 * 7, "of eight different results, seven come second");
    let health = store.verify().unwrap();
    assert!(health.is_whole(), "{health:?}");
    assert_eq!((health.blobs, health.records), (10 + 10 * 8, 20));
    assert_eq!(store.take_damage(), []);
}

#[test]
fn what_a_killed_process_left_unfinished_changes_nothing() {
    let (_home, store) = store();
    let record = finished(&store, "a", b"a");
    store.record(&record).unwrap();
    let pack = store.root().join("packs/000001.pack");
    let mut bytes = fs::read(&pack).unwrap();
    let whole = bytes.len();
    // The beginning of an entry, and then of its payload.
    let start = store.packs.first(&record.key).unwrap().1.start as usize;
    for left in [3, 80] {
        bytes.extend_from_within(start..start + left);
        fs::write(&pack, &bytes).unwrap();
        let store = Store::open(store.root()).unwrap();
        assert!(store.verify().unwrap().is_whole());
        assert!(store.load(&record.key).unwrap().is_some());
        assert!(store.record(&record).unwrap().is_none());
        assert_eq!(fs::metadata(&pack).unwrap().len(), whole as u64, "the next who appends cuts it off");
        bytes.truncate(whole);
    }
    fs::write(store.root().join("packs/.tmp-x7Gh"), b"hal").unwrap();
    assert!(Store::open(store.root()).unwrap().verify().unwrap().is_whole());
}

#[test]
fn a_pack_of_a_later_version_is_left_as_it_is() {
    let (_home, store) = store();
    let record = finished(&store, "a", b"a");
    store.record(&record).unwrap();
    let pack = store.root().join("packs/000002.pack");
    let later = [&b"agxpack2"[..], &[7; 100]].concat();
    fs::write(&pack, &later).unwrap();
    let store = Store::open(store.root()).unwrap();
    let problem = store.load(&record.key).unwrap_err().to_string();
    assert!(problem.contains("000002.pack was written by a newer agx"), "{problem}");
    assert!(store.put(b"b").is_err());
    assert_eq!(fs::read(&pack).unwrap(), later);
}

/// More than one pack, read from their indexes, from themselves where these are gone, and by a process that was there before.
#[test]
fn packs_are_finished_begun_and_found_by_everybody() {
    let (_home, store) = store();
    let witness = Store::open(store.root()).unwrap();
    let records: Vec<_> = (0..1100)
        .map(|item| {
            let record = finished(&store, &item.to_string(), &noise(item)[1..]);
            store.record(&record).unwrap();
            record
        })
        .collect();
    let packs = |name: &str| store.root().join("packs").join(name).exists();
    assert!(packs("000003.pack") && packs("000002.index") && !packs("000003.index"));
    let all = |store: &Store| records.iter().all(|record| store.load(&record.key).unwrap().is_some());
    assert!(all(&witness) && all(&store) && all(&Store::open(store.root()).unwrap()));
    fs::remove_file(store.root().join("packs/000001.index")).unwrap();
    assert!(all(&Store::open(store.root()).unwrap()));

    let kept = &records[1000];
    let freed = store.sweep().unwrap().keep(|name| [kept.key, kept.output].contains(name)).unwrap();
    assert!(freed > 60 << 20, "{freed}");
    assert!(!packs("000001.pack") && !packs("000002.index"));
    assert!(witness.load(&kept.key).unwrap().is_some());
    for store in [&store, &Store::open(store.root()).unwrap()] {
        assert!(store.load(&kept.key).unwrap().is_some());
        assert_eq!(store.lookup(&records[7].key).unwrap(), None);
        let health = store.verify().unwrap();
        assert_eq!((health.blobs, health.records, health.is_whole()), (1, 1, true));
    }
    // Who was there before appends to what is there now.
    let record = finished(&witness, "new", b"new");
    assert_eq!(witness.record(&record).unwrap(), None);
    assert!(store.load(&record.key).unwrap().is_some());
}

#[test]
fn a_key_that_is_forgotten_is_worked_again_and_may_end_otherwise() {
    let (_home, store) = store();
    let first = finished(&store, "k", b"one");
    store.record(&first).unwrap();
    store.forget(&first.key).unwrap();
    assert_eq!(store.load(&first.key).unwrap(), None);
    assert_eq!(Store::open(store.root()).unwrap().verify().unwrap().records, 0);
    let second = finished(&store, "k", b"two");
    assert_eq!(store.record(&second).unwrap(), None);
    assert_eq!(Store::open(store.root()).unwrap().lookup(&second.key).unwrap(), Some(second));
}

#[test]
fn each_way_a_store_can_be_unusable_has_one_clear_message() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, b"not a store").unwrap();
    let message = |error: StoreError| {
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    assert!(message(Store::open(&file).unwrap_err()).contains("file is not a directory"));
    assert!(message(Store::open(file.join("below")).unwrap_err()).contains("is not a directory"));
    let half = home.path().join("half");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("packs"), b"").unwrap();
    assert!(message(Store::open(&half).unwrap_err()).contains("packs is not a directory"));

    let of = |kind: ErrorKind| message(StoreError::io("write", &file, &std::io::Error::from(kind)));
    assert!(of(ErrorKind::StorageFull).contains("the disk is full"));
    assert!(of(ErrorKind::QuotaExceeded).contains("the disk is full"));
    assert!(of(ErrorKind::PermissionDenied).contains("no permission to write"));
    assert!(of(ErrorKind::ReadOnlyFilesystem).contains("read-only file system"));

    let (_home, store) = store();
    let digest = Digest::of_bytes(b"x");
    fs::create_dir_all(store.large.place(&digest, "")).unwrap();
    assert!(message(store.get(&digest).unwrap_err()).contains("is damaged (is not a regular file)"));
}

/// A directory where a file should be is moved aside, not removed.
#[test]
fn a_directory_in_a_file_s_place_is_damage_like_any_other() {
    let (_home, store) = store();
    let bytes = noise(7);
    let record = finished(&store, "k", &bytes);
    store.record(&record).unwrap();
    let path = store.large.place(&record.output, "");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), b"").unwrap();
    assert_eq!(store.load(&record.key).unwrap(), None);
    assert_eq!(store.load(&record.key).unwrap(), None);
    assert_eq!(store.take_damage().len(), 1, "told once");
    assert_eq!(store.verify().unwrap().damaged.len(), 1);
    assert_eq!(store.put(&bytes).unwrap(), record.output);
    assert_eq!(store.record(&record).unwrap(), None);
    assert_eq!(loaded(&store, &record.key), Some((record.clone(), bytes)));
    assert!(store.verify().unwrap().is_whole());
}

/// `/dev/full` cannot hold a directory, so the full disk is a directory that was taken away: the write fails, says so, and
/// what was stored before is still whole.
#[test]
fn a_write_that_fails_loses_nothing_that_was_done() {
    let (_home, store) = store();
    let record = finished(&store, "a", b"a");
    store.record(&record).unwrap();
    let doomed = noise(8);
    let shelf = store.large.place(&Digest::of_bytes(&doomed), "").parent().unwrap().to_owned();
    fs::write(&shelf, b"in the way").unwrap();
    assert!(store.put(&doomed).is_err());
    assert!(store.load(&record.key).unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn others_may_read_what_is_stored_as_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    let (home, store) = store();
    let plain = home.path().join("plain");
    fs::write(&plain, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    store.put(b"shared").unwrap();
    let large = store.put(&noise(9)).unwrap();
    for path in [store.root().join("packs/000001.pack"), store.root().join("packs/lock"), store.large.place(&large, "")]
    {
        assert_eq!(mode(&path), mode(&plain), "{}", path.display());
    }
}

/// What cannot be read goes, whatever it is.
#[test]
fn a_directory_in_a_file_s_place_is_swept() {
    let (_home, store) = store();
    let kept = store.put(b"kept").unwrap();
    let (pack, blob) = (store.root().join("packs/000002.pack"), store.large.place(&key("a"), ""));
    for directory in [&pack, &blob] {
        fs::create_dir_all(directory.join("inside")).unwrap();
    }
    let store = Store::open(store.root()).unwrap();
    store.put(b"moves it aside").unwrap();
    store.sweep().unwrap().keep(|name| *name == kept).unwrap();
    assert!(store.holds(&kept).unwrap() && !blob.exists());
    assert_eq!(fs::read_dir(store.root().join("packs")).unwrap().count(), 2, "a pack and the lock");
}

/// A pack that somebody renamed must not lead to one that nobody finds.
#[test]
fn no_pack_is_begun_behind_the_last_number() {
    let (_home, store) = store();
    let kept = store.put(b"kept").unwrap();
    let pack = |number: u32| store.root().join(format!("packs/{number}.pack"));
    let keep = || Store::open(store.root()).unwrap().sweep().unwrap().keep(|name| *name == kept);
    let is_kept = || Store::open(store.root()).unwrap().holds(&kept).unwrap();
    fs::write(pack(u32::MAX - 1), b"no pack of ours").unwrap();
    keep().unwrap();
    assert!(is_kept());
    fs::copy(store.root().join("packs/000002.pack"), pack(999_999)).unwrap();
    assert!(keep().unwrap_err().to_string().contains("no number is left"));
    assert!(is_kept());
}

/// Opening a pipe waits for who writes into it.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_lock_s_place_is_refused_at_once() {
    let (_home, store) = store();
    let lock = store.root().join("packs/lock");
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    assert!(store.holds(&key("a")).is_err());
    assert!(store.put(b"a").is_err());
}

#[test]
fn what_is_damaged_here_and_whole_below_is_whole() {
    let (home, store) = store();
    let record = finished(&store, "a", b"in both");
    store.record(&record).unwrap();
    let below = Store::open(home.path().join("below")).unwrap();
    below.put(b"in both").unwrap();
    store.spoil(&record.output, |entry| *entry.last_mut().unwrap() ^= 1);
    let store = Store::over(store.root(), below).unwrap();
    assert_eq!(store.put(b"in both").unwrap(), record.output);
    assert_eq!(store.get(&record.output).unwrap(), b"in both");
    assert_eq!(loaded(&store, &record.key), Some((record.clone(), b"in both".to_vec())));
}

/// What it looked up before is of no use any more.
#[test]
fn who_begins_to_work_knows_what_was_swept() {
    let (_home, store) = store();
    let blob = store.put(b"wanted again").unwrap();
    let early = Store::open(store.root()).unwrap();
    assert!(early.holds(&blob).unwrap());
    store.sweep().unwrap().keep(|_| false).unwrap();
    let _working = early.working().unwrap();
    assert!(!early.holds(&blob).unwrap());
    early.put(b"wanted again").unwrap();
    assert!(Store::open(store.root()).unwrap().holds(&blob).unwrap());
}
