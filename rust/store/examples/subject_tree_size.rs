//! Measures memory and time of the subject index: `subject_tree_size [SUBJECTS]`.

use std::ops::ControlFlow;
use std::time::Instant;

use stonechat_store::index::{Filter, SubjectTree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |a| a.parse())?;
    let mut tree = SubjectTree::<(u64, u64, u64)>::default();
    let subject = |i: u64| format!("orders.{}.item.{}", i % 1000, i);
    let begin = Instant::now();
    for i in 0..count {
        tree.get_or_insert(subject(i).as_bytes(), (i, i, 1));
    }
    println!("insert: {:.0?} a subject", begin.elapsed() / count as u32);
    println!("memory: {:.1} bytes a subject", tree.heap_bytes() as f64 / count as f64);
    let begin = Instant::now();
    let found =
        (0..count).filter(|i| tree.get(subject(i.wrapping_mul(7_919) % count).as_bytes()).is_some()).count();
    println!("get: {:.0?} a subject, {found} found", begin.elapsed() / count as u32);
    for filter in ["orders.77.item.*", "orders.*.item.5", ">"] {
        let begin = Instant::now();
        let mut found = 0;
        let _ = tree.matches(&Filter::new(filter.as_bytes()), None, |_, _| {
            found += 1;
            ControlFlow::Continue(())
        });
        println!("{filter}: {found} in {:.1?}", begin.elapsed());
    }
    Ok(())
}
