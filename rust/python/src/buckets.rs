//! The rules of buckets for Python. Arguments and results with structure are JSON texts.

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

/// Adds the functions and classes to the module.
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

/// Returns the rule that a name breaks, or `None`. `kind` is `bucket`, `key`, `filter` or `object`.
#[pyfunction]
fn broken_rule(kind: &str, name: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let (is_right, rule): (fn(&str) -> bool, String) = match kind {
        "bucket" => (names::is_bucket, format!("a name is {}", names::BUCKET_RULE)),
        "key" => (names::is_key, names::KEY_RULE.to_owned()),
        "filter" => (names::is_key_filter, format!("{}; {}", names::KEY_RULE, names::FILTER_RULE)),
        "object" => (names::is_object, names::OBJECT_RULE.to_owned()),
        _ => return Err(PyValueError::new_err(format!("no rule is called {kind}"))),
    };
    // A value that is no text, or no UTF-8, breaks every rule.
    let is_right = name.extract::<&str>().is_ok_and(is_right);
    Ok((!is_right).then_some(rule))
}

/// Returns the stream's name for a bucket of the kind `kv` or `object`.
#[pyfunction]
fn stream_name(kind: &str, bucket: &str) -> String {
    if kind == "kv" { names::kv_stream(bucket) } else { names::object_stream(bucket) }
}

/// Returns the subject of an object's description (`M`) or of the chunks with an id (`C`). Without a name, it is the
/// subject of all of them.
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

/// Returns the configuration of a bucket's stream: a new one, or `config` changed by the options.
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

/// Returns the configuration of a new object store's stream.
#[pyfunction]
fn store_config(py: Python<'_>, bucket: &str, options: &str) -> PyResult<String> {
    let options: StoreOptions = given(py, options)?;
    Ok(Value::Object(options.stream(bucket)).to_string())
}

/// Returns where a bucket's keys are: prefix, prefix for writes, whether direct gets are possible, and the largest value
/// in bytes.
#[pyfunction]
fn key_place(bucket: &str, config: &str) -> (String, String, bool, Option<u64>) {
    let place = KeyPlace::of(bucket, &read(config), None);
    (place.prefix, place.put_prefix, place.is_direct, place.max_value_size)
}

/// Returns configuration and state of a bucket, from the response of `STREAM.INFO`.
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

/// Returns configuration and state of an object store, from the response of `STREAM.INFO`.
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

/// Returns the operation that the headers `KV-Operation` and `Nats-Marker-Reason` name.
#[pyfunction]
#[pyo3(name = "operation", signature = (done, reason))]
fn operation(done: Option<&str>, reason: Option<&str>) -> &'static str {
    Operation::of(done, reason).name()
}

/// Returns the headers of a write; `operation` is `put`, `delete` or `purge`.
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

/// Returns the fields of an object's description; `None` if the payload is none.
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
    // If a header occurs several times, its last value counts.
    dict.set_item("headers", pairs(py, info.headers())?)?;
    dict.set_item("metadata", pairs(py, info.metadata())?)?;
    dict.set_item("link", info.link().map(|link| (link.bucket, link.name)))?;
    dict.set_item("deleted", info.is_deleted())?;
    dict.set_item("nuid", info.chunk_id().unwrap_or_default())?;
    dict.set_item("chunk_size", info.chunk_size())?;
    Ok(Some(dict))
}

/// Returns an object's description in its stored form.
#[pyfunction]
fn describe_object(py: Python<'_>, facts: &str) -> PyResult<Py<PyBytes>> {
    let facts: Facts = given(py, facts)?;
    Ok(PyBytes::new(py, Description::new(&facts).value.to_string().as_bytes()).unbind())
}

/// Returns an object's description, marked as deleted; `payload` is its current description.
#[pyfunction]
fn delete_object(py: Python<'_>, payload: &[u8]) -> Option<Py<PyBytes>> {
    let gone = Description::read(payload)?.deleted();
    Some(PyBytes::new(py, gone.value.to_string().as_bytes()).unbind())
}

/// Returns a digest in its stored form.
#[pyfunction]
fn digest(sha256: &[u8]) -> String {
    digest_text(sha256)
}

/// The text of an error, and the number of the wrong chunk if it is known.
type Wrong = Option<(String, Option<u64>)>;

fn wrong(damage: Option<Damage>) -> Wrong {
    damage.map(|damage| (damage.to_string(), damage.chunk()))
}

/// A check of an object's chunks, one after the other.
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

    /// Returns the error of a description that names no chunks.
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

/// Parses options that the caller gave.
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
