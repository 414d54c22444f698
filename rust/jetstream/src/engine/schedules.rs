//! Publishing what schedules made (ADR-51).

use stonechat_store::disk::Disk;

use super::Engine;
use crate::ids::StreamId;
use crate::stream::{Entry, Publish};

/// Messages that a stream publishes in one go.
const BUDGET: usize = 256;
/// A message that could not be stored is tried again after so many nanoseconds.
const AGAIN: i64 = 1_000_000_000;

impl<D: Disk> Engine<D> {
    /// Publishes what is due on a stream.
    pub(super) fn run_schedules(&mut self, stream_id: StreamId) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if !stream.core.config().allow_msg_schedules {
            return;
        }
        for made in stream.core.take_scheduled(now, BUDGET) {
            let message = Publish { subject: &made.subject, headers: &made.headers, payload: &made.payload };
            let is_taken = self.ingest_from(stream_id, &message, true).is_ok();
            // The stored message puts its schedule off or ends it. One that was refused, or that nobody wants, does not.
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
