//! Turns for checks of hashed passwords, since each check occupies a core for long.
//!
//! Only a limited number run at once. Client addresses take turns: password guesses from one address don't delay logins
//! from other addresses.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The bits of an IPv6 address that a network's subscriber can't choose.
const SITE: u128 = !0 << 64;

/// The turns of a server.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Addresses with waiting connections, in the order of their turns.
    order: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn. When it is dropped, the next connection gets it.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `at_once` is the number of checks that may run at once.
    pub(crate) fn new(at_once: usize) -> Arc<Self> {
        let state = State { free: at_once.max(1), order: VecDeque::new(), waiting: HashMap::new() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Waits for a turn.
    pub(crate) async fn take(self: Arc<Self>, address: IpAddr) -> Turn {
        loop {
            let wait = {
                let mut state = self.0.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Turn(Some(Arc::clone(&self)));
                }
                state.wait(site(address))
            };
            if let Ok(turn) = wait.await {
                return turn;
            }
        }
    }
}

impl State {
    fn wait(&mut self, address: IpAddr) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        let queue = self.waiting.entry(address).or_insert_with(|| {
            self.order.push_back(address);
            VecDeque::new()
        });
        if queue.len() == queue.capacity() {
            // Connections that ended while they waited must not accumulate.
            queue.retain(|waiting| !waiting.is_closed());
        }
        queue.push_back(sender);
        receiver
    }

    /// Removes the next waiting connection from the queue.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(address) = self.order.pop_front() {
            let Some(queue) = self.waiting.get_mut(&address) else { continue };
            let next = std::iter::from_fn(|| queue.pop_front()).find(|waiting| !waiting.is_closed());
            match queue.is_empty() {
                true => drop(self.waiting.remove(&address)),
                false => self.order.push_back(address),
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        let mut state = turns.0.lock();
        while let Some(next) = state.next() {
            match next.send(Turn(Some(Arc::clone(&turns)))) {
                Ok(()) => return,
                // The connection was closed meanwhile. Its turn must not pass itself on here, under this very lock.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
        state.free += 1;
    }
}

/// Returns the address that stands for a client's whole site.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & SITE).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_take_turns() {
        let turns = Turns::new(1);
        let mut running = turns.clone().take(address("10.0.0.1")).now_or_never();
        let names = ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"];
        let mut waiting: Vec<_> =
            names.iter().map(|name| (*name, Box::pin(turns.clone().take(address(name))))).collect();
        let mut order = Vec::new();
        assert!(waiting.iter_mut().all(|(_, turn)| turn.now_or_never().is_none()));
        while !waiting.is_empty() {
            running = None;
            let at = waiting.iter_mut().position(|(_, turn)| {
                running = turn.now_or_never();
                running.is_some()
            });
            order.push(waiting.remove(at.expect("somebody's turn")).0);
        }
        assert_eq!(order, ["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.1", "fd00::2", "10.0.0.1"]);
        drop(running);
        assert!(turns.0.lock().waiting.is_empty() && turns.0.lock().free == 1);
    }

    #[test]
    fn who_gives_up_costs_no_turn_and_no_memory() {
        let turns = Turns::new(1);
        let running = turns.clone().take(address("10.0.0.1")).now_or_never();
        for _ in 0..10_000 {
            assert!(turns.clone().take(address("10.0.0.1")).now_or_never().is_none());
        }
        assert!(turns.0.lock().waiting.values().all(|queue| queue.len() < 100));
        let mut given = Box::pin(turns.clone().take(address("10.0.0.1")));
        assert!((&mut given).now_or_never().is_none());
        drop(running);
        // A connection that got its turn ends without using it.
        drop(given);
        assert!(turns.clone().take(address("10.0.0.1")).now_or_never().is_some());
        assert_eq!(turns.0.lock().free, 1);
    }
}
