//! Pull requests that wait for messages.

use std::collections::VecDeque;

use super::request::Group;

/// A pull request that waits. Times are in nanoseconds since 1970, 0 for never.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// The subject to which its messages go.
    pub reply: Box<[u8]>,
    /// Number of messages that it still requests.
    pub left: i64,
    /// Number of messages that it got.
    pub delivered: u64,
    /// Bytes that it still accepts; 0 for no limit.
    pub bytes: i64,
    /// Whether it ends when no message is available.
    pub no_wait: bool,
    /// When it expires.
    pub expires: i64,
    /// Nanoseconds between its heartbeats; 0 for none.
    pub heartbeat: i64,
    /// When its next heartbeat is due.
    pub heartbeat_at: i64,
    /// Its fields about priority groups.
    pub group: Option<Box<Group>>,
    /// The last turn of the consumer (`Consumer::runs`) in which the reply subject had a subscription.
    pub seen: u64,
}

impl Waiting {
    fn priority(&self) -> i64 {
        self.group.as_ref().map_or(0, |group| group.priority)
    }

    /// When its next heartbeat or its end is due; `i64::MAX` for never.
    fn due(&self) -> i64 {
        let times = [self.expires, self.heartbeat_at];
        times.into_iter().filter(|time| *time > 0).min().unwrap_or(i64::MAX)
    }
}

/// The requests of a consumer, in the order in which they are served.
#[derive(Debug, Default)]
pub struct WaitingQueue {
    queue: VecDeque<Waiting>,
    /// The earliest time at which a heartbeat or an end may be due.
    due: i64,
}

impl WaitingQueue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the next heartbeat or end of a request is due, or a time before that.
    pub fn due(&self) -> Option<i64> {
        (!self.queue.is_empty() && self.due < i64::MAX).then_some(self.due)
    }

    /// Adds a request at the end; if `prioritized`, behind those with the same or a lower priority number.
    pub fn add(&mut self, waiting: Waiting, prioritized: bool) {
        self.due = if self.queue.is_empty() { waiting.due() } else { self.due.min(waiting.due()) };
        self.insert(waiting, prioritized);
    }

    fn insert(&mut self, waiting: Waiting, prioritized: bool) {
        if !prioritized {
            return self.queue.push_back(waiting);
        }
        let at = self.queue.partition_point(|other| other.priority() <= waiting.priority());
        self.queue.insert(at, waiting);
    }

    /// The request that is served next.
    pub fn front(&mut self) -> Option<&mut Waiting> {
        self.queue.front_mut()
    }

    /// Removes the request that is served next.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    /// Moves the first request to the end.
    pub fn rotate(&mut self) {
        if let Some(front) = self.queue.pop_front() {
            self.queue.push_back(front);
        }
    }

    /// Records that the first request got a message. It ends, or goes behind the others of its priority.
    pub fn served(&mut self, now: i64, prioritized: bool) {
        let Some(mut front) = self.queue.pop_front() else { return };
        front.delivered += 1;
        front.left = front.left.saturating_sub(1);
        if front.left > 0 {
            if front.heartbeat > 0 {
                front.heartbeat_at = now.saturating_add(front.heartbeat);
            }
            self.insert(front, prioritized);
        }
    }

    /// All requests.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.iter()
    }

    /// Keeps the requests for which `keep` returns true. `keep` may change them.
    pub fn retain(&mut self, keep: impl FnMut(&mut Waiting) -> bool) {
        self.queue.retain_mut(keep);
        self.due = self.queue.iter().map(Waiting::due).min().unwrap_or(i64::MAX);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str, left: i64, priority: i64) -> Waiting {
        let group = Some(Box::new(Group { priority, ..Group::default() }));
        Waiting { reply: name.as_bytes().into(), left, group, ..Waiting::default() }
    }

    fn serve(queue: &mut WaitingQueue, prioritized: bool, count: usize) -> String {
        let mut served = Vec::new();
        for _ in 0..count {
            if let Some(front) = queue.front() {
                served.push(String::from_utf8_lossy(&front.reply).into_owned());
            }
            queue.served(0, prioritized);
        }
        served.concat()
    }

    #[test]
    fn requests_take_turns() {
        let mut queue = WaitingQueue::default();
        queue.add(waiting("a", 2, 0), false);
        queue.add(waiting("b", 3, 0), false);
        assert_eq!(serve(&mut queue, false, 9), "ababb");
    }

    #[test]
    fn the_lowest_priority_goes_first() {
        let mut queue = WaitingQueue::default();
        queue.add(waiting("c", 1, 5), true);
        queue.add(waiting("a", 2, 1), true);
        queue.add(waiting("b", 2, 1), true);
        assert_eq!(serve(&mut queue, true, 9), "ababc");
    }
}
