use std::fs;

use serde_json::json;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

use super::*;
use crate::arch::{Capture, Family, Model, Sharing, Spec};

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
fn a_head_on_relu_of_what_is_pooled_is_read_back() {
    let _turn = crate::seeded(3);
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig { pooled_relu: true, ..tiny() };
    let params = Params::initialise(&parameter_layout(&config, TWO), Device::Cpu);
    let tokenizer = folder.path().join("source-tokenizer.json");
    fs::write(&tokenizer, "{}").unwrap();
    let info = HeadInfo::classifier(&["no".to_owned(), "yes".to_owned()]);
    save(folder.path(), &config, &info, &params, &tokenizer).unwrap();
    let read = load(folder.path(), TWO, Device::Cpu).unwrap();
    assert_eq!(read.config, config);
    let ids = Tensor::from_slice(&[2i64, 5, 7, 3]).view([1, 4]);
    let model = Model::new(&read.params, &read.config, TWO);
    let given = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false);
    let pooled = given.pooled.unwrap();
    assert!(pooled.min().double_value(&[]) < 0.0, "or relu would change nothing");
    let part = |part: &str| params.get(&format!("head.output.{part}")).unwrap();
    let wanted = pooled.relu().linear(part("weight"), Some(part("bias")));
    assert!((given.logits - wanted).abs().max().double_value(&[]) < 1e-6);
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
    let all = Directions::all(8);
    let student = student_from_teacher(&teacher, &teacher_config, &student_config, &map, TWO, &all).unwrap();
    for (i, from) in [0, 2, 4, 7, 9, 11].into_iter().enumerate() {
        let name = |layer| format!("encoder.attention.{layer}.query.weight");
        assert_eq!(student.get(&name(i)), teacher.get(&name(from)));
    }
    let narrow = ModelConfig { hidden_size: 4, embedding_size: 4, ..student_config };
    // Directions of another width.
    assert!(student_from_teacher(&teacher, &teacher_config, &narrow, &map, TWO, &all).is_err());
    assert!(student_from_teacher(&teacher, &teacher_config, &narrow, &[12; 6], TWO, &all).is_err());
    assert!(student_from_teacher(&teacher, &teacher_config, &narrow, &[0; 5], TWO, &all).is_err());
}

fn forward(params: &Params, config: &ModelConfig) -> Tensor {
    let ids = Tensor::from_slice(&[2i64, 5, 9, 11, 3, 2, 7, 3, 0, 0]).view([2, 5]);
    let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 1, 1, 1, 0, 0]).view([2, 5]);
    tch::no_grad(|| Model::new(params, config, TWO).forward(&ids, &mask, None, &Capture::default(), false).logits)
}

/// An ALBERT whose teacher's layers are all the same computes what the teacher does.
#[test]
fn shared_students_start_as_the_mean_of_their_teachers_layers() {
    let _turn = crate::seeded(6);
    let teacher_config = ModelConfig { layers: 4, ..tiny() };
    let shared =
        |sharing| ModelConfig { family: Family::Albert, embedding_projection: true, sharing, ..teacher_config.clone() };
    let mut teacher = Params::initialise(&parameter_layout(&teacher_config, TWO), Device::Cpu);
    let all = Directions::all(8);
    let start = |teacher: &Params, sharing, head| {
        student_from_teacher(teacher, &teacher_config, &shared(sharing), &[0, 1, 2, 3], head, &all).unwrap()
    };
    let student = start(&teacher, Sharing::All, TWO);
    let name = |layer| format!("encoder.ffn.{layer}.up.weight");
    let sum = (0..4).map(|layer| teacher.get(&name(layer)).unwrap().copy()).reduce(|a, b| a + b).unwrap();
    let difference: Tensor = student.get(&name(0)).unwrap() - sum / 4.0;
    assert!(difference.abs().max().double_value(&[]) < 1e-6);
    let ffn_alone = start(&teacher, Sharing::Ffn, TWO);
    assert_eq!(ffn_alone.get("encoder.attention.3.key.weight"), teacher.get("encoder.attention.3.key.weight"));

    let same = teacher
        .iter()
        .map(|(name, tensor)| {
            let first = name.split('.').map(|part| if part.parse::<usize>().is_ok() { "0" } else { part });
            let first = first.collect::<Vec<_>>().join(".");
            (name.to_owned(), teacher.get(&first).unwrap_or(tensor).copy())
        })
        .collect();
    teacher = Params::new(same, Device::Cpu);
    for sharing in [Sharing::All, Sharing::Attention, Sharing::Ffn] {
        let student = start(&teacher, sharing, TWO);
        let difference = forward(&student, &shared(sharing)) - forward(&teacher, &teacher_config);
        assert!(difference.abs().max().double_value(&[]) < 1e-5, "{sharing:?}");
    }
    // Narrower embeddings than hidden states: the token table's own directions.
    let factorized = ModelConfig { embedding_size: 5, ..shared(Sharing::All) };
    let student = student_from_teacher(&teacher, &teacher_config, &factorized, &[0, 1, 2, 3], TWO, &all).unwrap();
    assert_eq!(student.get("embeddings.projection.weight").unwrap().size(), [8, 5]);
    assert!(forward(&student, &factorized).isfinite().all().int64_value(&[]) == 1);
}

/// A student as wide as its teacher whose directions are turned gives another model of the right shapes; one whose
/// heads are as wide as the teacher's computes the teacher's scores on the directions it has.
#[test]
fn narrower_students_compute_the_teachers_products() {
    let _turn = crate::seeded(7);
    let teacher_config = tiny();
    let narrow = ModelConfig { hidden_size: 4, embedding_size: 4, attention_heads: 1, intermediate_size: 16, ..tiny() };
    let layout = parameter_layout(&teacher_config, TWO);
    let teacher = Params::initialise(&layout, Device::Cpu);
    // Biases of other than 0.
    let noisy = teacher.iter().map(|(n, t)| (n.to_owned(), t + Tensor::randn_like(t) * 0.1)).collect();
    let teacher = Params::new(noisy, Device::Cpu);
    let states = Tensor::randn([50, 8], (Kind::Float, Device::Cpu));
    let directions = Directions::principal(&states.tr().matmul(&states), 4).unwrap();
    let student = student_from_teacher(&teacher, &teacher_config, &narrow, &[0, 1], TWO, &directions).unwrap();
    let z = Tensor::randn([3, 4], (Kind::Float, Device::Cpu));
    let x = z.matmul(&directions.matrix.tr());
    let linear = |params: &Params, name: &str, x: &Tensor| {
        let part = |part: &str| params.get(&format!("{name}.{part}")).unwrap();
        x.linear(part("weight"), Some(part("bias")))
    };
    let close = |a: &Tensor, b: &Tensor| {
        let difference = (a - b).abs().max().double_value(&[]);
        assert!(difference < 1e-4, "{difference}");
    };
    // The student's one head is the teacher's first.
    let scores = |params: &Params, x: &Tensor| {
        let of = |name: &str| linear(params, &format!("encoder.attention.0.{name}"), x).narrow(1, 0, 4);
        of("query").matmul(&of("key").tr())
    };
    close(&scores(&student, &z), &scores(&teacher, &x));
    let feed = |params: &Params, x: &Tensor| {
        linear(params, "encoder.ffn.1.down", &linear(params, "encoder.ffn.1.up", x).gelu("none"))
    };
    close(&feed(&student, &z), &feed(&teacher, &x).matmul(&directions.matrix));
    // Fewer units and narrower heads still give a model.
    let narrower = ModelConfig { attention_heads: 2, intermediate_size: 6, ..narrow };
    let student = student_from_teacher(&teacher, &teacher_config, &narrower, &[0, 1], TWO, &directions).unwrap();
    assert!(forward(&student, &narrower).isfinite().all().int64_value(&[]) == 1);
}

/// Heads that were trimmed are together less wide than the hidden states; a student may still have other sizes beside.
#[test]
fn students_of_teachers_with_fewer_heads_start() {
    let _turn = crate::seeded(10);
    let teacher_config = ModelConfig { own_head_size: Some(3), ..tiny() };
    let layout = parameter_layout(&teacher_config, TWO);
    let noisy = |spec: &Spec| (spec.name.clone(), Tensor::randn(&spec.shape[..], (Kind::Float, Device::Cpu)));
    let teacher = Params::new(layout.iter().map(noisy).collect(), Device::Cpu);
    // The units that come first hardly count, and may go.
    let _ = tch::no_grad(|| teacher.get("encoder.ffn.1.down.weight").unwrap().narrow(1, 0, 2).fill_(1e-9));
    let _ = tch::no_grad(|| teacher.get("encoder.ffn.0.down.weight").unwrap().narrow(1, 0, 2).fill_(1e-9));
    let fewer = ModelConfig { intermediate_size: 14, ..teacher_config.clone() };
    let all = Directions::all(8);
    let student = student_from_teacher(&teacher, &teacher_config, &fewer, &[0, 1], TWO, &all).unwrap();
    assert_eq!(student.get("encoder.attention.0.value.bias").unwrap().size(), [6]);
    let difference = forward(&student, &fewer) - forward(&teacher, &teacher_config);
    assert!(difference.abs().max().double_value(&[]) < 1e-4, "{difference}");
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

/// A masked-LM head ends in the width of the token table, of which it is decoded.
#[test]
fn masked_lm_heads_narrow_to_the_tables() {
    let _turn = crate::seeded(8);
    let teacher_config = tiny();
    let layout = parameter_layout(&teacher_config, Head::MaskedLm);
    let noisy = |spec: &Spec| (spec.name.clone(), Tensor::randn(&spec.shape[..], (Kind::Float, Device::Cpu)));
    let teacher = Params::new(layout.iter().map(noisy).collect(), Device::Cpu);
    let narrow = ModelConfig { hidden_size: 4, embedding_size: 4, attention_heads: 1, intermediate_size: 16, ..tiny() };
    let factorized =
        ModelConfig { family: Family::Albert, embedding_projection: true, embedding_size: 3, ..narrow.clone() };
    let states = Tensor::randn([50, 8], (Kind::Float, Device::Cpu));
    let directions = Directions::principal(&states.tr().matmul(&states), 4).unwrap();
    for student_config in [&teacher_config, &narrow, &factorized] {
        let all = Directions::all(8);
        let directions = if student_config.hidden_size == 8 { &all } else { &directions };
        let head = head_from_teacher(&teacher, &teacher_config, student_config, Head::MaskedLm, directions).unwrap();
        let whole =
            student_from_teacher(&teacher, &teacher_config, student_config, &[0, 1], Head::MaskedLm, directions);
        let whole = whole.unwrap();
        assert_eq!(head.len(), 5);
        for (name, tensor) in &head {
            assert_eq!(whole.get(name), Some(tensor), "{name}");
            assert_ne!(tensor.data_ptr(), teacher.get(name).unwrap().data_ptr(), "{name} is the teacher's own");
        }
        // What the teacher's dense layer gives for a state, decoded by its table, is what the student's gives, as far as
        // the tables of both hold it.
        let part = |params: &dyn Fn(&str) -> Tensor, x: &Tensor| {
            x.linear(&params("head.dense.weight"), Some(params("head.dense.bias")))
        };
        let z = Tensor::randn([3, student_config.hidden_size as i64], (Kind::Float, Device::Cpu));
        let own = part(&|name| head[name].shallow_clone(), &z);
        let theirs = part(&|name| teacher.get(name).unwrap().shallow_clone(), &z.matmul(&directions.matrix.tr()));
        // Words of the student are those of the teacher along the same directions `e`: own = theirs e.
        let words = |params: &Params| params.get("embeddings.words.weight").unwrap().shallow_clone();
        let (e, ..) = words(&teacher).f_linalg_lstsq(&words(&whole), None, "gelsd").unwrap();
        let difference = (own - theirs.matmul(&e)).abs().max().double_value(&[]);
        assert!(difference < 1e-3, "{difference}");
    }
}

/// A student is trained; its teacher is not.
#[test]
fn students_have_their_own_weights() {
    let _turn = crate::seeded(9);
    let teacher_config = tiny();
    let teacher = Params::initialise(&parameter_layout(&teacher_config, TWO), Device::Cpu);
    let narrow = ModelConfig { hidden_size: 4, embedding_size: 4, attention_heads: 1, intermediate_size: 16, ..tiny() };
    let directions = Directions::principal(&Tensor::eye(8, (Kind::Float, Device::Cpu)), 4).unwrap();
    let student = student_from_teacher(&teacher, &teacher_config, &narrow, &[0, 1], TWO, &directions).unwrap();
    for (name, tensor) in student.iter() {
        assert_ne!(tensor.data_ptr(), teacher.get(name).unwrap().data_ptr(), "{name}");
    }
}
