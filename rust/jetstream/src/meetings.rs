//! Overlaps between the subjects of a configuration. They are found in steps before the configuration is checked, so that the
//! check itself takes no longer than reading the configuration.

use stonechat_subject::{Relation, Search, SubjectIndex, overlaps};

use crate::consumer::ConsumerConfig;
use crate::stream::{Origins, StreamConfig, StreamSource, SubjectTransform};

/// A search for the first subject of a list that stands in a relation to another subject of the list.
#[derive(Debug)]
pub(crate) struct Pairs {
    relation: Relation,
    index: SubjectIndex,
    /// Number of subjects in the index.
    known: usize,
    /// Position of the subject that is examined, and the progress with it.
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

    /// Continues the search; true when it is done. `subjects` must be the same list each time.
    pub(crate) fn step<'s>(
        &mut self,
        subjects: impl Fn(usize) -> Option<&'s str>,
        budget: &mut usize,
    ) -> bool {
        while !self.is_done {
            let Some(left) = budget.checked_sub(1) else { return false };
            if let Some(subject) = subjects(self.known) {
                // Each token needs a node of the index.
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

    /// Position of the subject that was found.
    pub(crate) fn found(&self) -> Option<usize> {
        self.found
    }

    /// The index of all subjects, once the search is done.
    pub(crate) fn index(&self) -> &SubjectIndex {
        &self.index
    }
}

/// Overlaps within the configuration of a stream, and between its delivery prefixes and its origins.
#[derive(Debug)]
pub(crate) struct Meetings {
    subjects: Pairs,
    mirror: Pairs,
    /// Position of the source that is examined.
    source: usize,
    transforms: Pairs,
    /// Position of the first source one of whose transforms takes all that another of them takes.
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

/// Progress of comparing the delivery prefixes of other accounts with the subjects of origins.
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

/// The mirror or source at a position; the mirror comes first.
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
    /// Finds all overlaps at once.
    pub(crate) fn of(c: &StreamConfig, origins: &dyn Origins) -> Self {
        let mut meetings = Self::default();
        while !meetings.step(c, origins, &mut { usize::MAX }) {}
        meetings
    }

    /// Continues the search; true when it is done. The configuration must be the same each time.
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

    /// Position of the first subject that overlaps another one.
    pub(crate) fn subject(&self) -> Option<usize> {
        self.subjects.found()
    }

    /// Position of the mirror's first transform that overlaps another one.
    pub(crate) fn mirror_transform(&self) -> Option<usize> {
        self.mirror.found()
    }

    /// The first delivery prefix of another account that overlaps a subject of an origin, and that subject.
    pub(crate) fn prefix(&self) -> Option<(&str, &str)> {
        self.external.found.as_ref().map(|(prefix, subject)| (prefix.as_str(), subject.as_str()))
    }
}

impl External {
    /// Compares each prefix with each subject: few streams have sources both in other accounts and in their own.
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
                // Only a subject that matches any number of tokens can overlap itself behind a prefix.
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

/// Overlaps between a consumer's filters: the first filter that is contained in another one.
#[derive(Debug)]
pub(crate) struct FilterMeetings(Pairs);

impl Default for FilterMeetings {
    fn default() -> Self {
        Self(Pairs::new(Relation::Holds))
    }
}

impl FilterMeetings {
    /// Finds all overlaps at once.
    pub(crate) fn of(c: &ConsumerConfig) -> Self {
        let mut meetings = Self::default();
        while !meetings.step(c, &mut { usize::MAX }) {}
        meetings
    }

    /// Continues the search; true when it is done. The configuration must be the same each time.
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

    /// The index of the filters.
    pub(crate) fn index(&self) -> &SubjectIndex {
        self.0.index()
    }

    /// Position of the first filter that is contained in another one.
    pub(crate) fn filter(&self) -> Option<usize> {
        self.0.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the search with a budget of `step` at a time. Returns the result and the number of steps.
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
        // About a dozen visited nodes for each subject.
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
