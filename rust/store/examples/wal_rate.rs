//! Measures how many records a second the log makes durable: `wal_rate DIR [SECONDS] [BODY BYTES] [OUTSTANDING]`.
//!
//! One thread appends and writes, another syncs, as in the server. Prints records a second, syncs a second and records per CPU
//! second.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use stonechat_store::disk::RealDisk;
use stonechat_store::wal::{GroupId, Log, Options, SyncJob};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: wal_rate DIR [SECONDS] [BODY BYTES] [OUTSTANDING]")?;
    let seconds: u64 = args.next().map_or(Ok(2), |a| a.parse())?;
    let body = vec![0xa5; args.next().map_or(Ok(256), |a| a.parse())?];
    let outstanding: u64 = args.next().map_or(Ok(400), |a| a.parse())?;

    let opening = Instant::now();
    let (mut log, found) = Log::open(Arc::new(RealDisk::new(dir)?), Options::default(), 1, |_| {})?;
    println!("opened in {:.1?}: {} records", opening.elapsed(), found.records);

    let (jobs, to_sync) = mpsc::channel::<SyncJob<RealDisk>>();
    let (done, synced) = mpsc::channel();
    let syncer = std::thread::spawn(move || {
        for job in to_sync {
            if done.send(job.run()).is_err() {
                break;
            }
        }
    });
    let begin = Instant::now();
    let (mut appended, mut acknowledged, mut syncs) = (0, 0, 0u64);
    while begin.elapsed() < Duration::from_secs(seconds) {
        while appended - acknowledged < outstanding {
            log.append(GroupId(1), 1, &[&body]);
            appended += 1;
        }
        log.write()?;
        let upto = appended;
        if let Some(job) = log.sync_job() {
            jobs.send(job)?;
        }
        log.synced(synced.recv()?)?;
        (acknowledged, syncs) = (upto, syncs + 1);
        log.trim(log.durable().saturating_sub(64 << 20))?;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    drop(jobs);
    syncer.join().map_err(|_| "the syncing thread failed")?;
    println!("{:.0} records/s, {:.0} syncs/s", acknowledged as f64 / elapsed, syncs as f64 / elapsed);
    Ok(())
}
