//! Users, permissions and account definitions; whoever authenticates hands out an account and permissions.
//!
//! Nothing here does I/O or knows a clock. The configuration crate fills in the definitions
//! ([`Authorization`], [`AccountDef`], [`User`], [`Permissions`]); the server builds one
//! [`Authenticator`] from them and asks it about the [`Credentials`] of each CONNECT. The answer is a
//! [`Grant`] (account, display name, permissions) or a denial, and nothing else of authentication
//! reaches the broker.

mod account;
mod authenticator;
mod authorization;
mod connection_kind;
mod credentials;
mod exchange;
mod identity;
mod password;
mod permissions;
mod user;

pub use account::{AccountDef, AccountLimits, GLOBAL_ACCOUNT, SYSTEM_ACCOUNT};
pub use authenticator::{Authenticator, Grant, Verdict};
pub use authorization::{Authorization, DEFAULT_AUTH_TIMEOUT};
pub use connection_kind::{ConnectionKind, ConnectionKinds};
pub use credentials::Credentials;
pub use exchange::{Exchange, Export, Import, ImportError, ResponseType, check_import, covering};
pub use identity::{ServerIdentity, is_public_key};
pub use password::Password;
pub use permissions::{Permissions, ResponsePermission, SubjectPermission};
pub use user::User;
