//! Loading: combines a configuration file and flags into options.

use std::path::Path;

use crate::{
    ConfigErrors, Issue, Options,
    flags::FlagSet,
    lang::{self, DiskSource, Map, ParseError, Source},
    options::read_tree,
};

/// Loaded options with their warnings.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The options, not yet validated as a whole: see [`Options::validate`].
    pub options: Options,
    /// The warnings. A configuration test counts them as errors.
    pub warnings: Vec<Issue>,
    /// The digest of the file, `sha256:<hex>`; `None` without a file.
    pub digest: Option<String>,
}

/// Loads the file at `path`. Flags override the file.
///
/// # Errors
/// Returns all errors of the file, or the error of the flags.
pub fn load(path: &Path, flags: &FlagSet) -> Result<Loaded, ConfigErrors> {
    load_with(path, flags, &DiskSource)
}

/// Like [`load`], with files and environment variables of `source`.
///
/// # Errors
/// Returns all errors of the file, or the error of the flags.
pub fn load_with(path: &Path, flags: &FlagSet, source: &dyn Source) -> Result<Loaded, ConfigErrors> {
    let options = Options { config_file: Some(path.to_path_buf()), ..Options::default() };
    let name = path.to_string_lossy();
    let mut loaded = load_tree(options, lang::parse_file(path, source), &name)?;
    flags.apply(&mut loaded.options)?;
    loaded.options.resolve();
    Ok(loaded)
}

/// Loads a text over the defaults of an embedded server. Errors use `name` as the file's name.
///
/// # Errors
/// Returns all errors of the text.
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

/// Returns the options of a command line: those of the file that `-c` names, if any. Flags override the file.
///
/// # Errors
/// Returns all errors of the file, or the error of the flags.
pub fn configure(flags: &FlagSet) -> Result<Loaded, ConfigErrors> {
    if let Some(path) = flags.config_file() {
        return load(path, flags);
    }
    let mut options = Options::default();
    flags.apply(&mut options)?;
    options.resolve();
    Ok(Loaded { options, warnings: Vec::new(), digest: None })
}
