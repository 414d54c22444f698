//! Histories of operations on keys, and a check that each key behaves as one register with versions.
//!
//! Every value is written once, so a read identifies the write that it saw. Every successful operation has a revision, the
//! sequence in the stream. Together they leave only one possible order, so the check requires no search. All operations are
//! ordered by the revision that they made or saw, and an operation that ended before another began must not come after it.
//! `tests/linearizability` checks the same histories with an independent checker.

use anyhow::{Context, Result};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Get,
    /// Writes a value at any revision of the key.
    Put,
    /// Writes a value if the key is at the expected revision.
    Update,
    /// Writes a delete marker if the key is at the expected revision.
    Delete,
}

/// The outcome of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The revision that was written or read; 0 if a get found nothing.
    Done(u64),
    /// The expected revision was not the key's; the server's answer may name the key's revision.
    Refused(Option<u64>),
    /// The connection was lost before the answer.
    Unknown,
}

/// One operation. Times are nanoseconds since the run began.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) key: usize,
    /// Number of kills of the server before the operation.
    pub(crate) generation: u32,
    pub(crate) client: usize,
    pub(crate) call: u64,
    pub(crate) end: u64,
    pub(crate) kind: Kind,
    pub(crate) expected: u64,
    /// The number of the value that was written or read, negative for a delete marker, 0 for nothing.
    pub(crate) value: i64,
    pub(crate) outcome: Outcome,
}

impl Op {
    fn is_write(&self) -> bool {
        self.kind != Kind::Get
    }

    /// Returns the revision at which the operation is ordered.
    fn at(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Done(revision) => Some(revision),
            Outcome::Refused(last) => last,
            Outcome::Unknown => None,
        }
    }
}

/// Resolves writes whose answer was lost. If a get or `log` has the value, the write was done at that revision; `log` has the
/// values in the stream after a kill, with their revisions. Other operations without an answer are removed: nothing has observed
/// them. A refusal may name the revision of a removed write; that revision is dropped.
pub(crate) fn settle(ops: &mut Vec<Op>, log: &HashMap<i64, u64>) {
    let mut seen = log.clone();
    let gets = ops.iter().filter(|op| op.kind == Kind::Get);
    seen.extend(gets.filter_map(|op| op.at().map(|revision| (op.value, revision))));
    let mut gone: Vec<(usize, u32)> = Vec::new();
    ops.retain_mut(|op| {
        if op.outcome != Outcome::Unknown {
            return true;
        }
        match seen.get(&op.value) {
            Some(&revision) if op.is_write() => op.outcome = Outcome::Done(revision),
            _ => {
                gone.push((op.key, op.generation));
                return false;
            }
        }
        true
    });
    let known: HashSet<u64> = ops
        .iter()
        .filter_map(|op| if let Outcome::Done(revision) = op.outcome { Some(revision) } else { None })
        .collect();
    for op in ops.iter_mut() {
        if let Outcome::Refused(Some(last)) = op.outcome
            && !known.contains(&last)
            && gone.contains(&(op.key, op.generation))
        {
            op.outcome = Outcome::Refused(None);
        }
    }
}

/// Returns the contradictions to one register with versions for each key; empty if there are none.
pub(crate) fn violations(ops: &[Op], keys: usize) -> Vec<String> {
    let mut found = Vec::new();
    for key in 0..keys {
        let ops: Vec<&Op> = ops.iter().filter(|op| op.key == key).collect();
        let writes = writes_of(&ops, &mut found);
        chain(&writes, &mut found);
        for op in &ops {
            reads_right(op, &writes, &mut found);
        }
        in_real_time(&ops, &mut found);
    }
    found
}

/// Returns successful writes in the order of revisions; no two may have the same revision.
fn writes_of<'a>(ops: &[&'a Op], found: &mut Vec<String>) -> Vec<(u64, &'a Op)> {
    let done = |op: &&'a Op| matches!(op.outcome, Outcome::Done(_)) && op.is_write();
    let mut writes: Vec<(u64, &Op)> =
        ops.iter().copied().filter(done).filter_map(|op| Some((op.at()?, op))).collect();
    writes.sort_by_key(|(revision, op)| (*revision, op.call));
    for pair in writes.windows(2) {
        if pair[0].0 == pair[1].0 {
            found
                .push(format!("two writes have revision {}: {:?} and {:?}", pair[0].0, pair[0].1, pair[1].1));
        }
    }
    writes
}

/// Checks that a conditional write directly follows its expected revision, so that each revision has at most one winner.
fn chain(writes: &[(u64, &Op)], found: &mut Vec<String>) {
    let mut before = 0;
    let mut winners = HashMap::new();
    for (revision, op) in writes {
        if op.kind != Kind::Put {
            if let Some(other) = winners.insert(op.expected, op) {
                found.push(format!("two winners at revision {}: {other:?} and {op:?}", op.expected));
            } else if op.expected != before {
                found.push(format!("revision {before} was the last one before {op:?}"));
            }
        }
        before = *revision;
    }
}

/// Checks that a read has the value that its revision's write wrote, and that a refusal does not name the expected revision.
fn reads_right(op: &Op, writes: &[(u64, &Op)], found: &mut Vec<String>) {
    let Some(at) = op.at() else { return };
    let write = writes.binary_search_by_key(&at, |(revision, _)| *revision).ok().map(|i| writes[i].1);
    let is_right = match (op.kind, op.outcome, write) {
        (_, Outcome::Refused(_), _) if at == op.expected => false,
        (Kind::Get, _, None) => at == 0 && op.value == 0,
        (Kind::Get, _, Some(write)) => write.value == op.value && write.call < op.end,
        (_, Outcome::Refused(_), None) => at == 0,
        (_, Outcome::Refused(_), Some(write)) => write.call < op.end,
        _ => true,
    };
    if !is_right {
        found.push(format!("{op:?} fits no write: {write:?}"));
    }
}

/// Checks that an operation that ended before another began is ordered before it.
fn in_real_time(ops: &[&Op], found: &mut Vec<String>) {
    let placed = || ops.iter().copied().filter_map(|op| Some((op.at()?, op)));
    let (mut begun, mut ended): (Vec<_>, Vec<_>) = (placed().collect(), placed().collect());
    begun.sort_by_key(|(_, op)| op.call);
    ended.sort_by_key(|(_, op)| op.end);
    let mut ended = ended.into_iter().peekable();
    let mut newest: Option<(u64, &Op)> = None;
    for (at, op) in begun {
        while let Some(next) = ended.next_if(|(_, other)| other.end < op.call) {
            if newest.is_none_or(|(revision, _)| revision < next.0) {
                newest = Some(next);
            }
        }
        let is_new = op.is_write() && matches!(op.outcome, Outcome::Done(_));
        if let Some((revision, other)) = newest
            && (at < revision || at == revision && is_new)
        {
            found.push(format!("revision {revision} was there before {op:?}: {other:?}"));
        }
    }
}

/// Writes a history to a new file in `folder`, one operation a line.
pub(crate) fn save(ops: &[Op], folder: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let free = (0..).map(|n| folder.join(format!("{name}-{n}.jsonl"))).find(|path| !path.exists());
    let path = free.context("no free name")?;
    let mut file = BufWriter::new(std::fs::File::create(&path)?);
    for op in ops {
        let (outcome, revision) = match op.outcome {
            Outcome::Done(revision) => ("done", revision),
            Outcome::Refused(last) => ("refused", last.unwrap_or(0)),
            Outcome::Unknown => ("unknown", 0),
        };
        let told = op.outcome != Outcome::Refused(None);
        let kind = format!("{:?}", op.kind).to_lowercase();
        let line = json!({"key": op.key, "generation": op.generation, "client": op.client, "call": op.call, "end": op.end,
            "kind": kind, "expected": op.expected, "value": op.value, "outcome": outcome, "revision": revision, "told": told});
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Op, Outcome, save, settle, violations};
    use std::collections::HashMap;

    fn op(call: u64, end: u64, kind: Kind, expected: u64, value: i64, outcome: Outcome) -> Op {
        Op { key: 0, generation: 0, client: 0, call, end, kind, expected, value, outcome }
    }

    fn done(call: u64, end: u64, kind: Kind, expected: u64, value: i64, revision: u64) -> Op {
        op(call, end, kind, expected, value, Outcome::Done(revision))
    }

    /// A history of one key: put, read, update, refusal, deletion.
    fn good() -> Vec<Op> {
        vec![
            done(0, 1, Kind::Get, 0, 0, 0),
            done(2, 6, Kind::Put, 0, 1, 10),
            done(3, 7, Kind::Get, 0, 1, 10),
            done(8, 12, Kind::Update, 10, 2, 11),
            op(9, 13, Kind::Update, 10, 3, Outcome::Refused(Some(11))),
            done(10, 11, Kind::Get, 0, 1, 10),
            done(14, 15, Kind::Delete, 11, -4, 15),
            done(16, 17, Kind::Get, 0, -4, 15),
        ]
    }

    #[test]
    fn a_register_with_versions_passes() {
        assert_eq!(violations(&good(), 1), Vec::<String>::new());
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut ops = good();
        // The value before the marker, read after the deletion was answered.
        ops[7] = done(16, 17, Kind::Get, 0, 2, 11);
        let found = violations(&ops, 1);
        assert!(found.len() == 1 && found[0].contains("revision 15 was there before"), "{found:?}");
        // If the read overlaps the deletion, the same result is correct.
        ops[7].call = 14;
        assert_eq!(violations(&ops, 1), Vec::<String>::new());
    }

    #[test]
    fn other_faults_are_found() {
        let cases: [(&str, usize, Op); 7] = [
            ("a second winner", 4, done(9, 13, Kind::Update, 10, 3, 12)),
            ("a revision given twice", 6, done(14, 15, Kind::Put, 0, 4, 11)),
            ("a value that is not the revision's", 7, done(16, 17, Kind::Get, 0, 2, 15)),
            ("a value that nobody wrote", 7, done(16, 17, Kind::Get, 0, 9, 19)),
            ("a read of the future", 0, done(0, 1, Kind::Get, 0, 1, 10)),
            ("a refusal without reason", 4, op(9, 13, Kind::Update, 10, 3, Outcome::Refused(Some(10)))),
            ("a lost write", 7, done(16, 17, Kind::Get, 0, 0, 0)),
        ];
        for (name, place, op) in cases {
            let mut ops = good();
            ops[place] = op;
            assert!(!violations(&ops, 1).is_empty(), "{name}");
        }
    }

    #[test]
    fn lost_answers_are_settled_by_what_was_seen() {
        let mut ops = good();
        ops[3].outcome = Outcome::Unknown;
        ops.push(op(20, 30, Kind::Put, 0, 5, Outcome::Unknown));
        ops.push(op(21, 30, Kind::Get, 0, 0, Outcome::Unknown));
        // A get saw the update, and the deletion follows it; nothing saw the put.
        ops.insert(5, done(10, 13, Kind::Get, 0, 2, 11));
        settle(&mut ops, &HashMap::new());
        assert_eq!(ops.len(), 9);
        assert_eq!(ops[3].outcome, Outcome::Done(11));
        assert_eq!(violations(&ops, 1), Vec::<String>::new());
    }

    #[test]
    fn the_log_after_a_kill_settles_what_nobody_read() {
        let mut ops = good();
        ops.truncate(3);
        ops.push(op(8, 30, Kind::Update, 10, 2, Outcome::Unknown));
        settle(&mut ops, &HashMap::from([(2, 14)]));
        assert_eq!(ops[3].outcome, Outcome::Done(14));
    }

    #[test]
    fn a_refusal_may_name_a_write_that_nobody_saw() {
        let mut ops = good();
        ops.truncate(3);
        ops.push(op(8, 30, Kind::Update, 10, 2, Outcome::Unknown));
        ops.push(op(9, 13, Kind::Update, 10, 3, Outcome::Refused(Some(11))));
        settle(&mut ops, &HashMap::new());
        assert_eq!(ops[3].outcome, Outcome::Refused(None));
        assert_eq!(violations(&ops, 1), Vec::<String>::new());
    }

    #[test]
    fn histories_do_not_replace_each_other() {
        let folder = std::env::temp_dir().join(format!("natsload-history-{}", std::process::id()));
        let saved = [save(&good(), &folder, "ours").unwrap(), save(&good(), &folder, "ours").unwrap()];
        let lines = saved.each_ref().map(|path| std::fs::read_to_string(path).unwrap().lines().count());
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(saved[0] != saved[1]);
        assert_eq!(lines, [8, 8]);
    }
}
