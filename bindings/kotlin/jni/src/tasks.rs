//! The calls of the tasks: a model, options, and texts, in the order in which `Model.kt` writes them.

use std::sync::Arc;

use limbeck_sdk::{
    AnswerOptions, ClassifyOptions, EmbedOptions, FewShotHead, FewShotOptions, FillMaskOptions, Model, OrderOptions,
    ReplacedOptions, RerankOptions, TagOptions, ZeroShotOptions,
};

use crate::call::{Call, task_options};
use crate::failure::Failure;
use crate::handles;
use crate::results;
use crate::wire::{Reader, Writer};

type Reply = Result<Vec<u8>, Failure>;

fn model(from: &mut Reader) -> Result<Arc<Model>, Failure> {
    handles::get(from.long()?)
}

fn classify_options(call: &Call) -> ClassifyOptions {
    let mut options = task_options!(call, ClassifyOptions);
    (options.top_k, options.threshold, options.out_of_scope) = (call.top_k, call.threshold, call.out_of_scope);
    options
}

pub(crate) fn classify(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["topK", "threshold", "outOfScope"])?);
    results::classifications(&model.classify_batch(&from.texts()?, &classify_options(&call))?)
}

pub(crate) fn classify_pairs(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["topK", "threshold", "outOfScope"])?);
    results::classifications(&model.classify_pairs(&from.pairs()?, &classify_options(&call))?)
}

pub(crate) fn zero_shot(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["hypothesis", "multiLabel"])?);
    let mut options = task_options!(call, ZeroShotOptions).multi_label(call.multi_label);
    if let Some(hypothesis) = call.hypothesis {
        options = options.template(hypothesis);
    }
    let (texts, labels) = (from.texts()?, from.texts()?);
    results::zero_shot(&model.zero_shot_batch(&texts, &labels, &options)?)
}

pub(crate) fn rerank(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["topK", "rankLabel"])?);
    let mut options = task_options!(call, RerankOptions);
    (options.top_k, options.label) = (call.top_k, call.rank_label.map(str::to_owned));
    let (query, texts) = (from.text()?, from.texts()?);
    results::ranked(&model.rerank(query, &texts, &options)?)
}

pub(crate) fn tag(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["threshold", "aggregation"])?);
    let mut options = task_options!(call, TagOptions).threshold(call.threshold.unwrap_or(0.0));
    if let Some(aggregation) = call.aggregation {
        options = options.aggregation(aggregation);
    }
    results::taggings(&model.tag_batch(&from.texts()?, &options)?)
}

pub(crate) fn answer(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["topK", "maxAnswerTokens"])?);
    let mut options = task_options!(call, AnswerOptions);
    if let Some(k) = call.top_k {
        options.top_k = k;
    }
    if let Some(tokens) = call.max_answer_tokens {
        options.max_answer_tokens = tokens;
    }
    results::answers(&model.answer_batch(&from.pairs()?, &options)?)
}

pub(crate) fn embed(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &[])?);
    results::embeddings(&model.embed_batch(&from.texts()?, &task_options!(call, EmbedOptions))?)
}

pub(crate) fn fill_mask(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["topK"])?);
    let mut options = task_options!(call, FillMaskOptions);
    if let Some(k) = call.top_k {
        options.top_k = k;
    }
    results::masks(&model.fill_mask_batch(&from.texts()?, &options)?)
}

pub(crate) fn order(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["bothOrders"])?);
    let options = task_options!(call, OrderOptions).both_orders(call.both_orders);
    results::orders(&model.order_batch(&from.pairs()?, &options)?)
}

pub(crate) fn replaced(from: &mut Reader) -> Reply {
    let (model, call) = (model(from)?, Call::read(from, &["threshold", "aggregation"])?);
    let mut options = task_options!(call, ReplacedOptions);
    options.threshold = call.threshold.unwrap_or(options.threshold);
    options.aggregation = call.aggregation.unwrap_or(options.aggregation);
    results::replacements(&model.replaced_batch(&from.texts()?, &options)?)
}

pub(crate) fn similarity(from: &mut Reader) -> Reply {
    let (first, second) = (from.floats()?, from.floats()?);
    let mut out = Writer::default();
    out.float(limbeck_sdk::similarity(&first, &second)?);
    out.finish()
}

pub(crate) fn nearest(from: &mut Reader) -> Reply {
    let (query, k, count) = (from.floats()?, from.size("k")?, from.int()?);
    let vectors = (0..count).map(|_| from.floats()).collect::<Result<Vec<_>, _>>()?;
    let mut out = Writer::default();
    out.list(&limbeck_sdk::nearest(&query, &vectors, k.unwrap_or(0))?, |out, neighbour| {
        out.size(neighbour.index).float(neighbour.similarity);
    });
    out.finish()
}

pub(crate) fn head_fit(from: &mut Reader) -> Reply {
    let (model, call, strength) = (model(from)?, Call::read(from, &[])?, from.double()?);
    let mut options = FewShotOptions::new().embed(task_options!(call, EmbedOptions));
    if strength != 0.0 {
        options = options.strength(strength);
    }
    given_head(FewShotHead::fit(&model, &from.pairs()?, &options)?)
}

pub(crate) fn head_load(from: &mut Reader) -> Reply {
    given_head(FewShotHead::load(from.text()?)?)
}

/// The number of a head, and its labels.
fn given_head(head: FewShotHead) -> Reply {
    let mut out = Writer::default();
    let labels = head.labels().to_vec();
    out.long(handles::give(Arc::new(head))).texts(&labels);
    out.finish()
}

pub(crate) fn head_save(from: &mut Reader) -> Reply {
    let head: Arc<FewShotHead> = handles::get(from.long()?)?;
    head.save(from.text()?)?;
    Ok(Vec::new())
}

pub(crate) fn head_classify(from: &mut Reader) -> Reply {
    let head: Arc<FewShotHead> = handles::get(from.long()?)?;
    let (model, call) = (model(from)?, Call::read(from, &["topK", "outOfScope"])?);
    results::classifications(&head.classify(&model, &from.texts()?, &classify_options(&call))?)
}
