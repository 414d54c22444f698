//! Permissions to publish and subscribe. These are definitions only; the broker compiles them into matchers.

use std::time::Duration;

/// Permissions of a user, or the defaults of an account or of the authorization block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects that may be published to; `None` means all.
    pub publish: Option<SubjectPermission>,
    /// Subjects that may be subscribed to; `None` means all. An entry may be `"subject queue"`.
    pub subscribe: Option<SubjectPermission>,
    /// The bounds within which replies to received requests are allowed.
    pub responses: Option<ResponsePermission>,
}

impl Permissions {
    /// Converts the definition into the form that is enforced. With `responses` set, a user without an allow list for
    /// publishing may publish only replies: `publish.allow` becomes `Some([])`.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        if self.responses.is_some() {
            let publish = self.publish.get_or_insert_with(SubjectPermission::default);
            publish.allow.get_or_insert_with(Vec::new);
        }
        self
    }
}

/// Allowed and denied subjects. A subject passes if some `allow` entry matches (or there is no allow list) and no
/// `deny` entry matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectPermission {
    /// The allow list. `None` allows every subject; an empty list allows none.
    pub allow: Option<Vec<String>>,
    /// The deny list; it wins over `allow`.
    pub deny: Vec<String>,
}

/// `allow_responses`: how many replies to one received request may be published, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsePermission {
    /// The number of replies; `None` for no limit.
    pub max_msgs: Option<u64>,
    /// How long after the request replies are allowed; `None` for no limit.
    pub expires: Option<Duration>,
}

impl ResponsePermission {
    /// Replies allowed when the configuration names no number.
    pub const DEFAULT_MAX_MSGS: u64 = 1;
    /// Time allowed for replies when the configuration names none.
    pub const DEFAULT_EXPIRES: Duration = Duration::from_secs(120);
}

impl Default for ResponsePermission {
    fn default() -> Self {
        Self { max_msgs: Some(Self::DEFAULT_MAX_MSGS), expires: Some(Self::DEFAULT_EXPIRES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_responses_closes_an_unset_publish_list() {
        let responses = Some(ResponsePermission::default());
        let closed = Permissions { responses, ..Permissions::default() }.normalized();
        assert_eq!(closed.publish, Some(SubjectPermission { allow: Some(vec![]), deny: vec![] }));

        let listed = SubjectPermission { allow: Some(vec!["a".into()]), deny: vec![] };
        let kept =
            Permissions { publish: Some(listed.clone()), responses, ..Permissions::default() }.normalized();
        assert_eq!(kept.publish, Some(listed));

        assert_eq!(Permissions::default().normalized().publish, None);
    }
}
