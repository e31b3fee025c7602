//! The same with weights of fewer bits.

use limbeck_export::arch::Head;
use limbeck_export::graph::WeightMode;
use limbeck_export::quantize::{Bits, Blocks};
use limbeck_tests::bundles::{Recipe, difference, values};
use limbeck_tests::seeded;
use tch::Kind;

use super::{PROMPTS, ids, options, write};

#[test]
fn int8_answers_do_not_depend_on_the_batch() {
    let made = {
        let _turn = seeded(804);
        let weights = WeightMode::Int8Layers;
        Recipe { max_tokens: 80, weights, ..Recipe::new(Head::CausalLm, &[]) }.make()
    };
    let model = made.open();
    model.self_test().unwrap();
    assert_eq!(model.bundle().manifest().quantization.as_ref().unwrap().mode, "int8-dynamic");
    let batch = model.generate_batch(&PROMPTS, &options(20)).unwrap();
    for (prompt, found) in PROMPTS.iter().zip(&batch) {
        assert_eq!(found.ids, write(&model, prompt, &options(20)).ids);
    }
    // Near fp32: the first token's log probability differs by little.
    let own = model.prompt(&limbeck::Prompt::new("the")).score(" yes").unwrap();
    let prompt = ids(&made, "the");
    let logits = made.logits(&prompt, &vec![0; prompt.len()]).squeeze_dim(0).get(prompt.len() as i64 - 1);
    let expected = values(&logits.log_softmax(-1, Kind::Float))[ids(&made, " yes")[0] as usize];
    assert!(difference(&[own.token_log_probabilities[0] as f32], &[expected]) < 0.3);
}

/// What is written depends neither on the cache nor on the batch.
#[test]
fn weights_in_blocks_write_what_full_recomputation_writes() {
    const WORDS: [&str; 8] = ["the", " yes", " on", " a", "x", " no", "e", "in"];
    for (bits, mode) in [(Bits::Eight, "int8-weights"), (Bits::Four, "int4-weights")] {
        let made = {
            let _turn = seeded(805);
            let weights = WeightMode::Blocks(Blocks::new(bits, 32, false).unwrap());
            Recipe { max_tokens: 80, weights, ..Recipe::new(Head::CausalLm, &[]) }.make()
        };
        let model = made.open();
        model.self_test().unwrap();
        assert_eq!(model.bundle().manifest().quantization.as_ref().unwrap().mode, mode);
        let prompt = |i: usize| (0..1 + i % 5).map(|k| WORDS[(i * 3 + k * 5 + i / 8) % 8]).collect::<String>();
        let prompts: Vec<String> = (0..24).map(prompt).collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let options = |tokens| options(tokens).log_probabilities(true);
        // Activations are rounded to 8 bits: a last digit may turn one of them, and that, rarely, a tie of two tokens.
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-2);
        let (mut checked, mut ties) = (0, 0);
        for (prompt, found) in prompts.iter().zip(model.generate_batch(&prompts, &options(16)).unwrap()) {
            let alone = write(&model, prompt, &options(16));
            let same = found.ids.iter().zip(&alone.ids).take_while(|(a, b)| a == b).count();
            assert!(near(&found.log_probabilities[..same], &alone.log_probabilities), "{mode} {prompt:?}");
            ties += usize::from(found.ids != alone.ids);
            for at in 1..found.ids.len() {
                // Where the text so far is read as the tokens that were written.
                let written = &found.ids[..at];
                let Ok(text) = String::from_utf8(model.token_bytes(written).unwrap()) else { continue };
                let text = format!("{prompt}{text}");
                if ids(&made, &text) != [ids(&made, prompt).as_slice(), written].concat() {
                    continue;
                }
                let anew = write(&model, &text, &options(1));
                assert!(near(&anew.log_probabilities, &found.log_probabilities[at..]), "{mode} {text:?}");
                ties += usize::from(anew.ids != found.ids[at..=at]);
                checked += 1;
            }
        }
        assert!(checked > 40 && ties <= 2, "{mode}: {checked}, {ties}");
    }
}
