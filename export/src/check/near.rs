//! Texts of different sets that are nearly the same.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{Findings, Late, counted, percent, shown, some_rows};
use crate::data::{Rows, Split, normalised};
use crate::progress::Reporter;

/// Texts whose sets of 5-grams overlap by this much (Jaccard) are near twins.
const ALIKE: f64 = 0.9;
/// Characters of a gram.
const GRAM: usize = 5;
/// Of a long text only so many characters are compared.
const LONGEST: usize = 2000;
/// Texts that are compared at most, and of dev and test together.
const MOST: usize = 20_000;
const MOST_HELD_OUT: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(4);
/// From this share of dev or test on they are worth a warning.
const MANY: f64 = 0.01;

pub(super) fn check(split: &Split, reporter: &Reporter, findings: &mut Findings) {
    let names = ["train", "dev", "test"];
    let held_out = split.dev.len() + split.test.len();
    let share = |rows: &Rows| (rows.len() * MOST_HELD_OUT).div_ceil(held_out.max(MOST_HELD_OUT));
    let train = MOST.saturating_sub(share(&split.dev) + share(&split.test));
    let (mut texts, mut sets) = (Vec::new(), Vec::new());
    for (set, (rows, most)) in
        [(&split.train, train), (&split.dev, share(&split.dev)), (&split.test, share(&split.test))]
            .into_iter()
            .enumerate()
    {
        let own = keys(&some_rows(rows, most));
        sets.extend(own.iter().map(|_| set));
        texts.extend(own);
    }
    let bar = Late::new(reporter, "twins", texts.len());
    let found = twins(&texts, &sets, LIMIT, &bar);
    let all = split.train.len() + held_out;
    if found.looked_at < all && !matches!(split.train, Rows::Questions(_)) {
        findings.fact(format!("near twins were sought among {} of {all} texts, to be quick", found.looked_at));
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let pairs: Vec<_> = found
            .pairs
            .iter()
            .filter_map(|&(a, b)| match (sets[a], sets[b]) {
                pair if pair == (one, other) => Some((a, b)),
                pair if pair == (other, one) => Some((b, a)),
                _ => None,
            })
            .collect();
        let mut with: Vec<usize> = pairs.iter().map(|(_, text)| *text).collect();
        with.sort_unstable();
        with.dedup();
        let all = sets.iter().filter(|set| **set == other).count();
        findings.weigh(with.len(), all, MANY, || {
            let first: Vec<_> =
                pairs.iter().take(3).map(|&(a, b)| difference(&texts[a], &texts[b])).collect();
            format!(
                "{} of {}, {} of those compared, with a near twin in {}, which flatters the score; remove them from one: {}",
                counted(with.len(), "text"),
                names[other],
                percent(with.len(), all),
                names[one],
                first.join("; ")
            )
        });
    }
}

/// Two texts from shortly before they differ.
fn difference(one: &str, other: &str) -> String {
    const BEFORE: usize = 20;
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| {
        let rest: String = text.chars().skip(same.saturating_sub(BEFORE)).collect();
        shown(&if same > BEFORE { format!("...{rest}") } else { rest })
    };
    format!("{} and {}", from(one), from(other))
}

/// What is compared: texts, of pairs both, of questions the texts that they are about, each once.
fn keys(rows: &Rows) -> Vec<String> {
    match rows {
        Rows::Questions(questions) => {
            let mut seen = HashSet::new();
            let contexts = questions.iter().map(|question| normalised(&question.context));
            contexts.filter(|context| seen.insert(context.clone())).collect()
        }
        rows => rows.keys(),
    }
}

pub(super) struct Twins {
    /// Texts of different sets, by place; equal texts are left out.
    pub pairs: Vec<(usize, usize)>,
    pub looked_at: usize,
}

/// All pairs of different sets at or above [`ALIKE`], exactly: two sets of grams that are so alike share one of their
/// rarest `n - ceil(0.9 n) + 1` grams (prefix filtering; Bayardo 2007, "Scaling up all pairs similarity search").
pub(super) fn twins(texts: &[String], sets: &[usize], limit: Duration, bar: &Late) -> Twins {
    let started = Instant::now();
    let mut ranks: HashMap<u64, u32> = HashMap::new();
    let grams: Vec<Vec<u64>> = texts.iter().map(|text| grams(text)).collect();
    for gram in grams.iter().flatten() {
        *ranks.entry(*gram).or_default() += 1;
    }
    // From counts to places in the order from rare to frequent.
    let mut order: Vec<(u32, u64)> = ranks.iter().map(|(gram, count)| (*count, *gram)).collect();
    order.sort_unstable();
    for (rank, (_, gram)) in order.iter().enumerate() {
        ranks.insert(*gram, rank as u32);
    }
    let ranked: Vec<Vec<u32>> = grams
        .into_iter()
        .map(|grams| {
            let mut own: Vec<u32> = grams.iter().filter_map(|gram| ranks.get(gram).copied()).collect();
            own.sort_unstable();
            own
        })
        .collect();
    drop(ranks);
    let mut by_size: Vec<usize> = (0..texts.len()).collect();
    by_size.sort_by_key(|&text| ranked[text].len());
    let mut index: Vec<Vec<u32>> = vec![Vec::new(); order.len()];
    let mut found = Twins { pairs: Vec::new(), looked_at: 0 };
    let mut tried = vec![usize::MAX; texts.len()];
    for &text in &by_size {
        if started.elapsed() > limit {
            break;
        }
        let own = &ranked[text];
        // 0.9 times 70 is a little more than 63 in binary.
        let least = (own.len() as f64 * ALIKE - 1e-9).ceil() as usize;
        for &gram in own.iter().take(own.len() - least + 1) {
            for &other in &index[gram as usize] {
                let other = other as usize;
                let size = ranked[other].len();
                if tried[other] == text || sets[other] == sets[text] || size < least {
                    continue;
                }
                tried[other] = text;
                if jaccard(own, &ranked[other]) >= ALIKE - 1e-9 && texts[text] != texts[other] {
                    found.pairs.push((other, text));
                }
            }
            index[gram as usize].push(text as u32);
        }
        found.looked_at += 1;
        bar.advance(found.looked_at);
    }
    found.pairs.sort_unstable();
    found
}

/// Hashes of all runs of [`GRAM`] characters, each once.
fn grams(text: &str) -> Vec<u64> {
    let characters: Vec<char> = text.chars().take(LONGEST).collect();
    // FNV-1a over scalars: the same on any machine.
    let hash = |run: &[char]| {
        run.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, c| (hash ^ u64::from(*c)).wrapping_mul(0x0100_0000_01b3))
    };
    let mut grams: Vec<u64> = characters.windows(GRAM).map(hash).collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// The share of two sorted sets' elements that both have.
fn jaccard(one: &[u32], other: &[u32]) -> f64 {
    let (mut a, mut b, mut both) = (0, 0, 0usize);
    while a < one.len() && b < other.len() {
        match one[a].cmp(&other[b]) {
            std::cmp::Ordering::Less => a += 1,
            std::cmp::Ordering::Greater => b += 1,
            std::cmp::Ordering::Equal => (a, b, both) = (a + 1, b + 1, both + 1),
        }
    }
    both as f64 / (one.len() + other.len() - both).max(1) as f64
}
