use std::fs;

use serde_json::json;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

use super::*;

fn tiny() -> ModelConfig {
    ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 20, "hidden_size": 8,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12,
        "type_vocab_size": 2}))
    .unwrap()
}

fn saved(folder: &Path, head: Head) -> Params {
    let _turn = crate::seeded(3);
    let config = tiny();
    let info = match head {
        Head::Classification { .. } => HeadInfo::classifier(&["no".to_owned(), "yes".to_owned()]),
        _ => HeadInfo::new(head),
    };
    let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
    let tokenizer = folder.join("source-tokenizer.json");
    fs::write(&tokenizer, "{}").unwrap();
    save(folder, &config, &info, &params, &tokenizer).unwrap();
    params
}

fn replace_tensor(folder: &Path, change: impl Fn(&mut Vec<(String, Tensor)>)) {
    let path = folder.join("model.safetensors");
    let mut tensors: Vec<_> = read_tensors(&path).unwrap().into_iter().collect();
    change(&mut tensors);
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
}

fn load_error(folder: &Path, head: Head) -> String {
    match load(folder, head, Device::Cpu) {
        Ok(_) => panic!("must be refused"),
        Err(error) => format!("{error:#}"),
    }
}

const TWO: Head = Head::Classification { labels: 2 };

#[test]
fn a_saved_model_is_read_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let params = saved(folder.path(), TWO);
    let read = load(folder.path(), TWO, Device::Cpu).unwrap();
    assert_eq!(read.info.labels.as_deref(), Some(&["no".to_owned(), "yes".to_owned()][..]));
    assert!(read.initialised.is_empty());
    for (name, tensor) in params.iter() {
        assert_eq!(tensor, read.params.get(name).unwrap(), "{name}");
    }
}

#[test]
fn an_encoder_gets_a_new_head_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), Head::None);
    let read = load(folder.path(), TWO, Device::Cpu).unwrap();
    assert_eq!(read.initialised, ["head.output.weight", "head.output.bias"]);
}

#[test]
fn old_norm_names_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let params = saved(folder.path(), Head::None);
    replace_tensor(folder.path(), |tensors| {
        for (name, _) in tensors {
            if let Some(stem) = name.strip_suffix("LayerNorm.weight") {
                *name = format!("bert.{stem}LayerNorm.gamma");
            } else if let Some(stem) = name.strip_suffix("LayerNorm.bias") {
                *name = format!("{stem}LayerNorm.beta");
            }
        }
    });
    let read = load(folder.path(), Head::None, Device::Cpu).unwrap();
    assert_eq!(read.params.len(), params.len());
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    type Change = fn(&mut Vec<(String, Tensor)>);
    let cases: [(&str, Change); 4] = [
        ("tensor `encoder.layer.1.output.dense.bias` is missing", |t| {
            t.retain(|(n, _)| n != "encoder.layer.1.output.dense.bias")
        }),
        ("unknown tensor `encoder.layer.2.output.dense.bias`", |t| {
            t.push(("encoder.layer.2.output.dense.bias".into(), Tensor::zeros([8], (Kind::Float, Device::Cpu))))
        }),
        ("tensor `embeddings.word_embeddings.weight` has shape", |t| {
            let at = t.iter().position(|(n, _)| n == "embeddings.word_embeddings.weight").unwrap();
            t[at].1 = Tensor::zeros([21, 8], (Kind::Float, Device::Cpu));
        }),
        ("tensor `pooler.dense.bias` holds NaN", |t| {
            let at = t.iter().position(|(n, _)| n == "pooler.dense.bias").unwrap();
            let _ = t[at].1.fill_(f64::NAN);
        }),
    ];
    for (message, change) in cases {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), Head::None);
        replace_tensor(folder.path(), change);
        let error = load_error(folder.path(), Head::None);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn broken_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load_error(&folder.path().join("nowhere"), Head::None).contains("is not a folder"));
    saved(folder.path(), Head::None);
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(load_error(folder.path(), Head::None).contains("not a whole safetensors file"));
}

#[test]
fn a_head_for_other_labels_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path(), TWO);
    let _turn = crate::seeded(4);
    let loaded = load(folder.path(), Head::Classification { labels: 5 }, Device::Cpu).unwrap();
    assert_eq!(loaded.initialised, ["head.output.weight", "head.output.bias"]);
    assert_eq!(load(folder.path(), TWO, Device::Cpu).unwrap().initialised, [""; 0]);
}

#[test]
fn students_start_as_the_mapped_teacher_layers() {
    let _turn = crate::seeded(5);
    let teacher_config = ModelConfig { layers: 12, ..tiny() };
    let student_config = ModelConfig { layers: 6, ..tiny() };
    let teacher = Params::initialise(&parameter_layout(&teacher_config, TWO), Device::Cpu);
    let map = evenly_spaced_layers(12, 6);
    let student = student_from_teacher(&teacher, &teacher_config, &student_config, &map, TWO).unwrap();
    for (i, from) in [0, 2, 4, 7, 9, 11].into_iter().enumerate() {
        let name = |layer| format!("encoder.attention.{layer}.query.weight");
        assert_eq!(student.get(&name(i)), teacher.get(&name(from)));
    }
    let narrow = ModelConfig { hidden_size: 4, embedding_size: 4, ..student_config };
    assert!(student_from_teacher(&teacher, &teacher_config, &narrow, &map, TWO).is_err());
    assert!(student_from_teacher(&teacher, &teacher_config, &narrow, &[12; 6], TWO).is_err());
}

/// BERT names the heads of texts and of tokens alike.
#[test]
fn a_head_of_another_task_is_not_taken_for_the_one_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = Head::Classification { labels: 2 };
    saved(folder.path(), classifier);
    let tagger = Head::TokenClassification { labels: 2 };
    let error = load_arrays(folder.path(), Some(tagger)).err().unwrap().to_string();
    assert!(error.contains("has no token-classification head"), "{error}");
    let _turn = crate::seeded(4);
    let loaded = load(folder.path(), tagger, Device::Cpu).unwrap();
    assert!(loaded.initialised.iter().any(|name| name == "head.output.weight"), "{:?}", loaded.initialised);
    assert!(load_arrays(folder.path(), Some(classifier)).is_ok());
}
