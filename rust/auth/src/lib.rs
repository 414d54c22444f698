//! Users, permissions, account definitions and authentication.
//!
//! Nothing here does I/O or has a clock. The configuration crate fills in the definitions ([`Authorization`],
//! [`AccountDef`], [`User`], [`Permissions`]). The server builds one [`Authenticator`] from them, which checks the
//! [`Credentials`] of each CONNECT. The result is a [`Grant`] (account, display name, permissions) or a denial. The
//! broker gets no other result of authentication.

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
