use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::data::Target;

const PAD: usize = 0;
const MASK: i64 = 3;
const FIRST: usize = 4;
const VOCABULARY: usize = 44;
const SPECIAL: [i64; 3] = [0, 1, 2];

/// How often the corpus has an ordinary token: 40 for the first, 1 for the last.
fn count(id: usize) -> usize {
    VOCABULARY - id
}

fn corpus() -> Vec<EncodedExample> {
    let one = |id: usize| EncodedExample::new(vec![id as i64; count(id)], Target::Class(0));
    (FIRST..VOCABULARY).map(one).collect()
}

fn masker(options: Masking) -> Masker {
    Masker::new(options, &corpus(), VOCABULARY, &SPECIAL, MASK).unwrap()
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Texts between special tokens, with every ordinary token `each` times, of unequal lengths.
fn batch(each: usize) -> Vec<Vec<i64>> {
    let ids: Vec<i64> = (0..each * (VOCABULARY - FIRST)).map(|i| (FIRST + i % (VOCABULARY - FIRST)) as i64).collect();
    ids.chunks(25).map(|chunk| [&[1], chunk, &[2]].concat()).collect()
}

fn slices(rows: &[Vec<i64>]) -> Vec<&[i64]> {
    rows.iter().map(Vec::as_slice).collect()
}

fn table(tensor: &Tensor) -> Vec<Vec<i64>> {
    Vec::try_from(tensor).unwrap()
}

/// Drawn tokens of each id, and how many were masked, kept and changed.
fn tally(masker: &Masker, rows: &[Vec<i64>], rounds: u64) -> ([f64; VOCABULARY], [f64; 3]) {
    let (mut drawn, mut fates) = ([0.0; VOCABULARY], [0.0; 3]);
    for round in 0..rounds {
        let masked = masker.mask(&slices(rows), PAD, &mut rng(round), Device::Cpu);
        let (ids, targets) = (table(&masked.ids), table(&masked.targets));
        for ((ids, targets), row) in ids.iter().zip(&targets).zip(rows) {
            for (column, (&id, &target)) in ids.iter().zip(targets).enumerate() {
                let own = row.get(column).copied();
                if target == IGNORED {
                    assert_eq!(id, own.unwrap_or(PAD as i64), "what is not to be guessed stays");
                    continue;
                }
                assert_eq!(Some(target), own);
                drawn[target as usize] += 1.0;
                fates[if id == MASK {
                    0
                } else if id == target {
                    1
                } else {
                    2
                }] += 1.0;
            }
        }
    }
    (drawn, fates)
}

/// Chi-square of `drawn` against the number that `expected` gives each ordinary token, whose variance is `spread`.
fn chi_square(drawn: &[f64], expected: impl Fn(usize) -> (f64, f64)) -> f64 {
    let term = |id: usize| (drawn[id] - expected(id).0).powi(2) / expected(id).1;
    (FIRST..VOCABULARY).map(term).sum()
}

/// 99.99% of chi-squares of 40 categories are below this.
const LIKELY: f64 = 83.0;

fn weight(id: usize) -> f64 {
    (count(id) as f64).powf(-0.7)
}

#[test]
fn shares_over_a_million_tokens() {
    let (masker, rows) = (masker(Masking::default()), batch(100));
    let tokens: usize = rows.iter().map(Vec::len).sum();
    let rounds = 1_000_000 / tokens as u64 + 1;
    let (drawn, [masked, kept, changed]) = tally(&masker, &rows, rounds);
    let all: f64 = drawn.iter().sum();
    let share = all / (tokens as f64 * rounds as f64);
    assert!((share - 0.15).abs() < 0.001, "{share}");
    // A random token may be the mask or the token itself.
    let chance = 0.1 / VOCABULARY as f64;
    for (count, expected) in [(masked, 0.8 + chance), (kept, 0.1 + chance), (changed, 0.1 - 2.0 * chance)] {
        assert!((count / all - expected).abs() < 0.003, "{} {expected}", count / all);
    }
    assert!(SPECIAL.iter().all(|&id| drawn[id as usize] == 0.0));
    // Without replacement, a place whose clock has the rate w is drawn by the time t with probability 1 - exp(-w t); t
    // is when the share is reached.
    let wanted = (0.15 * tokens as f64).ceil();
    let reached = |t: f64| (FIRST..VOCABULARY).map(|id| 100.0 * (1.0 - (-weight(id) * t).exp())).sum::<f64>();
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        (low, high) = if reached(middle) < wanted { (middle, high) } else { (low, middle) };
    }
    let expected = |id: usize| {
        let p = 1.0 - (-weight(id) * low).exp();
        (100.0 * rounds as f64 * p, 100.0 * rounds as f64 * p * (1.0 - p))
    };
    let found = chi_square(&drawn, expected);
    assert!(found < LIKELY, "{found}");
}

#[test]
fn one_token_is_drawn_in_proportion_to_its_weight() {
    let rows = batch(1);
    let tokens: usize = rows.iter().map(Vec::len).sum();
    let one = Masking { share: 0.5 / tokens as f64, ..Masking::default() };
    let rounds = 40_000;
    let (drawn, _) = tally(&masker(one), &rows, rounds);
    assert_eq!(drawn.iter().sum::<f64>(), rounds as f64);
    let chi_square_of = |power: f64| {
        let weight = |id: usize| (count(id) as f64).powf(-power);
        let sum: f64 = (FIRST..VOCABULARY).map(weight).sum();
        chi_square(&drawn, |id| [rounds as f64 * weight(id) / sum; 2].into())
    };
    assert!(chi_square_of(0.7) < LIKELY, "{}", chi_square_of(0.7));
    // The test would see another smoothing.
    assert!(chi_square_of(0.6) > LIKELY && chi_square_of(0.8) > LIKELY && chi_square_of(0.0) > 10.0 * LIKELY);
}

#[test]
fn each_token_by_itself() {
    let options = Masking { draw: Draw::EachToken, ..Masking::default() };
    let rows = batch(100);
    let rounds = 250;
    let (drawn, _) = tally(&masker(options), &rows, rounds);
    let trials = 100.0 * rounds as f64;
    let found = chi_square(&drawn, |_| (trials * 0.15, trials * 0.15 * 0.85));
    assert!(found < LIKELY, "{found}");
    // Numbers differ from batch to batch, here unlike there.
    let masker = masker(options);
    let sizes: Vec<usize> = (0..8).map(|seed| masker.draw(&slices(&rows), &mut rng(seed)).len()).collect();
    assert!(sizes.iter().any(|&size| size != sizes[0]), "{sizes:?}");
}

#[test]
fn the_same_seed_masks_the_same() {
    let (masker, rows) = (masker(Masking::default()), batch(3));
    let of = |seed| {
        let Masked { ids, targets } = masker.mask(&slices(&rows), PAD, &mut rng(seed), Device::Cpu);
        (table(&ids), table(&targets))
    };
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

#[test]
fn what_cannot_be_masked_is_left_or_refused() {
    // More are asked for than there are: all that are not special.
    let rows = vec![vec![1, 1, 1, 1, 9, 2, 2, 2, 2, 2]];
    let most = masker(Masking { share: 0.9, ..Masking::default() });
    assert_eq!(most.draw(&slices(&rows), &mut rng(1)), [(0, 4)]);
    assert_eq!(most.draw(&[&[1, 2]], &mut rng(1)), []);

    let special = [EncodedExample::new(vec![1, 2], Target::Class(0))];
    let error = |made: Result<Masker>| made.err().unwrap().to_string();
    let options = Masking::default();
    assert!(error(Masker::new(options, &special, VOCABULARY, &SPECIAL, MASK)).contains("nothing to mask"));
    assert!(error(Masker::new(options, &corpus(), 40, &SPECIAL, MASK)).contains("beyond the vocabulary of 40"));
    assert!(error(Masker::new(options, &corpus(), VOCABULARY, &SPECIAL, 99)).contains("mask token 99"));
    for (wrong, expected) in [
        (Masking { share: 0.0, ..options }, "share"),
        (Masking { smoothing: -1.0, ..options }, "smoothing"),
        (Masking { kept: 0.3, ..options }, "at most 1"),
        (Masking { longest: Some(2), draw: Draw::Words, ..options }, "\"n-grams\" alone"),
        (Masking { most: Some(2), draw: Draw::EachText, ..options }, "\"words\" or"),
    ] {
        assert!(wrong.check("s").unwrap_err().to_string().contains(expected));
    }
}

/// Every third token goes on with the word before it.
fn wordy(options: Masking) -> Masker {
    masker(options).with_words((0..VOCABULARY).map(|id| id >= FIRST && (id - FIRST) % 3 == 2).collect())
}

fn guessed(masker: &Masker, rows: &[Vec<i64>], seed: u64) -> Vec<Vec<bool>> {
    let targets = table(&masker.mask(&slices(rows), PAD, &mut rng(seed), Device::Cpu).targets);
    targets.into_iter().map(|row| row.into_iter().map(|target| target != IGNORED).collect()).collect()
}

#[test]
fn each_text_has_its_share() {
    let mut rows = batch(20);
    rows.push(rows[0][..9].iter().copied().chain([2]).collect());
    for draw in [Draw::EachText, Draw::ElectraCode] {
        let masker = masker(Masking { draw, ..Masking::default() });
        let mut counts = Vec::new();
        for seed in 0..200 {
            let guessed = guessed(&masker, &rows, seed);
            counts.extend(guessed.iter().zip(&rows).map(|(row, ids)| (row.iter().filter(|x| **x).count(), ids.len())));
        }
        if draw == Draw::EachText {
            assert!(counts.iter().all(|&(count, length)| count == (0.15 * length as f64).ceil() as usize));
        } else {
            // With replacement n of m places leave m (1 - (1 - 1/m)^n). Of 10 tokens 1.5 are rounded to 2.
            for (length, draws) in [(27, 4), (10, 2)] {
                let alike: Vec<_> = counts.iter().filter(|(_, l)| *l == length).collect();
                let mean = alike.iter().map(|(c, _)| *c as f64).sum::<f64>() / alike.len() as f64;
                let places = (length - 2) as f64;
                let expected = places * (1.0 - (1.0 - 1.0 / places).powi(draws));
                assert!(alike.len() > 100 && (mean - expected).abs() < 0.05, "{length}: {mean} for {expected}");
            }
        }
    }
}

#[test]
fn words_are_masked_whole_and_within_the_budget() {
    let rows = batch(20);
    for draw in [Draw::Words, Draw::NGrams] {
        let masker = wordy(Masking { draw, ..Masking::default() });
        let (mut all, mut drawn) = (0, 0);
        for seed in 0..50 {
            for (guessed, ids) in guessed(&masker, &rows, seed).iter().zip(&rows) {
                let count = guessed.iter().filter(|x| **x).count();
                assert!(count <= ((0.15 * ids.len() as f64).round() as usize).max(1), "{count} of {}", ids.len());
                for word in masker.words(ids) {
                    let inside: Vec<bool> = word.iter().map(|&column| guessed[column]).collect();
                    assert!(inside.iter().all(|x| *x == inside[0]), "a word in part");
                }
                all += ids.len();
                drawn += count;
            }
        }
        let share = drawn as f64 / all as f64;
        assert!((share - 0.15).abs() < 0.01, "{share}");
        let few = wordy(Masking { draw, most: Some(2), ..Masking::default() });
        let most = guessed(&few, &rows, 1).iter().map(|row| row.iter().filter(|x| **x).count()).max();
        assert_eq!(most, Some(2));
    }
}

#[test]
fn words_end_at_special_tokens() {
    let masker = wordy(Masking::default());
    let (start, goes_on) = (FIRST as i64, FIRST as i64 + 2);
    let ids = [1, goes_on, goes_on, start, goes_on, 2, goes_on, MASK, start];
    assert_eq!(masker.words(&ids), [vec![1, 2], vec![3, 4], vec![6], vec![8]]);
}

#[test]
fn runs_have_alberts_lengths() {
    let mut rng = rng(5);
    let mut counts = [0.0; 4];
    for _ in 0..110_000 {
        counts[words::draw_length(3, &mut rng)] += 1.0;
    }
    for (n, expected) in [(1, 6.0 / 11.0), (2, 3.0 / 11.0), (3, 2.0 / 11.0)] {
        assert!((counts[n] / 110_000.0f64 - expected).abs() < 0.005, "{n}: {counts:?}");
    }
    assert!((0..100).all(|_| words::draw_length(1, &mut rng) == 1));

    // As they stand in the text: so thinly drawn that runs seldom touch and none is cut.
    let masker = masker(Masking { draw: Draw::NGrams, share: 0.004, ..Masking::default() });
    let row = vec![batch(200).concat().into_iter().filter(|id| *id >= FIRST as i64).collect::<Vec<_>>()];
    let mut lengths = [0.0; 4];
    for seed in 0..300 {
        for run in guessed(&masker, &row, seed)[0].split(|guessed| !guessed).filter(|run| !run.is_empty()) {
            lengths[run.len().min(3)] += 1.0;
        }
    }
    let total: f64 = lengths.iter().sum();
    for (n, expected) in [(1, 6.0 / 11.0), (2, 3.0 / 11.0), (3, 2.0 / 11.0)] {
        // The last of a text may be cut to what is left of the budget.
        assert!((lengths[n] / total - expected).abs() < 0.03, "{n}: {lengths:?}");
    }
}

#[test]
fn tokens_of_words_have_each_a_fate() {
    for draw in [Draw::EachText, Draw::Words, Draw::NGrams] {
        let (_, fates) = tally(&wordy(Masking { draw, ..Masking::default() }), &batch(40), 40);
        let all: f64 = fates.iter().sum();
        for (fate, expected) in fates.iter().zip([0.8, 0.1, 0.1]) {
            // A random token may be the one that stood there, or the mask.
            assert!((fate / all - expected).abs() < 0.01, "{draw:?}: {fates:?}");
        }
    }
}

#[test]
fn a_stage_that_draws_as_electra_keeps_what_its_code_keeps() {
    let read = |text: &str| toml::from_str::<Masking>(text).unwrap();
    assert_eq!(read(""), Masking::default());
    let electra = read("draw = \"electra-code\"");
    assert_eq!((electra.masked, electra.kept, electra.share), (0.85, 0.15, 0.15));
    assert_eq!(read("draw = \"electra-code\"\nkept = 0.0").kept, 0.0);
    // Written out and read again it is the same.
    let batch = Masking { smoothing: 0.5, ..Masking::default() };
    for masking in [electra, batch] {
        assert_eq!(read(&toml::to_string(&masking).unwrap()), masking);
    }
    assert!(toml::from_str::<Masking>("shares = 0.1").is_err());
}

/// `max_predictions_per_seq` of ELECTRA's code: of a longest text of 10 tokens int(1.55) are the most, not round(1.5).
#[test]
fn the_longest_text_bounds_what_is_drawn_as_in_electras_code() {
    let row: Vec<i64> = [1].into_iter().chain(FIRST as i64..FIRST as i64 + 8).chain([2]).collect();
    let short = [EncodedExample::new(row.clone(), Target::Class(0))];
    let options = Masking { draw: Draw::ElectraCode, ..Masking::default() };
    let masker = Masker::new(options, &short, VOCABULARY, &SPECIAL, MASK).unwrap();
    for seed in 0..50 {
        let drawn = guessed(&masker, std::slice::from_ref(&row), seed);
        assert_eq!(drawn[0].iter().filter(|x| **x).count(), 1);
    }
}

/// As a text in Chinese may be to a tokenizer that splits at spaces.
#[test]
fn a_text_of_one_word_that_is_too_long_has_something_to_guess() {
    let masker = masker(Masking { draw: Draw::NGrams, most: Some(1), ..Masking::default() });
    let masker = masker.with_words(vec![true; VOCABULARY]);
    let row: Vec<i64> = [1].into_iter().chain(FIRST as i64..FIRST as i64 + 8).chain([2]).collect();
    assert_eq!(masker.words(&row).len(), 1);
    for seed in 0..20 {
        let drawn = guessed(&masker, std::slice::from_ref(&row), seed);
        assert_eq!(drawn[0].iter().filter(|x| **x).count(), 1);
    }
}

/// Whatever is drawn has its fate by itself: 80, 10 and 10% (Devlin 2019), and 85, 15 and none as ELECTRA's code has it.
#[test]
fn every_draw_has_its_papers_fates() {
    let rows = batch(100);
    let choice = |draw: Draw| MaskingChoice { draw: Some(draw), ..MaskingChoice::default() };
    for (draw, wanted) in [
        (Draw::EachToken, [0.8, 0.1, 0.1]),
        (Draw::EachText, [0.8, 0.1, 0.1]),
        (Draw::Words, [0.8, 0.1, 0.1]),
        (Draw::NGrams, [0.8, 0.1, 0.1]),
        (Draw::ElectraCode, [0.85, 0.15, 0.0]),
    ] {
        let masker = masker(choice(draw).over(Masking::default(), "here").unwrap());
        let (drawn, fates) = tally(&masker, &rows, 60);
        let all: f64 = drawn.iter().sum();
        assert!(all > 30_000.0, "{draw:?}: {all}");
        // Of random tokens some are the mask or the token itself.
        let chance = wanted[2] / VOCABULARY as f64;
        for ((count, wanted), more) in fates.iter().zip(wanted).zip([chance, chance, -2.0 * chance]) {
            assert!((count / all - wanted - more).abs() < 0.01, "{draw:?}: {} {wanted}", count / all);
        }
        // All ordinary tokens alike: a fate or a place that depends on the token would show.
        let each = all / (VOCABULARY - FIRST) as f64;
        assert!((FIRST..VOCABULARY).all(|id| (drawn[id] / each - 1.0).abs() < 0.25), "{draw:?}: {drawn:?}");
    }
}
