//! The end of a batch: writes the gathered records to the log; replies are held until the log is durable.

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::journal::{self, Body};
use super::{Durability, Engine};

impl<D: Disk> Engine<D> {
    /// Runs waiting API requests, and writes the gathered records to the log. Called at the end of each batch of messages.
    pub fn commit(&mut self) {
        self.run_requests();
        self.commit_messages();
    }

    /// Like [`Engine::commit`], without API requests: for a caller that has more messages, which come first.
    pub fn commit_messages(&mut self) {
        self.commit_light();
        // A checkpoint captures the streams up to a position of the log, so the log must have all records.
        if self.log.gathered_len() == 0 {
            self.checkpoint_tick();
        }
    }

    /// Like [`Engine::commit_messages`], without checkpoints. [`Engine::next_deadline`] and [`Engine::wants_checkpoint`] tell
    /// what is left to do.
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

    /// Gathers a record with the last sequences of the streams in this write.
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
