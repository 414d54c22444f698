//! Consumers: their configurations, their delivery states and their waiting pull requests.
//!
//! Nothing here reads a clock or opens a store: the engine passes messages and times.

mod ack;
mod check;
mod config;
mod core;
mod counting;
mod decode;
mod request;
mod start;
mod state;
mod waiting;

pub use self::core::{Consumer, FLOW_CONTROL_MAX, INACTIVE_DEFAULT, Pin};
pub use ack::{AckSubject, Verb};
pub(crate) use check::check_with;
pub(crate) use check::is_valid_group;
pub use check::{CheckContext, check, check_update, set_defaults};
pub use config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
pub use decode::{Action, ConsumerRequest};
pub(crate) use request::nak_delay;
pub use request::{Group, PullRequest};
pub(crate) use start::{Start, StartSearch};
pub use state::{Change, ConsumerState, Pending, Position};
pub use waiting::{Waiting, WaitingQueue};
