//! Real encoders against transformers.

use limbeck_export::arch::{Capture, Head, Model, ModelOutput};
use limbeck_export::checkpoint;
use tch::{Device, Kind, Tensor};

use crate::reference::{close, integers, json, tensors};

/// For hidden states, attentions and logits, as an absolute difference.
const LIMIT: f64 = 2e-5;
const EVERYTHING: Capture = Capture { hidden_states: true, attention_scores: true };
const THREE: Head = Head::Classification { labels: 3 };

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
