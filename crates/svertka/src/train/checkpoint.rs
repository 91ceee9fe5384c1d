//! The state of a training run as a safetensors file: arrays, and the counters as JSON in its metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use svertka_formats::{Array, ArrayData, Limits, safetensors};

use super::config::TrainConfig;
use super::run::EpochRecord;
use super::step::Step;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::write_file::write_file;

const STATE: &str = "state";

/// What a run is about: another one must not be continued from its checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) config: TrainConfig,
    /// Hash of the network and its first weights.
    pub(super) network: u64,
    /// Hash of the data set.
    pub(super) data: u64,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) identity: Identity,
    /// Epochs done.
    pub(super) epoch: usize,
    /// Batches done of the epoch begun.
    pub(super) batch: usize,
    /// Sums over them.
    pub(super) loss: f64,
    pub(super) correct: usize,
    pub(super) seen: usize,
    /// Waited for them.
    pub(super) data_seconds: f64,
    /// Optimizer steps in all.
    pub(super) steps: u64,
    pub(super) seconds: f64,
    pub(super) history: Vec<EpochRecord>,
    pub(super) finished: bool,
}

impl Progress {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            epoch: 0,
            batch: 0,
            loss: 0.0,
            correct: 0,
            seen: 0,
            data_seconds: 0.0,
            steps: 0,
            seconds: 0.0,
            history: vec![],
            finished: false,
        }
    }
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

pub(super) fn save(folder: &Path, progress: &Progress, step: &Step, best: &[Tensor]) -> Result<()> {
    let (steps, state) = step.state();
    debug_assert_eq!(steps, progress.steps);
    let best = best.iter().enumerate().map(|(i, tensor)| (format!("best.{i}"), tensor.data()));
    let arrays: Vec<(String, Array)> = state
        .into_iter()
        .chain(best)
        .map(|(name, data)| (name, Array { shape: vec![data.len()], data: ArrayData::F32(data.to_vec()) }))
        .collect();
    let json = serde_json::to_string(progress)
        .map_err(|error| Error::argument("checkpoint", STATE, "counters that JSON can hold", error))?;
    let path = path(folder);
    let named = arrays.iter().map(|(name, array)| (name.as_str(), array));
    let bytes = safetensors::encode(named, &BTreeMap::from([(STATE.to_owned(), json)]))
        .map_err(Error::format(&path))?;
    write_file(&path, &bytes)
}

/// The run in `folder`, or `None` where none was begun.
pub(super) fn load(
    folder: &Path,
    identity: &Identity,
    step: &mut Step,
    best: &mut [Tensor],
) -> Result<Option<Progress>> {
    let path = path(folder);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let (arrays, metadata) = safetensors::decode(&bytes, &Limits::default()).map_err(Error::format(&path))?;
    let subject = path.display().to_string();
    let state = metadata.get(STATE).map(String::as_str).unwrap_or_default();
    let progress: Progress = serde_json::from_str(state)
        .map_err(|error| Error::argument(&subject, STATE, "the state of a training run", error))?;
    if progress.identity != *identity {
        let received = differences(&progress.identity, identity);
        let expected = "the settings of the run that began here (or a fresh start, or another folder)";
        return Err(Error::argument(subject, "run", expected, received));
    }
    let arrays: BTreeMap<String, Array> = arrays.into_iter().collect();
    let read = |name: &str, into: &mut [f32]| {
        let values = arrays.get(name).map(|array| array.data.to_f32()).unwrap_or_default();
        if values.len() != into.len() {
            return Err(Error::argument(&subject, name, format!("{} numbers", into.len()), values.len()));
        }
        into.copy_from_slice(&values);
        Ok(())
    };
    step.restore(progress.steps, read)?;
    for (i, tensor) in best.iter_mut().enumerate() {
        read(&format!("best.{i}"), tensor.data_mut())?;
    }
    Ok(Some(progress))
}

/// `lr 0.05 there, 0.1 here; other data`.
fn differences(there: &Identity, here: &Identity) -> String {
    let fields = |identity: &Identity| serde_json::to_value(&identity.config).ok();
    let mut list = Vec::new();
    if let (Some(serde_json::Value::Object(there)), Some(serde_json::Value::Object(here))) =
        (fields(there), fields(here))
    {
        for (key, value) in &here {
            let other = there.get(key).unwrap_or(&serde_json::Value::Null);
            if other != value {
                list.push(format!("{key} {other} there, {value} here"));
            }
        }
    }
    if there.network != here.network {
        list.push("another network".into());
    }
    if there.data != here.data {
        list.push("other data".into());
    }
    list.join("; ")
}
