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
    assert_eq!(store.load(&record.key).unwrap(), Some((record.clone(), b"a trajectory".to_vec())));
    assert_eq!(store.record(&record).unwrap(), None, "the same again is no divergence");
    let health = store.verify().unwrap();
    assert_eq!((health.blobs, health.records, health.is_whole()), (2, 1, true));
    assert_eq!(store.take_damage(), []);
}

#[test]
fn equal_bytes_are_stored_once_and_their_file_is_never_written_again() {
    let (_home, store) = store();
    let digest = store.put(b"once").unwrap();
    let written = fs::metadata(store.blob_path(&digest)).unwrap().modified().unwrap();
    assert_eq!(store.put(b"once").unwrap(), digest);
    assert_eq!(fs::metadata(store.blob_path(&digest)).unwrap().modified().unwrap(), written);
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

/// Damages one file, then sees that its item counts as missing, is named, and is made whole by working it again.
fn damaged_and_repaired(store: &Store, path: &Path, record: &Record, bytes: &[u8], damage: impl Fn(&mut Vec<u8>)) {
    let whole = fs::read(path).unwrap();
    let mut broken = whole.clone();
    damage(&mut broken);
    fs::write(path, &broken).unwrap();
    assert_eq!(store.load(&record.key).unwrap(), None, "{broken:?} was taken for whole");
    let noted = store.take_damage();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0].path, path);
    assert!(noted[0].to_string().contains("damaged"), "{}", noted[0]);
    assert_eq!(store.verify().unwrap().damaged.len(), 1);
    assert_eq!(store.put(bytes).unwrap(), record.output);
    assert_eq!(store.record(record).unwrap(), None);
    assert_eq!(store.load(&record.key).unwrap(), Some((record.clone(), bytes.to_vec())));
    assert_eq!(fs::read(path).unwrap(), whole);
    assert!(store.verify().unwrap().is_whole());
    store.take_damage();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_flipped_bit_and_every_torn_file_is_found_and_repaired(
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (_home, store) = store();
        let record = finished(&store, "k", &bytes);
        store.record(&record).unwrap();
        for path in [store.blob_path(&record.output), store.record_path(&record.key)] {
            damaged_and_repaired(&store, &path, &record, &bytes, |file| {
                let at = place.index(file.len());
                file[at] ^= 1 << bit;
            });
            damaged_and_repaired(&store, &path, &record, &bytes, |file| file.truncate(place.index(file.len())));
            damaged_and_repaired(&store, &path, &record, &bytes, |file| file.push(b' '));
        }
    }

    #[test]
    fn what_is_put_is_what_is_got(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let (_home, store) = store();
        let digest = store.put(&bytes).unwrap();
        prop_assert_eq!(store.get(&digest).unwrap(), bytes);
    }
}

#[test]
fn a_record_swapped_for_another_key_is_damage() {
    let (_home, store) = store();
    let (one, two) = (finished(&store, "one", b"1"), finished(&store, "two", b"2"));
    store.record(&one).unwrap();
    store.record(&two).unwrap();
    fs::copy(store.record_path(&one.key), store.record_path(&two.key)).unwrap();
    assert_eq!(store.lookup(&two.key).unwrap(), None);
    assert!(store.take_damage()[0].problem.contains("another key"));
}

#[test]
fn a_result_that_differs_takes_the_place_of_one_that_cannot_be_read() {
    let (_home, store) = store();
    let first = finished(&store, "k", b"lost");
    store.record(&first).unwrap();
    fs::remove_file(store.blob_path(&first.output)).unwrap();
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
    fs::remove_file(store.blob_path(&truth)).unwrap();
    assert_eq!(store.load(&record.key).unwrap(), None);
    assert!(matches!(store.get(&truth), Err(StoreError::Missing(missing)) if missing == truth));
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
fn an_unfinished_file_left_by_a_killed_process_changes_nothing() {
    let (_home, store) = store();
    let record = finished(&store, "a", b"a");
    store.record(&record).unwrap();
    fs::write(store.blob_path(&record.output).with_file_name(".tmp-x7Gh"), b"hal").unwrap();
    fs::write(store.record_path(&record.key).with_file_name(".tmp-y"), b"{\"key\"").unwrap();
    assert!(store.verify().unwrap().is_whole());
    assert!(store.load(&record.key).unwrap().is_some());
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
    fs::write(half.join("records"), b"").unwrap();
    assert!(message(Store::open(&half).unwrap_err()).contains("records is not a directory"));

    let of = |kind: ErrorKind| message(StoreError::io("write", &file, &std::io::Error::from(kind)));
    assert!(of(ErrorKind::StorageFull).contains("the disk is full"));
    assert!(of(ErrorKind::QuotaExceeded).contains("the disk is full"));
    assert!(of(ErrorKind::PermissionDenied).contains("no permission to write"));
    assert!(of(ErrorKind::ReadOnlyFilesystem).contains("no permission to write"));

    let (_home, store) = store();
    let digest = Digest::of_bytes(b"x");
    fs::create_dir_all(store.blob_path(&digest)).unwrap();
    assert!(message(store.get(&digest).unwrap_err()).contains("is damaged (is not a regular file)"));
}

/// A directory where a file should be is moved aside, not removed.
#[test]
fn a_directory_in_a_file_s_place_is_damage_like_any_other() {
    let (_home, store) = store();
    let record = finished(&store, "k", b"x");
    store.record(&record).unwrap();
    for path in [store.record_path(&record.key), store.blob_path(&record.output)] {
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"").unwrap();
        assert_eq!(store.load(&record.key).unwrap(), None);
        assert_eq!(store.load(&record.key).unwrap(), None);
        assert_eq!(store.take_damage().len(), 1, "told once");
        assert_eq!(store.verify().unwrap().damaged.len(), 1);
        assert_eq!(store.put(b"x").unwrap(), record.output);
        assert_eq!(store.record(&record).unwrap(), None);
        assert_eq!(store.load(&record.key).unwrap(), Some((record.clone(), b"x".to_vec())));
        assert!(store.verify().unwrap().is_whole());
    }
}

/// `/dev/full` cannot hold a directory, so the full disk is a directory that was taken away: the write fails, says so, and
/// what was stored before is still whole.
#[test]
fn a_write_that_fails_loses_nothing_that_was_done() {
    let (_home, store) = store();
    let record = finished(&store, "a", b"a");
    store.record(&record).unwrap();
    let doomed = Digest::of_bytes(b"b");
    let shelf = store.blob_path(&doomed).parent().unwrap().to_owned();
    fs::write(&shelf, b"in the way").unwrap();
    assert!(store.put(b"b").is_err());
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
    assert_eq!(mode(&store.blob_path(&store.put(b"shared").unwrap())), mode(&plain));
}
