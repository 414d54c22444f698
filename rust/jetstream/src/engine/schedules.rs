//! Publishes the messages that schedules produce (ADR-51).

use stonechat_store::disk::Disk;

use super::Engine;
use crate::ids::StreamId;
use crate::stream::{Entry, Publish};

/// The most messages of a stream's schedules that are published at once.
const BUDGET: usize = 256;
/// Nanoseconds until a scheduled message is tried again if it could not be stored.
const AGAIN: i64 = 1_000_000_000;

impl<D: Disk> Engine<D> {
    /// Publishes the scheduled messages of a stream that are due.
    pub(super) fn run_schedules(&mut self, stream_id: StreamId) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if !stream.core.config().allow_msg_schedules {
            return;
        }
        for made in stream.core.take_scheduled(now, BUDGET) {
            let message = Publish { subject: &made.subject, headers: &made.headers, payload: &made.payload };
            let is_taken = self.ingest_from(stream_id, &message, true).is_ok();
            // A stored message reschedules or ends its schedule. A message that was refused or not needed does not.
            let Some(stream) = self.streams.get_mut(&stream_id) else { return };
            if !stream.core.is_due(made.sequence, now) {
                continue;
            }
            match made.next {
                Some(next) => stream.core.put_off(made.sequence, next),
                None if is_taken => {
                    let _ = self.change(stream_id, &Entry::Remove { sequences: &[made.sequence] });
                }
                None => stream.core.put_off(made.sequence, now.saturating_add(AGAIN)),
            }
        }
    }
}
