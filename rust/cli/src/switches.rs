//! Yes/no flags for a field of a configuration, such as `--deny-purge` and `--no-deny-purge`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

/// One flag and the field that it sets.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The flag, such as `deny-purge`.
    pub(crate) flag: &'static str,
    /// The flag with the opposite meaning.
    pub(crate) negated: &'static str,
    /// The field of the configuration.
    pub(crate) field: &'static str,
    /// Whether the field means the opposite of the flag.
    pub(crate) is_inverted: bool,
    pub(crate) help: &'static str,
}

/// A table of switches that serve as arguments of a command.
pub(crate) trait Table {
    /// The switches.
    const SWITCHES: &'static [Switch];
}

/// The switches of a table that the command line sets.
#[derive(Clone, Debug)]
pub(crate) struct Switches<T> {
    said: Vec<(&'static Switch, bool)>,
    table: std::marker::PhantomData<T>,
}

impl<T: Table> Switches<T> {
    /// Returns the value that the command line gives a flag; `None` if it does not name it.
    pub(crate) fn get(&self, flag: &str) -> Option<bool> {
        self.said.iter().find(|(switch, _)| switch.flag == flag).map(|(_, value)| *value)
    }

    /// Sets the fields of the switches that the command line names.
    pub(crate) fn apply(&self, config: &mut Map<String, Value>) {
        for (switch, value) in &self.said {
            config.insert(switch.field.to_owned(), json!(*value != switch.is_inverted));
        }
    }
}

impl<T: Table> clap::FromArgMatches for Switches<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut said = Vec::new();
        for switch in T::SWITCHES {
            match (matches.get_flag(switch.flag), matches.get_flag(switch.negated)) {
                (true, _) => said.push((switch, true)),
                (_, true) => said.push((switch, false)),
                _ => {}
            }
        }
        Ok(Self { said, table: std::marker::PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: Table> clap::Args for Switches<T> {
    fn augment_args(command: Command) -> Command {
        T::SWITCHES.iter().fold(command, |command, switch| {
            let yes = Arg::new(switch.flag)
                .long(switch.flag)
                .action(ArgAction::SetTrue)
                .overrides_with(switch.negated)
                .help(switch.help);
            let no = Arg::new(switch.negated)
                .long(switch.negated)
                .action(ArgAction::SetTrue)
                .overrides_with(switch.flag)
                .help(format!("The contrary of --{}", switch.flag));
            command.arg(yes).arg(no)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Returns a switch whose field has the same meaning as the flag.
pub(crate) const fn switch(
    flag: &'static str,
    negated: &'static str,
    field: &'static str,
    help: &'static str,
) -> Switch {
    Switch { flag, negated, field, is_inverted: false, help }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[derive(Clone, Debug)]
    struct Two;

    impl Table for Two {
        const SWITCHES: &'static [Switch] = &[
            Switch { flag: "ack", negated: "no-ack", field: "no_ack", is_inverted: true, help: "" },
            switch("deny", "no-deny", "deny", ""),
        ];
    }

    fn applied(line: &str) -> Value {
        let command = Switches::<Two>::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        let mut config = Map::new();
        Switches::<Two>::from_arg_matches(&matches).unwrap().apply(&mut config);
        Value::Object(config)
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(applied("x"), json!({}));
        assert_eq!(applied("x --ack"), json!({ "no_ack": false }));
        assert_eq!(applied("x --ack --no-ack --deny"), json!({ "no_ack": true, "deny": true }));
        assert_eq!(applied("x --no-deny --deny --no-deny"), json!({ "deny": false }));
    }
}
