//! Tests of streams on disk against streams in memory, on a failing disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use super::{FileStream, Files, IndexJob};
use crate::disk::sim::{Random, SimDisk};
use crate::disk::{Disk, DiskFile};
use crate::encryption::{Cipher, Keyring};
use crate::index::Filter;
use crate::memory::MemoryStream;
use crate::messages::{Messages, Progress, State, SubjectState};

const SALT: u64 = 11;

#[derive(Debug, Clone)]
enum Step {
    Append(String, usize),
    Skip,
    Remove(u64),
    RemoveFirst,
    RemoveFirstOn(String, u64),
    Clear(u64),
    Seal,
    Flush,
    Reopen,
    /// Sets whether segments are compressed from now on when they are full.
    Compress(bool),
    /// Encrypts all new data from the next opening on.
    Encrypt,
    Erase(u64),
    /// Starts a job that writes the subject index to disk, or applies its result.
    Index,
    /// Flips a bit in a file of the index.
    SpoilIndex(u64),
}

fn subject() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a.b", "a.c", "a.b.c", "x.y"]).prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = String> {
    prop::sample::select(vec![">", "*", "a.*", "a.>", "a.b", "nobody", "*.*"]).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (subject(), 0..60usize).prop_map(|(s, n)| Step::Append(s, n)),
        1 => (subject(), 60..900usize).prop_map(|(s, n)| Step::Append(s, n)),
        2 => Just(Step::Skip),
        5 => (0..900u64).prop_map(Step::Remove),
        2 => Just(Step::RemoveFirst),
        3 => (subject(), 0..4u64).prop_map(|(s, n)| Step::RemoveFirstOn(s, n)),
        1 => (0..1000u64).prop_map(Step::Clear),
        2 => Just(Step::Seal),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => any::<bool>().prop_map(Step::Compress),
        1 => Just(Step::Encrypt),
        1 => (0..900u64).prop_map(Step::Erase),
        6 => Just(Step::Index),
        1 => any::<u64>().prop_map(Step::SpoilIndex),
    ]
}

fn seal_all(stream: &mut FileStream<SimDisk>) {
    while let Some(job) = stream.seal_job() {
        stream.sealed(job.expect("a job").run()).expect("sealed");
    }
}

/// Flips a bit in a file of the index, if there is one.
fn spoil_index(disk: &SimDisk, seed: u64) {
    let mut random = Random(seed);
    let mut names = disk.names().expect("names");
    names.retain(|name| name.contains("index"));
    if names.is_empty() {
        return;
    }
    disk.bytes(&names[random.below(names.len())], |bytes| {
        if !bytes.is_empty() {
            let bit = random.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    });
}

/// Returns the names of segment files. Those of the index only matter to one opening.
fn segment_names(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.names().expect("names");
    names.retain(|name| !name.contains("index"));
    names.sort();
    names
}

/// Makes a checkpoint of the stream, and returns its manifest.
fn checkpoint(stream: &mut FileStream<SimDisk>, disk: &SimDisk) -> Vec<u8> {
    stream.flush().expect("room");
    let obsolete = stream.take_obsolete();
    let manifest = stream.manifest();
    let (files, names) = stream.take_dirty();
    files.iter().for_each(|file| file.sync().expect("a sync"));
    if names {
        disk.sync_names().expect("a sync");
    }
    for name in obsolete {
        stream_files(disk).remove(&name).expect("removed");
    }
    disk.sync_names().expect("a sync");
    manifest
}

fn stream_files(disk: &SimDisk) -> Files<SimDisk> {
    files_with(disk, Keyring::default(), 1)
}

fn files_with(disk: &SimDisk, keys: Keyring, epoch: u32) -> Files<SimDisk> {
    // The index has so little memory that all of it goes to disk.
    Files::new(Arc::new(disk.clone()), 2048, keys, epoch, 200)
}

fn open_with(disk: &SimDisk, manifest: &[u8], keys: Keyring, epoch: u32) -> FileStream<SimDisk> {
    let files = Arc::new(files_with(disk, keys, epoch));
    FileStream::open(files, SALT, 3, manifest).expect("a manifest").expect("opened")
}

/// Opens a stream, encrypted or not.
fn open(disk: &SimDisk, manifest: &[u8]) -> FileStream<SimDisk> {
    open_with(disk, manifest, Keyring::fixed(Cipher::Aes256Gcm), 1000)
}

fn state_without_bytes(state: State) -> State {
    State { bytes: 0, ..state }
}

fn check(
    stream: &FileStream<SimDisk>,
    model: &MemoryStream,
    filters: &[String],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(state_without_bytes(stream.state()), state_without_bytes(model.state()));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for sequence in 0..=model.state().last_sequence + 1 {
        let message = model.read(sequence, &mut b).expect("in memory");
        prop_assert_eq!(stream.read(sequence, &mut a), Ok(message));
        prop_assert_eq!(stream.contains(sequence), message.is_some());
        if let Some(m) = message {
            bytes += stream.counted_bytes(m.subject.len(), m.headers.len(), m.payload.len());
            prop_assert_eq!(stream.at_time(m.time), model.at_time(m.time));
        }
    }
    prop_assert_eq!(stream.state().bytes, bytes);
    let gaps = |messages: &dyn Messages| {
        let (mut gaps, mut from) = (Vec::new(), 0);
        // Steps of any length, which cut ranges in different places.
        while !messages.some_gaps(&mut from, &mut (2 + gaps.len() % 3), &mut |gap| gaps.extend(gap)) {}
        gaps
    };
    prop_assert_eq!(gaps(stream), gaps(model));
    for text in filters {
        let filter = Filter::new(text.as_bytes());
        let subjects = |messages: &dyn Messages| {
            let mut found = BTreeMap::new();
            let _ = messages.subjects(&filter, None, &mut |subject, state| {
                found.insert(subject.to_vec(), (messages.first_on(subject), state.last, state.count));
                ControlFlow::Continue(())
            });
            found
        };
        let expected = subjects(model);
        prop_assert_eq!(subjects(stream), expected.clone());
        for (budget, messages) in [(1, stream as &dyn Messages), (3, stream), (1, model), (3, model)] {
            let (mut found, mut after) = (BTreeMap::new(), None);
            let mut put = |subject: &[u8], state: SubjectState| {
                let (last, count) = (state.last, state.count);
                let before = found.insert(subject.to_vec(), (messages.first_on(subject), last, count));
                assert_eq!(before, None, "visited twice");
            };
            while !messages.some_subjects(&filter, &mut after, &mut { budget }, &mut put) {}
            prop_assert_eq!(found, expected.clone());
        }
        for budget in [1, 1000] {
            let all = |messages: &dyn Messages| {
                let (mut found, mut from) = (Vec::new(), 0);
                loop {
                    match messages.next_matching(Some(&filter), from, budget) {
                        Progress::Done(Some(s)) => {
                            found.push(s);
                            from = s + 1;
                        }
                        Progress::Done(None) => break found,
                        Progress::More(next) => from = next,
                    }
                }
            };
            prop_assert_eq!(all(stream), all(model));
        }
    }
    Ok(())
}

/// Plays steps. Returns the disk, the manifest of a checkpoint at the end, and the model.
fn play(steps: Vec<Step>, first: u64) -> Result<(SimDisk, Vec<u8>, MemoryStream), TestCaseError> {
    let disk = SimDisk::default();
    let mut stream = FileStream::new(Arc::new(stream_files(&disk)), SALT, 3, first);
    let mut model = MemoryStream::new(first);
    let (mut keys, mut epoch) = (Keyring::default(), 1);
    let mut is_compressed = false;
    let mut writing = None;
    for (i, step) in steps.into_iter().enumerate() {
        let time = i as i64 * 10 + 1;
        match step {
            Step::Append(subject, n) => {
                let payload = vec![i as u8; n];
                let headers: &[u8] = if n % 3 == 0 { b"NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n" } else { b"" };
                let sequence = stream.append(time, subject.as_bytes(), headers, &payload);
                prop_assert_eq!(sequence, model.append(time, subject.as_bytes(), headers, &payload));
            }
            Step::Skip => prop_assert_eq!(stream.skip(time), model.skip(time)),
            Step::Remove(sequence) => prop_assert_eq!(stream.remove(sequence), model.remove(sequence)),
            Step::RemoveFirst => prop_assert_eq!(stream.remove_first(), model.remove_first()),
            Step::RemoveFirstOn(subject, keep) => {
                let removed = stream.remove_first_on(subject.as_bytes(), keep);
                prop_assert_eq!(removed, model.remove_first_on(subject.as_bytes(), keep));
            }
            Step::Clear(next) => {
                stream.clear(next);
                model.clear(next);
            }
            Step::Seal => seal_all(&mut stream),
            Step::Flush => stream.flush().expect("room"),
            Step::Reopen => {
                let manifest = checkpoint(&mut stream, &disk);
                writing = None;
                epoch += 1;
                stream = open_with(&disk, &manifest, keys.clone(), epoch);
                stream.set_compressed(is_compressed);
            }
            Step::Compress(to) => {
                is_compressed = to;
                stream.set_compressed(to);
            }
            Step::Index => match writing.take() {
                Some(job) => stream.indexed(IndexJob::run(job)),
                None => writing = stream.index_job(),
            },
            Step::SpoilIndex(seed) => spoil_index(&disk, seed),
            Step::Encrypt => keys = Keyring::fixed(Cipher::Aes256Gcm),
            Step::Erase(sequence) => {
                stream.erase(sequence);
                prop_assert_eq!(stream.remove(sequence), model.remove(sequence));
                stream.rest();
                checkpoint(&mut stream, &disk);
                stream.run_erasures();
            }
        }
        prop_assert_eq!(state_without_bytes(stream.state()), state_without_bytes(model.state()));
        prop_assert!(stream.take_damaged().is_empty());
    }
    // The index may be partly on disk, and damaged there.
    check(&stream, &model, &[">".into(), "a.*".into(), "a.b".into()])?;
    let manifest = checkpoint(&mut stream, &disk);
    Ok((disk, manifest, model))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_a_stream_in_memory(
        steps in prop::collection::vec(step(), 1..900),
        first in prop::sample::select(vec![0u64, 50]),
        filters in prop::collection::vec(filter(), 2),
        seed in any::<u64>(),
    ) {
        let (disk, manifest, model) = play(steps, first)?;
        // Everything in a checkpoint must be there after a power cut.
        let disk = disk.power_cut(&mut Random(seed));
        let mut stream = open(&disk, &manifest);
        prop_assert!(stream.take_damaged().is_empty());
        check(&stream, &model, &filters)?;
        // No file may be left over.
        stream.clear(0);
        let mut files = stream.take_obsolete();
        files.retain(|name| !name.contains("index"));
        files.sort();
        prop_assert_eq!(files, segment_names(&disk));
    }

    /// One flipped bit costs at most one message, or one chunk if it is compressed. The loss is reported, and nothing else
    /// changes.
    #[test]
    fn a_flipped_bit_is_found(
        steps in prop::collection::vec(step(), 1..700),
        seed in any::<u64>(),
    ) {
        let is_compressed = steps.iter().any(|step| matches!(step, Step::Compress(true)));
        let (disk, manifest, model) = play(steps, 0)?;
        let mut random = Random(seed);
        for opened_before in [false, true] {
            let disk = disk.kill();
            let before = opened_before.then(|| open(&disk, &manifest));
            // An opening removes files of the index.
            let mut names = disk.names().expect("names");
            names.retain(|name| disk.open(name).and_then(|file| file.len()).expect("there") > 0);
            prop_assume!(!names.is_empty());
            let name = &names[random.below(names.len())];
            disk.bytes(name, |bytes| {
                let bit = random.below(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
            let mut stream = before.unwrap_or_else(|| open(&disk, &manifest));
            let state = stream.state();
            prop_assert_eq!((state.messages, state.last_sequence), (model.state().messages, model.state().last_sequence));
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let mut lost = Vec::new();
            for sequence in 0..=state.last_sequence + 1 {
                match stream.read(sequence, &mut a) {
                    Ok(message) => prop_assert_eq!(Ok(message), model.read(sequence, &mut b)),
                    Err(l) => lost.push(l.sequence),
                }
            }
            prop_assert!(lost.len() <= 1 || is_compressed, "{:?}", lost);
            let damaged = stream.take_damaged();
            let named: Vec<u64> = damaged.iter().flat_map(|d| d.sequences.clone()).collect();
            prop_assert_eq!(named, lost.clone());
            prop_assert_eq!(stream.lost(), lost.len() as u64);
            // A walk must not skip the message silently, and other operations must still work.
            let mut seen = 0;
            stream.walk_all(&mut |_| seen += 1);
            prop_assert_eq!(seen, model.state().messages);
            while stream.remove_first().is_some() {}
            prop_assert_eq!(stream.state().messages, 0);
        }
    }

    #[test]
    fn any_manifest_is_harmless(version in 1..4u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut manifest = vec![version];
        manifest.extend(bytes);
        let _ = FileStream::open(Arc::new(stream_files(&SimDisk::default())), SALT, 3, &manifest);
    }
}

#[test]
fn a_missing_or_short_file_is_named() {
    let steps = (0..200).map(|_| Step::Append("a.b".into(), 30)).collect();
    let (disk, manifest, model) = play(steps, 0).expect("played");
    let names = segment_names(&disk);
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        for cut in [None, Some(100usize), Some(700)] {
            let disk = disk.kill();
            match cut {
                None => disk.remove(&name).expect("removed"),
                Some(len) => disk.bytes(&name, |bytes| bytes.truncate(len)),
            }
            let mut stream = open(&disk, &manifest);
            assert_eq!(stream.state().messages, model.state().messages);
            let damaged = stream.take_damaged();
            if cut != Some(700) {
                assert!(!damaged.is_empty(), "{name} {cut:?}");
            }
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for sequence in 1..=200 {
                if let Ok(message) = stream.read(sequence, &mut a) {
                    assert_eq!(Ok(message), model.read(sequence, &mut b));
                } else {
                    assert!(damaged.iter().any(|d| d.file == name && d.sequences.contains(&sequence)));
                }
            }
            // Messages that are appended later must be kept, whatever is missing.
            let lost = stream.lost_sequences();
            for i in 0..50 {
                stream.append(1000 + i, b"a.b", b"", &[7; 30]);
            }
            while let Some(Ok(job)) = stream.seal_job() {
                stream.sealed(job.run()).expect("sealed");
            }
            let manifest = checkpoint(&mut stream, &disk);
            let stream = open(&disk, &manifest);
            assert_eq!(stream.lost_sequences(), lost, "{name} {cut:?}");
            assert!((201..=250).all(|s| stream.read(s, &mut a).is_ok_and(|m| m.is_some())), "{name} {cut:?}");
        }
    }
}

#[test]
fn a_full_disk_keeps_all_in_memory() {
    let disk = SimDisk::default();
    let mut stream = FileStream::new(Arc::new(stream_files(&disk)), SALT, 3, 0);
    disk.faults(|f| f.full = true);
    for i in 0..300 {
        assert_eq!(stream.append(i, b"a", b"", &[7; 30]).map(|a| a.sequence), Some(i as u64 + 1));
    }
    assert!(stream.flush().is_err());
    let mut buffer = Vec::new();
    assert!((1..=300).all(|s| stream.read(s, &mut buffer).is_ok_and(|m| m.is_some())));
    disk.faults(|f| f.full = false);
    let manifest = checkpoint(&mut stream, &disk);
    let stream = open(&disk, &manifest);
    assert!((1..=300).all(|s| stream.read(s, &mut buffer).is_ok_and(|m| m.is_some())));
}

/// Wherever the space ends while an opening writes its index, the stream knows the same subjects, and no part of the index stays.
#[test]
fn an_opening_on_a_full_disk_knows_all_subjects() {
    let disk = SimDisk::default();
    let mut stream = FileStream::new(Arc::new(stream_files(&disk)), SALT, 3, 0);
    for round in 0..4 {
        for key in 0..60 {
            stream.append(round, format!("key.{key}").as_bytes(), b"", b"value");
        }
    }
    for sequence in [3, 70, 200] {
        stream.remove(sequence);
    }
    seal_all(&mut stream);
    let manifest = checkpoint(&mut stream, &disk);
    let subjects = |stream: &FileStream<SimDisk>| {
        let mut found = Vec::new();
        let _ = stream.subjects(&Filter::new(b">"), None, &mut |subject, state| {
            found.push((subject.to_vec(), stream.first_on(subject), state.last, state.count));
            ControlFlow::Continue(())
        });
        found
    };
    let index_files =
        |disk: &SimDisk| disk.names().expect("names").iter().filter(|n| n.contains("index")).count();
    for name in disk.names().expect("names").iter().filter(|name| name.contains("index")) {
        disk.remove(name).expect("removed");
    }
    let expected = subjects(&stream);
    assert_eq!(expected.len(), 60);
    let used: u64 =
        disk.names().expect("names").iter().map(|name| disk.bytes(name, |b| b.len() as u64)).sum();
    let mut has_run = Vec::new();
    for room in (0..6000).step_by(60) {
        let disk = disk.kill();
        disk.faults(|f| f.capacity = Some(used + room));
        let stream = open(&disk, &manifest);
        assert_eq!(subjects(&stream), expected, "with {room} bytes");
        assert_eq!(stream.state().subjects, 60);
        has_run.push(index_files(&disk));
        assert!(index_files(&disk) <= 1, "with {room} bytes");
    }
    assert_eq!((has_run.first(), has_run.last()), (Some(&0), Some(&1)));
}

/// A message that can't be read leaves a wrong count of its subject when it is removed. The next message mends it, whatever its subject.
#[test]
fn a_wrong_count_is_mended_by_the_next_message() {
    let disk = SimDisk::default();
    let mut stream = FileStream::new(Arc::new(stream_files(&disk)), SALT, 3, 0);
    for i in 0..100 {
        stream.append(i, if i == 5 { b"lost" } else { b"other" }, b"", &[i as u8; 40]);
    }
    seal_all(&mut stream);
    let manifest = checkpoint(&mut stream, &disk);
    let mut stream = open(&disk, &manifest);
    let name = segment_names(&disk)[0].clone();
    let at = disk.bytes(&name, |bytes| memchr::memmem::find(bytes, &[5; 40]).expect("the message"));
    disk.bytes(&name, |bytes| bytes[at] ^= 1);
    assert!(stream.remove(6));
    assert!(stream.subject(b"lost").is_some_and(|known| known.count > 0), "the count is wrong for now");
    let appended = stream.append(200, b"other", b"", b"").expect("room");
    assert!(appended.on_subject > 100, "the caller asks for a removal, which mends the count");
    assert_eq!(stream.remove_first_on(b"other", 1000), None);
    assert_eq!(stream.subject(b"lost"), None);
}

fn appended(keys: Keyring, is_compressed: bool, count: i64) -> (SimDisk, FileStream<SimDisk>) {
    let disk = SimDisk::default();
    let mut stream = FileStream::new(Arc::new(files_with(&disk, keys, 1)), SALT, 3, 0);
    stream.set_compressed(is_compressed);
    for i in 0..count {
        stream.append(i, b"some.subject", b"", format!("plain text number {i}").as_bytes());
    }
    seal_all(&mut stream);
    (disk, stream)
}

fn stored(disk: &SimDisk) -> Vec<u8> {
    let mut all = Vec::new();
    for name in disk.names().expect("names") {
        disk.bytes(&name, |bytes| all.extend_from_slice(bytes));
    }
    all
}

#[test]
fn compressed_segments_are_smaller_and_encrypted_ones_tell_nothing() {
    let mut buffer = Vec::new();
    let mut lens = Vec::new();
    for keys in [Keyring::default(), Keyring::fixed(Cipher::ChaCha20Poly1305)] {
        for is_compressed in [false, true] {
            let (disk, mut stream) = appended(keys.clone(), is_compressed, 1000);
            let manifest = checkpoint(&mut stream, &disk);
            let stored = stored(&disk);
            let is_clear = |text: &[u8]| memchr::memmem::find(&stored, text).is_some();
            let is_encrypted = keys.current() > 0;
            assert_eq!(is_clear(b"plain text"), !is_encrypted);
            assert_eq!(is_clear(b"some.subject"), !is_encrypted);
            lens.push(stored.len());
            let stream = open_with(&disk, &manifest, keys.clone(), 2);
            for sequence in 1..=1000 {
                let message = stream.read(sequence, &mut buffer).expect("read").expect("there");
                assert_eq!(message.payload, format!("plain text number {}", sequence - 1).as_bytes());
            }
        }
    }
    assert!(lens[1] < lens[0] * 2 / 3 && lens[3] < lens[2] / 2, "{lens:?}");
}

#[test]
fn a_segment_that_is_mostly_gone_gives_its_room_back() {
    for is_compressed in [false, true] {
        let (disk, mut stream) = appended(Keyring::default(), is_compressed, 1000);
        checkpoint(&mut stream, &disk);
        let before = stored(&disk).len();
        // One message in ten stays.
        for sequence in (1..=1000).filter(|s| s % 10 != 0) {
            assert!(stream.remove(sequence));
        }
        seal_all(&mut stream);
        let manifest = checkpoint(&mut stream, &disk);
        let after = stored(&disk).len();
        assert!(after < before / 2, "{after} of {before}");
        let stream = open(&disk, &manifest);
        let mut buffer = Vec::new();
        for sequence in 1..=1000 {
            let message = stream.read(sequence, &mut buffer).expect("read");
            assert_eq!(message.is_some(), sequence % 10 == 0);
        }
        assert_eq!(stream.first_on(b"some.subject"), Some(10));
    }
}

#[test]
fn a_front_that_is_cut_off_is_not_written_anew() {
    let (_, mut stream) = appended(Keyring::default(), false, 1000);
    for _ in 0..900 {
        stream.remove_first();
    }
    assert!(stream.seal_job().is_none());
}

#[test]
fn what_is_erased_while_its_segment_is_written_anew_is_gone() {
    let (disk, mut stream) = appended(Keyring::default(), true, 300);
    checkpoint(&mut stream, &disk);
    for sequence in (1..=100).filter(|s| s % 10 != 0) {
        stream.remove(sequence);
    }
    let job = stream.seal_job().expect("room to win").expect("a job");
    let kept = 10;
    stream.erase(kept);
    stream.remove(kept);
    stream.sealed(job.run()).expect("sealed");
    seal_all(&mut stream);
    stream.rest();
    let manifest = checkpoint(&mut stream, &disk);
    let names = segment_names(&disk);
    let mut stream = open(&disk, &manifest);
    assert!(!stream.contains(kept) && stream.contains(20));
    stream.clear(0);
    let mut obsolete = stream.take_obsolete();
    obsolete.retain(|name| !name.contains("index"));
    assert_eq!(obsolete.len(), names.len(), "no file is left over");
}

/// Wherever a file of the index is damaged, no subject may be skipped or listed twice.
#[test]
fn subjects_are_listed_whole_from_a_damaged_index() {
    let names: Vec<String> = (0..40).map(|i| format!("a.{i:02}")).collect();
    let stream_and_file = || {
        let disk = SimDisk::default();
        let mut stream = FileStream::new(Arc::new(stream_files(&disk)), SALT, 3, 0);
        for (i, name) in names.iter().enumerate() {
            stream.append(i as i64, name.as_bytes(), b"", b"x");
        }
        let job = stream.index_job().expect("little memory");
        stream.indexed(job.run());
        let mut files = disk.names().expect("names");
        files.retain(|name| name.contains("index"));
        (disk, stream, files.remove(0))
    };
    let (disk, _, file) = stream_and_file();
    let len = disk.bytes(&file, |bytes| bytes.len());
    assert!(len > 300, "several chunks");
    for at in (0..len).step_by(7) {
        for after in [None, Some(&b"a.05"[..])] {
            let (disk, stream, file) = stream_and_file();
            disk.bytes(&file, |bytes| bytes[at] ^= 4);
            let mut found = Vec::new();
            let _ = stream.subjects(&Filter::new(b"a.*"), after, &mut |subject, state| {
                assert_eq!(state.count, 1);
                found.push(String::from_utf8_lossy(subject).into_owned());
                ControlFlow::Continue(())
            });
            let from = if after.is_some() { 6 } else { 0 };
            assert_eq!(found, names[from..], "byte {at}");
            for budget in [1, 40] {
                let (disk, stream, file) = stream_and_file();
                disk.bytes(&file, |bytes| bytes[at] ^= 4);
                let (mut found, mut after) = (Vec::new(), after.map(<[u8]>::to_vec));
                let mut put = |subject: &[u8], _| found.push(String::from_utf8_lossy(subject).into_owned());
                let filter = Filter::new(b"a.*");
                while !stream.some_subjects(&filter, &mut after, &mut { budget }, &mut put) {}
                assert_eq!(found, names[from..], "byte {at}, {budget} at a time");
            }
        }
    }
}

#[test]
fn what_a_crash_left_behind_a_closed_segment_hides_no_later_one_when_the_manifest_is_lost() {
    let keys = Keyring::fixed(Cipher::Aes256Gcm);
    let disk = SimDisk::default();
    let text = |i: i64| format!("message {i}");
    let append = |stream: &mut FileStream<SimDisk>, numbers: std::ops::Range<i64>| {
        for i in numbers {
            stream.append(i, b"some.subject", b"", text(i).as_bytes());
        }
    };
    let mut stream = FileStream::new(Arc::new(files_with(&disk, keys.clone(), 1)), SALT, 3, 0);
    append(&mut stream, 0..5);
    let manifest = checkpoint(&mut stream, &disk);
    // These are written, then the process is killed: the log holds them.
    append(&mut stream, 5..10);
    stream.flush().expect("room");
    drop(stream);
    let mut stream = open_with(&disk, &manifest, keys.reopened(), 2);
    append(&mut stream, 5..15);
    seal_all(&mut stream);
    checkpoint(&mut stream, &disk);
    assert_eq!(stream.file_names().len(), 2, "an opening goes on in a segment of its own");
    drop(stream);

    let files = Arc::new(files_with(&disk, keys.reopened(), 3));
    let manifest = FileStream::rebuild(&files, SALT, 3, &[1, 2, 3, 4]).expect("read").expect("a manifest");
    let stream = open_with(&disk, &manifest, keys.reopened(), 3);
    assert_eq!((stream.count(), stream.last_sequence()), (15, 15));
    let mut buffer = Vec::new();
    for i in 0..15 {
        let message = stream.read(i as u64 + 1, &mut buffer).expect("read").expect("there");
        assert_eq!(message.payload, text(i).as_bytes());
    }
}
