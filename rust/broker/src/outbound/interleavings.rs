//! Publishers, a socket that is often full, and the task that owns it. In any order of their steps, every byte leaves
//! once and in order, and some task is always responsible for pending bytes.

use super::*;
use crate::interleavings::explore;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::sync::Arc;

const ITERATIONS: usize = 4000;
const PUBLISHERS: u8 = 3;
const MESSAGES: u8 = 5;
/// Bytes of all messages.
const TOTAL: usize = PUBLISHERS as usize * MESSAGES as usize * 2;
/// Most writes of one flush; few, so that the limit is reached.
const ROUNDS: usize = 2;
/// Bytes that the socket accepts before its peer reads.
const ROOM: usize = 3;

/// The task that owns the connection. As with a real task, a wake-up while it runs makes it check again, and a wake-up
/// before its check has no effect.
#[derive(Default)]
struct Task {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Task {
    fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn begin(&self) {
        *self.woken.lock().unwrap() = false;
    }

    fn wait(&self) {
        let woken = self.woken.lock().unwrap();
        drop(self.changed.wait_while(woken, |woken| !*woken).unwrap());
    }
}

/// Both ends of a socket.
#[derive(Default)]
struct Wire {
    state: Mutex<WireState>,
    readable: Condvar,
    owner: Task,
}

#[derive(Default)]
struct WireState {
    unread: Vec<u8>,
    /// Whether the owner waits for room.
    awaited: bool,
    /// Number of written bytes after which writes fail.
    breaks_after: Option<usize>,
    written: usize,
    closed: bool,
}

impl Wire {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.breaks_after.is_some_and(|most| state.written >= most) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = ROOM - state.unread.len();
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = thread_rng().gen_range(1..=room);
        let before = state.unread.len();
        state.unread.extend(slices.iter().flat_map(|s| s.iter()).take(taken));
        let written = state.unread.len() - before;
        state.written += written;
        self.readable.notify_one();
        Ok(written)
    }

    fn is_writable(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.awaited = state.unread.len() == ROOM;
        !state.awaited
    }

    /// Waits for bytes and returns some of them; none after the end.
    fn read(&self) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let mut state = self.readable.wait_while(state, |s| s.unread.is_empty() && !s.closed).unwrap();
        let all = state.unread.len();
        let count = thread_rng().gen_range(all.min(1)..=all);
        let read = state.unread.drain(..count).collect();
        if std::mem::take(&mut state.awaited) {
            self.owner.wake();
        }
        read
    }

    fn close(&self) {
        self.state.lock().unwrap().closed = true;
        self.readable.notify_all();
    }
}

struct ToWire(Arc<Wire>);

impl Transport for ToWire {
    fn flush(&self, outbound: &Outbound) {
        outbound.write_out(ROUNDS, |slices| self.0.write(slices));
    }

    fn wake(&self) {
        self.0.owner.wake();
    }
}

/// A connection and the tasks around it.
struct World {
    wire: Arc<Wire>,
    outbound: Arc<Outbound>,
    publishers: Vec<thread::JoinHandle<()>>,
    owner: Option<thread::JoinHandle<()>>,
}

impl World {
    fn new(breaks_after: Option<usize>) -> Self {
        let wire = Arc::new(Wire::default());
        wire.state.lock().unwrap().breaks_after = breaks_after;
        let outbound = Arc::new(Outbound::new(Box::new(ToWire(wire.clone()))));
        let publishers = (0..PUBLISHERS)
            .map(|id| {
                let outbound = outbound.clone();
                thread::spawn(move || publish(&outbound, id))
            })
            .collect();
        let owner = {
            let (wire, outbound) = (wire.clone(), outbound.clone());
            Some(thread::spawn(move || own(&wire, &outbound)))
        };
        Self { wire, outbound, publishers, owner }
    }

    fn join_publishers(&mut self) {
        self.publishers.drain(..).for_each(|p| p.join().unwrap());
    }

    fn join_owner(&mut self) {
        self.owner.take().unwrap().join().unwrap();
    }

    /// Stops the owner, whatever it is doing.
    fn end_owner(&mut self) {
        self.wire.close();
        self.wire.owner.wake();
        self.join_owner();
    }
}

/// Acts as a session with its batches: appends, marks the buffer, flushes.
fn publish(outbound: &Outbound, id: u8) {
    let mut next = 0;
    while next < MESSAGES {
        let mut touched = false;
        for _ in 0..thread_rng().gen_range(1..=2).min(MESSAGES - next) {
            let mut pending = outbound.lock();
            if pending.is_closed() {
                return;
            }
            match thread_rng().gen_range(0..3) {
                0 => pending.append(&[id, next]),
                1 => pending.append_frame(&[id], &Sid::from(&[][..]), &[next]),
                _ => {
                    pending.append(&[id]);
                    pending.append_shared(&Bytes::copy_from_slice(&[next]));
                }
            }
            touched |= pending.note();
            drop(pending);
            next += 1;
        }
        if touched {
            outbound.flush();
        }
    }
}

/// Acts as a connection's task: writes on if it must, then waits until it is woken.
fn own(wire: &Wire, outbound: &Outbound) {
    loop {
        wire.owner.begin();
        if outbound.is_broken() || wire.state.lock().unwrap().closed {
            return;
        }
        if outbound.is_blocked() && wire.is_writable() {
            outbound.unblock();
            outbound.flush();
            continue;
        }
        wire.owner.wait();
    }
}

/// Checks that the complete messages of each publisher are in order and without a gap.
fn check(bytes: &[u8]) {
    let mut next = [0; PUBLISHERS as usize];
    for message in bytes.chunks_exact(2) {
        let expected = &mut next[message[0] as usize];
        assert_eq!(message[1], *expected, "of publisher {} in {bytes:?}", message[0]);
        *expected += 1;
    }
}

fn assert_at_rest(outbound: &Outbound) {
    let pending = outbound.lock();
    let left = (pending.bytes, pending.chunks.len(), pending.open.len());
    assert_eq!((left, pending.writing), ((0, 0, 0), false), "{:?}", *pending);
}

#[test]
fn every_byte_arrives_whoever_writes_it() {
    explore(ITERATIONS, || {
        let mut world = World::new(None);
        let mut got = Vec::new();
        // If no task is responsible for pending bytes, this waits for ever, and shuttle reports it.
        while got.len() < TOTAL {
            got.extend(world.wire.read());
        }
        check(&got);
        world.join_publishers();
        world.end_owner();
        assert_at_rest(&world.outbound);
        assert_eq!(world.outbound.progress(), (0, TOTAL as u64));
        assert!(!world.outbound.lock().noted, "the next publisher would leave its flush to nobody");
    });
}

#[test]
fn closing_in_the_middle_leaves_nothing_behind() {
    explore(ITERATIONS, || {
        let mut world = World::new(None);
        let mut got = Vec::new();
        for _ in 0..thread_rng().gen_range(0..6) {
            got.extend(world.wire.read());
        }
        world.outbound.close();
        world.join_publishers();
        world.end_owner();
        got.extend(std::mem::take(&mut world.wire.state.lock().unwrap().unread));
        check(&got);
        assert_at_rest(&world.outbound);
    });
}

#[test]
fn the_owner_learns_of_a_broken_connection() {
    explore(ITERATIONS, || {
        let mut world = World::new(Some(thread_rng().gen_range(0..=TOTAL - ROOM)));
        let peer = {
            let wire = world.wire.clone();
            thread::spawn(move || while !wire.read().is_empty() {})
        };
        // The owner ends because of the failed write, without a request to stop.
        world.join_owner();
        assert!(world.outbound.is_broken());
        world.outbound.close();
        world.wire.close();
        world.join_publishers();
        peer.join().unwrap();
        assert_at_rest(&world.outbound);
    });
}
