//! A configuration file and the flags together make the options.

use std::path::Path;

use crate::{
    ConfigErrors, Issue, Options,
    flags::FlagSet,
    lang::{self, DiskSource, Map, ParseError, Source},
    options::read_tree,
};

/// Options, and what was found on the way to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The options, not yet validated as a whole: see [`Options::validate`].
    pub options: Options,
    /// What is dubious; a configuration test counts it as an error.
    pub warnings: Vec<Issue>,
    /// The digest of the file, `sha256:<hex>`; `None` without a file.
    pub digest: Option<String>,
}

/// Loads the file at `path` and lays the flags over it.
///
/// # Errors
/// All that is wrong with the file or the flags.
pub fn load(path: &Path, flags: &FlagSet) -> Result<Loaded, ConfigErrors> {
    load_with(path, flags, &DiskSource)
}

/// [`load`] with files and environment of the caller's choice.
///
/// # Errors
/// All that is wrong with the file or the flags.
pub fn load_with(path: &Path, flags: &FlagSet, source: &dyn Source) -> Result<Loaded, ConfigErrors> {
    let options = Options { config_file: Some(path.to_path_buf()), ..Options::default() };
    let name = path.to_string_lossy();
    let mut loaded = load_tree(options, lang::parse_file(path, source), &name)?;
    flags.apply(&mut loaded.options)?;
    loaded.options.resolve();
    Ok(loaded)
}

/// Loads a text, called `name` in errors, over the defaults of an embedded server.
///
/// # Errors
/// All that is wrong with the text.
pub fn load_text(text: &str, name: &str) -> Result<Loaded, ConfigErrors> {
    load_tree(Options::embedded(), lang::parse_text(text, name, &DiskSource), name)
}

fn load_tree(
    mut options: Options,
    tree: Result<Map, ParseError>,
    name: &str,
) -> Result<Loaded, ConfigErrors> {
    let tree = tree?;
    let digest = lang::digest(&tree);
    let warnings = read_tree(&mut options, &tree, name)?;
    options.config_digest = Some(digest.clone());
    options.resolve();
    Ok(Loaded { options, warnings, digest: Some(digest) })
}

/// Makes the options for a command line: of the file that `-c` names, if any, with the flags over it.
///
/// # Errors
/// All that is wrong with the file or the flags.
pub fn configure(flags: &FlagSet) -> Result<Loaded, ConfigErrors> {
    if let Some(path) = flags.config_file() {
        return load(path, flags);
    }
    let mut options = Options::default();
    flags.apply(&mut options)?;
    options.resolve();
    Ok(Loaded { options, warnings: Vec::new(), digest: None })
}
