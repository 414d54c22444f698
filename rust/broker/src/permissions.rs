//! Permissions compiled for matching.

use std::sync::Arc;
use std::time::Duration;
use stonechat_auth::{Permissions, SubjectPermission};
use stonechat_subject::{Matches, Sublist, has_wildcard, is_subset, is_valid_subject};

/// What a connection may publish and subscribe to.
#[derive(Debug)]
pub(crate) struct CompiledPermissions {
    publish: Option<Filter>,
    subscribe: Option<Filter>,
    deny: Option<Arc<DenyFilter>>,
    /// `allow_responses`: messages per reply subject (0 for no limit), and the time allowed for them.
    pub(crate) responses: Option<(u64, Duration)>,
}

#[derive(Debug)]
struct Filter {
    allow: Option<Sublist<usize>>,
    deny: Option<Sublist<usize>>,
}

/// Subjects that must not be delivered even though a wider subscription matches them.
#[derive(Debug)]
pub(crate) struct DenyFilter {
    list: Sublist<usize>,
    subjects: Vec<Box<[u8]>>,
}

impl DenyFilter {
    /// Returns whether a message on `subject` must not reach a subscription of this queue group.
    pub(crate) fn denies(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let found = look_up(&self.list, subject);
        !found.plain.is_empty() || queue.is_some_and(|q| names_queue(&found, q))
    }
}

fn look_up(list: &Sublist<usize>, subject: &[u8]) -> Matches<usize> {
    let mut found = Matches::default();
    list.collect(subject, &mut found);
    found
}

/// Whether some queue pattern among the matches covers `queue`.
fn names_queue(found: &Matches<usize>, queue: &[u8]) -> bool {
    found.queues.iter().any(|q| *q.name == *queue || is_subset(queue, &q.name))
}

/// An index of permission subjects, each "subject" or "subject queue"; invalid ones are left out.
fn index(entries: &[String]) -> Sublist<usize> {
    let mut list = Sublist::new(0);
    for (i, entry) in entries.iter().enumerate() {
        let mut parts = entry.split_ascii_whitespace();
        let (Some(subject), queue) = (parts.next(), parts.next()) else { continue };
        if is_valid_subject(subject.as_bytes()) {
            list.insert(subject.as_bytes(), queue.map(str::as_bytes), i);
        }
    }
    list
}

impl Filter {
    fn new(permission: &SubjectPermission) -> Self {
        let allow = permission.allow.as_deref().map(index);
        let deny = (!permission.deny.is_empty()).then(|| index(&permission.deny));
        Self { allow, deny }
    }

    fn allows(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let named = |list: &Sublist<usize>| {
            let found = look_up(list, subject);
            match queue {
                // For a queue subscription, entries that name queues decide alone, as in nats-server 2.15.
                Some(queue) if !found.queues.is_empty() => names_queue(&found, queue),
                _ => !found.plain.is_empty(),
            }
        };
        self.allow.as_ref().is_none_or(named) && !self.deny.as_ref().is_some_and(named)
    }
}

impl CompiledPermissions {
    pub(crate) fn new(permissions: &Permissions) -> Self {
        let deny = permissions.subscribe.as_ref().filter(|s| !s.deny.is_empty()).map(|s| {
            let subjects =
                s.deny.iter().filter_map(|d| d.split_ascii_whitespace().next()).map(|d| d.as_bytes().into());
            Arc::new(DenyFilter { list: index(&s.deny), subjects: subjects.collect() })
        });
        let subscribe = permissions.subscribe.as_ref().map(|s| {
            // An empty list of allowed subjects means no list here, but not for publishing, as in nats-server 2.15.
            let allow = s.allow.clone().filter(|a| !a.is_empty());
            Filter::new(&SubjectPermission { allow, deny: s.deny.clone() })
        });
        let responses =
            permissions.responses.as_ref().map(|r| (r.max_msgs.unwrap_or(0), r.expires.unwrap_or_default()));
        Self { publish: permissions.publish.as_ref().map(Filter::new), subscribe, deny, responses }
    }

    /// Returns whether a message may be published on a subject, apart from replies to requests.
    pub(crate) fn may_publish(&self, subject: &[u8]) -> bool {
        self.publish.as_ref().is_none_or(|f| f.allows(subject, None))
    }

    /// Whether a subscription may be made.
    pub(crate) fn may_subscribe(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.as_ref().is_none_or(|f| f.allows(subject, queue))
    }

    /// Returns the filter for an allowed subscription on `subject`. `None` if the subscription can't receive denied
    /// subjects.
    pub(crate) fn deny_filter(&self, subject: &[u8], queue: Option<&[u8]>) -> Option<Arc<DenyFilter>> {
        let deny = self.deny.as_ref()?;
        let reaches = queue.is_some() || has_wildcard(subject);
        (reaches && deny.subjects.iter().any(|d| stonechat_subject::overlaps(d, subject)))
            .then(|| deny.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn queue_entries_decide_for_queue_subscriptions() {
        let subscribe =
            SubjectPermission { allow: Some(list(&["foo", "foo v1", "foo v2.*", "bar q"])), deny: vec![] };
        let p = CompiledPermissions::new(&Permissions {
            publish: None,
            subscribe: Some(subscribe),
            responses: None,
        });
        for (subject, queue, expected) in [
            ("foo", None, true),
            ("foo", Some("v1"), true),
            ("foo", Some("v2.x"), true),
            ("foo", Some("v3"), false),
            ("bar", None, false),
            ("bar", Some("q"), true),
            ("baz", None, false),
        ] {
            let got = p.may_subscribe(subject.as_bytes(), queue.map(str::as_bytes));
            assert_eq!(got, expected, "{subject} {queue:?}");
        }
    }

    #[test]
    fn a_wide_subscription_is_filtered() {
        let subscribe = SubjectPermission { allow: None, deny: list(&["a.secret", "b.>"]) };
        let p = CompiledPermissions::new(&Permissions {
            publish: None,
            subscribe: Some(subscribe),
            responses: None,
        });
        assert!(
            p.may_subscribe(b"a.*", None)
                && !p.may_subscribe(b"a.secret", None)
                && !p.may_subscribe(b"b.x", None)
        );
        let filter = p.deny_filter(b"a.*", None).unwrap();
        assert!(filter.denies(b"a.secret", None) && !filter.denies(b"a.open", None));
        assert!(p.deny_filter(b"c.*", None).is_none() && p.deny_filter(b"a.open", None).is_none());
    }
}
