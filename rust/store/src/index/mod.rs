//! What a stream knows of its messages without reading them.

mod children;
mod filter;
mod subject_tree;

pub use filter::Filter;
pub use subject_tree::{Cursor, Step, SubjectTree};
