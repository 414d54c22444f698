//! The rules of buckets, as Python asks for them. JSON goes in and comes out as text.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use stonechat_buckets::{
    BucketOptions, CHUNK_SIZE, ChunkCheck, Damage, Description, Facts, KeyPlace, KvStatus, LINKS_MAX,
    Operation, StoreOptions, StoreStatus, Write, digest_text, names,
};

use crate::errors;

/// Adds the rules to the module.
pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("CHUNK_SIZE", CHUNK_SIZE)?;
    module.add("LINKS_MAX", LINKS_MAX)?;
    module.add_class::<ObjectCheck>()?;
    module.add_function(wrap_pyfunction!(broken_rule, module)?)?;
    module.add_function(wrap_pyfunction!(stream_name, module)?)?;
    module.add_function(wrap_pyfunction!(object_subject, module)?)?;
    module.add_function(wrap_pyfunction!(bucket_config, module)?)?;
    module.add_function(wrap_pyfunction!(store_config, module)?)?;
    module.add_function(wrap_pyfunction!(key_place, module)?)?;
    module.add_function(wrap_pyfunction!(bucket_status, module)?)?;
    module.add_function(wrap_pyfunction!(store_status, module)?)?;
    module.add_function(wrap_pyfunction!(operation, module)?)?;
    module.add_function(wrap_pyfunction!(write_headers, module)?)?;
    module.add_function(wrap_pyfunction!(read_object, module)?)?;
    module.add_function(wrap_pyfunction!(describe_object, module)?)?;
    module.add_function(wrap_pyfunction!(delete_object, module)?)?;
    module.add_function(wrap_pyfunction!(digest, module)?)
}

/// The rule that a name breaks: of a `bucket`, a `key`, a `filter`, an `object` or the id of `chunks`; `None` if it breaks none.
#[pyfunction]
fn broken_rule(kind: &str, name: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let (is_right, rule): (fn(&str) -> bool, String) = match kind {
        "bucket" => (names::is_bucket, format!("a name is {}", names::BUCKET_RULE)),
        "key" => (names::is_key, names::KEY_RULE.to_owned()),
        "filter" => (names::is_key_filter, format!("{}; {}", names::KEY_RULE, names::FILTER_RULE)),
        "object" => (names::is_object, names::OBJECT_RULE.to_owned()),
        _ => return Err(PyValueError::new_err(format!("no rule is called {kind}"))),
    };
    // What is no text, or none that UTF-8 can write, breaks every rule.
    let is_right = name.extract::<&str>().is_ok_and(is_right);
    Ok((!is_right).then_some(rule))
}

/// The stream of a bucket, of the kind `kv` or `object`.
#[pyfunction]
fn stream_name(kind: &str, bucket: &str) -> String {
    if kind == "kv" { names::kv_stream(bucket) } else { names::object_stream(bucket) }
}

/// The subject of an object's description (`M`), or of the chunks with an id (`C`); without a name that of all.
#[pyfunction]
#[pyo3(signature = (bucket, kind, name=None))]
fn object_subject(bucket: &str, kind: &str, name: Option<&str>) -> String {
    match (kind, name) {
        ("M", Some(name)) => names::description_subject(bucket, name),
        ("M", None) => names::description_subjects(bucket),
        (_, Some(id)) => names::chunk_subject(bucket, id),
        (_, None) => names::chunk_subjects(bucket),
    }
}

/// The configuration of a bucket's stream: a new one, or `config` with the options.
#[pyfunction]
#[pyo3(signature = (bucket, options, config=None))]
fn bucket_config(py: Python<'_>, bucket: &str, options: &str, config: Option<&str>) -> PyResult<String> {
    let options: BucketOptions = given(py, options)?;
    let config = match config {
        None => options.stream(bucket),
        Some(config) => {
            let mut config: Map<String, Value> = given(py, config)?;
            options.apply(bucket, &mut config);
            config
        }
    };
    Ok(Value::Object(config).to_string())
}

/// The configuration of a new object store's stream.
#[pyfunction]
fn store_config(py: Python<'_>, bucket: &str, options: &str) -> PyResult<String> {
    let options: StoreOptions = given(py, options)?;
    Ok(Value::Object(options.stream(bucket)).to_string())
}

/// Where a bucket's keys are: prefix, prefix for writes, whether messages can be asked for directly, and the longest value.
#[pyfunction]
fn key_place(bucket: &str, config: &str) -> (String, String, bool, Option<u64>) {
    let place = KeyPlace::of(bucket, &read(config), None);
    (place.prefix, place.put_prefix, place.is_direct, place.max_value_size)
}

/// Configuration and state of a bucket, from the answer of `STREAM.INFO`.
#[pyfunction]
fn bucket_status<'py>(py: Python<'py>, info: &str) -> PyResult<Bound<'py, PyDict>> {
    let status = KvStatus::of(&read(info));
    let dict = PyDict::new(py);
    dict.set_item("values", status.values)?;
    dict.set_item("bytes", status.bytes)?;
    dict.set_item("history", status.history)?;
    dict.set_item("ttl", status.ttl_ns.map(seconds))?;
    dict.set_item("marker_ttl", status.marker_ttl_ns.map(seconds))?;
    dict.set_item("max_bytes", status.max_bytes)?;
    dict.set_item("max_value_size", status.max_value_size)?;
    dict.set_item("storage", status.storage)?;
    dict.set_item("compression", status.is_compressed)?;
    dict.set_item("description", status.description)?;
    dict.set_item("metadata", pairs(py, status.metadata)?)?;
    Ok(dict)
}

/// Configuration and state of an object store, from the answer of `STREAM.INFO`.
#[pyfunction]
fn store_status<'py>(py: Python<'py>, info: &str) -> PyResult<Bound<'py, PyDict>> {
    let status = StoreStatus::of(&read(info));
    let dict = PyDict::new(py);
    dict.set_item("bytes", status.bytes)?;
    dict.set_item("sealed", status.is_sealed)?;
    dict.set_item("ttl", status.ttl_ns.map(seconds))?;
    dict.set_item("max_bytes", status.max_bytes)?;
    dict.set_item("storage", status.storage)?;
    dict.set_item("compression", status.is_compressed)?;
    dict.set_item("description", status.description)?;
    Ok(dict)
}

/// What the headers `KV-Operation` and `Nats-Marker-Reason` say.
#[pyfunction]
#[pyo3(name = "operation", signature = (done, reason))]
fn operation(done: Option<&str>, reason: Option<&str>) -> &'static str {
    Operation::of(done, reason).name()
}

/// The headers of a write; `operation` is `put`, `delete` or `purge`.
#[pyfunction]
#[pyo3(signature = (operation, expected=None, ttl_ns=None))]
fn write_headers(operation: &str, expected: Option<u64>, ttl_ns: Option<u64>) -> Vec<(&'static str, String)> {
    let operation = match operation {
        "delete" => Operation::Delete,
        "purge" => Operation::Purge,
        _ => Operation::Put,
    };
    Write { operation, expected, ttl_ns }.headers()
}

/// The fields of an object's description; `None` if it is none.
#[pyfunction]
fn read_object<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(info) = Description::read(payload) else { return Ok(None) };
    let Some(name) = info.name() else { return Ok(None) };
    let dict = PyDict::new(py);
    dict.set_item("bucket", info.text("bucket"))?;
    dict.set_item("name", name)?;
    dict.set_item("size", info.size())?;
    dict.set_item("chunks", info.chunks())?;
    dict.set_item("digest", info.text("digest"))?;
    dict.set_item("description", info.text("description"))?;
    // The last value of a header counts.
    dict.set_item("headers", pairs(py, info.headers())?)?;
    dict.set_item("metadata", pairs(py, info.metadata())?)?;
    dict.set_item("link", info.link().map(|link| (link.bucket, link.name)))?;
    dict.set_item("deleted", info.is_deleted())?;
    dict.set_item("nuid", info.chunk_id().unwrap_or_default())?;
    dict.set_item("chunk_size", info.chunk_size())?;
    Ok(Some(dict))
}

/// An object's description as it is stored.
#[pyfunction]
fn describe_object(py: Python<'_>, facts: &str) -> PyResult<Py<PyBytes>> {
    let facts: Facts = given(py, facts)?;
    Ok(PyBytes::new(py, Description::new(&facts).value.to_string().as_bytes()).unbind())
}

/// The description of the same object, deleted; the payload is a description.
#[pyfunction]
fn delete_object(py: Python<'_>, payload: &[u8]) -> Option<Py<PyBytes>> {
    let gone = Description::read(payload)?.deleted();
    Some(PyBytes::new(py, gone.value.to_string().as_bytes()).unbind())
}

/// A digest as it is written.
#[pyfunction]
fn digest(sha256: &[u8]) -> String {
    digest_text(sha256)
}

/// What is wrong: the text, and the chunk if one is known to be wrong.
type Wrong = Option<(String, Option<u64>)>;

fn wrong(damage: Option<Damage>) -> Wrong {
    damage.map(|damage| (damage.to_string(), damage.chunk()))
}

/// Checks the chunks of an object, one after the other.
#[pyclass(module = "stonechat._stonechat")]
pub(crate) struct ObjectCheck(ChunkCheck);

#[pymethods]
impl ObjectCheck {
    #[new]
    fn new(size: u64, chunks: u64, chunk_size: u64, digest: String) -> Self {
        Self(ChunkCheck::new(size, chunks, chunk_size, digest))
    }

    #[getter]
    fn is_whole(&self) -> bool {
        self.0.is_whole()
    }

    /// The description names no chunks.
    fn unnamed(&self) -> (String, Option<u64>) {
        let damage = Damage::NoChunks;
        (damage.to_string(), damage.chunk())
    }

    fn late(&self) -> (String, Option<u64>) {
        let damage = self.0.late();
        (damage.to_string(), damage.chunk())
    }

    fn take(&mut self, pending: u64, length: u64) -> Wrong {
        wrong(self.0.take(pending, length).err())
    }

    fn finish(&self, digest: &[u8]) -> Wrong {
        wrong(self.0.finish(digest).err())
    }

    fn miscounted(&self, sequences: Vec<u64>, last: u64) -> Wrong {
        wrong(self.0.miscounted(&sequences, last))
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Options as they were given.
fn given<T: DeserializeOwned>(py: Python<'_>, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| errors::rule(py, &format!("an option can't be read: {error}")))
}

#[expect(clippy::cast_precision_loss, reason = "seconds are told as floats")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn pairs<K: AsRef<str>>(py: Python<'_>, pairs: Vec<(K, String)>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, text) in pairs {
        dict.set_item(name.as_ref(), text)?;
    }
    Ok(dict)
}
