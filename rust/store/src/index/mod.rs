//! The subject index of a stream: a tree of subjects, and filters over it.

mod children;
mod filter;
mod subject_tree;

pub use filter::Filter;
pub(crate) use filter::Matched;
pub use subject_tree::{Cursor, Step, SubjectTree};
