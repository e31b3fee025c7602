//! Scoring and choosing: against libtorch on the whole text.

use std::time::Instant;

use limbeck::{ChooseOptions, ContextPolicy, Error, GenerateOptions, PerplexityOptions, Prompt, Scoring};
use limbeck_export::arch::Head;
use limbeck_tests::bundles::{Made, Recipe, values};
use limbeck_tests::seeded;
use tch::Kind;

fn made() -> Made {
    let _turn = seeded(811);
    Recipe { max_tokens: 80, ..Recipe::new(Head::CausalLm, &[]) }.make()
}

fn ids(made: &Made, text: &str) -> Vec<u32> {
    made.tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

/// The log probability of each token from `first` on.
fn log_probabilities(made: &Made, ids: &[u32], first: usize) -> Vec<f64> {
    let logits = made.logits(ids, &vec![0; ids.len()]).squeeze_dim(0).log_softmax(-1, Kind::Float);
    let rows = values(&logits);
    (first..ids.len()).map(|at| f64::from(rows[(at - 1) * made.config.vocab_size + ids[at] as usize])).collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} where {expected} was expected");
    }
}

const COMPLETIONS: [&str; 5] = [" yes", " no", " the others", "\n\n", " \u{1F642}"];

fn few_shot(query: &str) -> Prompt {
    Prompt::new(query).example("Q: a?\nA:", " yes").example("Q: on?\nA:", " no").separator("\n\n")
}

#[test]
fn scores_are_those_of_the_whole_text() {
    let made = made();
    let model = made.open();
    let told = few_shot("Q: in?\nA:").instruction("Answer yes or no.");
    for prompt in [Prompt::new("the"), few_shot("Q: in?\nA:"), told, Prompt::new("caf\u{e9} \u{1F642}\n")] {
        let picked = model.prompt(&prompt).choose(&COMPLETIONS).unwrap();
        assert!(picked.choices.is_sorted_by(|a, b| a.score >= b.score));
        assert!((picked.choices.iter().map(|choice| choice.probability).sum::<f32>() - 1.0).abs() < 1e-5);
        let text = prompt.text();
        let context = ids(&made, text.trim_end());
        assert_eq!(picked.usage.prompt_tokens, context.len());
        for choice in &picked.choices {
            assert_eq!(choice.text, COMPLETIONS[choice.index]);
            let whole = ids(&made, &format!("{text}{}", choice.text));
            let expected = log_probabilities(&made, &whole, context.len());
            close(&choice.likelihood.token_log_probabilities, &expected);
            let sum: f64 = expected.iter().sum();
            assert!((choice.score - sum / expected.len() as f64).abs() < 1e-4);
            let space = text.len() - text.trim_end().len();
            assert_eq!(choice.likelihood.bytes, space + choice.text.len());
            assert!((choice.likelihood.per_byte() - sum / (space + choice.text.len()) as f64).abs() < 1e-4);
            // Alone it has the score that it has beside the others.
            let alone = model.prompt(&prompt).score(&choice.text).unwrap();
            close(&alone.token_log_probabilities, &choice.likelihood.token_log_probabilities);
        }
    }
}

#[test]
fn each_rule_compares_what_it_says() {
    let made = made();
    let model = made.open();
    let prompt = few_shot("Q: in?\nA:");
    let by = |scoring| {
        let picked = model.prompt(&prompt).choose_with(&COMPLETIONS, &ChooseOptions::new().scoring(scoring)).unwrap();
        let mut scores = vec![0.0; COMPLETIONS.len()];
        picked.choices.iter().for_each(|choice| scores[choice.index] = choice.score);
        scores
    };
    let context = ids(&made, &prompt.text());
    let sum = |context: &[u32], completion: &str| -> f64 {
        let ids = [context, &ids(&made, completion)].concat();
        log_probabilities(&made, &ids, context.len()).iter().sum()
    };
    let sums: Vec<f64> = COMPLETIONS.iter().map(|completion| sum(&context, completion)).collect();
    close(&by(Scoring::Sum), &sums);
    let bytes: Vec<f64> = sums.iter().zip(COMPLETIONS).map(|(sum, text)| sum / text.len() as f64).collect();
    close(&by(Scoring::PerByte), &bytes);
    let answer = ids(&made, "Answer:");
    let normalised: Vec<f64> = sums.iter().zip(COMPLETIONS).map(|(own, text)| own - sum(&answer, text)).collect();
    // The space of the context is in the completions already.
    for context in ["Answer:", "Answer: "] {
        close(&by(Scoring::AnswerContext(context.to_owned())), &normalised);
    }
    // A completion without its own has the context's.
    let picked = |context: &str| {
        let options = ChooseOptions::new().scoring(Scoring::AnswerContext(context.to_owned()));
        model.prompt(&prompt).choose_with(&["yes"], &options).unwrap().choices[0].score
    };
    close(&[picked("Answer: ")], &[sum(&context, "yes") - sum(&answer, " yes")]);

    // Calibrated by two queries without content: p / mean p, normalised again.
    let free = ["Q: N/A\nA:", "Q:\nA:"];
    let softmax = |logs: &[f64]| -> Vec<f64> {
        let sum: f64 = logs.iter().map(|log| log.exp()).sum();
        logs.iter().map(|log| log.exp() / sum).collect()
    };
    let mut mean = vec![0.0; COMPLETIONS.len()];
    for query in free {
        let context = ids(&made, &few_shot(query).text());
        let sums: Vec<f64> = COMPLETIONS.iter().map(|completion| sum(&context, completion)).collect();
        mean.iter_mut().zip(softmax(&sums)).for_each(|(mean, p)| *mean += p / 2.0);
    }
    let odds: Vec<f64> = softmax(&sums).iter().zip(&mean).map(|(own, mean)| own / mean).collect();
    let expected: Vec<f64> = odds.iter().map(|odd| (odd / odds.iter().sum::<f64>()).ln()).collect();
    let options = free.into_iter().fold(ChooseOptions::new().scoring(Scoring::Sum), ChooseOptions::content_free);
    let picked = model.prompt(&prompt).choose_with(&COMPLETIONS, &options).unwrap();
    for choice in &picked.choices {
        assert!((choice.score - expected[choice.index]).abs() < 1e-3, "{choice:?} {expected:?}");
        assert!((f64::from(choice.probability) - expected[choice.index].exp()).abs() < 1e-4);
    }
}

#[test]
fn examples_are_read_once() {
    let made = made();
    let model = made.open();
    let first = model.prompt(&few_shot("Q: in?\nA:")).choose(&COMPLETIONS).unwrap();
    assert_eq!(first.usage.cached_tokens, 0);
    let tokens = model.metrics().tokens;
    let again = model.prompt(&few_shot("Q: re?\nA:")).choose(&COMPLETIONS).unwrap();
    let shared = again.usage.cached_tokens;
    assert!(shared > 20 && shared < again.usage.prompt_tokens, "{:?}", again.usage);
    let fresh = made.open_with(|builder| builder.prefix_cache(0));
    for query in ["Q: re?\nA:", "Q: on?\nA:"] {
        let never = fresh.prompt(&few_shot(query)).choose(&COMPLETIONS).unwrap();
        assert_eq!(never.usage.cached_tokens, 0);
        let kept = model.prompt(&few_shot(query)).choose(&COMPLETIONS).unwrap();
        assert_eq!(kept.choices, never.choices, "what was kept changes nothing");
    }
    assert!(model.metrics().tokens - tokens < fresh.metrics().tokens);
    // A special token between examples is no text, and is shared all the same.
    let apart =
        |query: &str| model.prompt(&few_shot(query).separator("<|endoftext|>")).choose(&COMPLETIONS).unwrap().usage;
    let (one, other) = (apart("Q: in?\nA:"), apart("Q: on?\nA:"));
    assert!(one.cached_tokens == 0 && other.cached_tokens > 0, "{other:?}");
    // What is written on from a prompt is what is written on from its text.
    let options = GenerateOptions::new().max_new_tokens(10).ignore_eos(true);
    let prompt = few_shot("Q: the?\nA:");
    let prompted = model.prompt(&prompt);
    let written = prompted.generate(&options).unwrap().finish().unwrap();
    assert!(written.cached_tokens == shared && written.prompt_tokens == ids(&made, &prompt.text()).len());
    let stop = GenerateOptions::new().max_new_tokens(1000).ignore_eos(true).context(limbeck::ContextPolicy::Stop);
    let full = prompted.generate(&stop).unwrap().finish().unwrap();
    assert_eq!(full.prompt_tokens, written.prompt_tokens, "no example is left out");
    assert_eq!((full.finish, &full.ids[..10]), (limbeck::Finish::Context, &written.ids[..]));
    assert_eq!(written.ids, model.generate(&prompt.text(), &options).unwrap().finish().unwrap().ids);
    assert_eq!((written.examples, written.examples_dropped), (2, 0));
}

#[test]
fn examples_without_room_are_left_out_and_reported() {
    let made = made();
    let model = made.open();
    let long = (0..12).fold(Prompt::new("Q: in?\nA:"), |prompt, _| prompt.example("Q: there?\nA:", " yes"));
    let picked = model.prompt(&long).choose(&[" yes", " the others"]).unwrap();
    let usage = picked.usage;
    assert!(usage.examples > 0 && usage.examples_dropped > 0 && usage.examples + usage.examples_dropped == 12);
    let fewer = (0..usage.examples).fold(Prompt::new("Q: in?\nA:"), |p, _| p.example("Q: there?\nA:", " yes"));
    assert_eq!(usage.prompt_tokens, ids(&made, &fewer.text()).len());
    let more = fewer.clone().example("Q: there?\nA:", " yes");
    assert!(ids(&made, &more.text()).len() + ids(&made, " the others").len() > 80, "one more had not fitted");
    assert_eq!(model.prompt(&fewer).choose(&[" yes", " the others"]).unwrap().choices, picked.choices);
    let capped = model.prompt(&long.clone().max_tokens(40)).choose(&[" yes"]).unwrap();
    assert!(capped.usage.prompt_tokens <= 40 && capped.usage.examples < usage.examples);
    let options = GenerateOptions::new().max_new_tokens(30).ignore_eos(true);
    let written = model.prompt(&long).generate(&options).unwrap().finish().unwrap();
    assert!(written.examples > 0 && written.examples + written.examples_dropped == 12, "{written:?}");
    assert!(written.prompt_tokens + 30 <= 80 && written.examples < usage.examples);
    for refused in [long.clone().all_examples(), long.clone().max_tokens(3), Prompt::new("the on ".repeat(60))] {
        let error = model.prompt(&refused).choose(&[" yes"]).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error}");
    }
    for (completions, options) in [(&[][..], ChooseOptions::new()), (&[""][..], ChooseOptions::new())] {
        let error = model.prompt(&few_shot("Q:")).choose_with(completions, &options).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
    let cancel = limbeck::Cancel::new();
    cancel.cancel();
    let cancelled = model.prompt(&fewer).choose_with(&[" yes"], &ChooseOptions::new().cancel(cancel));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let late = ChooseOptions::new().deadline(Instant::now());
    for late in [
        model.prompt(&fewer).choose_with(&[" yes"], &late).map(drop),
        model.prompt(&fewer).score_with(" yes", &late).map(drop),
        model.perplexity_with("the yes", &PerplexityOptions::new().deadline(Instant::now())).map(drop),
    ] {
        assert!(matches!(late, Err(Error::DeadlineExceeded)), "{late:?}");
    }
    let cancel = limbeck::Cancel::new();
    cancel.cancel();
    let cancelled = model.perplexity_with("the yes", &PerplexityOptions::new().cancel(cancel));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

/// A query that fills the context by itself is the policy's affair, whether there are examples or not.
#[test]
fn examples_leave_a_full_context_to_its_policy() {
    let made = made();
    let model = made.open();
    let query = "the on ".repeat(60);
    let [alone, with] = [Prompt::new(query.as_str()), Prompt::new(query.as_str()).example("Q: there?\nA:", " yes")];
    let slide = GenerateOptions::new().max_new_tokens(3).ignore_eos(true).context(ContextPolicy::Slide { keep: 40 });
    let written = [&alone, &with].map(|prompt| model.prompt(prompt).generate(&slide).unwrap().finish().unwrap());
    assert_eq!(written[0].ids, written[1].ids);
    assert!(written[1].tokens_dropped > 0 && written[1].examples_dropped == 1, "{:?}", written[1]);
    for refused in [with.clone().all_examples(), with.clone().max_tokens(50)] {
        let error = model.prompt(&refused).generate(&slide).map(drop).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error}");
    }
    let stop = slide.context(ContextPolicy::Stop);
    for prompt in [&alone, &with] {
        let error = model.prompt(prompt).generate(&stop).map(drop).unwrap_err();
        assert!(matches!(error, Error::TooLong { max: 80, .. }), "{error}");
    }
    // What cannot be written is not read either, and does not push out what was.
    let runs = model.metrics().runs;
    let error = model.prompt(&alone).generate(&stop.context(ContextPolicy::Error)).map(drop).unwrap_err();
    assert!(matches!(error, Error::ContextOverflow { .. }), "{error}");
    assert_eq!(model.metrics().runs, runs);
}

/// As with text that is written: a failure is a call that failed while running, not one that was refused.
#[test]
fn what_is_refused_does_not_count() {
    let made = made();
    let model = made.open();
    let counts = || (model.metrics().calls, model.metrics().failures);
    let endless = Prompt::new("the on ".repeat(60));
    let refused = [
        model.perplexity("").map(drop),
        model.perplexity_with("the", &PerplexityOptions::new().stride(80)).map(drop),
        model.prompt(&endless).choose(&[" yes"]).map(drop),
        model.prompt(&endless).score(" yes").map(drop),
        model.prompt(&few_shot("Q:")).choose(&[]).map(drop),
        model.prompt(&few_shot("Q:")).score("").map(drop),
        model.prompt(&endless).generate(&GenerateOptions::new()).map(drop),
        model.generate_batch(&["the", &"the on ".repeat(60)], &GenerateOptions::new()).map(drop),
    ];
    for (number, outcome) in refused.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        let by_input =
            matches!(error, Error::InvalidArgument(_) | Error::TooLong { .. } | Error::ContextOverflow { .. });
        assert!(by_input, "{number}: {error}");
    }
    assert_eq!(counts(), (0, 0));
    let late = ChooseOptions::new().deadline(Instant::now());
    model.prompt(&few_shot("Q:")).choose_with(&[" yes"], &late).unwrap_err();
    model.prompt(&few_shot("Q:")).score_with(" yes", &late).unwrap_err();
    model.perplexity_with("the yes", &PerplexityOptions::new().deadline(Instant::now())).unwrap_err();
    assert_eq!(counts(), (3, 3));
    model.prompt(&few_shot("Q:")).choose(&[" yes"]).unwrap();
    model.prompt(&few_shot("Q:")).score(" yes").unwrap();
    model.perplexity("the yes").unwrap();
    assert_eq!(counts(), (6, 3));
}

#[test]
fn perplexity_counts_each_token_once() {
    let made = made();
    let model = made.open();
    let text = "the yes on a caf\u{e9}";
    let read = ids(&made, text);
    let expected = log_probabilities(&made, &read, 1);
    let found = model.perplexity(text).unwrap();
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    assert!((found.perplexity.ln() + mean).abs() < 1e-4);
    assert_eq!((found.tokens, found.windows), (read.len() - 1, 1));
    let eos = made.tokenizer.token_to_id("<|endoftext|>").unwrap();
    let found = model.perplexity_with(text, &PerplexityOptions::new().from_start(true)).unwrap();
    let expected = log_probabilities(&made, &[&[eos], &read[..]].concat(), 1);
    assert!((found.log_probability - expected.iter().sum::<f64>()).abs() < 1e-3);
    assert_eq!((found.tokens, found.bytes), (read.len(), text.len()));
    let bits = -found.log_probability / std::f64::consts::LN_2 / text.len() as f64;
    assert!((found.bits_per_byte - bits).abs() < 1e-9);

    // Longer than the context: windows of 80, each further one with 40 tokens before the first that it scores.
    let long = "the yes on a ".repeat(40);
    let read = ids(&made, &long);
    let mut expected = log_probabilities(&made, &read[..80], 1);
    let mut done = 80;
    while done < read.len() {
        let window = &read[done - 40..read.len().min(done + 40)];
        expected.extend(log_probabilities(&made, window, 40));
        done = read.len().min(done + 40);
    }
    let found = model.perplexity(&long).unwrap();
    assert!((found.log_probability - expected.iter().sum::<f64>()).abs() < 1e-3);
    assert_eq!(found.tokens, read.len() - 1);
    assert!(found.windows > 2);
    for (text, options) in [("", PerplexityOptions::new()), ("a", PerplexityOptions::new())] {
        assert!(matches!(model.perplexity_with(text, &options), Err(Error::InvalidArgument(_))));
    }
    assert!(matches!(
        model.perplexity_with("the", &PerplexityOptions::new().stride(80)),
        Err(Error::InvalidArgument(_))
    ));
}
