//! The end of a batch: what was gathered goes to the log, and what tells of it waits for that.

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::journal::{self, Body};
use super::{Durability, Engine};

impl<D: Disk> Engine<D> {
    /// Writes what was gathered to the log. Call it when a batch of messages is done.
    pub fn commit(&mut self) {
        self.run_requests();
        self.commit_messages();
    }

    /// The same, while there are more messages at hand: requests have their turn when those are done.
    pub fn commit_messages(&mut self) {
        self.commit_light();
        // Now that the log has all that streams have: a checkpoint says up to where in the log they are.
        if self.log.gathered_len() == 0 {
            self.checkpoint_tick();
        }
    }

    /// The same, but for checkpoints: what is left to do is told by [`Engine::next_deadline`] and [`Engine::wants_checkpoint`].
    pub fn commit_light(&mut self) {
        self.run_holds();
        self.run_sweeps();
        self.run_trims();
        self.finish_all_passed();
        self.feed_streams();
        self.remove_released();
        self.deliver();
        self.run_restores();
        self.run_snapshots();
        self.remove_released();
        self.take_news();
        self.log_consumers();
        self.write_referred();
        self.log_ends();
        self.log_copies();
        match self.write_log() {
            Ok(end) => {
                if std::mem::take(&mut self.is_staged) || self.outbox.is_open() {
                    self.barrier = end;
                }
                self.close_passed(end);
                let after = if self.options.durability == Durability::Synced { end } else { 0 };
                self.outbox.close(after);
            }
            Err(e) => self.log_failed(&e),
        }
        self.reserve();
        self.await_checkpoint();
    }

    /// Ends what is gathered with the last sequences of the streams in it.
    fn log_ends(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let mut ends = Vec::with_capacity(self.gathered.len());
        for stream_id in self.gathered.drain(..) {
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.is_gathered = false;
                ends.push((stream_id, stream.core.messages().last_sequence()));
            }
        }
        let body = Body::ends(&ends);
        self.log.append(journal::STORE, body.kind, &body.parts());
    }
}
