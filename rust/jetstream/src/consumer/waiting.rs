//! Pull requests that wait for messages.

use std::collections::VecDeque;

use super::request::Group;

/// A request that waits. Times are nanoseconds since 1970, 0 for never.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// Where its messages go.
    pub reply: Box<[u8]>,
    /// How many it still wants.
    pub left: i64,
    /// How many it got.
    pub delivered: u64,
    /// Bytes that it still takes; 0 for no limit.
    pub bytes: i64,
    /// It does not wait for messages that are not there.
    pub no_wait: bool,
    /// When it ends.
    pub expires: i64,
    /// How often it wants a sign of life, and when the next is due.
    pub heartbeat: i64,
    /// See `heartbeat`.
    pub heartbeat_at: i64,
    /// Who asks.
    pub group: Option<Box<Group>>,
    /// The last run of the consumer in which somebody was seen to listen for the reply.
    pub seen: u64,
}

impl Waiting {
    fn priority(&self) -> i64 {
        self.group.as_ref().map_or(0, |group| group.priority)
    }

    /// When something is to be done about it.
    fn due(&self) -> i64 {
        let times = [self.expires, self.heartbeat_at];
        times.into_iter().filter(|time| *time > 0).min().unwrap_or(i64::MAX)
    }
}

/// The requests of a consumer, in the order in which they are served.
#[derive(Debug, Default)]
pub struct WaitingQueue {
    queue: VecDeque<Waiting>,
    /// Something is to be done then at the earliest.
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

    /// When something is to be done about one of them, or earlier.
    pub fn due(&self) -> Option<i64> {
        (!self.queue.is_empty() && self.due < i64::MAX).then_some(self.due)
    }

    /// Adds a request; those of less priority stay behind it if `prioritized`.
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

    /// Takes out the one that is served next.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    /// Lets the others go first.
    pub fn rotate(&mut self) {
        if let Some(front) = self.queue.pop_front() {
            self.queue.push_back(front);
        }
    }

    /// One message was taken: the request ends, or goes behind the others like it.
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

    /// Keeps those that `keep` says, which may change them.
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
