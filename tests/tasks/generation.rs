//! Writing text: against libtorch, which reads everything anew for each token.

mod fewer_bits;

use std::time::{Duration, Instant};

use limbeck::{Cancel, ChooseOptions, ContextPolicy, Error, Finish, GenerateOptions, Generation, Prompt};
use limbeck_export::arch::{AttentionPattern, Head, ModelConfig};
use limbeck_tests::bundles::{Made, Recipe, values};
use limbeck_tests::{cache, seeded};
use tch::Kind;

const PROMPTS: [&str; 6] = [
    "the",
    "a",
    "Once upon a time there was",
    "\u{1F642} caf\u{e9}",
    "yes\n\nno",
    "in the on re er yes no the the the",
];

fn made() -> Made {
    let _turn = seeded(801);
    Recipe { max_tokens: 80, ..Recipe::new(Head::CausalLm, &[]) }.make()
}

fn ids(made: &Made, text: &str) -> Vec<u32> {
    made.tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

/// The likeliest token after some others, and by how much.
fn likeliest(made: &Made, ids: &[u32]) -> u32 {
    let logits = made.logits(ids, &vec![0; ids.len()]).squeeze_dim(0);
    logits.get(ids.len() as i64 - 1).argmax(0, false).int64_value(&[]) as u32
}

fn greedy(made: &Made, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for _ in 0..count {
        let next = likeliest(made, &all);
        all.push(next);
    }
    all.split_off(prompt.len())
}

/// To the end of the length, whatever is written.
fn options(tokens: usize) -> GenerateOptions {
    GenerateOptions::new().max_new_tokens(tokens).ignore_eos(true)
}

fn write(model: &limbeck::Model, prompt: &str, options: &GenerateOptions) -> Generation {
    model.generate(prompt, options).unwrap().finish().unwrap()
}

#[test]
fn cached_decoding_writes_what_full_recomputation_writes() {
    let made = made();
    let model = made.open();
    model.self_test().unwrap();
    model.warm_up().unwrap();
    let options = options(30);
    let alone: Vec<Generation> = PROMPTS.iter().map(|prompt| write(&model, prompt, &options)).collect();
    for (prompt, found) in PROMPTS.iter().zip(&alone) {
        let prompt = ids(&made, prompt);
        assert_eq!(found.ids, greedy(&made, &prompt, 30));
        assert_eq!((found.prompt_tokens, found.generated_tokens), (prompt.len(), 30));
        assert_eq!((found.finish, found.tokens_dropped, found.cached_tokens), (Finish::Length, 0, 0));
        assert_eq!(found.text, String::from_utf8_lossy(&model.token_bytes(&found.ids).unwrap()));
        // A prompt of one token has a time, too.
        assert!(found.times.prefill > Duration::ZERO && found.times.decode > Duration::ZERO, "{:?}", found.times);
    }
    // Together each goes on at its own place.
    let batch = model.generate_batch(&PROMPTS, &options).unwrap();
    for (found, alone) in batch.iter().zip(&alone) {
        assert_eq!((&found.ids, &found.text, found.prompt_tokens), (&alone.ids, &alone.text, alone.prompt_tokens));
    }
    assert_eq!(model.metrics().padding, 0);
    assert!(model.generate_batch(&[], &options).unwrap().is_empty());
}

/// Heads that ONNX Runtime's operator does not take are made wider by zeros; bands look back from each text's own place.
#[test]
fn heads_of_any_width_and_bands_write_what_full_recomputation_writes() {
    let changes: [fn(ModelConfig) -> ModelConfig; 3] = [
        |config| ModelConfig { hidden_size: 20, embedding_size: 20, attention_heads: 4, ..config },
        |config| ModelConfig { hidden_size: 27, embedding_size: 27, attention_heads: 3, ..config },
        |config| {
            let attention_pattern = AttentionPattern::Banded { width: 5, stride: Some(4), first: 1, every: 2 };
            ModelConfig { attention_pattern, ..config }
        },
    ];
    for (number, config) in changes.into_iter().enumerate() {
        let made = {
            let _turn = seeded(810 + number as i64);
            Recipe { max_tokens: 80, config, ..Recipe::new(Head::CausalLm, &[]) }.make()
        };
        let model = made.open();
        let head_size = made.config.hidden_size / made.config.attention_heads;
        let kept = model.bundle().manifest().generation.as_ref().unwrap().head_size;
        assert_eq!(kept, head_size.next_multiple_of(8));
        let options = options(24).log_probabilities(true);
        for (prompt, found) in PROMPTS.iter().zip(model.generate_batch(&PROMPTS, &options).unwrap()) {
            let mut all = ids(&made, prompt);
            let first = all.len();
            assert_eq!(found.ids, greedy(&made, &all, 24), "{number} {prompt:?}");
            all.extend(&found.ids);
            let logits = made.logits(&all, &vec![0; all.len()]).squeeze_dim(0).log_softmax(-1, Kind::Float);
            let rows = values(&logits);
            for (at, own) in (first..).zip(&found.log_probabilities) {
                let expected = rows[(at - 1) * made.config.vocab_size + all[at] as usize];
                assert!((*own as f32 - expected).abs() < 1e-4, "{number} {prompt:?} {at}: {own} {expected}");
            }
        }
    }
}

/// Random prompts of many lengths, drawn tokens, batches that end at different times: what the model thinks of each
/// token, with its cache and padding, is what it thinks of the whole text read at once.
#[test]
fn log_probabilities_are_those_of_the_whole_text() {
    let made = made();
    let model = made.open();
    let mut state = 99u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut checked = 0;
    for round in 0..12 {
        let prompts: Vec<String> = (0..1 + random(5))
            .map(|_| {
                let words = ["the", " yes", " on", "\n\n", "\u{1F642}", " a", "x", " no", "e"];
                (0..1 + random(24)).map(|_| words[random(9) as usize]).collect()
            })
            .collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let options = options(1 + random(20) as usize)
            .temperature(1.5)
            .seed(round)
            .stop("e")
            .log_probabilities(true)
            .context(ContextPolicy::Stop);
        for (prompt, found) in prompts.iter().zip(model.generate_batch(&prompts, &options).unwrap()) {
            let mut all = ids(&made, prompt);
            let first = all.len();
            all.extend(&found.ids);
            let logits = made.logits(&all, &vec![0; all.len()]).squeeze_dim(0).log_softmax(-1, Kind::Float);
            let rows = values(&logits);
            assert_eq!(found.log_probabilities.len(), found.ids.len());
            for (at, own) in (first..).zip(&found.log_probabilities) {
                let expected = rows[(at - 1) * made.config.vocab_size + all[at] as usize];
                assert!((*own as f32 - expected).abs() < 1e-4, "{prompt:?} {at}: {own} {expected}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100);
}

#[test]
fn texts_of_a_batch_end_at_their_own_time() {
    let made = made();
    let model = made.open();
    // Each text ends at the stop string that comes first in what it would write.
    let stops = ["e", "\u{FFFD}", "t", "a"];
    let mut wanted = options(25);
    let whole = model.generate_batch(&PROMPTS, &wanted).unwrap();
    wanted.stop = stops.map(str::to_owned).to_vec();
    let found = model.generate_batch(&PROMPTS, &wanted).unwrap();
    let mut ended = 0;
    for (found, whole) in found.iter().zip(&whole) {
        let at = stops.iter().filter_map(|stop| whole.text.find(stop)).min();
        match at {
            Some(at) => {
                assert_eq!(found.text, whole.text[..at]);
                assert_eq!(found.finish, Finish::Stop);
                assert!(whole.text[at..].starts_with(found.stop.as_deref().unwrap()));
                ended += 1;
            }
            None => assert_eq!((&found.text, found.finish), (&whole.text, Finish::Length)),
        }
        assert_eq!(found.ids, whole.ids[..found.ids.len()]);
    }
    assert!(ended > 1, "{whole:?}");
}

#[test]
fn the_end_of_text_ends_it() {
    let made = made();
    let eos = made.tokenizer.token_to_id("<|endoftext|>").unwrap();
    let model = made.open();
    assert_eq!(model.bundle().manifest().generation.as_ref().unwrap().eos_ids, [eos]);
    // Found by looking: with so hot a temperature every token comes soon.
    let (mut ended, mut hot) = (0, GenerateOptions::new().max_new_tokens(60).temperature(50.0));
    for seed in 0..40 {
        hot.seed = seed;
        let found = write(&model, "the", &hot);
        if found.finish == Finish::EndOfText {
            assert_eq!(found.ids.last(), Some(&eos));
            assert!(!found.text.contains("endoftext"));
            assert!(found.ids.len() < 60 || found.ids[..59].iter().all(|&id| id != eos));
            ended += 1;
        } else {
            assert!(!found.ids.contains(&eos));
        }
    }
    assert!(ended > 0);
}

#[test]
fn a_seed_gives_the_same_text_and_another_another() {
    let made = made();
    let model = made.open();
    let drawn = |seed| options(20).temperature(0.9).top_k(40).top_p(0.95).seed(seed);
    let first = write(&model, "the", &drawn(1));
    assert_eq!(first.ids, write(&made.open(), "the", &drawn(1)).ids);
    assert_ne!(first.ids, write(&model, "the", &drawn(2)).ids);
    // A batch draws by place: the first text is that of the text alone, an equal prompt elsewhere gets another.
    let batch = model.generate_batch(&["the", "a", "the"], &drawn(1)).unwrap();
    assert_eq!(batch[0].ids, first.ids);
    assert_ne!(batch[2].ids, first.ids);
}

#[test]
fn the_penalty_is_that_of_the_paper() {
    let made = made();
    let model = made.open();
    let prompt = ids(&made, "the the a");
    let mut all = prompt.clone();
    for _ in 0..20 {
        let logits = made.logits(&all, &vec![0; all.len()]).squeeze_dim(0).get(all.len() as i64 - 1);
        let mut logits = values(&logits);
        let seen: std::collections::BTreeSet<u32> = all.iter().copied().collect();
        for id in seen {
            let logit = &mut logits[id as usize];
            *logit = if *logit > 0.0 { *logit / 1.7 } else { *logit * 1.7 };
        }
        all.push(limbeck_tests::bundles::argmax(&logits) as u32);
    }
    let found = write(&model, "the the a", &options(20).repetition_penalty(1.7));
    assert_eq!(found.ids, all[prompt.len()..]);
}

#[test]
fn pieces_make_up_the_text_and_are_whole_characters() {
    let made = made();
    let model = made.open();
    for seed in 0..20 {
        // Hot: many bytes that are no UTF-8, and characters that come in several tokens.
        let options = options(60).temperature(3.0).seed(seed).stop("\u{FFFD}\u{FFFD}\u{FFFD}");
        let mut stream = model.generate("\u{1F642}", &options).unwrap();
        let pieces: Vec<limbeck::Piece> = stream.by_ref().map(Result::unwrap).collect();
        assert!(stream.next().is_none());
        let whole = stream.stop();
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), whole.text);
        assert_eq!(pieces.iter().map(|piece| piece.id).collect::<Vec<_>>(), whole.ids);
        let mut again = write(&model, "\u{1F642}", &options);
        again.times = whole.times;
        assert_eq!(whole, again);
        if whole.finish == Finish::Length {
            let bytes = model.token_bytes(&whole.ids).unwrap();
            assert_eq!(whole.text, String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn tokens_are_lossless_on_any_bytes() {
    let made = made();
    let model = made.open();
    // The first 256 tokens are the bytes, in the order of the vocabulary.
    let bytes: Vec<u8> = (0..=255).collect();
    let token =
        |byte: u8| (0..256).find(|&id| model.token_bytes(&[id]).unwrap() == [byte]).expect("a token for each byte");
    let all: Vec<u32> = bytes.iter().map(|&byte| token(byte)).collect();
    assert_eq!(model.token_bytes(&all).unwrap(), bytes);
    let mut state = 1u64;
    for _ in 0..300 {
        let text: String = (0..40)
            .filter_map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                char::from_u32((state >> 40) as u32 % [0x80, 0x800, 0x11_0000][(state >> 33) as usize % 3])
            })
            .collect();
        let tokens = model.tokenize(&text).unwrap();
        assert_eq!(model.token_bytes(&tokens.ids).unwrap(), text.as_bytes());
    }
    assert!(model.token_bytes(&[u32::MAX, 9999]).unwrap().is_empty());
}

#[test]
fn a_full_context_is_an_error_an_end_or_slides() {
    let made = made();
    let model = made.open();
    let prompt = "the on ".repeat(18);
    let read = ids(&made, &prompt);
    assert!((50..80).contains(&read.len()), "{}", read.len());
    let error = model.generate(&prompt, &options(60)).err().unwrap();
    assert!(matches!(error, Error::ContextOverflow { new: 60, context: 80, .. }), "{error}");
    assert_eq!(error.code(), limbeck::Code::TooLong);

    let stopped = write(&model, &prompt, &options(60).context(ContextPolicy::Stop));
    // All positions are read, and one token more is written after the last.
    assert_eq!((stopped.finish, stopped.generated_tokens), (Finish::Context, 81 - read.len()));
    assert_eq!(stopped.ids, greedy(&made, &read, 81 - read.len()));

    let slid = write(&model, &prompt, &options(60).context(ContextPolicy::Slide { keep: 30 }));
    let (mut all, mut from) = (read.clone(), 0);
    for _ in 0..60 {
        if all.len() - from > 80 {
            from = all.len() - 30;
        }
        let next = likeliest(&made, &all[from..]);
        all.push(next);
    }
    assert_eq!((slid.finish, slid.tokens_dropped), (Finish::Length, from));
    assert!(from > 0);
    assert_eq!(slid.ids, all[read.len()..]);
    // In a batch each slides at its own time.
    let batch = model.generate_batch(&["a", &prompt, "the"], &options(60).context(ContextPolicy::Slide { keep: 30 }));
    assert_eq!(batch.unwrap()[1].ids, slid.ids);

    let most = model.generate(&prompt, &options(usize::MAX)).err().unwrap();
    assert!(matches!(most, Error::ContextOverflow { .. }), "{most}");
    assert_eq!(write(&model, &prompt, &options(usize::MAX).context(ContextPolicy::Stop)).ids, stopped.ids);
    let long = "the on ".repeat(60);
    for policy in [ContextPolicy::Error, ContextPolicy::Stop] {
        let error = model.generate(&long, &options(1).context(policy)).err().unwrap();
        assert_eq!(error.code(), limbeck::Code::TooLong, "{error}");
    }
    let slid = write(&model, &long, &options(3).context(ContextPolicy::Slide { keep: 0 }));
    let read = ids(&made, &long);
    assert_eq!(slid.tokens_dropped, read.len() - 40);
    assert_eq!(slid.ids, greedy(&made, &read[read.len() - 40..], 3));
}

#[test]
fn a_long_prompt_is_read_in_parts() {
    let made = {
        let _turn = seeded(802);
        let config = |config| limbeck_export::arch::ModelConfig { position_rows: 700, ..config };
        Recipe { max_tokens: 700, config, ..Recipe::new(Head::CausalLm, &[]) }.make()
    };
    let model = made.open();
    let prompt = "the yes on a ".repeat(110);
    let read = ids(&made, &prompt);
    assert!(read.len() > 512, "{}", read.len());
    assert_eq!(write(&model, &prompt, &options(4)).ids, greedy(&made, &read, 4));
    assert_eq!(model.generate_batch(&["the", &prompt], &options(4)).unwrap()[1].ids, greedy(&made, &read, 4));
    assert!(model.metrics().runs > 6);
}

#[test]
fn calls_end_when_they_are_told_to() {
    let made = made();
    let model = made.open();
    let cancel = Cancel::new();
    let options = options(60).cancel(cancel.clone());
    let mut stream = model.generate("the", &options).unwrap();
    let first = stream.next().unwrap().unwrap();
    cancel.cancel();
    assert!(matches!(stream.next(), Some(Err(Error::Cancelled))));
    assert!(stream.next().is_none());
    let left = stream.stop();
    assert_eq!((left.finish, left.ids), (Finish::Unfinished, vec![first.id]));
    assert!(matches!(model.generate_batch(&["the"], &options), Err(Error::Cancelled)));

    let late = GenerateOptions::new().deadline(Instant::now());
    assert!(matches!(model.generate("the", &late).map(|_| ()), Err(Error::DeadlineExceeded)));
    let soon = GenerateOptions::new()
        .max_new_tokens(1_000_000)
        .context(ContextPolicy::Slide { keep: 40 })
        .ignore_eos(true)
        .timeout(Duration::from_millis(200));
    let start = Instant::now();
    let outcome = model.generate("the", &soon).unwrap().finish();
    assert!(matches!(outcome, Err(Error::DeadlineExceeded)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A prompt of one run, deep enough to take a while: cancel and deadline end the run, and not only the call after it.
#[test]
fn a_run_that_reads_a_prompt_is_ended() {
    const TOKENS: usize = 250;
    const TRIES: usize = 6;
    let made = {
        let _turn = seeded(803);
        let config = |config| ModelConfig {
            hidden_size: 128,
            embedding_size: 128,
            intermediate_size: 512,
            layers: 48,
            position_rows: 256,
            initializer_range: 0.02,
            ..config
        };
        Recipe { max_tokens: 256, config, ..Recipe::new(Head::CausalLm, &[]) }.make()
    };
    let model = made.open_with(|builder| builder.prefix_cache(1 << 30));
    let prompt = "b".repeat(TOKENS);
    let few_shot = Prompt::new("b").example("b".repeat(TOKENS - 2), "b").separator("");
    let whole = write(&model, &prompt, &options(3));
    assert_eq!(whole.prompt_tokens, TOKENS);
    let choices = made.open().prompt(&few_shot).choose(&["a", "b"]).unwrap().choices;

    let cancelled = |wait: Duration, call: &dyn Fn(Option<Cancel>, Option<Instant>) -> Option<Error>| {
        let cancel = Cancel::new();
        let canceller = std::thread::spawn({
            let cancel = cancel.clone();
            move || {
                std::thread::sleep(wait);
                cancel.cancel();
                Instant::now()
            }
        });
        let error = call(Some(cancel), None);
        let ended = Instant::now();
        (error, ended.saturating_duration_since(canceller.join().unwrap()))
    };
    let timed_out = |wait: Duration, call: &dyn Fn(Option<Cancel>, Option<Instant>) -> Option<Error>| {
        let deadline = Instant::now() + wait;
        let error = call(None, Some(deadline));
        (error, Instant::now().saturating_duration_since(deadline))
    };
    let write_on = |cancel, deadline| {
        let mut options = options(3);
        (options.cancel, options.deadline) = (cancel, deadline);
        model.generate(&prompt, &options).and_then(|stream| stream.finish()).err()
    };
    let choose = |cancel, deadline| {
        let mut options = ChooseOptions::new();
        (options.cancel, options.deadline) = (cancel, deadline);
        model.prompt(&few_shot).choose_with(&["a", "b"], &options).err()
    };
    let attempt = || -> Result<(), String> {
        // Timed in each try: what else the machine does changes.
        let start = Instant::now();
        let times = write(&model, &prompt, &options(1)).times;
        let (run, before) = (times.prefill, start.elapsed().saturating_sub(times.prefill));
        let runs = model.metrics().runs;
        for call in [&write_on as &dyn Fn(_, _) -> _, &choose] {
            // When a third of the run lies behind: it is under way.
            let wait = before + run / 3;
            for (outcome, (error, late)) in
                [("Cancelled", cancelled(wait, call)), ("DeadlineExceeded", timed_out(wait, call))]
            {
                if error.as_ref().is_none_or(|error| format!("{error:?}") != outcome) || late > run / 3 {
                    return Err(format!("{outcome}: {error:?} {late:?} late, where a run takes {run:?}"));
                }
            }
        }
        // Runs count at their end: none came to it.
        match model.metrics().runs - runs {
            0 => Ok(()),
            more => Err(format!("{more} runs came to their end")),
        }
    };
    let failed: Vec<String> = (0..TRIES).map_while(|_| attempt().err()).collect();
    assert!(failed.len() < TRIES, "{failed:?}");

    // Neither the session nor what is kept of prompts has anything of them.
    let again = write(&model, &prompt, &options(3).log_probabilities(true));
    assert_eq!(again.ids, whole.ids);
    let picked = model.prompt(&few_shot).choose(&["a", "b"]).unwrap();
    assert_eq!((picked.usage.cached_tokens, picked.choices), (0, choices));
}

#[test]
fn streams_take_turns_on_one_session() {
    let made = made();
    let model = made.open();
    let options = options(12);
    let (mut one, mut two) = (model.generate("the", &options).unwrap(), model.generate("a", &options).unwrap());
    let mut pieces = [String::new(), String::new()];
    while let (Some(a), Some(b)) = (one.next(), two.next()) {
        pieces[0] += &a.unwrap().text;
        pieces[1] += &b.unwrap().text;
    }
    assert_eq!(pieces, ["the", "a"].map(|prompt| write(&model, prompt, &options).text));
    let texts: Vec<String> = std::thread::scope(|scope| {
        let each = ["the", "a"].map(|prompt| scope.spawn(|| write(&model, prompt, &options).text));
        each.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(texts, pieces);
}

/// A step runs on whichever session is free, and what it reads and writes is bound anew for another.
#[test]
fn a_stream_goes_on_with_any_session() {
    let made = made();
    let model =
        limbeck::Model::builder().runtime_path(cache::onnxruntime()).sessions(3).open_bytes(made.bundle).unwrap();
    let options = options(40);
    let expected = ["the", "a"].map(|prompt| write(&model, prompt, &options).ids);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(["the", "a"].map(|prompt| write(&model, prompt, &options).ids), expected);
                }
            });
        }
    });
}

#[test]
fn odd_prompts_and_options() {
    let made = made();
    let model = made.open();
    // The empty prompt is the token that texts begin with.
    let eos = made.tokenizer.token_to_id("<|endoftext|>").unwrap();
    assert_eq!(write(&model, "", &options(5)).ids, greedy(&made, &[eos], 5));
    assert_eq!(write(&model, "\0", &options(2)).generated_tokens, 2);
    let none = write(&model, "the", &options(0));
    assert_eq!((none.text.as_str(), none.finish, none.generated_tokens), ("", Finish::Length, 0));
    for wrong in [
        options(5).temperature(-1.0),
        options(5).temperature(f32::NAN),
        options(5).top_p(1.5),
        options(5).repetition_penalty(0.0),
        options(5).stop(""),
    ] {
        assert!(matches!(model.generate("the", &wrong).map(|_| ()), Err(Error::InvalidArgument(_))), "{wrong:?}");
        assert!(matches!(model.generate_batch(&["the"], &wrong), Err(Error::InvalidArgument(_))));
    }
    assert!(matches!(model.classify("the"), Err(Error::WrongTask { .. })));
    let other = {
        let _turn = seeded(803);
        Recipe::new(Head::MaskedLm, &[]).make().open()
    };
    assert!(matches!(other.generate("the", &options(5)).map(|_| ()), Err(Error::WrongTask { .. })));
    assert!(matches!(other.token_bytes(&[1]), Err(Error::WrongTask { .. })));
}

#[test]
fn memory_budgets_are_kept_or_refused() {
    let made = made();
    let model = made.open_with(|builder| builder.memory_budget(64 << 20));
    assert!(model.memory().expected <= 64 << 20);
    let alone = write(&model, "the", &options(8));
    assert_eq!(model.generate_batch(&["the", "a"], &options(8)).unwrap()[0].ids, alone.ids);
    let builder = limbeck::Model::builder().runtime_path(limbeck_tests::cache::onnxruntime()).memory_budget(1 << 20);
    assert!(matches!(builder.open_bytes(made.bundle.clone()), Err(Error::MemoryBudget { .. })));
}
