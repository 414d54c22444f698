//! The limits of this machine: the same byte streams without a broker, or with one that only copies; storage syncs; memory
//! copies.

use crate::proc;
use crate::report::spread;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Returns the size in bytes of a delivered `MSG bench.0 1 N` frame.
fn frame(size: usize) -> usize {
    format!("MSG bench.0 1 {size}\r\n").len() + size + 2
}

pub(crate) fn run(runs: usize, secs: Duration, dir: &Path) -> Result<Value> {
    let mut rows = Map::new();
    let mut put = |name: String, unit: &str, values: Vec<f64>| {
        if let Some((mid, lo, hi)) = spread(&values) {
            println!("{name:<52} {mid:>12.3} {unit} [{lo:.3}..{hi:.3}]");
            rows.insert(name, json!({"unit": unit, "median": mid, "min": lo, "max": hi}));
        }
    };
    let repeat = |f: &dyn Fn() -> Result<(f64, f64)>| -> Result<(Vec<f64>, Vec<f64>)> {
        let pairs: Result<Vec<_>> = (0..runs).map(|_| f()).collect();
        Ok(pairs?.into_iter().unzip())
    };

    let (rate, _) = repeat(&|| sink(secs))?;
    for size in [16, 128, 1024, 65536] {
        let v = rate.iter().map(|r| r / frame(size) as f64 / 1e6).collect();
        put(format!("sink, {size} B messages"), "M msg/s", v);
    }
    put("sink, bytes (writer to reader)".into(), "GB/s", rate.iter().map(|r| r / 1e9).collect());
    for fan in [1, 8, 100] {
        let (rate, cpu) = repeat(&|| relay(fan, secs))?;
        put(
            format!("copying relay 1:{fan}, bytes delivered"),
            "GB/s",
            rate.iter().map(|r| r / 1e9).collect(),
        );
        put(
            format!("copying relay 1:{fan}, relay CPU per delivered GB"),
            "s",
            cpu.iter().map(|r| r * 1e9).collect(),
        );
        for size in if fan == 1 { vec![16, 128, 1024, 65536] } else { vec![128] } {
            put(
                format!("copying relay 1:{fan}, {size} B messages"),
                "M msg/s",
                rate.iter().map(|r| r / frame(size) as f64 / 1e6).collect(),
            );
            put(
                format!("copying relay 1:{fan}, {size} B, relay CPU"),
                "s/M msg",
                cpu.iter().map(|r| r * frame(size) as f64 * 1e6).collect(),
            );
        }
    }
    for hops in [1, 2] {
        let (p50, p99) = repeat(&|| echo(hops, secs))?;
        let name = if hops == 1 { "echo, no broker" } else { "request-reply through a copying relay" };
        put(format!("{name}, p50"), "us", p50);
        put(format!("{name}, p99"), "us", p99);
    }
    for (name, kind) in [
        ("fdatasync, append of 160 B", 0),
        ("fdatasync, overwrite of preallocated 160 B", 1),
        ("fsync, append of 160 B", 2),
    ] {
        let (rate, p50) = repeat(&|| sync(kind, secs, dir))?;
        put(name.into(), "syncs/s", rate);
        put(format!("{name}, p50"), "us", p50);
    }
    let (rate, _) = repeat(&|| file_write(secs, dir))?;
    put("file append through page cache, 64 KiB writes".into(), "GB/s", rate);
    for threads in [1, 2] {
        let (rate, _) = repeat(&|| Ok((copy(threads, secs, 64 << 20), 0.0)))?;
        put(format!("memcpy 64 MiB, {threads} thread(s)"), "GB/s", rate);
    }
    let (rate, _) = repeat(&|| Ok((copy(1, secs, 128 << 10), 0.0)))?;
    put("memcpy 128 KiB, 1 thread".into(), "GB/s", rate);
    Ok(rows.into())
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let l = TcpListener::bind("127.0.0.1:0")?;
    let a = TcpStream::connect(l.local_addr()?)?;
    let (b, _) = l.accept()?;
    for s in [&a, &b] {
        s.set_nodelay(true)?;
    }
    Ok((a, b))
}

fn pour(mut s: TcpStream, stop: &AtomicBool) {
    let buf = vec![b'x'; 64 << 10];
    while !stop.load(Relaxed) && s.write_all(&buf).is_ok() {}
}

/// Reads until the end, and counts the bytes.
fn drain(mut s: TcpStream, got: &AtomicU64) {
    let mut buf = vec![0u8; 256 << 10];
    while let Ok(n) = s.read(&mut buf) {
        if n == 0 {
            break;
        }
        got.fetch_add(n as u64, Relaxed);
    }
}

fn timed(got: &AtomicU64, secs: Duration) -> f64 {
    sleep(Duration::from_millis(300));
    let (at, first) = (Instant::now(), got.load(Relaxed));
    sleep(secs);
    (got.load(Relaxed) - first) as f64 / at.elapsed().as_secs_f64()
}

fn sink(secs: Duration) -> Result<(f64, f64)> {
    let (tx, rx) = pair()?;
    let (stop, got) = (AtomicBool::new(false), AtomicU64::new(0));
    Ok(scope(|t| {
        t.spawn(|| pour(tx, &stop));
        t.spawn(|| drain(rx, &got));
        let rate = timed(&got, secs);
        stop.store(true, Relaxed);
        (rate, 0.0)
    }))
}

/// Measures a relay: one thread reads 64 KiB at a time and writes it to every subscriber. Returns delivered bytes a second, and
/// the relay's CPU seconds per delivered byte.
fn relay(fan: usize, secs: Duration) -> Result<(f64, f64)> {
    let (tx, mut mid) = pair()?;
    let (mut outs, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..fan {
        let (a, b) = pair()?;
        outs.push(a);
        ends.push(b);
    }
    let (stop, got) = (AtomicBool::new(false), AtomicU64::new(0));
    Ok(scope(|t| {
        t.spawn(|| pour(tx, &stop));
        let relay = t.spawn(move || {
            let (mut buf, mut done) = (vec![0u8; 64 << 10], 0u64);
            let cpu = proc::thread_cpu();
            while let Ok(n) = mid.read(&mut buf) {
                if n == 0 {
                    break;
                }
                for o in &mut outs {
                    let _ = o.write_all(&buf[..n]);
                }
                done += (n * fan) as u64;
            }
            (proc::thread_cpu() - cpu) / done as f64
        });
        for e in ends {
            t.spawn(|| drain(e, &got));
        }
        let rate = timed(&got, secs);
        stop.store(true, Relaxed);
        (rate, relay.join().unwrap())
    }))
}

/// Measures the round trip of 40 bytes; with two hops, a relay thread forwards them, as a broker would.
fn echo(hops: usize, secs: Duration) -> Result<(f64, f64)> {
    let (mut asker, near) = pair()?;
    let (far, answerer) = pair()?;
    let bounce = |mut from: TcpStream, mut to: TcpStream| {
        let mut b = [0u8; 256];
        while let Ok(n) = from.read(&mut b) {
            if n == 0 || to.write_all(&b[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    };
    let mut ns = Vec::new();
    scope(|t| -> Result<()> {
        let join = |from: &TcpStream, to: &TcpStream| -> Result<()> {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            t.spawn(move || bounce(from, to));
            Ok(())
        };
        if hops == 1 {
            join(&near, &near)?;
        } else {
            join(&near, &far)?;
            join(&far, &near)?;
            join(&answerer, &answerer)?;
        }
        let (begin, mut b) = (Instant::now(), [0u8; 40]);
        while begin.elapsed() < secs {
            let at = Instant::now();
            asker.write_all(&b)?;
            asker.read_exact(&mut b)?;
            ns.push(at.elapsed().as_nanos() as u64);
        }
        asker.shutdown(std::net::Shutdown::Both)?;
        Ok(())
    })?;
    ns.sort_unstable();
    Ok((ns[ns.len() / 2] as f64 / 1e3, ns[ns.len() * 99 / 100] as f64 / 1e3))
}

fn sync(kind: u8, secs: Duration, dir: &Path) -> Result<(f64, f64)> {
    let path = dir.join("sync.dat");
    let f = File::create(&path)?;
    if kind == 1 {
        f.write_all_at(&vec![0; 16 << 20], 0)?;
        f.sync_all()?;
    }
    let (begin, mut at, mut ns) = (Instant::now(), 0u64, Vec::new());
    while begin.elapsed() < secs && at < 16 << 20 {
        let t0 = Instant::now();
        f.write_all_at(&[7; 160], at)?;
        if kind == 2 {
            f.sync_all()?
        } else {
            f.sync_data()?
        }
        ns.push(t0.elapsed().as_nanos() as u64);
        at += 160;
    }
    let rate = ns.len() as f64 / begin.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    ns.sort_unstable();
    Ok((rate, ns[ns.len() / 2] as f64 / 1e3))
}

fn file_write(secs: Duration, dir: &Path) -> Result<(f64, f64)> {
    let path = dir.join("append.dat");
    let mut f = File::create(&path)?;
    let buf = vec![7u8; 64 << 10];
    let (begin, mut done) = (Instant::now(), 0u64);
    while begin.elapsed() < secs && done < 2 << 30 {
        f.write_all(&buf)?;
        done += buf.len() as u64;
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64() / 1e9;
    std::fs::remove_file(path)?;
    Ok((rate, 0.0))
}

fn copy(threads: usize, secs: Duration, size: usize) -> f64 {
    scope(|t| {
        let work: Vec<_> = (0..threads)
            .map(|_| {
                t.spawn(move || {
                    let (a, mut b) = (vec![1u8; size], vec![2u8; size]);
                    let (begin, mut n) = (Instant::now(), 0u64);
                    while begin.elapsed() < secs {
                        for _ in 0..(64 << 20) / size {
                            b.copy_from_slice(black_box(&a));
                            black_box(&mut b);
                            n += size as u64;
                        }
                    }
                    n as f64 / begin.elapsed().as_secs_f64() / 1e9
                })
            })
            .collect();
        work.into_iter().map(|w| w.join().unwrap()).sum()
    })
}
