//! Published values of models whose weights are not in any package: opt-in.
//!
//! `LIMBECK_PUBLIC_WEIGHTS` names a folder with Hugging Face model folders called as below; of those that are there,
//! each is compared.
//!
//!     LIMBECK_PUBLIC_WEIGHTS=~/models cargo test -p limbeck-tests --test parity -- --ignored public_weights --nocapture

use std::path::PathBuf;

use limbeck_export::arch::{Capture, Head, Model};
use limbeck_export::checkpoint;
use limbeck_export::data::{Encoder, Example};
use tch::{Device, Kind, Tensor};

use crate::reference::close;

/// Of transformers' integration tests (`tests/models/{bert,distilbert,albert,electra}`).
const IDS: [i64; 11] = [0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2];

fn folder(name: &str) -> Option<PathBuf> {
    let all = std::env::var_os("LIMBECK_PUBLIC_WEIGHTS").expect("set LIMBECK_PUBLIC_WEIGHTS to a folder of models");
    let folder = PathBuf::from(all).join(name);
    if !folder.join("config.json").is_file() {
        println!("*** SKIPPED: {} is not there ***", folder.display());
        return None;
    }
    Some(folder)
}

fn model(folder: &std::path::Path, head: Head) -> Model {
    let loaded = checkpoint::load(folder, head, Device::Cpu).unwrap();
    assert!(loaded.initialised.is_empty(), "{:?} are not in {}", loaded.initialised, folder.display());
    Model::new(&loaded.params, &loaded.config, head)
}

fn encode(folder: &std::path::Path, text: &str) -> Tensor {
    let (config, _) = checkpoint::read_model_config(folder).unwrap();
    let encoder = Encoder::new(&folder.join("tokenizer.json"), 64, config.vocab_size).unwrap();
    let example = Example { text: text.to_owned(), pair: None, label: String::new(), source: "test".to_owned() };
    let encoded = encoder.encode(&[example], &[String::new()]).unwrap();
    Tensor::from_slice(&encoded.examples[0].ids).unsqueeze(0)
}

#[test]
#[ignore = "needs public weights: LIMBECK_PUBLIC_WEIGHTS"]
fn public_weights_of_encoders_give_the_published_corners() {
    let _guard = tch::no_grad_guard();
    for (name, corner) in [
        ("bert-base-uncased", [[0.4249, 0.1008, 0.7531], [0.3771, 0.1188, 0.7467], [0.4152, 0.1098, 0.7108]]),
        ("distilbert-base-uncased", [[-0.1639, 0.3299, 0.1648], [-0.1746, 0.3289, 0.1710], [-0.1884, 0.3357, 0.1810]]),
        ("albert-base-v2", [[-0.6513, 1.5035, -0.2766], [-0.6515, 1.5046, -0.2780], [-0.6512, 1.5049, -0.2784]]),
        (
            "electra-small-discriminator",
            [[0.4471, 0.6821, -0.3265], [0.4627, 0.5255, -0.3668], [0.4532, 0.3313, -0.4344]],
        ),
    ] {
        let Some(folder) = folder(name) else { continue };
        let ids = Tensor::from_slice(&IDS).unsqueeze(0);
        // Those tests mask the first token. For transformers the second then still has position 1; limbeck counts
        // tokens that are not padding, so the table is moved up by one row.
        let mask = ids.ones_like();
        let _ = mask.get(0).get(0).fill_(0);
        let loaded = checkpoint::load(&folder, Head::None, Device::Cpu).unwrap();
        tch::no_grad(|| {
            let table = loaded.params.get("embeddings.positions.weight").unwrap();
            let up = table.roll([-1], [0]);
            table.shallow_clone().copy_(&up);
        });
        let model = Model::new(&loaded.params, &loaded.config, Head::None);
        let hidden = model.forward(&ids, &mask, None, &Capture::default(), false).encoded.last_hidden;
        let want = Tensor::from_slice2(&corner).to_kind(Kind::Float);
        close(name, &hidden.get(0).narrow(0, 1, 3).narrow(1, 1, 3), &want, 1e-4);
    }
}

#[test]
#[ignore = "needs public weights: LIMBECK_PUBLIC_WEIGHTS"]
fn public_weights_of_albert_fill_the_mask() {
    let Some(folder) = folder("albert-base-v2") else { return };
    let _guard = tch::no_grad_guard();
    let ids = encode(&folder, "Paris is the [MASK] of France.");
    let tokenizer: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("tokenizer.json")).unwrap()).unwrap();
    let token =
        |id: i64| tokenizer["model"]["vocab"][id as usize][0].as_str().unwrap().trim_start_matches('▁').to_owned();
    let list = Vec::<i64>::try_from(ids.get(0)).unwrap();
    let at = list.iter().position(|&id| token(id) == "[MASK]").unwrap() as i64;
    let logits =
        model(&folder, Head::MaskedLm).forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits;
    let best = Vec::<i64>::try_from(logits.get(0).get(at).topk(5, -1, true, true).1).unwrap();
    let best: Vec<String> = best.into_iter().map(token).collect();
    assert_eq!(best, ["capital", "capitol", "comune", "arrondissement", "bastille"]);
}

#[test]
#[ignore = "needs public weights: LIMBECK_PUBLIC_WEIGHTS"]
fn public_weights_of_electra_find_the_replaced_token() {
    let Some(folder) = folder("electra-base-discriminator") else { return };
    let _guard = tch::no_grad_guard();
    let ids = encode(&folder, "One Two Three Ten Five Six Seven Eight");
    let model = model(&folder, Head::ReplacedToken);
    let own = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits.sigmoid().get(0);
    let want = Tensor::from_slice(&[0.0101f32, 0.0030, 0.0010, 0.0018, 0.9489, 0.0067, 0.0026, 0.0017, 0.0311, 0.0101]);
    close("replaced tokens", &own, &want, 1e-4);
}

#[test]
#[ignore = "needs public weights: LIMBECK_PUBLIC_WEIGHTS"]
fn public_weights_of_gpt2_go_on_with_the_dog() {
    let Some(folder) = folder("gpt2") else { return };
    let _guard = tch::no_grad_guard();
    let model = model(&folder, Head::CausalLm);
    let mut ids = vec![464i64, 3290];
    while ids.len() < 20 {
        let text = Tensor::from_slice(&ids).unsqueeze(0);
        let logits = model.forward(&text, &text.ones_like(), None, &Capture::default(), false).logits;
        ids.push(logits.get(0).get(-1).argmax(-1, false).int64_value(&[]));
    }
    let want =
        [464, 3290, 373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13, 198, 198, 464, 3290];
    assert_eq!(ids, want);
}
