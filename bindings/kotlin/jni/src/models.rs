//! Opening bundles and models, looking at them, and slots.

use std::sync::{Arc, Once};

use jni::Env;
use jni::objects::JObject;
use limbeck_sdk::runtime::{self, Provider};
use limbeck_sdk::{Bundle, BundleOptions, Model, PublicKey, Slot};

use crate::callbacks::Decryptor;
use crate::failure::Failure;
use crate::handles;
use crate::wire::{Reader, Writer};
use crate::{descriptor, locate};

type Reply = Result<Vec<u8>, Failure>;

fn number(value: i64) -> Reply {
    let mut out = Writer::default();
    out.long(value);
    out.finish()
}

/// Loads ONNX Runtime: its version, and its path.
pub(crate) fn load_runtime(from: &mut Reader) -> Reply {
    static PROVIDE: Once = Once::new();
    PROVIDE.call_once(|| {
        if let Some(folder) = locate::library_dir() {
            runtime::provide_search_dir(folder);
        }
    });
    let path = Some(from.text()?).filter(|path| !path.is_empty());
    let info = runtime::load(path.map(std::path::Path::new))?;
    let mut out = Writer::default();
    out.text(&info.version).text(&info.path.to_string_lossy());
    out.finish()
}

/// Opens a bundle: from a path (0), from bytes (1), or from a part of an open file (2).
pub(crate) fn open_bundle(env: &Env, from: &mut Reader, decryptor: &JObject) -> Reply {
    let mut options: BundleOptions = Bundle::options();
    if from.flag()? {
        options = options.trusted_keys(keys(&from.texts()?)?);
    }
    if let Some(build) = from.count("minimumBuild")? {
        options = options.minimum_build(build);
    }
    if let Some(limit) = from.count("sizeLimit")? {
        options = options.size_limit(limit);
    }
    if !decryptor.is_null() {
        let decryptor = Decryptor::new(env, decryptor)?;
        options = options.decrypt(move |section, stored| decryptor.decrypt(&section.name, stored));
    }
    let bundle = match from.int()? {
        0 => options.open(path(from.text()?)?)?,
        1 => options.open_bytes(from.bytes()?)?,
        2 => {
            let file = descriptor::duplicate(from.int()?).map_err(Failure::argument)?;
            options.open_file(file, from.count("offset")?.unwrap_or(0), from.count("length")?)?
        }
        other => return Err(Failure::internal(format!("source {other}"))),
    };
    given_bundle(bundle)
}

/// What the system cuts off at a NUL would name another file.
fn path(path: &str) -> Result<&str, Failure> {
    match path {
        "" => Err(Failure::argument("path is empty")),
        path if path.contains('\0') => Err(Failure::argument("path has a NUL inside")),
        path => Ok(path),
    }
}

fn keys(keys: &[&str]) -> limbeck_sdk::Result<Vec<PublicKey>> {
    keys.iter().map(|key| PublicKey::from_hex(key)).collect()
}

/// The number of a bundle, and what it says of itself.
fn given_bundle(bundle: Bundle) -> Reply {
    let manifest = bundle.manifest();
    let json = serde_json::to_string(manifest).map_err(Failure::internal)?;
    let mut out = Writer::default();
    out.text(&manifest.id).text(&manifest.version).size(manifest.build).text(manifest.task.name());
    out.size(manifest.max_tokens).size(bundle.size()).texts(bundle.labels()).text(&json);
    // None if the section with them cannot be read, as in C.
    out.texts(&bundle.signers().unwrap_or_default());
    out.long(handles::give(bundle));
    out.finish()
}

pub(crate) fn verify_bundle(from: &mut Reader) -> Reply {
    let bundle: Bundle = handles::get(from.long()?)?;
    let keys = keys(&from.texts()?)?;
    let signer = bundle.verify(&keys)?;
    number(keys.iter().position(|key| key.id() == signer).and_then(|at| i64::try_from(at).ok()).unwrap_or(0))
}

pub(crate) fn open_model(from: &mut Reader) -> Reply {
    let bundle: Bundle = handles::get(from.long()?)?;
    let mut builder = Model::builder();
    if let Some(threads) = from.size("threads")? {
        builder = builder.threads(threads);
    }
    if let Some(sessions) = from.size("sessions")? {
        builder = builder.sessions(sessions);
    }
    builder = builder.spinning(from.flag()?);
    if let Some(budget) = from.count("memoryBudget")? {
        builder = builder.memory_budget(budget);
    }
    let providers = from.texts()?.into_iter().map(str::parse::<Provider>).collect::<limbeck_sdk::Result<Vec<_>>>()?;
    given_model(Arc::new(builder.providers(providers).open_bundle(bundle)?))
}

/// The number of a model, and what never changes of it.
fn given_model(model: Arc<Model>) -> Reply {
    let manifest = model.bundle().manifest();
    let mut out = Writer::default();
    out.text(&manifest.id).text(manifest.task.name());
    out.size(manifest.embedding.as_ref().map_or(0, |embedding| embedding.dimensions));
    out.text(&model.mask_token().unwrap_or_default());
    out.long(handles::give(model));
    out.finish()
}

fn model(from: &mut Reader) -> Result<Arc<Model>, Failure> {
    handles::get(from.long()?)
}

pub(crate) fn model_bundle(from: &mut Reader) -> Reply {
    given_bundle(model(from)?.bundle().clone())
}

pub(crate) fn warm_up(from: &mut Reader) -> Reply {
    model(from)?.warm_up()?;
    Ok(Vec::new())
}

pub(crate) fn self_test(from: &mut Reader) -> Reply {
    let report = model(from)?.self_test()?;
    let mut out = Writer::default();
    out.size(report.vectors).float(report.largest_difference).float(report.tolerance);
    out.finish()
}

pub(crate) fn count_tokens(from: &mut Reader) -> Reply {
    let tokens = model(from)?.tokenize(from.text()?)?.ids.len();
    number(i64::try_from(tokens).unwrap_or(i64::MAX))
}

pub(crate) fn providers(from: &mut Reader) -> Reply {
    let model = model(from)?;
    let report = model.providers();
    let mut out = Writer::default();
    out.list(&report.requested, |out, provider| {
        out.text(provider.name());
    });
    out.list(&report.refused, |out, (provider, reason)| {
        out.text(provider.name()).text(reason);
    });
    out.list(&report.nodes.iter().collect::<Vec<_>>(), |out, (name, nodes)| {
        out.text(name).size(**nodes);
    });
    out.finish()
}

pub(crate) fn memory(from: &mut Reader) -> Reply {
    let model = model(from)?;
    let plan = model.memory();
    let mut out = Writer::default();
    out.size(plan.budget.unwrap_or(0)).size(plan.expected).size(plan.sessions).size(plan.batch_tokens);
    out.flag(plan.prepacked);
    out.finish()
}

pub(crate) fn metrics(from: &mut Reader) -> Reply {
    let limbeck_sdk::Metrics { calls, failures, runs, rows, tokens, padding, run_micros, .. } = model(from)?.metrics();
    let mut out = Writer::default();
    for value in [calls, failures, runs, rows, tokens, padding, run_micros] {
        out.size(value);
    }
    out.finish()
}

pub(crate) fn slot_new(from: &mut Reader) -> Reply {
    number(handles::give(Arc::new(Slot::new(model(from)?))))
}

fn slot(from: &mut Reader) -> Result<Arc<Slot>, Failure> {
    handles::get(from.long()?)
}

pub(crate) fn slot_model(from: &mut Reader) -> Reply {
    given_model(slot(from)?.model())
}

pub(crate) fn slot_generation(from: &mut Reader) -> Reply {
    generation(slot(from)?.generation())
}

pub(crate) fn slot_publish(from: &mut Reader) -> Reply {
    let (slot, model) = (slot(from)?, model(from)?);
    generation(slot.publish(model)?)
}

pub(crate) fn slot_roll_back(from: &mut Reader) -> Reply {
    generation(slot(from)?.roll_back()?)
}

pub(crate) fn slot_forget_previous(from: &mut Reader) -> Reply {
    slot(from)?.forget_previous();
    Ok(Vec::new())
}

fn generation(generation: u64) -> Reply {
    number(i64::try_from(generation).unwrap_or(i64::MAX))
}
