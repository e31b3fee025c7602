//! The tch encoder and classifier against transformers.

use limbeck_export::arch::{Capture, Head, Model, ModelOutput};
use limbeck_export::checkpoint;
use limbeck_export::objective::cross_entropy;
use tch::{Device, Kind, Tensor};

use crate::reference::{close, close_relative, difference, integers, json, path, tensors};

/// For hidden states, attentions and logits, as an absolute difference.
const LIMIT: f64 = 2e-5;
const EVERYTHING: Capture = Capture { hidden_states: true, attention_scores: true };
const THREE: Head = Head::Classification { labels: 3 };

/// Attention probabilities from the scores that the encoder gives.
fn probabilities(scores: &Tensor, mask: &Tensor) -> Tensor {
    let keep = mask.to_kind(Kind::Float).unsqueeze(1).unsqueeze(1);
    (scores + (keep - 1.0) * f64::from(f32::MAX)).softmax(-1, Kind::Float)
}

/// Where query and key are tokens, `[batch, 1, query, key]`: elsewhere the scores that we keep are 0.
fn pairs(mask: &Tensor) -> Tensor {
    let mask = mask.to_kind(Kind::Float).unsqueeze(1);
    mask.unsqueeze(-1) * mask.unsqueeze(-2)
}

struct Tiny {
    params: limbeck_export::arch::Params,
    model: Model,
    ids: Tensor,
    mask: Tensor,
    types: Tensor,
    labels: Tensor,
    loss: f64,
}

fn tiny() -> Tiny {
    let loaded = checkpoint::load(&path("tiny-bert"), THREE, Device::Cpu).unwrap();
    assert!(loaded.initialised.is_empty(), "not in the file: {:?}", loaded.initialised);
    let input = json("tiny-bert.json");
    Tiny {
        model: Model::new(&loaded.params, &loaded.config, THREE),
        params: loaded.params,
        ids: integers(&input["ids"]),
        mask: integers(&input["mask"]),
        types: integers(&input["types"]),
        labels: integers(&input["labels"]),
        loss: input["loss"].as_f64().unwrap(),
    }
}

impl Tiny {
    fn run(&self, capture: Capture, train: bool) -> ModelOutput {
        self.model.forward(&self.ids, &self.mask, Some(&self.types), capture, train)
    }
}

#[test]
fn tiny_bert_equals_transformers_in_every_layer() {
    let tiny = tiny();
    let want = tensors("tiny-bert-outputs.safetensors");
    let _guard = tch::no_grad_guard();
    let own = tiny.run(EVERYTHING, false);
    close("logits", &own.logits, &want.get("logits"), LIMIT);
    close("pooled", own.pooled.as_ref().unwrap(), &want.get("pooled"), LIMIT);
    assert_eq!((own.encoded.hidden_states.len(), own.encoded.attention_scores.len()), (4, 3));
    for (i, hidden) in own.encoded.hidden_states.iter().enumerate() {
        close(&format!("hidden state {i}"), hidden, &want.get(&format!("hidden.{i}")), LIMIT);
    }
    for (i, scores) in own.encoded.attention_scores.iter().enumerate() {
        let pairs = pairs(&tiny.mask);
        close(&format!("scores of layer {i}"), scores, &(want.get(&format!("scores.{i}")) * &pairs), LIMIT);
        let attention = probabilities(scores, &tiny.mask) * &pairs;
        close(&format!("attention of layer {i}"), &attention, &(want.get(&format!("attention.{i}")) * pairs), LIMIT);
    }
}

#[test]
fn the_fused_attention_equals_the_open_one() {
    let tiny = tiny();
    let want = tensors("tiny-bert-outputs.safetensors");
    let _guard = tch::no_grad_guard();
    let own = tiny.run(Capture { hidden_states: true, attention_scores: false }, false);
    assert!(own.encoded.attention_scores.is_empty());
    close("logits", &own.logits, &want.get("logits"), LIMIT);
    for (i, hidden) in own.encoded.hidden_states.iter().enumerate() {
        close(&format!("hidden state {i}"), hidden, &want.get(&format!("hidden.{i}")), LIMIT);
    }
}

/// transformers' name of a parameter of a BERT classifier.
fn bert_name(name: &str) -> String {
    let layer = |name: &str, block: &str| -> Option<String> {
        let (index, rest) = name.strip_prefix(block)?.split_once('.')?;
        Some(format!("bert.encoder.layer.{index}.{rest}"))
    };
    if let Some(name) = layer(name, "encoder.attention.") {
        return name
            .replace(".output.", ".attention.output.dense.")
            .replace(".norm.", ".attention.output.LayerNorm.")
            .replace(".query.", ".attention.self.query.")
            .replace(".key.", ".attention.self.key.")
            .replace(".value.", ".attention.self.value.");
    }
    if let Some(name) = layer(name, "encoder.ffn.") {
        return name
            .replace(".up.", ".intermediate.dense.")
            .replace(".down.", ".output.dense.")
            .replace(".norm.", ".output.LayerNorm.");
    }
    name.replace("embeddings.words", "bert.embeddings.word_embeddings")
        .replace("embeddings.positions", "bert.embeddings.position_embeddings")
        .replace("embeddings.types", "bert.embeddings.token_type_embeddings")
        .replace("embeddings.norm", "bert.embeddings.LayerNorm")
        .replace("pooler.", "bert.pooler.dense.")
        .replace("head.output", "classifier")
}

#[test]
fn loss_and_every_gradient_equal_transformers() {
    let tiny = tiny();
    let want = tensors("tiny-bert-gradients.safetensors");
    tiny.params.set_requires_grad(true);
    for capture in [Capture::default(), EVERYTHING] {
        // The file's dropout is 0, so training mode must give the same.
        let loss = cross_entropy(&tiny.run(capture, true).logits, &tiny.labels);
        let value = loss.double_value(&[]);
        assert!((value - tiny.loss).abs() <= 1e-6 * tiny.loss, "loss {value}, transformers {}", tiny.loss);
        let (names, inputs): (Vec<&str>, Vec<&Tensor>) = tiny.params.iter().unzip();
        let gradients = Tensor::run_backward(&[loss], &inputs, false, false);
        assert_eq!(names.len(), want.iter().count());
        for (name, gradient) in names.into_iter().zip(gradients) {
            let reference = want.get(&bert_name(name));
            // The key bias shifts all scores of a row alike, so its true gradient is 0 and both are rounding.
            if name.ends_with("key.bias") {
                close(name, &gradient, &reference, 1e-6);
            } else {
                close_relative(name, &gradient, &reference, 1e-4);
            }
        }
    }
}

#[test]
fn mask_and_types_take_part() {
    let tiny = tiny();
    let want = tensors("tiny-bert-outputs.safetensors").get("logits");
    let _guard = tch::no_grad_guard();
    let all = tiny.mask.ones_like();
    for (what, mask, types) in [("mask", &all, Some(&tiny.types)), ("types", &tiny.mask, None)] {
        let own = tiny.model.forward(&tiny.ids, mask, types, Capture::default(), false);
        assert!(difference(&own.logits, &want) > 1e-2, "the references do not depend on the {what}");
    }
}

#[test]
fn each_row_alone_equals_its_row_of_the_batch() {
    let tiny = tiny();
    let want = tensors("tiny-bert-outputs.safetensors").get("logits");
    let _guard = tch::no_grad_guard();
    for row in 0..tiny.ids.size()[0] {
        let length = tiny.mask.get(row).sum(Kind::Int64).int64_value(&[]);
        let cut = |t: &Tensor| t.get(row).narrow(0, 0, length).unsqueeze(0);
        let own =
            tiny.model.forward(&cut(&tiny.ids), &cut(&tiny.mask), Some(&cut(&tiny.types)), Capture::default(), false);
        close(&format!("logits of row {row}"), &own.logits.get(0), &want.get(row), LIMIT);
    }
}

#[test]
fn minilm_equals_transformers() {
    let input = json("minilm.json");
    let want = tensors("minilm-outputs.safetensors");
    // The new head's weights are random and not looked at; the pooler is the file's.
    let loaded = checkpoint::load(&limbeck_tests::cache::minilm(), THREE, Device::Cpu).unwrap();
    assert_eq!(loaded.initialised, ["head.output.weight", "head.output.bias"]);
    let model = Model::new(&loaded.params, &loaded.config, THREE);
    let rows: Vec<Tensor> = input["texts"].as_array().unwrap().iter().map(|text| integers(&text["ids"])).collect();
    let longest = rows.iter().map(|row| row.size()[0]).max().unwrap();
    let int = (Kind::Int64, Device::Cpu);
    let (ids, mask) =
        (Tensor::zeros([rows.len() as i64, longest], int), Tensor::zeros([rows.len() as i64, longest], int));
    for (i, row) in rows.iter().enumerate() {
        ids.get(i as i64).narrow(0, 0, row.size()[0]).copy_(row);
        let _ = mask.get(i as i64).narrow(0, 0, row.size()[0]).fill_(1);
    }
    let _guard = tch::no_grad_guard();
    let batch = model.forward(&ids, &mask, None, EVERYTHING, false);
    let shortest = input["shortest"].as_u64().unwrap() as usize;
    for (i, row) in rows.iter().enumerate() {
        let length = row.size()[0];
        let alone = row.unsqueeze(0);
        let single = model.forward(&alone, &alone.ones_like(), None, EVERYTHING, false);
        for (how, at, output) in [("alone", 0, &single), ("in the batch", i as i64, &batch)] {
            compare_minilm(&format!("text {i} {how}"), i, at, length, output, &want, i == shortest);
        }
    }
}

/// Compares one row of an output with what is kept of text `text`.
fn compare_minilm(
    what: &str,
    text: usize,
    row: i64,
    length: i64,
    output: &ModelOutput,
    want: &crate::reference::Tensors,
    whole: bool,
) {
    let cut = |t: &Tensor| t.get(row).narrow(0, 0, length);
    let hidden: Vec<Tensor> = output.encoded.hidden_states.iter().map(cut).collect();
    let scores: Vec<Tensor> =
        output.encoded.attention_scores.iter().map(|s| s.get(row).narrow(1, 0, length).narrow(2, 0, length)).collect();
    let attention: Vec<Tensor> = scores.iter().map(|s| s.softmax(-1, Kind::Float)).collect();
    let check =
        |name: &str, own: Tensor| close(&format!("{what}: {name}"), &own, &want.get(&format!("{text}.{name}")), LIMIT);
    let corners = |tensors: &[Tensor]| {
        let cut: Vec<Tensor> = tensors
            .iter()
            .map(|t| t.narrow(-2, 0, length.min(4)).narrow(-1, 0, t.size()[t.dim() - 1].min(4)))
            .collect();
        Tensor::stack(&cut, 0)
    };
    let means = |absolute: bool| {
        let mean = |t: &Tensor| if absolute { t.abs().mean(Kind::Double) } else { t.mean(Kind::Double) };
        Tensor::stack(&hidden.iter().map(mean).collect::<Vec<_>>(), 0)
    };
    check("last_hidden.first8", cut(&output.encoded.last_hidden).narrow(1, 0, 8));
    check("pooled", output.pooled.as_ref().unwrap().get(row));
    check("hidden.corner", corners(&hidden));
    check("hidden.mean", means(false));
    check("hidden.mean_abs", means(true));
    check("scores.corner", corners(&scores));
    check("attention.corner", corners(&attention));
    if whole {
        for (name, own) in [("hidden", &hidden), ("scores", &scores), ("attention", &attention)] {
            close(
                &format!("{what}: all {name}"),
                &Tensor::stack(own, 0),
                &want.get(&format!("shortest.{name}")),
                LIMIT,
            );
        }
    }
}
