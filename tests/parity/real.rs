//! Real models against transformers. Their weights are not here: `cargo xtask test` fetches them.

use std::path::Path;

use limbeck_export::arch::{Capture, Head, Model, ModelOutput, Pooling};
use limbeck_export::checkpoint;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::reference::{Tensors, close, integers, json, tensors};

/// For hidden states, attentions and logits, as an absolute difference.
const LIMIT: f64 = 2e-5;

fn model(folder: &Path, head: Head) -> (Model, Vec<String>, i64) {
    let loaded = checkpoint::load(folder, head, Device::Cpu).unwrap();
    (Model::new(&loaded.params, &loaded.config, head), loaded.initialised, loaded.config.pad_id as i64)
}

/// Ids of each text of a reference file.
fn rows(input: &Value) -> Vec<Tensor> {
    input["texts"].as_array().unwrap().iter().map(|text| integers(&text["ids"])).collect()
}

/// All texts as one batch, padded on the right.
fn batch(rows: &[Tensor], pad: i64) -> (Tensor, Tensor) {
    let longest = rows.iter().map(|row| row.size()[0]).max().unwrap();
    let shape = [rows.len() as i64, longest];
    let ids = Tensor::full(shape, pad, (Kind::Int64, Device::Cpu));
    let mask = ids.zeros_like();
    for (i, row) in rows.iter().enumerate() {
        ids.get(i as i64).narrow(0, 0, row.size()[0]).copy_(row);
        let _ = mask.get(i as i64).narrow(0, 0, row.size()[0]).fill_(1);
    }
    (ids, mask)
}

/// Runs each text alone and all as a batch; `compare` gets what it is, the text, its row, its length, the output.
fn alone_and_together(model: &Model, input: &Value, pad: i64, compare: impl Fn(&str, usize, i64, i64, &ModelOutput)) {
    let _guard = tch::no_grad_guard();
    let rows = rows(input);
    let (ids, mask) = batch(&rows, pad);
    let together = model.forward(&ids, &mask, None, &Capture::EVERYTHING, false);
    for (i, row) in rows.iter().enumerate() {
        let text = row.unsqueeze(0);
        let alone = model.forward(&text, &text.ones_like(), None, &Capture::EVERYTHING, false);
        compare(&format!("text {i} alone"), i, 0, row.size()[0], &alone);
        compare(&format!("text {i} in the batch"), i, i as i64, row.size()[0], &together);
    }
}

/// One text of an output, without padding.
struct Cut<'a> {
    what: &'a str,
    text: usize,
    want: &'a Tensors,
    last_hidden: Tensor,
    hidden: Vec<Tensor>,
    scores: Vec<Tensor>,
    attention: Vec<Tensor>,
    pooled: Option<Tensor>,
}

impl<'a> Cut<'a> {
    fn new(what: &'a str, text: usize, row: i64, length: i64, output: &ModelOutput, want: &'a Tensors) -> Self {
        let cut = |t: &Tensor| t.get(row).narrow(0, 0, length);
        let scores: Vec<Tensor> = output
            .encoded
            .attention_scores
            .values()
            .map(|s| s.get(row).narrow(1, 0, length).narrow(2, 0, length))
            .collect();
        Self {
            what,
            text,
            want,
            last_hidden: cut(&output.encoded.last_hidden),
            hidden: output.encoded.hidden_states.iter().map(cut).collect(),
            attention: scores.iter().map(|s| s.softmax(-1, Kind::Float)).collect(),
            scores,
            pooled: output.pooled.as_ref().map(|pooled| pooled.get(row)),
        }
    }

    fn check(&self, name: &str, own: &Tensor) {
        close(&format!("{}: {name}", self.what), own, &self.want.get(&format!("{}.{name}", self.text)), LIMIT);
    }

    /// What is kept of an encoder: see `make_references.py` and `make_real.py`.
    fn check_encoder(&self) {
        let corners = |tensors: &[Tensor]| {
            let cut: Vec<Tensor> = tensors
                .iter()
                .map(|t| t.narrow(-2, 0, t.size()[t.dim() - 2].min(4)).narrow(-1, 0, t.size()[t.dim() - 1].min(4)))
                .collect();
            Tensor::stack(&cut, 0)
        };
        let means = |absolute: bool| {
            let mean = |t: &Tensor| if absolute { t.abs().mean(Kind::Double) } else { t.mean(Kind::Double) };
            Tensor::stack(&self.hidden.iter().map(mean).collect::<Vec<_>>(), 0)
        };
        self.check("last_hidden.first8", &self.last_hidden.narrow(1, 0, 8));
        self.check("pooled", self.pooled.as_ref().unwrap());
        self.check("hidden.corner", &corners(&self.hidden));
        self.check("hidden.mean", &means(false));
        self.check("hidden.mean_abs", &means(true));
        self.check("attention.corner", &corners(&self.attention));
        if self.want.iter().any(|(name, _)| name.ends_with("scores.corner")) {
            self.check("scores.corner", &corners(&self.scores));
        }
    }
}

#[test]
fn minilm_equals_transformers() {
    let (input, want) = (json("minilm.json"), tensors("minilm-outputs.safetensors"));
    // The new head's weights are random and not looked at; the pooler is the file's.
    let (model, new, pad) = model(&limbeck_tests::cache::minilm(), Head::Classification { labels: 3 });
    assert_eq!(new, ["head.output.weight", "head.output.bias"]);
    let shortest = input["shortest"].as_u64().unwrap() as usize;
    alone_and_together(&model, &input, pad, |what, text, row, length, output| {
        let cut = Cut::new(what, text, row, length, output, &want);
        cut.check_encoder();
        if text == shortest {
            for (name, own) in [("hidden", &cut.hidden), ("scores", &cut.scores), ("attention", &cut.attention)] {
                let all = want.get(&format!("shortest.{name}"));
                close(&format!("{what}: all {name}"), &Tensor::stack(own, 0), &all, LIMIT);
            }
        }
    });
}

#[test]
fn mpnet_equals_transformers() {
    let (input, want) = (json("mpnet.json"), tensors("mpnet-outputs.safetensors"));
    let folder = limbeck_tests::cache::mpnet();
    let pooling = checkpoint::read_pooling(&folder).unwrap().unwrap();
    assert_eq!((pooling.pooling, pooling.normalize), (Pooling::Mean, true));
    let head = Head::Embedding { pooling: Pooling::Mean, normalize: true };
    let (model, new, pad) = model(&folder, head);
    assert!(new.is_empty());
    alone_and_together(&model, &input, pad, |what, text, row, length, output| {
        let cut = Cut::new(what, text, row, length, output, &want);
        cut.check_encoder();
        cut.check("embedding", &output.logits.get(row));
    });
}

#[test]
fn bert_with_a_masked_lm_head_equals_transformers() {
    let (input, want) = (json("bert-mlm.json"), tensors("bert-mlm-outputs.safetensors"));
    let (model, new, pad) = model(&limbeck_tests::cache::bert_tiny_masked_lm(), Head::MaskedLm);
    assert!(new.is_empty());
    alone_and_together(&model, &input, pad, |what, text, row, length, output| {
        let cut = Cut::new(what, text, row, length, output, &want);
        cut.check("hidden", &Tensor::stack(&cut.hidden, 0));
        let logits = output.logits.get(row).narrow(0, 0, length);
        cut.check("logits.first64", &logits.narrow(1, 0, 64));
        let sums = logits.to_kind(Kind::Double).logsumexp([-1i64].as_slice(), false);
        cut.check("logits.log_sum_exp", &sums);
        let masked = &input["masked"][text];
        let (values, best) = logits.index_select(0, &integers(&masked["positions"])).topk(20, -1, true, true);
        cut.check("top.values", &values);
        assert_eq!(best.select(1, 0), integers(&masked["top_ids"]).select(1, 0), "{what}: best tokens");
    });
}
