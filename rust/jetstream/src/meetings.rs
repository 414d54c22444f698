//! Which subjects of a configuration meet others of it, found in steps before the configuration is checked, so that the check itself takes
//! no longer than reading it.

use stonechat_subject::{Relation, Search, SubjectIndex, overlaps};

use crate::consumer::ConsumerConfig;
use crate::stream::{Origins, StreamConfig, StreamSource, SubjectTransform};

/// The first of some subjects that stands in a relation to another one of them.
#[derive(Debug)]
pub(crate) struct Pairs {
    relation: Relation,
    index: SubjectIndex,
    /// How many are in the index.
    known: usize,
    /// The one that is looked at, and how far that is.
    at: usize,
    search: Option<Search>,
    found: Option<usize>,
    is_done: bool,
}

impl Pairs {
    pub(crate) fn new(relation: Relation) -> Self {
        let index = SubjectIndex::default();
        Self { relation, index, known: 0, at: 0, search: None, found: None, is_done: false }
    }

    /// Goes on, over the same subjects each time; true when it is done.
    pub(crate) fn step<'s>(
        &mut self,
        subjects: impl Fn(usize) -> Option<&'s str>,
        budget: &mut usize,
    ) -> bool {
        while !self.is_done {
            let Some(left) = budget.checked_sub(1) else { return false };
            if let Some(subject) = subjects(self.known) {
                // A node of the index for each token.
                *budget = left.saturating_sub(subject.len() / 16);
                self.index.insert(subject.as_bytes(), self.known as u32);
                self.known += 1;
                continue;
            }
            *budget = left;
            let Some(subject) = subjects(self.at).filter(|_| self.known > 1) else {
                self.is_done = true;
                break;
            };
            let relation = self.relation;
            let search = self.search.get_or_insert_with(|| Search::new(subject.as_bytes(), relation));
            match self.index.finds_other(search, self.at as u32, budget) {
                None => return false,
                Some(true) => (self.found, self.is_done) = (Some(self.at), true),
                Some(false) => (self.at, self.search) = (self.at + 1, None),
            }
        }
        true
    }

    /// The place of the first one that was found.
    pub(crate) fn found(&self) -> Option<usize> {
        self.found
    }

    /// The index of them all, when it is done.
    pub(crate) fn index(&self) -> &SubjectIndex {
        &self.index
    }
}

/// What of a stream's configuration meets what.
#[derive(Debug)]
pub(crate) struct Meetings {
    subjects: Pairs,
    mirror: Pairs,
    /// The source that is looked at.
    source: usize,
    transforms: Pairs,
    /// The first source of which one transform takes what another one takes.
    pub(crate) met_source: Option<usize>,
    external: External,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Subjects,
    Mirror,
    Sources,
    External,
    Done,
}

/// How far prefixes of other accounts were compared with the subjects of origins.
#[derive(Debug, Default)]
struct External {
    prefix: usize,
    origin: usize,
    subject: usize,
    found: Option<(String, String)>,
}

fn transforms(source: &StreamSource, at: usize) -> Option<&str> {
    source.subject_transforms.get(at).map(|transform: &SubjectTransform| transform.src.as_str())
}

/// The mirror and the sources of a stream, by number.
pub(crate) fn feed(c: &StreamConfig, at: usize) -> Option<&StreamSource> {
    match &c.mirror {
        Some(mirror) if at == 0 => Some(mirror),
        Some(_) => c.sources.get(at - 1),
        None => c.sources.get(at),
    }
}

impl Default for Meetings {
    fn default() -> Self {
        Self {
            subjects: Pairs::new(Relation::Overlaps),
            mirror: Pairs::new(Relation::Overlaps),
            source: 0,
            transforms: Pairs::new(Relation::Holds),
            met_source: None,
            external: External::default(),
            stage: Stage::Subjects,
        }
    }
}

impl Meetings {
    /// All of them at once.
    pub(crate) fn of(c: &StreamConfig, origins: &dyn Origins) -> Self {
        let mut meetings = Self::default();
        while !meetings.step(c, origins, &mut { usize::MAX }) {}
        meetings
    }

    /// Goes on, with the same configuration each time; true when it is done.
    pub(crate) fn step(&mut self, c: &StreamConfig, origins: &dyn Origins, budget: &mut usize) -> bool {
        loop {
            let is_done = match self.stage {
                Stage::Subjects => self.subjects.step(|at| c.subjects.get(at).map(String::as_str), budget),
                Stage::Mirror => {
                    self.mirror.step(|at| c.mirror.as_ref().and_then(|m| transforms(m, at)), budget)
                }
                Stage::Sources => self.step_sources(c, budget),
                Stage::External => self.external.step(c, origins, budget),
                Stage::Done => return true,
            };
            if !is_done {
                return false;
            }
            self.stage = match self.stage {
                Stage::Subjects => Stage::Mirror,
                Stage::Mirror => Stage::Sources,
                Stage::Sources => Stage::External,
                Stage::External | Stage::Done => Stage::Done,
            };
        }
    }

    fn step_sources(&mut self, c: &StreamConfig, budget: &mut usize) -> bool {
        while let Some(source) = c.sources.get(self.source).filter(|_| self.met_source.is_none()) {
            if source.subject_transforms.len() > 1 {
                if !self.transforms.step(|at| transforms(source, at), budget) {
                    return false;
                }
                self.met_source = self.transforms.found().map(|_| self.source);
                self.transforms = Pairs::new(Relation::Holds);
            } else if *budget == 0 {
                return false;
            } else {
                *budget -= 1;
            }
            self.source += 1;
        }
        true
    }

    /// The first subject that overlaps another one.
    pub(crate) fn subject(&self) -> Option<usize> {
        self.subjects.found()
    }

    /// The first transform of the mirror that takes something that another one takes.
    pub(crate) fn mirror_transform(&self) -> Option<usize> {
        self.mirror.found()
    }

    /// The first prefix on which another account delivers that meets a subject of an origin, and that subject.
    pub(crate) fn prefix(&self) -> Option<(&str, &str)> {
        self.external.found.as_ref().map(|(prefix, subject)| (prefix.as_str(), subject.as_str()))
    }
}

impl External {
    /// Compares each prefix with each subject: few streams take from other accounts and from their own.
    fn step(&mut self, c: &StreamConfig, origins: &dyn Origins, budget: &mut usize) -> bool {
        while let Some(source) = feed(c, self.prefix).filter(|_| self.found.is_none()) {
            let external = source.external.as_ref().map(|external| &external.deliver);
            if let Some(prefix) = external.filter(|prefix| !prefix.is_empty()) {
                if !self.step_prefix(prefix, c, origins, budget) {
                    return false;
                }
            } else if *budget == 0 {
                return false;
            } else {
                *budget -= 1;
            }
            (self.prefix, self.origin, self.subject) = (self.prefix + 1, 0, 0);
        }
        true
    }

    fn step_prefix(
        &mut self,
        prefix: &str,
        c: &StreamConfig,
        origins: &dyn Origins,
        budget: &mut usize,
    ) -> bool {
        while let Some(source) = feed(c, self.origin) {
            let origin = source.external.is_none().then(|| origins.stream(&source.name)).flatten();
            let subjects = origin.map_or(&[][..], |origin| &origin.subjects);
            loop {
                let Some(left) = budget.checked_sub(1) else { return false };
                *budget = left;
                let Some(subject) = subjects.get(self.subject) else { break };
                self.subject += 1;
                // Only what takes subjects of any length can meet itself behind a prefix.
                if subject.ends_with('>')
                    && overlaps(subject.as_bytes(), format!("{prefix}.{subject}").as_bytes())
                {
                    self.found = Some((prefix.to_owned(), subject.clone()));
                    return true;
                }
            }
            (self.origin, self.subject) = (self.origin + 1, 0);
        }
        true
    }
}

/// The filters of a consumer that take all that another one of them takes.
#[derive(Debug)]
pub(crate) struct FilterMeetings(Pairs);

impl Default for FilterMeetings {
    fn default() -> Self {
        Self(Pairs::new(Relation::Holds))
    }
}

impl FilterMeetings {
    /// All of them at once.
    pub(crate) fn of(c: &ConsumerConfig) -> Self {
        let mut meetings = Self::default();
        while !meetings.step(c, &mut { usize::MAX }) {}
        meetings
    }

    /// Goes on, with the same configuration each time; true when it is done.
    pub(crate) fn step(&mut self, c: &ConsumerConfig, budget: &mut usize) -> bool {
        let one = Some(c.filter_subject.as_str()).filter(|filter| !filter.is_empty());
        self.0.step(
            |at| match one {
                Some(filter) => Some(filter).filter(|_| at == 0),
                None => c.filter_subjects.get(at).map(String::as_str),
            },
            budget,
        )
    }

    /// The filters.
    pub(crate) fn index(&self) -> &SubjectIndex {
        self.0.index()
    }

    /// The first filter that another one holds.
    pub(crate) fn filter(&self) -> Option<usize> {
        self.0.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs to the end with `step` at a time: what was found, and in how many steps.
    fn run(relation: Relation, subjects: &[String], step: usize) -> (Option<usize>, usize) {
        let mut pairs = Pairs::new(relation);
        let mut steps = 1;
        while !pairs.step(|at| subjects.get(at).map(String::as_str), &mut { step }) {
            steps += 1;
        }
        (pairs.found(), steps)
    }

    #[test]
    fn twenty_thousand_subjects_take_time_that_grows_with_their_number() {
        let mut subjects: Vec<String> = (0..20_000).map(|i| format!("orders.region.{i}")).collect();
        let (found, steps) = run(Relation::Overlaps, &subjects, 1000);
        assert_eq!(found, None);
        // About a dozen looks each.
        assert!(steps < 250, "{steps}");
        subjects.push("orders.*.17".to_owned());
        assert_eq!(run(Relation::Overlaps, &subjects, 1000).0, Some(17));
        assert_eq!(run(Relation::Holds, &subjects, 1000).0, Some(17));
        subjects.insert(0, "orders.>".to_owned());
        assert_eq!(run(Relation::Overlaps, &subjects, 1000).0, Some(0));
        assert_eq!(run(Relation::Holds, &subjects, 1000).0, Some(1));
    }

    #[test]
    fn subjects_that_are_chosen_to_take_long_take_many_steps_and_none_of_them_is_long() {
        let stars = (0..300).map(|i| format!("*.{i}.x"));
        let subjects: Vec<String> = stars.chain((0..300).map(|i| format!("{i}.*.y"))).collect();
        let (found, steps) = run(Relation::Overlaps, &subjects, 50);
        assert_eq!(found, None);
        assert!(steps > 600, "{steps}");
    }
}
