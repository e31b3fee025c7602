//! A fixed train/dev/test split that any machine repeats.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Example, Rows, labels_of};

/// Shares of a split; train takes what dev and test leave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fractions {
    /// Share that chooses the checkpoint.
    pub dev: f64,
    /// Share that is only reported.
    pub test: f64,
}

impl Fractions {
    /// Refuses impossible shares.
    pub(super) fn check(self) -> Result<()> {
        let Fractions { dev, test } = self;
        if !(dev > 0.0 && test > 0.0 && dev + test < 1.0) {
            bail!("split: dev = {dev} and test = {test} must be above 0 and leave something to train on");
        }
        Ok(())
    }
}

/// Three disjoint sets.
#[derive(Clone, Debug)]
pub struct Split {
    /// Trained on.
    pub train: Rows,
    /// Chooses.
    pub dev: Rows,
    /// Reports.
    pub test: Rows,
}

impl Split {
    /// A report of how many rows each set has.
    ///
    /// # Errors
    /// A set is empty.
    pub fn sizes(&self) -> Result<SplitReport> {
        let report = SplitReport {
            train: self.train.len(),
            dev: self.dev.len(),
            test: self.test.len(),
            ..SplitReport::default()
        };
        for (name, rows) in [("train", report.train), ("dev", report.dev), ("test", report.test)] {
            if rows == 0 {
                bail!("the {name} set is empty; give more rows or another share");
            }
        }
        Ok(report)
    }
}

/// [`split_examples`]' result.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub train: Vec<Example>,
    pub dev: Vec<Example>,
    pub test: Vec<Example>,
    pub duplicates: usize,
    pub contradictions: usize,
}

/// What was dropped on the way, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Rows whose text had occurred before with the same label.
    pub duplicates_dropped: usize,
    /// Rows whose text occurs with different labels (all of them are dropped).
    pub contradictions_dropped: usize,
    /// Sizes.
    pub train: usize,
    /// Sizes.
    pub dev: usize,
    /// Sizes.
    pub test: usize,
}

/// Source file and label.
type Stratum = (String, String);
type TextHash = [u8; 32];

/// Texts that differ only in case and white space count as one.
pub(crate) fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// What makes rows the same: the text, of pairs both.
fn same(example: &Example) -> String {
    match &example.pair {
        None => normalised(&example.text),
        Some(pair) => format!("{}\n{}", normalised(&example.text), normalised(pair)),
    }
}

/// Splits by the SHA-256 of the text inside each stratum (source file and label): independent of row
/// order, of other rows and of any random generator. Duplicates go first.
pub(super) fn split_examples(examples: Vec<Example>, fractions: Fractions) -> Sets {
    let Fractions { dev, test } = fractions;
    let mut sets = Sets::default();
    let mut labels: HashMap<String, Option<String>> = HashMap::new();
    for example in &examples {
        labels
            .entry(same(example))
            .and_modify(|known| {
                if known.as_deref() != Some(&example.label) {
                    *known = None;
                }
            })
            .or_insert_with(|| Some(example.label.clone()));
    }
    let mut seen = std::collections::HashSet::new();
    let mut strata: BTreeMap<Stratum, Vec<(TextHash, Example)>> = BTreeMap::new();
    for example in examples {
        let text = same(&example);
        if labels.get(&text).is_some_and(Option::is_none) {
            sets.contradictions += 1;
        } else if !seen.insert(text.clone()) {
            sets.duplicates += 1;
        } else {
            let hash = Sha256::digest(text.as_bytes()).into();
            strata.entry((example.source.clone(), example.label.clone())).or_default().push((hash, example));
        }
    }
    let sizes: Vec<usize> = strata.values().map(Vec::len).collect();
    let (of_test, of_dev) = (shares(&sizes, test), shares(&sizes, dev));
    for (index, mut rows) in strata.into_values().enumerate() {
        rows.sort_by_key(|(hash, _)| *hash);
        let (test_rows, dev_rows) = (of_test[index], of_dev[index].min(rows.len() - of_test[index]));
        for (i, (_, example)) in rows.into_iter().enumerate() {
            if i < test_rows {
                sets.test.push(example);
            } else if i < test_rows + dev_rows {
                sets.dev.push(example);
            } else {
                sets.train.push(example);
            }
        }
    }
    sets
}

/// How many rows of each stratum a set gets. Where all are so small that each would give none, what is over is carried on
/// to the next.
fn shares(sizes: &[usize], fraction: f64) -> Vec<usize> {
    let rounded: Vec<usize> = sizes.iter().map(|&size| (size as f64 * fraction).round() as usize).collect();
    if rounded.iter().any(|&count| count > 0) {
        return rounded;
    }
    let mut before = 0;
    let until = |rows: usize| (rows as f64 * fraction).round() as usize;
    let of = |&size: &usize| {
        let given = until(before + size) - until(before);
        before += size;
        given.min(size)
    };
    sizes.iter().map(of).collect()
}

/// Where a text falls between 0 and 1, by its SHA-256.
fn place(text: &str) -> f64 {
    let hash = Sha256::digest(normalised(text).as_bytes());
    let first = hash.iter().take(4).fold(0u32, |number, &byte| number << 8 | u32::from(byte));
    f64::from(first) / f64::from(u32::MAX)
}

/// Train, dev and test by the SHA-256 of each item's `key`, in about these shares.
pub(super) fn split_by_text<T>(items: Vec<T>, key: impl Fn(&T) -> &str, fractions: Fractions) -> [Vec<T>; 3] {
    let mut sets = [Vec::new(), Vec::new(), Vec::new()];
    for item in items {
        let place = place(key(&item));
        let set = if place < fractions.test {
            2
        } else if place < fractions.test + fractions.dev {
            1
        } else {
            0
        };
        sets[set].push(item);
    }
    sets
}

/// Holds out about a `share` of the items for dev, by the SHA-256 of each one's `key`: items with the same key stay
/// together, and any machine chooses the same.
pub fn hold_out<T>(items: Vec<T>, key: impl Fn(&T) -> &str, share: f64) -> (Vec<T>, Vec<T>) {
    items.into_iter().partition(|item| place(key(item)) >= share)
}

/// As [`hold_out`], with an item on each side where there are two: the one that is nearest to the other side is moved.
pub fn hold_out_some<T>(items: Vec<T>, key: impl Fn(&T) -> &str, share: f64) -> (Vec<T>, Vec<T>) {
    let order = |a: &T, b: &T| place(key(a)).total_cmp(&place(key(b)));
    let nearest = |items: &[T], first: bool| {
        let each = items.iter().enumerate();
        let found = if first { each.min_by(|a, b| order(a.1, b.1)) } else { each.max_by(|a, b| order(a.1, b.1)) };
        found.map(|(index, _)| index).filter(|_| items.len() > 1)
    };
    let (mut train, mut held_out) = hold_out(items, &key, share);
    if held_out.is_empty() {
        if let Some(index) = nearest(&train, true) {
            held_out.push(train.remove(index));
        }
    } else if train.is_empty()
        && let Some(index) = nearest(&held_out, false)
    {
        train.push(held_out.remove(index));
    }
    (train, held_out)
}

/// Label names in sorted order: the order of the logits.
///
/// # Errors
/// Fewer than two labels.
pub fn distinct_labels<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Result<Vec<String>> {
    let labels: std::collections::BTreeSet<&str> = examples.into_iter().map(|e| e.label.as_str()).collect();
    if labels.len() < 2 {
        bail!("a classifier needs at least two labels; the data has {}: {:?}", labels.len(), labels);
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

/// Label names of rows that may have several, sorted.
///
/// # Errors
/// No label at all.
pub fn distinct_of_several<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Result<Vec<String>> {
    let labels: std::collections::BTreeSet<&str> = examples.into_iter().flat_map(|e| labels_of(&e.label)).collect();
    if labels.is_empty() {
        bail!("no row has a label");
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Goal;
    use super::*;

    fn rows(n: usize) -> Vec<Example> {
        (0..n)
            .map(|i| Example {
                text: format!("text number {i}"),
                pair: None,
                label: if i % 3 == 0 { "a" } else { "b" }.into(),
                source: if i % 2 == 0 { "x" } else { "y" }.into(),
            })
            .collect()
    }

    const SHARES: Fractions = Fractions { dev: 0.1, test: 0.2 };

    /// Many labels of few rows: each share of each label would round to nothing.
    #[test]
    fn small_strata_together_fill_every_set() {
        let rows =
            (0..600).map(|i| Example { label: (i % 150).to_string(), source: "x".into(), ..rows(600)[i].clone() });
        let sets = split_examples(rows.collect(), Fractions { dev: 0.1, test: 0.1 });
        assert_eq!((sets.train.len(), sets.dev.len(), sets.test.len()), (480, 60, 60));
        assert_eq!(shares(&[3, 3, 3, 3], 0.1), [0, 1, 0, 0]);
        assert_eq!(shares(&[3, 30, 3], 0.1), [0, 3, 0], "as before where a set is not empty");
    }

    #[test]
    fn a_split_is_stratified_and_ignores_row_order() {
        let split = split_examples(rows(600), SHARES);
        assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (420, 60, 120));
        assert_eq!(split.test.iter().filter(|e| e.label == "a").count(), 40);
        assert_eq!(split.dev.iter().filter(|e| e.source == "x").count(), 30);
        let mut reversed = rows(600);
        reversed.reverse();
        let again = split_examples(reversed, SHARES);
        assert_eq!(again.test, split.test);
    }

    #[test]
    fn duplicates_and_contradictions_are_dropped_and_counted() {
        let mut data = rows(60);
        data.push(Example { text: "  Text NUMBER 4".into(), ..data[4].clone() });
        data.push(Example { label: "zzz".into(), ..data[7].clone() });
        let split = split_examples(data, SHARES);
        assert_eq!((split.duplicates, split.contradictions), (1, 2));
        let all = split.train.iter().chain(&split.dev).chain(&split.test);
        assert!(all.clone().all(|e| e.text != "text number 7"));
        assert_eq!(all.count(), 59);
    }

    #[test]
    fn pairs_are_the_same_only_with_both_texts() {
        let pair = |row: Example, second: &str| Example { pair: Some(second.to_owned()), ..row };
        let mut data: Vec<_> = rows(60).into_iter().map(|row| pair(row, "one")).collect();
        // Other second texts: neither duplicates nor contradictions.
        data.extend(rows(60).into_iter().map(|row| Example { label: "c".into(), ..pair(row, "two") }));
        data.push(Example { pair: Some(" ONE".into()), ..data[0].clone() });
        let split = split_examples(data, SHARES);
        assert_eq!((split.duplicates, split.contradictions), (1, 0));
        assert_eq!(split.train.len() + split.dev.len() + split.test.len(), 120);
    }

    #[test]
    fn what_is_held_out_depends_on_nothing_else() {
        let (train, dev) = hold_out(rows(1000), |row| &row.text, 0.1);
        assert!((70..130).contains(&dev.len()) && train.len() + dev.len() == 1000);
        let mut reversed = rows(2000);
        reversed.reverse();
        let (_, again) = hold_out(reversed, |row| &row.text, 0.1);
        assert!(dev.iter().all(|row| again.contains(row)));
    }

    #[test]
    fn rows_without_one_label_are_split_by_their_texts() {
        let numbered = || rows(2000).into_iter().map(|row| Example { label: "0.5".into(), ..row }).collect();
        let (split, report) = Rows::Texts(numbered()).split(Goal::Value, SHARES).unwrap();
        assert!((150..250).contains(&report.dev) && (320..480).contains(&report.test), "{report:?}");
        assert_eq!(split.train.len() + report.dev + report.test, 2000);
    }

    #[test]
    fn impossible_shares_are_refused() {
        let split = |count, shares| Rows::Texts(rows(count)).split(Goal::Class, shares);
        assert!(split(60, Fractions { dev: 0.5, test: 0.5 }).is_err());
        assert!(split(3, SHARES).unwrap_err().to_string().contains("is empty"));
        assert!(distinct_labels(&rows(1)).is_err());
    }

    #[test]
    fn of_two_or_more_there_is_one_on_each_side() {
        for n in 0..40 {
            let (train, held_out) = hold_out_some((0..n).map(|i| format!("document {i}")).collect(), |text| text, 0.02);
            assert_eq!(train.len() + held_out.len(), n);
            assert!(n < 2 || !train.is_empty() && !held_out.is_empty(), "{n}");
        }
    }
}
