//! Consumers: what they are configured to do, where they stand, and who waits for their messages.
//!
//! Nothing here reads a clock or a store: the engine brings messages and times.

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
