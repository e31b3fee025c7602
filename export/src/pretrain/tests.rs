//! Whole runs, so small that each takes seconds.

mod distilled;
mod generators;
mod together;

use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::*;
use crate::progress::Output;

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const WORDS: [&str; 12] = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat", "and", "then", "home", "."];

/// A WordPiece tokenizer, with an end of text where it is for causal models.
pub(super) fn write_tokenizer(folder: &Path, causal: bool) {
    let special: Vec<&str> = if causal { vec!["<|endoftext|>", "[UNK]"] } else { SPECIAL.to_vec() };
    let words = special.iter().chain(&WORDS).chain(&["##s", "##ing"]);
    let vocabulary: serde_json::Map<String, Value> =
        words.enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let piece = |id: &str, kind: u32| json!({"SpecialToken": {"id": id, "type_id": kind}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    let token = |id: &str, n: u32| json!({"id": id, "ids": [n], "tokens": [id]});
    let template = json!({"type": "TemplateProcessing",
        "single": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)],
        "pair": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)],
        "special_tokens": {"[CLS]": token("[CLS]", 2), "[SEP]": token("[SEP]", 3)}});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": if causal { Value::Null } else { template }, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// Documents in which each word tells the next but one.
fn write_text(folder: &Path) {
    let sentence = |i: usize| {
        let at = |k: usize| ["the", "a"][(i + k) % 2];
        let (who, does) = [("cat", "sat"), ("dog", "ran"), ("cats", "ran"), ("dogs", "sat")][i % 4];
        format!("{} {who} {does} on {} mat and then {does} home .", at(0), at(i / 3))
    };
    let documents = (0..40usize).map(|d| (0..6 + d % 5).map(|i| sentence(d * 7 + i * i) + "\n").collect::<String>());
    std::fs::write(folder.join("a.txt"), documents.collect::<Vec<_>>().join("\n")).unwrap();
}

/// Made once: runs only read it.
fn world(causal: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_tokenizer(&folder.path().join("t"), causal);
    write_text(folder.path());
    folder
}

fn recipe(preset: &str, objective: &str, more: &str) -> PretrainRecipe {
    let documents = if objective.contains("clm") { "documents = \"empty-lines\"\n" } else { "" };
    PretrainRecipe::parse(&format!(
        "tokenizer = \"t\"\nmax_tokens = 32\n[model]\npreset = \"{preset}\"\nlayers = 2\nhidden_size = 32\n\
         attention_heads = 2\npositions = 32\ndropout = 0.0\n{more}\n[data]\ntrain = [\"a.txt\"]\nheld_out_share = 0.2\n\
         {documents}[objective]\n{objective}\n[train]\nsteps = 60\nbatch_size = 16\nlearning_rate = 5e-3\nwarmup = 0.1\n"
    ))
    .unwrap()
}

fn run(world: &Path, recipe: PretrainRecipe, out: &Path) -> Result<Pretrained> {
    let _turn = crate::seeded(1);
    tch::set_num_threads(1);
    let options = PretrainOptions {
        recipe,
        folder: world.to_owned(),
        out: out.to_owned(),
        device: Device::Cpu,
        checkpoint_every: Duration::from_secs(3600),
    };
    pretrain(&options, &Reporter::new(Output::Silent))
}

#[test]
fn every_objective_learns_and_its_folder_loads() {
    for (preset, objective, more, head) in [
        ("bert-base-uncased", "kind = \"mlm\"", "", Head::MaskedLm),
        ("bert-base-uncased", "kind = \"mlm\"\nsentence = \"nsp\"", "", Head::Pretraining),
        ("albert-base", "kind = \"mlm\"\nsentence = \"sop\"", "embedding_size = 16", Head::Pretraining),
        ("electra-small", "kind = \"rtd\"", "embedding_size = 16", Head::ReplacedToken),
        ("electra-small", "kind = \"rtd-masked\"\ngenerator_size = 0.5", "", Head::ReplacedToken),
        ("electra-small", "kind = \"replace-mlm\"", "", Head::MaskedLm),
        ("electra-small", "kind = \"all-tokens-mlm\"", "", Head::MaskedLm),
        ("gpt2", "kind = \"clm\"", "", Head::CausalLm),
    ] {
        let world = world(head == Head::CausalLm);
        let out = world.path().join("out");
        let own = recipe(preset, objective, more);
        let first = run(
            world.path(),
            PretrainRecipe { train: TrainOptions { steps: Some(1), ..own.train.clone() }, ..own.clone() },
            &world.path().join("first"),
        )
        .unwrap();
        let done = run(world.path(), own.clone(), &out).unwrap();
        assert!(
            done.held_out.loss < 0.9 * first.held_out.loss,
            "{objective}: {} from {}",
            done.held_out.loss,
            first.held_out.loss
        );
        assert_eq!(done.outcome.history.last().unwrap().dev, -done.held_out.loss, "{objective}: scored alike");
        let (config, info) = checkpoint::read_model_config(&out).unwrap();
        assert_eq!(info.head, head, "{objective}");
        let loaded = checkpoint::load(&out, head, Device::Cpu).unwrap();
        assert!(loaded.initialised.is_empty());
        assert_eq!(done.parameters, count_parameters(&config, head).total);
        assert!(done.flops.electra > 0.0 && done.flops.layers > 0.0 && done.tokens_seen > 60 * 15 * 10);
        let generator = out.join("generator");
        assert_eq!(generator.is_dir(), own.objective.kind.has_generator(), "{objective}");
        if generator.is_dir() {
            let loaded_generator = checkpoint::load(&generator, Head::MaskedLm, Device::Cpu).unwrap();
            let table = |params: &crate::arch::Params| params.get("embeddings.words.weight").unwrap().shallow_clone();
            assert_eq!(table(&loaded_generator.params), table(&loaded.params), "tied");
        }
        // Done is done; other settings are another model.
        assert_eq!(run(world.path(), own.clone(), &out).unwrap(), done);
        let error = run(world.path(), PretrainRecipe { seed: 8, ..own }, &out).unwrap_err().to_string();
        assert!(error.contains("another model"), "{error}");
    }
}

#[test]
fn a_stopped_run_is_not_begun_anew_by_one_with_other_settings() {
    let world = world(false);
    let out = world.path().join("out");
    let own = recipe("bert-base-uncased", "kind = \"mlm\"", "");
    let own = PretrainRecipe { train: TrainOptions { steps: Some(3), ..own.train.clone() }, ..own };
    let run = |recipe: &PretrainRecipe| {
        let _turn = crate::seeded(1);
        let options = PretrainOptions {
            recipe: recipe.clone(),
            folder: world.path().to_owned(),
            out: out.clone(),
            device: Device::Cpu,
            checkpoint_every: Duration::ZERO,
        };
        pretrain(&options, &Reporter::new(Output::Silent))
    };
    // A folder in the result's place stops it at its end, before the checkpoint goes.
    std::fs::create_dir_all(out.join(RESULT).join("full")).unwrap();
    run(&own).unwrap_err();
    std::fs::remove_dir_all(out.join(RESULT)).unwrap();
    let error = run(&PretrainRecipe { seed: 8, ..own.clone() }).unwrap_err().to_string();
    assert!(error.contains("resume.safetensors") && error.contains("stopped after step 2"), "{error}");
    let kept = PretrainRecipe::read(&out.join("recipe.toml")).unwrap();
    assert_eq!(kept, own, "the recipe of the stopped run stays");
    assert_eq!(run(&own).unwrap().outcome.resumed_at, 2);
}

#[test]
fn a_model_goes_on_from_a_folder_and_is_scored_on_other_tasks() {
    let world = world(false);
    let out = world.path().join("out");
    let own = recipe("bert-base-uncased", "kind = \"mlm\"\nsentence = \"nsp\"", "");
    let done = run(world.path(), own.clone(), &out).unwrap();
    let model = ModelRecipe { start: Some("out".to_owned()), ..ModelRecipe::default() };
    let train = TrainOptions { steps: Some(1), learning_rate: 1e-9, ..own.train.clone() };
    let on =
        run(world.path(), PretrainRecipe { model, tokenizer: None, train, ..own }, &world.path().join("on")).unwrap();
    assert!((on.held_out.loss - done.held_out.loss).abs() < 1e-4);
    let score = |model: &str, on| {
        let _turn = crate::seeded(1);
        evaluate(&EvaluateOptions {
            model: world.path().join(model),
            on,
            files: vec![world.path().join("a.txt")],
            documents: None,
            text: "text".to_owned(),
            end_of_text: None,
            // Positions beyond were not trained.
            max_tokens: Some(32),
            seed: 3,
            device: Device::Cpu,
        })
    };
    let sop = score("out", EvaluateOn::Sop).unwrap();
    assert!(sop.held_out.sentence_accuracy.is_some_and(|share| (0.0..=1.0).contains(&share)));
    assert_eq!(score("out", EvaluateOn::Sop).unwrap(), sop, "the same each time");
    // Pairs are read as on the device, without masks.
    let HeldOut { loss, sentence_loss, masked_loss, .. } = sop.held_out;
    assert!(masked_loss.is_none() && (loss - sentence_loss.unwrap()).abs() < 1e-6 && !sop.untrained_head);
    let chance = 1.0 / 14.0;
    let mlm = score("out", EvaluateOn::Mlm).unwrap().held_out;
    assert!(mlm.masked_accuracy.is_some_and(|share| share > 2.0 * chance), "{mlm:?}");
    // Texts of one segment say nothing of pairs, nor does the loss.
    assert!(mlm.sentence_accuracy.is_none() && mlm.sentence_loss.is_none());
    assert!((mlm.loss / mlm.masked_loss.unwrap() - 1.0).abs() < 0.1, "{mlm:?}");
    assert!(score("out", EvaluateOn::Clm).unwrap_err().to_string().contains("pretraining head"));
    // One that knows nothing of pairs answers by a new head, the same each time.
    let own = recipe("bert-base-uncased", "kind = \"mlm\"", "");
    let train = TrainOptions { steps: Some(1), ..own.train.clone() };
    run(world.path(), PretrainRecipe { train, ..own }, &world.path().join("masked")).unwrap();
    for on in [EvaluateOn::Nsp, EvaluateOn::Sop] {
        let untrained = score("masked", on).unwrap();
        assert!(untrained.untrained_head && untrained.held_out.sentence_accuracy.is_some(), "{untrained:?}");
        assert_eq!(score("masked", on).unwrap(), untrained);
    }
    assert!(!score("masked", EvaluateOn::Mlm).unwrap().untrained_head);
}

#[test]
fn a_budget_buys_steps_in_proportion() {
    let world = world(false);
    let cost = |flops: f64, objective: &str, preset: &str| {
        let own = recipe(preset, objective, "embedding_size = 16");
        let train = TrainOptions { steps: None, ..own.train.clone() };
        let out = tempfile::tempdir().unwrap();
        let done = run(world.path(), PretrainRecipe { flops: Some(flops), train, ..own }, out.path()).unwrap();
        (done.flops.electra, done.outcome.steps)
    };
    let (mlm, of_mlm) = cost(4e9, "kind = \"mlm\"", "electra-small");
    let (rtd, of_rtd) = cost(4e9, "kind = \"rtd\"", "electra-small");
    assert!(of_rtd < of_mlm, "a generator costs too: {of_rtd} and {of_mlm} steps");
    assert!((mlm / 4e9 - 1.0).abs() < 0.1 && (rtd / 4e9 - 1.0).abs() < 0.1, "{mlm:e} {rtd:e}");
}

/// The same numbers as from whole forward passes, written out.
#[test]
fn losses_are_those_of_whole_passes() {
    use crate::arch::{Capture, Model, Params, parameter_layout};
    use crate::objective::{IGNORED, cross_entropy, next_token};

    let world = world(false);
    let own = recipe("albert-base", "kind = \"mlm\"\nsentence = \"sop\"", "embedding_size = 16");
    let path = world.path().join("t/tokenizer.json");
    let encoder = Encoder::new(&path, 24, usize::MAX).unwrap();
    let config = model::shape(&own, world.path(), &encoder).unwrap();
    let _turn = crate::seeded(4);
    let params = Params::initialise(&parameter_layout(&config, Head::Pretraining), Device::Cpu);
    let model = Model::new(&params, &config, Head::Pretraining);
    let ids = Tensor::from_slice(&[2i64, 5, 6, 3, 7, 3, 2, 8, 3, 9, 3, 0]).view([2, 6]);
    let mask = ids.ne(0).to_kind(Kind::Int64);
    let types = Tensor::from_slice(&[0i64, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0]).view([2, 6]);
    let targets =
        Tensor::from_slice(&[IGNORED, 5, IGNORED, IGNORED, 7, IGNORED, IGNORED, IGNORED, IGNORED, 9, IGNORED, IGNORED]);
    let at = targets.ne(IGNORED).nonzero().squeeze_dim(-1);
    let whole = model.forward(&ids, &mask, Some(&types), &Capture::default(), false);
    let part = model.forward_at(&ids, &mask, Some(&types), Some(&at), &Capture::default(), false);
    let rows = whole.logits.reshape([12, -1]).index_select(0, &at);
    assert!((&part.logits - rows).abs().max().double_value(&[]) < 1e-6);
    let masked = cross_entropy(&part.logits, &targets.index_select(0, &at)).double_value(&[]);
    let expected = cross_entropy(&whole.logits, &targets.view([2, 6])).double_value(&[]);
    assert!((masked - expected).abs() < 1e-6);
    let (one, other) = (part.sentence_logits.unwrap(), whole.sentence_logits.unwrap());
    assert!((one - other).abs().max().double_value(&[]) < 1e-6);

    // A causal model's perplexity is that of all its tokens together, however they are batched.
    let world = self::world(true);
    let own = recipe("gpt2", "kind = \"clm\"", "");
    let path = world.path().join("t/tokenizer.json");
    let encoder = Encoder::new(&path, 24, usize::MAX).unwrap();
    let config = model::shape(&own, world.path(), &encoder).unwrap();
    let start = Start::new(&own, world.path(), config, None, Device::Cpu).unwrap();
    let examples: Vec<_> = [vec![3i64, 4, 5], vec![6, 7, 8, 9, 3, 4, 2], vec![5, 6]]
        .into_iter()
        .map(|ids| EncodedExample::new(ids, crate::data::Target::Class(0)))
        .collect();
    let scored = (own.objective.kind, own.objective.sentence);
    let learner = Learner::new(&start, scored, 1.0, None, crate::train::Precision::Fp32).unwrap();
    let scored = learner.held_out(&examples, 10).unwrap();
    let model = Model::new(&start.own(), &start.config, start.head);
    let mut sum = 0.0;
    for example in &examples {
        let ids = Tensor::from_slice(&example.ids).unsqueeze(0);
        let logits = model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits;
        sum += next_token(&logits, &ids).double_value(&[]) * (example.ids.len() - 1) as f64;
    }
    let perplexity = (sum / 9.0f64).exp();
    assert!((scored.perplexity.unwrap() / perplexity - 1.0).abs() < 1e-5, "{scored:?} {perplexity}");
}

/// Generation from its bundle ends there, whatever the token is called.
#[test]
fn a_causal_models_folder_names_the_token_between_its_documents() {
    let world = world(true);
    let mut own = recipe("gpt2", "kind = \"clm\"", "");
    own.train.steps = Some(1);
    own.data.end_of_text = Some("[UNK]".to_owned());
    let out = world.path().join("out");
    run(world.path(), own, &out).unwrap();
    let config: serde_json::Value = files::read_json(&out.join("config.json")).unwrap();
    assert_eq!((&config["bos_token_id"], &config["eos_token_id"]), (&1.into(), &1.into()), "{config}");
}
