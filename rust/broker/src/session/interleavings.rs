//! Publishers, whose caches hold the receivers of subjects, beside clients that come and go. In any order of their
//! steps, a subscriber gets every message published after its SUB, once and in order. It gets none published after its
//! UNSUB.

use super::fixture::{QUIET, Side, broker, broker_of};
use crate::broker::Broker;
use crate::closed::ClosedReason;
use crate::interleavings::explore;
use crate::options::BrokerOptions;
use crate::sync::{AtomicU64, Mutex, Ordering::SeqCst};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use std::sync::Arc;
use stonechat_auth::Authorization;
use stonechat_subject::matches;

const ITERATIONS: usize = 2000;
const PUBLISHERS: usize = 2;
const BATCHES: usize = 4;
const SUBJECTS: [&str; 2] = ["a.b", "a.c"];
const PATTERNS: [&str; 6] = ["a.b", "a.c", "a.*", "*.b", "a.>", ">"];

/// The progress of a publisher. Its messages are numbered.
#[derive(Default)]
struct Log {
    /// Subjects of the messages that are published or about to be.
    begun: Mutex<Vec<&'static str>>,
    /// Number of messages that are completely processed.
    done: AtomicU64,
}

type Logs = Arc<[Log; PUBLISHERS]>;
/// A number of messages of each publisher.
type Count = [usize; PUBLISHERS];

fn begun(logs: &Logs) -> Count {
    std::array::from_fn(|p| logs[p].begun.lock().len())
}

fn done(logs: &Logs) -> Count {
    std::array::from_fn(|p| logs[p].done.load(SeqCst) as usize)
}

fn choose(from: &[&'static str]) -> &'static str {
    from[thread_rng().gen_range(0..from.len())]
}

/// Returns a client that has sent CONNECT.
fn client(broker: &Arc<Broker>) -> Side {
    let mut side = Side::new(broker);
    side.says(QUIET);
    side
}

/// Starts a publisher. It mostly publishes several messages on one subject, so that there are runs.
fn publisher(broker: &Arc<Broker>, logs: &Logs, id: usize) -> thread::JoinHandle<()> {
    let (mut side, logs) = (client(broker), logs.clone());
    if thread_rng().gen_bool(0.5) {
        // The publisher's cache then already holds that no subscription matches.
        side.says(&SUBJECTS.map(|s| format!("PUB {s} 0\r\n\r\n").repeat(2)).concat());
    }
    thread::spawn(move || {
        let (log, mut subject) = (&logs[id], choose(&SUBJECTS));
        for _ in 0..BATCHES {
            let mut text = String::new();
            let end = {
                let mut begun = log.begun.lock();
                for _ in 0..thread_rng().gen_range(1..=5) {
                    if thread_rng().gen_bool(0.2) {
                        subject = choose(&SUBJECTS);
                    }
                    let payload = format!("{id} {}", begun.len());
                    text += &format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
                    begun.push(subject);
                }
                begun.len()
            };
            let _ = side.send(&text);
            log.done.store(end as u64, SeqCst);
        }
    })
}

/// The life of a subscription, relative to the messages of each publisher.
#[derive(Debug, Clone)]
struct Life {
    sid: usize,
    pattern: &'static str,
    /// The limit set by UNSUB, and the most messages that the subscription may get: more than the limit if it already
    /// had more.
    limit: Option<(usize, usize)>,
    /// Messages processed before SUB was sent: the subscription gets none of these.
    before: Count,
    /// Messages begun before SUB was processed: the subscription gets all later ones.
    from: Count,
    /// Messages processed before UNSUB was sent: the subscription gets all up to here.
    to: Count,
    /// Messages begun before UNSUB was processed: the subscription gets none of the later ones.
    until: Count,
}

/// A message that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrival {
    sid: usize,
    publisher: usize,
    number: usize,
}

impl Life {
    /// Subscribes, then yields a random number of times.
    fn begin(side: &mut Side, logs: &Logs, sid: usize, pattern: &'static str, queue: &str) -> Self {
        let before = done(logs);
        let _ = side.send(&format!("SUB {pattern} {queue} {sid}\r\n"));
        let from = begun(logs);
        for _ in 0..thread_rng().gen_range(0..30) {
            thread::yield_now();
        }
        let never = [usize::MAX; PUBLISHERS];
        Self { sid, pattern, limit: None, before, from, to: never, until: never }
    }

    fn limit(&mut self, side: &mut Side, max: usize) {
        let sid = self.sid.to_string();
        let sub = side.session.client().subs.lock().get(sid.as_bytes()).cloned();
        let _ = side.send(&format!("UNSUB {sid} {max}\r\n"));
        self.limit = Some((max, sub.map_or(max, |sub| max.max(sub.delivered() as usize))));
    }

    fn end(&mut self, side: &mut Side, logs: &Logs) {
        self.to = done(logs);
        let _ = side.send(&format!("UNSUB {}\r\n", self.sid));
        self.until = begun(logs);
    }

    /// Returns the matching messages between two points.
    fn between(&self, subjects: &[Vec<&str>], from: Count, to: Count) -> Vec<Arrival> {
        let one = |publisher: usize| {
            let range = from[publisher]..to[publisher].min(subjects[publisher].len());
            range
                .filter(move |&n| matches(subjects[publisher][n].as_bytes(), self.pattern.as_bytes()))
                .map(move |number| Arrival { sid: self.sid, publisher, number })
        };
        (0..PUBLISHERS).flat_map(one).collect()
    }
}

/// Returns the messages that arrived, in order.
fn arrivals(side: &Side) -> Vec<Arrival> {
    let output = side.output();
    let mut lines = output.lines();
    let mut arrivals = Vec::new();
    while let (Some(line), Some(payload)) = (lines.next(), lines.next()) {
        let sid = line.split(' ').nth(2).unwrap().parse().unwrap();
        // The publishers' first messages, which only fill caches, have empty payloads.
        let Some((publisher, number)) = payload.split_once(' ') else { continue };
        let (publisher, number) = (publisher.parse().unwrap(), number.parse().unwrap());
        arrivals.push(Arrival { sid, publisher, number });
    }
    arrivals
}

/// Checks that each publisher's messages arrive on a subscription in order, none twice.
fn check_order(arrivals: &[Arrival]) {
    let mut last = std::collections::HashMap::new();
    for a in arrivals {
        let before = last.insert((a.sid, a.publisher), a.number);
        assert!(before.is_none_or(|before| before < a.number), "{a:?} after {before:?} in {arrivals:?}");
    }
}

/// Checks that the lives of a `sid` allow each message that arrived, and that none is missing.
fn check_lives(side: &Side, lives: &[Life], arrivals: &[Arrival], subjects: &[Vec<&str>]) {
    let allowed: Vec<Arrival> = lives.iter().flat_map(|l| l.between(subjects, l.before, l.until)).collect();
    for a in arrivals {
        assert!(allowed.contains(a), "{a:?} is of no life: {lives:?}");
    }
    for life in lives {
        let due = life.between(subjects, life.from, life.to);
        match life.limit {
            None => due.iter().for_each(|due| {
                assert!(arrivals.contains(due), "{due:?} is missing: {lives:?} {arrivals:?}")
            }),
            // With several lives under one `sid`, a message can't be attributed to one of them.
            Some(_) if lives.len() > 1 => {}
            Some((max, most)) => {
                let range = max.min(due.len())..=most;
                assert!(range.contains(&arrivals.len()), "{} messages, not {range:?}", arrivals.len());
                let name = life.sid.to_string();
                let lingers = side.session.client().subs.lock().contains_key(name.as_bytes());
                assert!(arrivals.len() < max || !lingers, "it had its last message and is still there");
            }
        }
    }
}

/// Starts a client that subscribes several times; returns the client and the lives of its subscriptions.
fn subscriber(broker: &Arc<Broker>, logs: &Logs) -> thread::JoinHandle<(Side, Vec<Life>)> {
    let (mut side, logs) = (client(broker), logs.clone());
    thread::spawn(move || {
        let same_name = thread_rng().gen_bool(0.5);
        let lives = (0..3).map(|n| {
            let sid = if same_name { 1 } else { n + 1 };
            let mut life = Life::begin(&mut side, &logs, sid, choose(&PATTERNS), "");
            if thread_rng().gen_bool(0.4) {
                life.limit(&mut side, thread_rng().gen_range(1..=4));
            }
            if n < 2 || thread_rng().gen_bool(0.5) {
                life.end(&mut side, &logs);
            }
            life
        });
        let lives = lives.collect();
        (side, lives)
    })
}

/// Waits for the publishers; returns the subjects of each one's messages.
fn published(publishers: Vec<thread::JoinHandle<()>>, logs: &Logs) -> Vec<Vec<&'static str>> {
    publishers.into_iter().for_each(|p| p.join().unwrap());
    logs.iter().map(|log| log.begun.lock().clone()).collect()
}

#[test]
fn subscribers_get_what_is_published_while_they_live() {
    explore(ITERATIONS, || {
        let (broker, logs) = (broker(), Logs::default());
        let publishers: Vec<_> = (0..PUBLISHERS).map(|id| publisher(&broker, &logs, id)).collect();
        let subscribers = [subscriber(&broker, &logs), subscriber(&broker, &logs)];
        let subjects = published(publishers, &logs);
        for subscriber in subscribers {
            let (side, lives) = subscriber.join().unwrap();
            let arrivals = arrivals(&side);
            check_order(&arrivals);
            for sid in 1..=3 {
                let lives: Vec<Life> = lives.iter().filter(|l| l.sid == sid).cloned().collect();
                let arrivals: Vec<Arrival> = arrivals.iter().filter(|a| a.sid == sid).copied().collect();
                check_lives(&side, &lives, &arrivals, &subjects);
            }
        }
    });
}

#[test]
fn a_limit_ends_a_subscription_whenever_it_is_set() {
    explore(ITERATIONS, || {
        let (broker, logs) = (broker(), Logs::default());
        let publishers = vec![publisher(&broker, &logs, 0)];
        let mut side = client(&broker);
        let mut life = Life::begin(&mut side, &logs, 1, "a.*", "");
        life.limit(&mut side, thread_rng().gen_range(1..=4));
        let subjects = published(publishers, &logs);
        check_lives(&side, &[life], &arrivals(&side), &subjects);
    });
}

#[test]
fn a_name_is_free_again_once_its_subscription_is_over() {
    explore(ITERATIONS, || {
        let (broker, logs) = (broker(), Logs::default());
        let mut side = client(&broker);
        let mut first = Life::begin(&mut side, &logs, 1, "a.*", "");
        first.limit(&mut side, 1);
        let publishers = vec![publisher(&broker, &logs, 0)];
        let ended = thread_rng().gen_bool(0.5);
        if ended {
            first.end(&mut side, &logs);
        } else {
            // The subscription ends by itself; the client notices by the message.
            while side.peer.0.lock().0.is_empty() {
                thread::yield_now();
                side.session.client().outbound.flush();
            }
        }
        let second = Life::begin(&mut side, &logs, 1, "a.*", "");
        let subjects = published(publishers, &logs);
        let arrivals = arrivals(&side);
        assert!(
            side.session.client().subs.lock().contains_key(&b"1"[..]),
            "the end of the first took the second's name"
        );
        check_order(&arrivals);
        check_lives(&side, &[first, second], &arrivals, &subjects);
    });
}

#[test]
fn a_closed_client_is_given_nothing_more() {
    explore(ITERATIONS, || {
        // `max_pending` is so small that a publisher flushes and checks it again.
        let options = BrokerOptions { max_pending: 30, ..BrokerOptions::default() };
        let (broker, logs) = (broker_of(options, Authorization::default()), Logs::default());
        let mut side = client(&broker);
        let _ = side.send("SUB a.* 1\r\n");
        let publishers: Vec<_> = (0..PUBLISHERS).map(|id| publisher(&broker, &logs, id)).collect();
        for _ in 0..thread_rng().gen_range(0..30) {
            thread::yield_now();
        }
        side.session.close(ClosedReason::ClientClosed);
        let given = side.session.client().outbound.counts().msgs;
        published(publishers, &logs);
        assert_eq!(side.session.client().outbound.counts().msgs, given);
        check_order(&arrivals(&side));
    });
}

#[test]
fn a_queue_message_goes_to_one_member_while_others_come_and_go() {
    explore(ITERATIONS, || {
        let (broker, logs) = (broker(), Logs::default());
        let mut steady = client(&broker);
        let _ = steady.send("SUB a.* q 9\r\n");
        let publishers: Vec<_> = (0..PUBLISHERS).map(|id| publisher(&broker, &logs, id)).collect();
        let members: Vec<_> = (0..2)
            .map(|_| {
                let (mut side, logs) = (client(&broker), logs.clone());
                thread::spawn(move || {
                    for sid in 1..=2 {
                        let mut life = Life::begin(&mut side, &logs, sid, choose(&PATTERNS), "q");
                        match thread_rng().gen_range(0..3) {
                            0 => life.end(&mut side, &logs),
                            1 => life.limit(&mut side, thread_rng().gen_range(1..=4)),
                            _ => {}
                        }
                    }
                    side
                })
            })
            .collect();
        let subjects = published(publishers, &logs);
        let mut sides: Vec<Side> = members.into_iter().map(|m| m.join().unwrap()).collect();
        sides.push(steady);
        let mut got: Vec<(usize, usize)> = Vec::new();
        for side in &sides {
            let arrivals = arrivals(side);
            check_order(&arrivals);
            got.extend(arrivals.iter().map(|a| (a.publisher, a.number)));
        }
        got.sort_unstable();
        let all = (0..PUBLISHERS).flat_map(|p| (0..subjects[p].len()).map(move |n| (p, n)));
        assert!(all.eq(got.iter().copied()), "each once: {got:?}");
    });
}
