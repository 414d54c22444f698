//! Authentication: decides whether credentials admit a connection, and as which user.

use std::{collections::HashMap, sync::Arc};

use crate::{
    AccountDef, Authorization, ConnectionKind, ConnectionKinds, Credentials, GLOBAL_ACCOUNT, Password,
    Permissions, User,
};

/// The account, name and permissions of an admitted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The account that it belongs to.
    pub account: Arc<str>,
    /// The name that logs and monitoring show; `[REDACTED]` for a token.
    pub user: Option<Arc<str>>,
    /// The permissions, normalised; `None` allows everything.
    pub permissions: Option<Arc<Permissions>>,
}

/// The result of a check of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The connection is admitted.
    Granted(Grant),
    /// The connection is refused with `Authorization Violation`.
    Denied,
}

/// The authenticator of clients. It is immutable; a reload replaces it as a whole.
#[derive(Debug)]
pub struct Authenticator {
    policy: Policy,
    no_auth_user: Option<Arc<str>>,
    /// Whether clients without credentials are admitted to the global account, because only the system account is
    /// configured.
    admits_anonymous: bool,
}

#[derive(Debug)]
enum Policy {
    Open,
    Users(HashMap<Arc<str>, Entry>),
    Token(Password),
    Single { user: Arc<str>, password: Password },
}

#[derive(Debug)]
struct Entry {
    password: Password,
    kinds: ConnectionKinds,
    grant: Grant,
}

impl Authenticator {
    /// Builds the look-up tables. `system_account` names the system account. If it is the only configured account, and
    /// there is no authorization block, clients without credentials are still admitted.
    #[must_use]
    pub fn new(authorization: &Authorization, accounts: &[AccountDef], system_account: &str) -> Self {
        let only_system = matches!(accounts, [only] if only.name == system_account);
        let admits_anonymous =
            only_system && !authorization.is_defined && authorization.no_auth_user.is_none();
        let users = authorization.users.iter().flatten().chain(accounts.iter().flat_map(|a| &a.users));
        let users: HashMap<_, _> = users.map(Entry::of).collect();

        // As with nats-server, an empty list of users requires no credentials.
        let policy = if !users.is_empty() || admits_anonymous {
            Policy::Users(users)
        } else if let Some(token) = authorization.token.clone().filter(|t| !t.is_empty()) {
            Policy::Token(token)
        } else if let Some(user) = authorization.user.as_deref().filter(|u| !u.is_empty()) {
            let password = authorization.password.clone().unwrap_or_else(|| Password::new(""));
            Policy::Single { user: user.into(), password }
        } else {
            Policy::Open
        };
        let no_auth_user = authorization.no_auth_user.as_deref().filter(|u| !u.is_empty()).map(Arc::from);
        Self { policy, no_auth_user, admits_anonymous }
    }

    /// Returns an authenticator that admits every client to the global account.
    #[must_use]
    pub fn open() -> Self {
        Self { policy: Policy::Open, no_auth_user: None, admits_anonymous: false }
    }

    /// Returns whether clients must present credentials: the value of `auth_required` in INFO. As with nats-server, it
    /// is false if there is a `no_auth_user`, although wrong credentials are still denied. It is true if only the
    /// system account has users, although clients without credentials are admitted.
    #[must_use]
    pub fn required(&self) -> bool {
        self.is_enforced() && self.no_auth_user.is_none()
    }

    /// Returns whether credentials are checked at all.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        !matches!(self.policy, Policy::Open)
    }

    /// Returns whether [`check`](Self::check) may take long, because it must hash. Then it should not run on a thread
    /// that serves other connections.
    #[must_use]
    pub fn is_expensive(&self, credentials: &Credentials) -> bool {
        match &self.policy {
            Policy::Open => false,
            Policy::Users(users) => {
                users.get(credentials.user.as_str()).is_some_and(|entry| entry.password.is_expensive())
            }
            Policy::Token(token) => token.is_expensive(),
            Policy::Single { user, password } => **user == *credentials.user && password.is_expensive(),
        }
    }

    /// Checks the credentials of a connection.
    pub fn check(&self, credentials: &Credentials, kind: ConnectionKind) -> Verdict {
        // An earlier protocol let clients request an account by name; this is always denied.
        if credentials.new_account || !credentials.account.is_empty() {
            return Verdict::Denied;
        }
        let grant = match &self.policy {
            Policy::Open => Some(global_grant(credentials.display_name().map(Arc::from))),
            Policy::Users(users) => self.check_users(users, credentials, kind),
            Policy::Token(token) => token.matches(&credentials.auth_token).then(|| self.single_grant()),
            Policy::Single { user, password } => (**user == *credentials.user
                && password.matches(&credentials.pass))
            .then(|| self.single_grant()),
        };
        grant.map_or(Verdict::Denied, Verdict::Granted)
    }

    fn check_users(
        &self,
        users: &HashMap<Arc<str>, Entry>,
        credentials: &Credentials,
        kind: ConnectionKind,
    ) -> Option<Grant> {
        if credentials.is_anonymous() {
            if self.admits_anonymous {
                return Some(global_grant(None));
            }
            let entry = users.get(self.no_auth_user.as_deref()?)?;
            // As with nats-server, a user with a hashed password can't be the `no_auth_user`: a hash does not match
            // itself as a presented password.
            let admitted = entry.kinds.allows(kind) && !entry.password.is_expensive();
            return admitted.then(|| entry.grant.clone());
        }
        let entry = users.get(credentials.user.as_str())?;
        let admitted = entry.kinds.allows(kind) && entry.password.matches(&credentials.pass);
        admitted.then(|| entry.grant.clone())
    }

    /// Returns the grant of a configured user, whatever its password.
    #[must_use]
    pub fn still_grants(&self, user: &str) -> Option<&Grant> {
        match &self.policy {
            Policy::Users(users) => users.get(user).map(|entry| &entry.grant),
            Policy::Open | Policy::Token(_) | Policy::Single { .. } => None,
        }
    }

    /// Returns the current grant of a client that `previous` admitted with these credentials, if the configured secret
    /// is unchanged. So a reload need not hash again. After `None` the caller must call [`check`](Self::check).
    #[must_use]
    pub fn unchanged_grant(&self, previous: &Self, credentials: &Credentials) -> Option<Grant> {
        let is_unchanged = match (&previous.policy, &self.policy) {
            (Policy::Users(before), Policy::Users(now)) => {
                let user = credentials.user.as_str();
                let (before, now) = (before.get(user)?, now.get(user)?);
                return (before.password == now.password && before.kinds == now.kinds)
                    .then(|| now.grant.clone());
            }
            (Policy::Token(before), Policy::Token(now)) => before == now,
            (
                Policy::Single { user: user_before, password: before },
                Policy::Single { user, password: now },
            ) => user_before == user && before == now,
            _ => false,
        };
        is_unchanged.then(|| self.single_grant())
    }

    /// Returns the grant of all clients that a policy without a list of users admits.
    fn single_grant(&self) -> Grant {
        global_grant(match &self.policy {
            Policy::Open | Policy::Users(_) => None,
            Policy::Token(_) => Some("[REDACTED]".into()),
            Policy::Single { user, .. } => Some(user.clone()),
        })
    }
}

impl Entry {
    fn of(user: &User) -> (Arc<str>, Self) {
        let name: Arc<str> = user.name.as_str().into();
        let permissions = user.permissions.as_deref().cloned().map(|p| Arc::new(p.normalized()));
        let grant = Grant {
            account: user.account.as_deref().unwrap_or(GLOBAL_ACCOUNT).into(),
            user: Some(name.clone()),
            permissions,
        };
        (name, Self { password: user.password.clone(), kinds: user.allowed_connection_types, grant })
    }
}

fn global_grant(user: Option<Arc<str>>) -> Grant {
    Grant { account: GLOBAL_ACCOUNT.into(), user, permissions: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResponsePermission, SYSTEM_ACCOUNT};

    fn build(authorization: Authorization, accounts: &[AccountDef]) -> Authenticator {
        Authenticator::new(&authorization, accounts, SYSTEM_ACCOUNT)
    }

    fn granted(authenticator: &Authenticator, credentials: &Credentials) -> Option<(String, Option<String>)> {
        match authenticator.check(credentials, ConnectionKind::Standard) {
            Verdict::Granted(grant) => {
                Some((grant.account.to_string(), grant.user.map(|user| user.to_string())))
            }
            Verdict::Denied => None,
        }
    }

    fn users(users: Vec<User>) -> Authorization {
        Authorization { users: Some(users), is_defined: true, ..Authorization::default() }
    }

    fn account(name: &str, users: &[(&str, &str)]) -> AccountDef {
        let of = |&(user, pass): &(&str, &str)| User { account: Some(name.into()), ..User::new(user, pass) };
        AccountDef { name: name.into(), users: users.iter().map(of).collect(), ..AccountDef::default() }
    }

    #[test]
    fn without_configuration_everyone_is_global() {
        let open = build(Authorization::default(), &[]);
        assert!(!open.required() && !open.is_enforced());
        assert_eq!(granted(&open, &Credentials::default()), Some(("$G".into(), None)));
        let named = Credentials::user_password("ann", "x");
        assert_eq!(granted(&open, &named), Some(("$G".into(), Some("ann".into()))));
    }

    #[test]
    fn a_single_user_needs_both_name_and_password() {
        let single = Authorization {
            user: Some("ann".into()),
            password: Some("pw".into()),
            ..Authorization::default()
        };
        let single = build(single, &[]);
        assert!(single.required());
        let cases = [("ann", "pw", true), ("ann", "", false), ("", "pw", false), ("bob", "pw", false)];
        for (user, pass, expected) in cases {
            let verdict = granted(&single, &Credentials::user_password(user, pass));
            assert_eq!(verdict.is_some(), expected, "{user}/{pass}");
        }
    }

    #[test]
    fn a_token_lets_in_and_is_not_shown() {
        let token = build(Authorization { token: Some("t0k".into()), ..Authorization::default() }, &[]);
        let shown = granted(&token, &Credentials::token("t0k"));
        assert_eq!(shown, Some(("$G".into(), Some("[REDACTED]".into()))));
        assert_eq!(granted(&token, &Credentials::token("other")), None);
        assert_eq!(granted(&token, &Credentials::user_password("t0k", "t0k")), None);
    }

    #[test]
    fn users_land_in_their_accounts() {
        let accounts = [account("A", &[("ann", "a")]), account("B", &[("bob", "b")])];
        let both = build(Authorization::default(), &accounts);
        let ann = granted(&both, &Credentials::user_password("ann", "a"));
        assert_eq!(ann, Some(("A".into(), Some("ann".into()))));
        let bob = granted(&both, &Credentials::user_password("bob", "b"));
        assert_eq!(bob, Some(("B".into(), Some("bob".into()))));
        assert_eq!(granted(&both, &Credentials::user_password("bob", "a")), None);
        assert_eq!(granted(&both, &Credentials::default()), None);
    }

    #[test]
    fn no_auth_user_stands_in_only_for_the_anonymous() {
        let mut configured = users(vec![User::new("guest", "g"), User::new("ann", "a")]);
        configured.no_auth_user = Some("guest".into());
        let guests = build(configured, &[]);
        assert!(!guests.required() && guests.is_enforced());
        assert_eq!(granted(&guests, &Credentials::default()).unwrap().1.as_deref(), Some("guest"));
        assert_eq!(granted(&guests, &Credentials::user_password("ann", "wrong")), None);
        assert_eq!(granted(&guests, &Credentials::user_password("", "x")), None);
        assert_eq!(granted(&guests, &Credentials::token("x")), None);
    }

    #[test]
    fn an_empty_list_of_users_asks_for_nothing() {
        let open = build(users(vec![]), &[]);
        assert!(!open.required());
        assert!(granted(&open, &Credentials::default()).is_some());
    }

    #[test]
    fn an_unchanged_secret_need_not_be_hashed_again() {
        let hash = bcrypt::hash("a", 4).unwrap();
        let other = bcrypt::hash("a", 4).unwrap();
        let ann = Credentials::user_password("ann", "a");
        let list = |hash: &str, account: Option<&str>| {
            let user = User { account: account.map(str::to_owned), ..User::new("ann", hash) };
            build(users(vec![user]), &[])
        };
        let before = list(&hash, None);
        assert!(list(&hash, None).unchanged_grant(&before, &ann).is_some());
        assert_eq!(&*list(&hash, Some("A")).unchanged_grant(&before, &ann).unwrap().account, "A");
        assert_eq!(list(&other, None).unchanged_grant(&before, &ann), None);
        assert_eq!(Authenticator::open().unchanged_grant(&before, &ann), None);

        let single = |hash: &str| {
            let password = Some(Password::new(hash));
            build(Authorization { user: Some("ann".into()), password, ..Authorization::default() }, &[])
        };
        let grant = single(&hash).unchanged_grant(&single(&hash), &ann).unwrap();
        assert_eq!(grant.user.as_deref(), Some("ann"));
        assert_eq!(single(&other).unchanged_grant(&single(&hash), &ann), None);

        let token =
            |text: &str| build(Authorization { token: Some(text.into()), ..Authorization::default() }, &[]);
        assert!(token(&hash).unchanged_grant(&token(&hash), &Credentials::token("a")).is_some());
        assert_eq!(token(&other).unchanged_grant(&token(&hash), &Credentials::token("a")), None);
    }

    #[test]
    fn with_only_system_users_others_are_anonymous() {
        let system = [account("$SYS", &[("admin", "s")])];
        let mixed = build(Authorization::default(), &system);
        assert!(mixed.required());
        assert_eq!(granted(&mixed, &Credentials::default()), Some(("$G".into(), None)));
        let admin = granted(&mixed, &Credentials::user_password("admin", "s"));
        assert_eq!(admin.unwrap().0, "$SYS");
        assert_eq!(granted(&mixed, &Credentials::user_password("x", "y")), None);

        let strict = Authorization { is_defined: true, ..Authorization::default() };
        assert_eq!(granted(&build(strict, &system), &Credentials::default()), None);
        let two = [account("$SYS", &[("admin", "s")]), account("A", &[])];
        assert_eq!(granted(&build(Authorization::default(), &two), &Credentials::default()), None);
    }

    #[test]
    fn connection_kinds_restrict() {
        let mut user = User::new("ann", "a");
        user.allowed_connection_types.insert(ConnectionKind::Mqtt);
        let restricted = build(users(vec![user]), &[]);
        let ann = Credentials::user_password("ann", "a");
        assert_eq!(restricted.check(&ann, ConnectionKind::Standard), Verdict::Denied);
        assert!(matches!(restricted.check(&ann, ConnectionKind::Mqtt), Verdict::Granted(_)));
    }

    #[test]
    fn asking_for_an_account_is_denied_even_when_open() {
        let by_name = Credentials { account: "A".into(), ..Credentials::default() };
        let new = Credentials { new_account: true, ..Credentials::default() };
        assert_eq!(granted(&Authenticator::open(), &by_name), None);
        assert_eq!(granted(&Authenticator::open(), &new), None);
    }

    #[test]
    fn hashing_is_announced() {
        let hash = bcrypt::hash("a", 4).unwrap();
        let mixed = build(users(vec![User::new("ann", hash), User::new("bob", "b")]), &[]);
        assert!(mixed.is_expensive(&Credentials::user_password("ann", "a")));
        assert!(!mixed.is_expensive(&Credentials::user_password("bob", "b")));
        assert!(!mixed.is_expensive(&Credentials::user_password("eve", "b")));
        assert!(granted(&mixed, &Credentials::user_password("ann", "a")).is_some());
    }

    #[test]
    fn granted_permissions_are_normalised() {
        let responses = Some(ResponsePermission::default());
        let permissions = Some(Arc::new(Permissions { responses, ..Permissions::default() }));
        let user = User { permissions, ..User::new("svc", "s") };
        let services = build(users(vec![user]), &[]);
        let verdict = services.check(&Credentials::user_password("svc", "s"), ConnectionKind::Standard);
        let Verdict::Granted(Grant { permissions: Some(permissions), .. }) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(permissions.publish.as_ref().unwrap().allow, Some(vec![]));
    }
}
