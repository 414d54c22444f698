//! Metrics of one run, medians and ratios over several runs, and their output as a table and as JSON.

use serde_json::{Map, Value, json};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Better {
    High,
    Low,
    /// Describes the run, not the server.
    Neither,
}

#[derive(Clone)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) better: Better,
    pub(crate) value: f64,
}

pub(crate) fn high(key: &'static str, value: f64) -> Metric {
    Metric { key, better: Better::High, value }
}

pub(crate) fn low(key: &'static str, value: f64) -> Metric {
    Metric { key, better: Better::Low, value }
}

pub(crate) fn note(key: &'static str, value: f64) -> Metric {
    Metric { key, better: Better::Neither, value }
}

/// Returns p50, p99 and p99.9 in microseconds, of latencies in nanoseconds.
pub(crate) fn latency(mut ns: Vec<u64>) -> Vec<Metric> {
    if ns.is_empty() {
        return vec![];
    }
    ns.sort_unstable();
    let at = |q: f64| ns[((ns.len() as f64 * q) as usize).min(ns.len() - 1)] as f64 / 1e3;
    vec![low("p50 us", at(0.5)), low("p99 us", at(0.99)), low("p99.9 us", at(0.999))]
}

/// Returns the median, the least and the greatest value.
pub(crate) fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut v: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    v.sort_by(f64::total_cmp);
    let n = v.len();
    (n > 0).then(|| ((v[(n - 1) / 2] + v[n / 2]) / 2.0, v[0], v[n - 1]))
}

fn show(x: f64) -> String {
    match x.abs() {
        a if a >= 1e6 => format!("{:.2}M", x / 1e6),
        a if a >= 1e4 => format!("{:.1}k", x / 1e3),
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.1 || a == 0.0 => format!("{x:.3}"),
        _ => format!("{x:.5}"),
    }
}

/// Results of one scenario: the metrics of each run, for each server.
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) about: String,
    pub(crate) servers: Vec<String>,
    pub(crate) runs: Vec<Vec<Vec<Metric>>>,
    pub(crate) errors: Vec<String>,
}

impl Outcome {
    fn rows(&self) -> Vec<(Metric, Vec<Vec<f64>>)> {
        let mut keys: Vec<Metric> = Vec::new();
        for m in self.runs.iter().flatten().flatten() {
            if !keys.iter().any(|k| k.key == m.key) {
                keys.push(m.clone());
            }
        }
        let pick =
            |run: &Vec<Metric>, key: &str| run.iter().find(|m| m.key == key).map_or(f64::NAN, |m| m.value);
        keys.into_iter()
            .map(|k| {
                (k.clone(), self.runs.iter().map(|s| s.iter().map(|r| pick(r, k.key)).collect()).collect())
            })
            .collect()
    }

    /// Returns the ratios of the first server to server `b`, run by run.
    fn ratios(values: &[Vec<f64>], b: usize) -> Vec<f64> {
        values[0].iter().zip(&values[b]).map(|(x, y)| x / y).collect()
    }

    pub(crate) fn print(&self) {
        println!("\n== {}: {}", self.scenario, self.about);
        for (m, values) in self.rows() {
            let mut line = format!("  {:<16}", m.key);
            for (i, name) in self.servers.iter().enumerate() {
                if let Some((mid, lo, hi)) = spread(&values[i]) {
                    line += &format!(" | {name} {:>8} [{}..{}]", show(mid), show(lo), show(hi));
                }
            }
            for b in 1..self.servers.len() {
                let mark = match m.better {
                    Better::High => "higher is better",
                    Better::Low => "lower is better",
                    Better::Neither => continue,
                };
                if let Some((mid, lo, hi)) = spread(&Self::ratios(&values, b)) {
                    line += &format!(
                        " | {}/{} {mid:.3} [{lo:.3}..{hi:.3}] {mark}",
                        self.servers[0], self.servers[b]
                    );
                }
            }
            println!("{line}");
        }
        for e in &self.errors {
            println!("  ERROR {e}");
        }
    }

    pub(crate) fn json(&self) -> Value {
        let sum = |v: &[f64]| match spread(v) {
            Some((mid, lo, hi)) => json!({"median": mid, "min": lo, "max": hi, "values": v}),
            None => Value::Null,
        };
        let mut metrics = Map::new();
        for (m, values) in self.rows() {
            let mut item = Map::new();
            let better = match m.better {
                Better::High => "higher",
                Better::Low => "lower",
                Better::Neither => "neither",
            };
            item.insert("better".into(), better.into());
            for (i, name) in self.servers.iter().enumerate() {
                item.insert(name.clone(), sum(&values[i]));
            }
            for b in 1..self.servers.len() {
                let name = format!("{}/{}", self.servers[0], self.servers[b]);
                item.insert(name, sum(&Self::ratios(&values, b)));
            }
            metrics.insert(m.key.into(), item.into());
        }
        json!({"scenario": self.scenario, "about": self.about, "metrics": metrics, "errors": self.errors})
    }
}

#[cfg(test)]
mod tests {
    use super::{Metric, Outcome, high, latency, note, show, spread};

    #[test]
    fn spread_is_median_least_and_greatest_of_what_is_finite() {
        assert_eq!(spread(&[3.0, f64::NAN, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(spread(&[f64::INFINITY]), None);
    }

    #[test]
    fn latencies_are_percentiles_in_microseconds() {
        let values: Vec<f64> =
            latency((1..=1000).map(|n| n * 1000).collect()).iter().map(|m| m.value).collect();
        assert_eq!(values, [501.0, 991.0, 1000.0]);
        assert!(latency(vec![]).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> =
            [0.0, 0.01234, 0.5, 12.34, 123.4, 12_340.0, 1.5e6].into_iter().map(show).collect();
        assert_eq!(shown, ["0.000", "0.01234", "0.500", "12.3", "123", "12.3k", "1.50M"]);
    }

    #[test]
    fn ratios_pair_the_runs_and_leave_out_what_failed() {
        let run = |rate: f64| vec![high("msgs/s", rate), note("cores", 1.0)];
        let failed: Vec<Metric> = vec![];
        let outcome = Outcome {
            scenario: "s".into(),
            about: String::new(),
            servers: vec!["a".into(), "b".into()],
            runs: vec![vec![run(4.0), run(10.0), run(9.0)], vec![run(2.0), failed, run(3.0)]],
            errors: vec![],
        };
        let json = outcome.json();
        let ratio = &json["metrics"]["msgs/s"]["a/b"];
        assert_eq!((ratio["min"].as_f64(), ratio["max"].as_f64()), (Some(2.0), Some(3.0)));
        assert_eq!(json["metrics"]["cores"]["better"], "neither");
    }
}
