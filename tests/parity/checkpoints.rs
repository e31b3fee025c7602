//! Files of every architecture: read, written back, refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use limbeck_export::arch::{Capture, Head, Model, ModelConfig, Sharing};
use limbeck_export::checkpoint::{self, HeadInfo, read_arrays};
use ndarray::ArrayD;
use serde_json::Value;
use tch::{Device, Tensor};

use crate::family::{Case, cases};
use crate::reference::integers;

/// The stored values of each tensor.
fn stored(path: &std::path::Path) -> BTreeMap<String, ArrayD<f32>> {
    read_arrays(path).unwrap()
}

#[test]
fn every_file_is_written_back_to_the_byte() {
    for name in cases() {
        let case = Case::read(&name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save_model(folder.path(), config, info, &case.loaded.params, checkpoint::SHARD_BYTES).unwrap();
        let (own, theirs) = (folder.path().join("model.safetensors"), case.folder.join("model.safetensors"));
        assert_eq!(stored(&own), stored(&theirs), "{name}");
        assert_eq!(std::fs::read(&own).unwrap(), std::fs::read(&theirs).unwrap(), "{name}: same tensors, other bytes");
        // The configuration says the same to us, and has no key that changes the model for transformers.
        let (again, again_info) = checkpoint::read_model_config(folder.path()).unwrap();
        assert_eq!((&again, &again_info), (config, info), "{name}");
    }
}

#[test]
fn shards_are_written_and_read() {
    for name in ["gpt2-lm", "albert-groups"] {
        let case = Case::read(name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        let folder = tempfile::tempdir().unwrap();
        let save = |limit| checkpoint::save_model(folder.path(), config, info, &case.loaded.params, limit).unwrap();
        save(4_000);
        assert!(!folder.path().join("model.safetensors").exists());
        let shards = std::fs::read_dir(folder.path()).unwrap().count() - 2;
        assert!(folder.path().join(format!("model-{shards:05}-of-{shards:05}.safetensors")).exists() && shards > 1);
        let read = checkpoint::load(folder.path(), info.head, Device::Cpu).unwrap();
        for (tensor, value) in case.loaded.params.iter() {
            assert_eq!(read.params.get(tensor).unwrap(), value, "{tensor}");
        }
        let index = folder.path().join("model.safetensors.index.json");
        let text = std::fs::read_to_string(&index).unwrap();
        let refuse = |changed: &str, message: &str| {
            std::fs::write(&index, changed).unwrap();
            let error = format!("{:#}", checkpoint::load(folder.path(), info.head, Device::Cpu).err().unwrap());
            assert!(error.contains(message), "{error}");
        };
        refuse(&text.replacen("model-0", "../model-0", 1), "is not the name of a file in this folder");
        refuse(&text.replacen("model-00001", "model-00009", 1), "is not listed there");
        refuse("{}", "model.safetensors.index.json");
        // A save in one file replaces the shards.
        save(checkpoint::SHARD_BYTES);
        assert!(!index.exists());
        assert_eq!(
            std::fs::read(folder.path().join("model.safetensors")).unwrap(),
            std::fs::read(case.folder.join("model.safetensors")).unwrap()
        );
    }
}

#[test]
fn half_precision_files_are_read() {
    let case = Case::read("roberta-classification");
    let (config, head) = (&case.loaded.config, case.loaded.info.head);
    let theirs = stored(&case.folder.join("model.safetensors"));
    for dtype in [safetensors::Dtype::F16, safetensors::Dtype::BF16] {
        let buffers: Vec<_> = theirs
            .iter()
            .map(|(name, array)| {
                let bytes: Vec<u8> = array
                    .iter()
                    .flat_map(|&v| match dtype {
                        safetensors::Dtype::F16 => half::f16::from_f32(v).to_le_bytes(),
                        _ => half::bf16::from_f32(v).to_le_bytes(),
                    })
                    .collect();
                (name.clone(), array.shape().to_vec(), bytes)
            })
            .collect();
        let views = buffers.iter().map(|(name, shape, bytes)| {
            (name.as_str(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        std::fs::copy(case.folder.join("config.json"), folder.path().join("config.json")).unwrap();
        let read = checkpoint::load(folder.path(), head, Device::Cpu).unwrap();
        let model = Model::new(&read.params, config, head);
        let _guard = tch::no_grad_guard();
        let own = model.forward(&case.ids, &case.mask, None, &Capture::default(), false).logits;
        let difference = crate::reference::difference(&own, &case.want.get("logits"));
        assert!(difference > 0.0 && difference < 0.1, "{dtype:?}: {difference}");
    }
}

#[test]
fn a_head_needs_what_it_reads_and_no_more() {
    use limbeck_export::arch::Pooling;
    // A masked language model is saved without a pooler.
    let folder = crate::reference::path("family/bert-masked-lm");
    let embedding = Head::Embedding { pooling: Pooling::Mean, normalize: true };
    let read = checkpoint::load_arrays(&folder, Some(embedding)).unwrap();
    assert!(!read.arrays.contains_key("pooler.weight"));
    limbeck_export::graph::build(&read.arrays, &read.config, embedding, Default::default()).unwrap();
    for (head, message) in [
        (Head::None, "`pooler.dense.weight` is missing; the model was saved without a pooler"),
        (Head::Span, "`qa_outputs.weight` is missing; the file has no span head"),
        (Head::CausalLm, "bert has no causal-lm head"),
    ] {
        let error = format!("{:#}", checkpoint::load_arrays(&folder, Some(head)).err().unwrap());
        assert!(error.contains(message), "{error}");
    }
}

/// What transformers shares in whole layers only, limbeck writes as copies and reads back as one.
#[test]
fn partly_shared_layers_survive_a_file() {
    for sharing in [Sharing::Attention, Sharing::Ffn] {
        let config = ModelConfig { sharing, ..limbeck_tests::models::tiny("albert-e128-all") };
        let (info, turn) = (HeadInfo::new(Head::Pretraining), limbeck_tests::seeded(7));
        let params = limbeck_tests::models::draw(&config, info.head);
        drop(turn);
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save_model(folder.path(), &config, &info, &params, checkpoint::SHARD_BYTES).unwrap();
        let read = checkpoint::load(folder.path(), info.head, Device::Cpu).unwrap();
        assert_eq!(read.config, config);
        for (tensor, value) in params.iter() {
            assert_eq!(read.params.get(tensor).unwrap(), value, "{tensor}");
        }
        // A copy that differs is not silently dropped.
        let path = folder.path().join("model.safetensors");
        let mut arrays = read_arrays(&path).unwrap();
        let part = if sharing == Sharing::Attention { "attention.key.bias" } else { "ffn.bias" };
        let copy = format!("albert.encoder.albert_layer_groups.2.albert_layers.0.{part}");
        arrays.get_mut(&copy).unwrap()[0] += 1.0;
        checkpoint::write_arrays(&path, &arrays, &BTreeMap::new()).unwrap();
        let error = format!("{:#}", checkpoint::load(folder.path(), info.head, Device::Cpu).err().unwrap());
        assert!(error.contains(&copy) && error.contains("differs from its copies"), "{error}");
    }
}

/// Writes a folder for each case, and for what transformers has no case of, with what limbeck makes of it, for
/// `check_checkpoints.py` to load with transformers.
#[test]
#[ignore = "writes the folders for check_checkpoints.py: LIMBECK_CHECKPOINTS names where"]
fn written_checkpoints_for_transformers() {
    let out = PathBuf::from(std::env::var_os("LIMBECK_CHECKPOINTS").expect("set LIMBECK_CHECKPOINTS to a folder"));
    let _guard = tch::no_grad_guard();
    let write = |name: &str,
                 config: &ModelConfig,
                 info: &HeadInfo,
                 params: &limbeck_export::arch::Params,
                 json: &Value,
                 shard_bytes: u64| {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        checkpoint::save_model(&folder, config, info, params, shard_bytes).unwrap();
        std::fs::write(folder.join("case.json"), json.to_string()).unwrap();
        let types = json.get("token_type_ids").map(integers);
        let model = Model::new(params, config, info.head);
        let own = model.forward(
            &integers(&json["input_ids"]),
            &integers(&json["attention_mask"]),
            types.as_ref(),
            &Capture::EVERYTHING,
            false,
        );
        let mut outputs: Vec<(String, Tensor)> = Vec::new();
        let inner = config.blocks().len() / config.layers;
        for i in 0..=config.layers {
            outputs.push((format!("hidden.{i}"), own.encoded.hidden_states[i * inner].shallow_clone()));
        }
        match info.head {
            Head::None => outputs.extend(own.pooled.map(|pooled| ("pooled".to_owned(), pooled))),
            Head::Span => {
                outputs.push(("start_logits".to_owned(), own.logits.select(-1, 0)));
                outputs.push(("end_logits".to_owned(), own.logits.select(-1, 1)));
            }
            _ => outputs.push(("logits".to_owned(), own.logits)),
        }
        outputs.extend(own.sentence_logits.map(|logits| ("sentence_logits".to_owned(), logits)));
        checkpoint::write_tensors(&folder.join("outputs.safetensors"), &outputs, &BTreeMap::new()).unwrap();
    };
    for name in cases() {
        let case = Case::read(&name);
        let (config, info) = (&case.loaded.config, &case.loaded.info);
        write(&name, config, info, &case.loaded.params, &case.json, checkpoint::SHARD_BYTES);
    }
    let gpt2 = Case::read("gpt2-lm");
    write("gpt2-shards", &gpt2.loaded.config, &gpt2.loaded.info, &gpt2.loaded.params, &gpt2.json, 4_000);
    let json = Case::read("albert-pretraining").json;
    let _turn = limbeck_tests::seeded(8);
    for (name, base, sharing) in [
        ("albert-shared-attention", "albert-e128-attention", Sharing::Attention),
        ("albert-shared-ffn", "albert-e128-ffn", Sharing::Ffn),
        ("albert-without-projection", "albert-e768-all", Sharing::All),
    ] {
        let config = ModelConfig { sharing, ..limbeck_tests::models::tiny(base) };
        let info = HeadInfo::new(Head::Pretraining);
        let params = limbeck_tests::models::draw(&config, info.head);
        write(name, &config, &info, &params, &json, checkpoint::SHARD_BYTES);
    }
}
