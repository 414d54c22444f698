//! Subjects, tokens, wildcards, queue names and the interest index.
//!
//! This is the lowest layer, without connections and protocols. The type of subscriptions is a parameter
//! (`Sublist<S>`), so that the broker, the simulator and property tests can each use their own.

#![forbid(unsafe_code)]

mod generations;
mod index;
mod match_cache;
mod members;
mod queues;
mod subject;
mod sublist;
mod sync;
mod transform;

pub use generations::{Generations, Stamp};
pub use index::{Found, Relation, Search, SubjectIndex};
pub use match_cache::MatchCache;
pub use subject::{
    has_wildcard, is_subset, is_valid_literal, is_valid_queue, is_valid_subject, matches, overlaps,
    token_count, tokens,
};
pub use sublist::{Matches, QueueMatch, Sublist};
pub use transform::{BadToken, Transform, TransformError, check_destination};
