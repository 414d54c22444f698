//! The result of a check, in the forms that monitoring systems read.

use std::fmt::Write;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::output::{Table, shown};

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Nagios,
    Json,
    Prometheus,
    Text,
}

/// A measured number, and its limits; zero means no limit.
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) warn: f64,
    pub(super) critical: f64,
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
}

impl Metric {
    pub(super) fn new(name: &str, value: f64, unit: &'static str, help: &'static str) -> Self {
        Self { name: name.to_owned(), value, warn: 0.0, critical: 0.0, unit, help }
    }

    pub(super) fn limits(self, warn: f64, critical: f64) -> Self {
        Self { warn: warn.max(0.0), critical: critical.max(0.0), ..self }
    }

    /// Formats the metric as `name=value;warn;critical`.
    fn as_nagios(&self) -> String {
        let number =
            |value: f64| if self.unit == "s" { format!("{value:.4}") } else { format!("{value:.0}") };
        let mut text = format!("{}={}{}", self.name, number(self.value), self.unit);
        if self.warn != 0.0 {
            text += &format!(";{}", number(self.warn));
        } else if self.critical != 0.0 {
            text += ";";
        }
        if self.critical != 0.0 {
            text += &format!(";{}", number(self.critical));
        }
        text
    }
}

/// The findings of a check.
#[derive(Debug)]
pub(super) struct Outcome {
    suite: &'static str,
    name: String,
    oks: Vec<String>,
    warnings: Vec<String>,
    criticals: Vec<String>,
    metrics: Vec<Metric>,
}

impl Outcome {
    pub(super) fn new(suite: &'static str, name: &str) -> Self {
        let none = Vec::new;
        Self {
            suite,
            name: shown(name),
            oks: none(),
            warnings: none(),
            criticals: none(),
            metrics: Vec::new(),
        }
    }

    pub(super) fn ok(&mut self, text: impl Into<String>) {
        self.oks.push(text.into());
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    pub(super) fn critical(&mut self, text: impl Into<String>) {
        self.criticals.push(text.into());
    }

    /// Adds an OK text, unless there are warnings or critical findings.
    pub(super) fn ok_otherwise(&mut self, text: impl Into<String>) {
        if self.warnings.is_empty() && self.criticals.is_empty() {
            self.ok(text);
        }
    }

    pub(super) fn metric(&mut self, metric: Metric) {
        self.metrics.push(metric);
    }

    /// Compares a value with limits that it must stay below. If the critical limit is below the warning limit, it must stay above
    /// them instead. A limit that is `None` is not checked.
    pub(super) fn compare(&mut self, what: &str, value: f64, warn: Option<f64>, critical: Option<f64>) {
        let is_inverted = matches!((warn, critical), (Some(warn), Some(critical)) if critical < warn);
        let is_over = |limit: Option<f64>| match limit {
            Some(limit) if is_inverted => value <= limit,
            Some(limit) => value >= limit,
            None => false,
        };
        let text = format!("{value} {what}");
        match (is_over(critical), is_over(warn)) {
            (true, _) => self.critical(text),
            (false, true) => self.warn(text),
            (false, false) => self.ok(text),
        }
    }

    fn status(&self) -> (&'static str, i32) {
        match (self.criticals.is_empty(), self.warnings.is_empty()) {
            (false, _) => ("CRITICAL", 2),
            (true, false) => ("WARNING", 1),
            (true, true) => ("OK", 0),
        }
    }

    /// Returns the exit code; always 0 for Prometheus, which reads the status from the output.
    pub(super) fn exit_code(&self, format: Format) -> i32 {
        if format == Format::Prometheus { 0 } else { self.status().1 }
    }

    pub(super) fn render(&self, format: Format, namespace: &str) -> String {
        match format {
            Format::Nagios => self.as_nagios(),
            Format::Json => format!("{:#}", self.as_json()),
            Format::Prometheus => self.as_prometheus(namespace),
            Format::Text => self.as_text(),
        }
    }

    fn as_nagios(&self) -> String {
        let mut parts = vec![self.status().0.to_owned(), self.name.clone()];
        parts.extend(self.criticals.iter().map(|text| format!("Crit:{text}")));
        parts.extend(self.warnings.iter().map(|text| format!("Warn:{text}")));
        parts.extend(self.oks.iter().map(|text| format!("OK:{text}")));
        if !self.metrics.is_empty() {
            parts.push("|".to_owned());
            parts.extend(self.metrics.iter().map(Metric::as_nagios));
        }
        parts.join(" ")
    }

    fn as_json(&self) -> Value {
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|metric| {
                let mut value = json!({
                    "name": metric.name,
                    "value": metric.value,
                    "warning": metric.warn,
                    "critical": metric.critical,
                });
                if !metric.unit.is_empty() {
                    value["unit"] = json!(metric.unit);
                }
                value
            })
            .collect();
        let mut value =
            json!({ "status": self.status().0, "check_suite": self.suite, "check_name": self.name });
        for (field, texts) in [("warning", &self.warnings), ("critical", &self.criticals), ("ok", &self.oks)]
        {
            if !texts.is_empty() {
                value[field] = json!(texts);
            }
        }
        value["perf_data"] = Value::Array(metrics);
        value
    }

    fn as_prometheus(&self, namespace: &str) -> String {
        let item = self.name.replace('"', ".");
        let mut text = String::new();
        for metric in &self.metrics {
            let name = format!("{namespace}_{}_{}", self.suite, metric.name);
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", metric.help);
            let _ = writeln!(text, "{name}{{item=\"{item}\"}} {}", metric.value);
        }
        let name = format!("{namespace}_{}_status_code", self.suite);
        let (status, code) = self.status();
        let _ = writeln!(text, "# HELP {name} Nagios compatible status code for {}", self.suite);
        let _ = write!(text, "# TYPE {name} gauge\n{name}{{item=\"{item}\",status=\"{status}\"}} {code}");
        text
    }

    fn as_text(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.name, self.status().0);
        let mut table = Table::new("Status Detail".to_owned(), &["Status", "Message"]);
        for (status, texts) in [("OK", &self.oks), ("Warning", &self.warnings), ("Critical", &self.criticals)]
        {
            texts.iter().for_each(|message| table.row(vec![status.to_owned(), message.clone()]));
        }
        text += &table.render();
        if !self.metrics.is_empty() {
            let header =
                ["Metric", "Value", "Unit", "Critical Threshold", "Warning Threshold", "Description"];
            let mut table = Table::new("Check Metrics".to_owned(), &header);
            for metric in &self.metrics {
                table.row(vec![
                    metric.name.clone(),
                    format!("{:.4}", metric.value),
                    metric.unit.to_owned(),
                    metric.critical.to_string(),
                    metric.warn.to_string(),
                    metric.help.to_owned(),
                ]);
            }
            text += &format!("\n{}", table.render());
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_many_forms() {
        let mut outcome = Outcome::new("stream", "ORDERS");
        outcome.ok("5 messages");
        outcome.metric(Metric::new("messages", 5.0, "", "Messages stored").limits(2.0, 0.0));
        assert_eq!(outcome.render(Format::Nagios, "nats"), "OK ORDERS OK:5 messages | messages=5;2");
        outcome.warn("few");
        assert_eq!(outcome.exit_code(Format::Nagios), 1);
        outcome.critical("none");
        assert_eq!((outcome.exit_code(Format::Json), outcome.exit_code(Format::Prometheus)), (2, 0));
        let text = outcome.render(Format::Prometheus, "nats");
        assert!(text.contains("nats_stream_messages{item=\"ORDERS\"} 5\n"), "{text}");
        assert!(text.ends_with("nats_stream_status_code{item=\"ORDERS\",status=\"CRITICAL\"} 2"), "{text}");
        assert_eq!(outcome.as_json()["perf_data"][0]["warning"], 2.0);
        assert!(outcome.render(Format::Text, "").contains("few"));
    }

    #[test]
    fn limits_can_be_turned_around() {
        let found = |warn, critical| {
            let mut outcome = Outcome::new("kv", "B");
            outcome.compare("values", 5.0, warn, critical);
            outcome.exit_code(Format::Nagios)
        };
        assert_eq!(found(None, None), 0);
        assert_eq!((found(Some(5.0), Some(9.0)), found(Some(2.0), Some(5.0))), (1, 2));
        assert_eq!(
            (found(Some(9.0), Some(5.0)), found(Some(9.0), Some(2.0)), found(Some(4.0), Some(2.0))),
            (2, 1, 0)
        );
    }
}
