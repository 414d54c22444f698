//! `powercut DIR MEGABYTES`: provides a disk as the file `disk` in the directory DIR, and cuts its power on command.
//!
//! It reads commands from standard input and answers each with one line:
//!
//! - `cut SEED` cuts the power. The answer is the number of pages that were not synced. From then on, the disk returns errors.
//! - `arm SEED WRITES` makes the power fail by itself, at the first write after WRITES more.
//! - `on` turns the power on and mounts the disk again, with the data that the cut left.
//!
//! It ends at the end of its input.

#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod fuse;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    use std::io::{BufRead, Error, ErrorKind};
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex, PoisonError};

    let usage = || Error::new(ErrorKind::InvalidInput, "usage: powercut DIR MEGABYTES");
    let mut args = std::env::args_os().skip(1);
    let dir = PathBuf::from(args.next().ok_or_else(usage)?);
    let megabytes = args.next().and_then(|n| n.to_str()?.parse::<usize>().ok()).ok_or_else(usage)?;
    let disk = Arc::new(Mutex::new(disk::Disk::new(megabytes << 20)));
    let mut session = Some(fuse::mount(&disk, &dir)?);
    println!("{}", dir.join(fuse::NAME).display());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some(command @ ("cut" | "arm")) => {
                let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let (seed, writes) = (number(), number());
                let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
                if command == "arm" {
                    disk.arm(seed, writes);
                    println!("armed");
                } else {
                    println!("{}", disk.cut(seed));
                }
            }
            Some("on") => {
                // Mount again, so that nothing is left of the kernel's cache of the file.
                drop(session.take());
                disk.lock().unwrap_or_else(PoisonError::into_inner).turn_on();
                session = Some(fuse::mount(&disk, &dir)?);
                println!("on");
            }
            _ => println!("unknown command: {line}"),
        }
    }
    drop(session);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("powercut needs Linux: it is a FUSE file system under a loop device");
    std::process::exit(1);
}
