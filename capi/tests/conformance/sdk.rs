//! A case, run through the sdk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use limbeck_sdk::{
    Aggregation, AnswerOptions, Bundle, Cancel, ClassifyOptions, EmbedOptions, Error, FewShotHead, FewShotOptions,
    FillMaskOptions, Model, OrderOptions, Overflow, PublicKey, ReplacedOptions, RerankOptions, Result, Slot,
    TagOptions, ZeroShotOptions,
};
use serde_json::{Map, Value, json};

use crate::file::Case;
use crate::{support, writing};

/// Every `call` there is.
pub const CALLS: [&str; 20] = [
    "answer",
    "choose",
    "classify",
    "count_tokens",
    "embed",
    "fill_mask",
    "generate",
    "head",
    "model",
    "nearest",
    "open",
    "order",
    "perplexity",
    "replaced",
    "rerank",
    "score",
    "similarity",
    "slot",
    "tag",
    "zero_shot",
];

/// The models that were opened so far.
pub struct World {
    folder: PathBuf,
    models: HashMap<String, Arc<Model>>,
}

impl World {
    pub fn new(folder: PathBuf) -> World {
        World { folder, models: HashMap::new() }
    }

    /// What comes of a case, in the form of its `expect`; a message is whole.
    pub fn run(&mut self, case: &Case) -> Value {
        self.try_run(case).unwrap_or_else(|error| failure(&error))
    }

    fn model(&mut self, name: &str) -> Result<Arc<Model>> {
        if let Some(model) = self.models.get(name) {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::builder().runtime_path(support::onnxruntime()).open(self.folder.join(name))?);
        self.models.insert(name.to_owned(), Arc::clone(&model));
        Ok(model)
    }

    fn try_run(&mut self, case: &Case) -> Result<Value> {
        let input = case.get("input");
        let o = Options(case.get("options"));
        o.check(case);
        let model = match case.get("bundle").as_str() {
            Some(bundle) if case.call != "open" => Some(self.model(bundle)?),
            _ => None,
        };
        let model = model.as_deref();
        let text = |name: &str| text(&input[name]);
        match case.call.as_str() {
            "classify" => {
                let model = model.unwrap();
                let options = o.classify();
                if input.get("text").is_some() {
                    return Ok(result(model.classify_with(&text("text"), &options)?));
                } else if input.get("pair").is_some() {
                    let pair = texts(&input["pair"]);
                    return Ok(result(model.classify_pair_with(&pair[0], &pair[1], &options)?));
                } else if input.get("pairs").is_some() {
                    return with_pairs(&input["pairs"], |pairs| model.classify_pairs(pairs, &options)).map(results);
                }
                with_texts(&input["texts"], |texts| model.classify_batch(texts, &options)).map(results)
            }
            "zero_shot" => {
                let (model, options) = (model.unwrap(), o.zero_shot());
                with_texts(&input["labels"], |labels| {
                    if input.get("text").is_some() {
                        return Ok(result(model.zero_shot_with(&text("text"), labels, &options)?));
                    }
                    with_texts(&input["texts"], |texts| model.zero_shot_batch(texts, labels, &options)).map(results)
                })
            }
            "rerank" => {
                let (model, options) = (model.unwrap(), o.rerank());
                with_texts(&input["texts"], |texts| model.rerank(&text("query"), texts, &options)).map(results)
            }
            "tag" => {
                let (model, options) = (model.unwrap(), o.tag());
                if input.get("text").is_some() {
                    return Ok(result(model.tag_with(&text("text"), &options)?));
                }
                with_texts(&input["texts"], |texts| model.tag_batch(texts, &options)).map(results)
            }
            "answer" => {
                let (model, options) = (model.unwrap(), o.answer());
                if input.get("text").is_some() {
                    return Ok(result(model.answer_with(&text("question"), &text("text"), &options)?));
                }
                with_pairs(&input["questions"], |pairs| model.answer_batch(pairs, &options)).map(results)
            }
            "embed" => {
                let (model, options) = (model.unwrap(), o.embed());
                if input.get("text").is_some() {
                    return Ok(result(model.embed_with(&text("text"), &options)?));
                }
                with_texts(&input["texts"], |texts| model.embed_batch(texts, &options)).map(results)
            }
            "fill_mask" => {
                let (model, options) = (model.unwrap(), o.fill_mask());
                if input.get("text").is_some() {
                    return Ok(result(model.fill_mask_with(&text("text"), &options)?));
                }
                with_texts(&input["texts"], |texts| model.fill_mask_batch(texts, &options)).map(results)
            }
            "order" => {
                let (model, options) = (model.unwrap(), o.order());
                if input.get("pair").is_some() {
                    let pair = texts(&input["pair"]);
                    return Ok(result(model.order_with(&pair[0], &pair[1], &options)?));
                }
                with_pairs(&input["pairs"], |pairs| model.order_batch(pairs, &options)).map(results)
            }
            "replaced" => {
                let (model, options) = (model.unwrap(), o.replaced());
                if input.get("text").is_some() {
                    return Ok(result(model.replaced_with(&text("text"), &options)?));
                }
                with_texts(&input["texts"], |texts| model.replaced_batch(texts, &options)).map(results)
            }
            "generate" => writing::generate(case, model.unwrap(), &o),
            "choose" => writing::choose(case, model.unwrap(), &o),
            "score" => writing::score(case, model.unwrap(), &o),
            "perplexity" => writing::perplexity(case, model.unwrap(), &o),
            "head" => {
                let mut options = FewShotOptions::new().embed(o.embed());
                if let Some(strength) = input["strength"].as_f64().filter(|strength| *strength != 0.0) {
                    options = options.strength(strength);
                }
                let on = match input["on"].as_str() {
                    Some(other) => Some(self.model(other)?),
                    None => None,
                };
                let model = model.unwrap();
                let head = with_pairs(&input["examples"], |pairs| FewShotHead::fit(model, pairs, &options))?;
                let saved = tempfile::tempdir().unwrap();
                let path = saved.path().join("head.json");
                head.save(&path)?;
                let head = FewShotHead::load(&path)?;
                let (on, options) = (on.as_deref().unwrap_or(model), o.classify());
                let answers = with_texts(&input["texts"], |texts| head.classify(on, texts, &options))?;
                let mut found = json!({"labels": head.labels()});
                found["results"] = results(answers)["results"].take();
                Ok(found)
            }
            "count_tokens" => Ok(json!({"tokens": model.unwrap().tokenize(&text("text"))?.ids.len()})),
            "model" => {
                let model = model.unwrap();
                let report = model.self_test()?;
                let bundle = model.bundle();
                let size = bundle.manifest().embedding.as_ref().map_or(0, |spec| spec.dimensions);
                let mask = model.mask_token().unwrap_or_default();
                Ok(json!({"task": bundle.manifest().task.name(), "embedding_size": size, "mask_token": mask,
                    "self_test_vectors": report.vectors}))
            }
            "similarity" => {
                let similarity = limbeck_sdk::similarity(&floats(&input["first"]), &floats(&input["second"]))?;
                Ok(json!({"similarity": similarity}))
            }
            "nearest" => {
                let vectors: Vec<Vec<f32>> = input["vectors"].as_array().unwrap().iter().map(floats).collect();
                let k = input["k"].as_u64().unwrap() as usize;
                Ok(json!({"nearest": limbeck_sdk::nearest(&floats(&input["query"]), &vectors, k)?}))
            }
            "open" => self.open(case),
            "slot" => self.slot(case),
            other => panic!("{}: unknown call {other:?}", case.name),
        }
    }

    fn open(&self, case: &Case) -> Result<Value> {
        let (input, path) = (case.get("input"), self.folder.join(case.get("bundle").as_str().unwrap()));
        let mut options = Bundle::options();
        if let Some(keys) = input["keys"].as_array() {
            let keys = keys.iter().map(|key| PublicKey::from_hex(key.as_str().unwrap())).collect::<Result<Vec<_>>>()?;
            options = options.trusted_keys(keys);
        }
        if let Some(build) = input["minimum_build"].as_u64() {
            options = options.minimum_build(build);
        }
        if let Some(key) = input["decrypt_xor"].as_u64() {
            options = options.decrypt(move |_, stored| Ok(stored.iter().map(|byte| byte ^ key as u8).collect()));
        }
        let bundle = match &input["damage"] {
            Value::Null => options.open(path)?,
            damage => {
                let mut bytes = std::fs::read(path).unwrap();
                if let Some(length) = damage["cut"].as_u64() {
                    bytes.truncate(length as usize);
                }
                if let Some(at) = damage["flip"].as_u64() {
                    bytes[at as usize] ^= 1;
                }
                if let Some(text) = damage["replace"].as_str() {
                    bytes = text.into();
                }
                options.open_bytes(bytes)?
            }
        };
        let manifest = bundle.manifest();
        Ok(json!({"bundle": {"id": manifest.id, "version": manifest.version, "build": manifest.build,
            "task": manifest.task.name(), "max_tokens": manifest.max_tokens, "size": bundle.size(),
            "labels": bundle.labels(), "signers": bundle.signers()?}}))
    }

    fn slot(&mut self, case: &Case) -> Result<Value> {
        let slot = Slot::new(self.model(case.get("bundle").as_str().unwrap())?);
        let mut steps = Vec::new();
        for step in case.get("input")["steps"].as_array().unwrap() {
            let done = match (&step["publish"], step["do"].as_str()) {
                (Value::String(bundle), _) => self.model(bundle).and_then(|model| slot.publish(model)).map(|_| ()),
                (_, Some("roll_back")) => slot.roll_back().map(|_| ()),
                (_, Some("forget_previous")) => {
                    slot.forget_previous();
                    Ok(())
                }
                other => panic!("{}: no such step: {other:?}", case.name),
            };
            let mut found = match done {
                Ok(()) => json!({}),
                Err(error) => failure(&error),
            };
            found["generation"] = json!(slot.generation());
            found["build"] = json!(slot.model().bundle().manifest().build);
            steps.push(found);
        }
        Ok(json!({"steps": steps}))
    }
}

/// The options of a case.
pub struct Options<'a>(pub &'a Value);

impl Options<'_> {
    fn check(&self, case: &Case) {
        const LIMITS: [&str; 2] = ["deadline_ms", "cancelled"];
        let known: &[&str] = match case.call.as_str() {
            "generate" => &[
                "max_new_tokens",
                "temperature",
                "top_p",
                "top_k",
                "seed",
                "repetition_penalty",
                "ignore_eos",
                "stops",
                "context",
                "context_keep",
            ],
            "choose" => &["scoring", "answer_context", "content_free"],
            "score" => &[],
            "perplexity" => &["stride", "from_start"],
            _ => &[
                "overflow",
                "window_stride",
                "top_k",
                "threshold",
                "out_of_scope",
                "aggregation",
                "multi_label",
                "max_answer_tokens",
                "hypothesis",
                "rank_label",
                "both_orders",
            ],
        };
        let is_known = |key: &str| LIMITS.contains(&key) || known.contains(&key);
        let unknown = self.0.as_object().and_then(|options| options.keys().find(|key| !is_known(key)));
        assert!(unknown.is_none(), "{}: unknown option {unknown:?}", case.name);
    }

    pub fn number(&self, name: &str) -> Option<f32> {
        self.0[name].as_f64().map(|value| value as f32)
    }

    pub fn count(&self, name: &str) -> Option<usize> {
        self.0[name].as_u64().map(|value| value as usize)
    }

    fn overflow(&self) -> Option<Overflow> {
        match (self.0["overflow"].as_str(), self.count("window_stride")) {
            (None, _) => None,
            (Some("truncate"), _) => Some(Overflow::Truncate),
            (Some("error"), _) => Some(Overflow::Error),
            (Some("window"), None) => Some(Overflow::AutoWindow),
            (Some("window"), Some(stride)) => Some(Overflow::Window { stride }),
            (Some(other), _) => panic!("no such overflow: {other}"),
        }
    }

    fn aggregation(&self) -> Option<Aggregation> {
        match self.0["aggregation"].as_str() {
            None => None,
            Some("first") => Some(Aggregation::First),
            Some("average") => Some(Aggregation::Average),
            Some("max") => Some(Aggregation::Max),
            Some("strict") => Some(Aggregation::Strict),
            Some("none") => Some(Aggregation::None),
            Some(other) => panic!("no such aggregation: {other}"),
        }
    }

    pub fn cancel(&self) -> Option<Cancel> {
        self.0["cancelled"].as_bool().map(|triggered| {
            let cancel = Cancel::new();
            if triggered {
                cancel.cancel();
            }
            cancel
        })
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0["deadline_ms"].as_u64().and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)))
    }
}

/// The sdk's options of a task, with the part that all tasks share filled in.
macro_rules! options_of {
    ($name:ident, $options:ty, |$o:ident, $all:ident| $more:block) => {
        impl Options<'_> {
            fn $name(&self) -> $options {
                #[allow(unused_mut)]
                let mut $o = <$options>::default();
                if let Some(overflow) = self.overflow() {
                    $o.overflow = overflow;
                }
                ($o.cancel, $o.deadline) = (self.cancel(), self.deadline());
                #[allow(unused_variables)]
                let $all = self;
                $more
                $o
            }
        }
    };
}
options_of!(classify, ClassifyOptions, |o, all| {
    (o.top_k, o.threshold, o.out_of_scope) = (all.count("top_k"), all.number("threshold"), all.number("out_of_scope"));
});
options_of!(zero_shot, ZeroShotOptions, |o, all| {
    o.multi_label = all.0["multi_label"] == true;
    if let Some(hypothesis) = all.0["hypothesis"].as_str() {
        o.template = hypothesis.to_owned();
    }
});
options_of!(rerank, RerankOptions, |o, all| {
    (o.top_k, o.label) = (all.count("top_k"), all.0["rank_label"].as_str().map(str::to_owned));
});
options_of!(tag, TagOptions, |o, all| {
    o.threshold = all.number("threshold").unwrap_or(0.0);
    o.aggregation = all.aggregation().unwrap_or(o.aggregation);
});
options_of!(order, OrderOptions, |o, all| {
    o.both_orders = all.0["both_orders"] == true;
});
options_of!(replaced, ReplacedOptions, |o, all| {
    o.threshold = all.number("threshold").unwrap_or(o.threshold);
    o.aggregation = all.aggregation().unwrap_or(o.aggregation);
});
options_of!(answer, AnswerOptions, |o, all| {
    o.top_k = all.count("top_k").unwrap_or(o.top_k);
    o.max_answer_tokens = all.count("max_answer_tokens").unwrap_or(o.max_answer_tokens);
});
options_of!(embed, EmbedOptions, |o, all| {});
options_of!(fill_mask, FillMaskOptions, |o, all| {
    o.top_k = all.count("top_k").unwrap_or(o.top_k);
});

fn failure(error: &Error) -> Value {
    let name = format!("LIMBECK_{}", error.code().name());
    json!({"error": {"status": name, "message": error.to_string()}})
}

/// As limbeck_result_json has it, without the times.
pub fn results(answers: Vec<impl serde::Serialize>) -> Value {
    let answer = |answer| {
        let mut value = serde_json::to_value(answer).unwrap();
        let fields: &mut Map<String, Value> = value.as_object_mut().unwrap();
        fields.retain(|name, _| !name.ends_with("_ms"));
        value
    };
    json!({"results": answers.into_iter().map(answer).collect::<Vec<_>>()})
}

fn result(answer: impl serde::Serialize) -> Value {
    results(vec![answer])
}

pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields["repeat"].as_str().unwrap().repeat(fields["times"].as_u64().unwrap() as usize),
        other => panic!("no text: {other}"),
    }
}

pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

pub fn with_texts<T>(value: &Value, call: impl FnOnce(&[&str]) -> Result<T>) -> Result<T> {
    let texts = texts(value);
    call(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn with_pairs<T>(value: &Value, call: impl FnOnce(&[(&str, &str)]) -> Result<T>) -> Result<T> {
    let pairs: Vec<Vec<String>> = value.as_array().unwrap().iter().map(texts).collect();
    call(&pairs.iter().map(|pair| (pair[0].as_str(), pair[1].as_str())).collect::<Vec<_>>())
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}
