//! Compares the parser's verdicts on a corpus of configuration files with those of a real nats-server.
//!
//! `record.py` wrote these to `oracle.tsv`. Files that nats-server accepts must be valid here, with the same digest.
//! Files that it refuses must be refused here, for the same reason at the same position.

#![expect(clippy::unwrap_used, reason = "a missing or misshapen corpus must fail the test")]

use std::{fs, path::Path};

use stonechat_config::{ConfigErrors, Loaded, flags::FlagSet, lang::MemorySource, load_with};

/// Files with an intentionally different verdict.
const ACCEPTED_HERE: [(&str, &str); 1] =
    [("arrays_integer_last.conf", "the real server trips over an integer right before ']'")];
const OTHER_DIGEST: [(&str, &str); 1] = [(
    "block_string_at_end.conf",
    "the real server takes the closing parenthesis for text at the end of a file",
)];
/// Files that are refused for the same reason, in other words or at a better position.
const OTHER_WORDS: [(&str, &str); 9] = [
    ("accounts_wrong_mapping_weight.conf", "the place is the destination's beginning"),
    ("auth_high_timeout.conf", "longer explanation there"),
    ("auth_wrong_nkey.conf", "the place is the user's beginning"),
    ("auth_wrong_nkey_user.conf", "the place is the user's beginning"),
    ("auth_wrong_no_name.conf", "the place is the user's beginning"),
    ("block_jetstream_wrong_store_dir.conf", "either one may be noted there, for its maps have no order"),
    ("wrong_feature_flag.conf", "names a type of Go there"),
    ("wrong_listen_type.conf", "names a type of Go there"),
    ("wrong_tags.conf", "names a type of Go there"),
];

struct Row<'a> {
    file: &'a str,
    verdict: &'a str,
    detail: &'a str,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    table
        .lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let mut column = || columns.next().unwrap();
            Row { file: column(), verdict: column(), detail: column() }
        })
        .collect()
}

/// All files of the corpus, under their names relative to it, so that the working directory does not matter.
fn corpus() -> MemorySource {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut source = MemorySource::default();
    for folder in ["", "included"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(&root).unwrap().to_path_buf();
                source = source.with_file(name, fs::read(&path).unwrap());
            }
        }
    }
    source
}

fn is_listed(list: &[(&str, &str)], file: &str) -> bool {
    list.iter().any(|(name, _)| *name == file)
}

/// Returns the verdict of a configuration test, for which a warning is as bad as an error.
fn tested(loaded: Result<Loaded, ConfigErrors>) -> Result<String, Vec<String>> {
    match loaded {
        Ok(loaded) if loaded.warnings.is_empty() => Ok(loaded.digest.unwrap()),
        Ok(loaded) => Err(loaded.warnings.iter().map(ToString::to_string).collect()),
        Err(errors) => {
            let mut lines: Vec<_> = errors.to_string().lines().map(str::to_owned).collect();
            lines.sort();
            Err(lines)
        }
    }
}

/// Returns whether our message says the same as the oracle's. Ours also has a position where the oracle's has none.
fn agrees(ours: &str, oracle: &str) -> bool {
    if let Some((place, _)) = oracle.split_once(": interface conversion") {
        // The oracle's message has types of Go there.
        return ours.starts_with(place);
    }
    match oracle.split_once("Parse error on line ") {
        Some((before, _)) => ours.contains("Parse error on line ") && ours.contains(before),
        None => ours == oracle || ours.ends_with(&format!(": {oracle}")) || ours.contains(oracle),
    }
}

#[test]
fn verdicts_digests_and_reasons_are_those_of_the_real_server() {
    let source = corpus();
    let rows = rows(include_str!("oracle.tsv"));
    assert!(rows.len() > 150);
    let mut failures = Vec::new();
    for Row { file, verdict, detail } in &rows {
        let ours = tested(load_with(Path::new(file), &FlagSet::default(), &source));
        let is_same = match (&ours, *verdict) {
            (Ok(digest), "valid") => (digest == detail) != is_listed(&OTHER_DIGEST, file),
            (Ok(_), _) => is_listed(&ACCEPTED_HERE, file),
            (Err(_), "valid") => false,
            (Err(_), _) if is_listed(&OTHER_WORDS, file) => true,
            (Err(lines), _) => {
                let theirs: Vec<_> =
                    detail.split('|').filter(|line| !line.contains("runtime error")).collect();
                lines.len() == theirs.len()
                    && lines.iter().zip(&theirs).all(|(ours, theirs)| agrees(ours, theirs))
            }
        };
        if !is_same {
            failures.push(format!("{file}\n  ours:   {ours:?}\n  theirs: {verdict} {detail}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
}
