//! Measures of quality.

use std::collections::{BTreeMap, HashMap};

/// Matthews correlation of a confusion matrix `[true][predicted]`: from -1 to 1, 0 for guessing (Gorodkin 2004,
/// equation 8, which for two classes is Matthews 1975). 0 where it is not defined.
pub fn matthews(confusion: &[Vec<usize>]) -> f64 {
    let classes = 0..confusion.len();
    let total: f64 = confusion.iter().flatten().map(|&count| count as f64).sum();
    let right: f64 = classes.clone().map(|k| confusion[k][k] as f64).sum();
    let truth: Vec<f64> = confusion.iter().map(|row| row.iter().sum::<usize>() as f64).collect();
    let guess: Vec<f64> =
        classes.map(|k| confusion.iter().map(|row| row.get(k).copied().unwrap_or(0)).sum::<usize>() as f64).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let under = (total * total - dot(&guess, &guess)) * (total * total - dot(&truth, &truth));
    if under > 0.0 { (right * total - dot(&truth, &guess)) / under.sqrt() } else { 0.0 }
}

/// The mean over classes of the harmonic mean of precision and recall; 0 for a class that is never guessed rightly.
pub fn macro_f1(confusion: &[Vec<usize>]) -> f64 {
    let one = |k: usize| {
        let guessed: usize = confusion.iter().map(|row| row[k]).sum();
        let there: usize = confusion[k].iter().sum();
        f1(confusion[k][k], guessed, there)
    };
    (0..confusion.len()).map(one).sum::<f64>() / confusion.len().max(1) as f64
}

/// The harmonic mean of precision (`right` of `guessed`) and recall (`right` of `there`).
pub fn f1(right: usize, guessed: usize, there: usize) -> f64 {
    if guessed + there == 0 { 0.0 } else { 2.0 * right as f64 / (guessed + there) as f64 }
}

/// Pearson's correlation; 0 where a side does not vary, NaN where a value is.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len()) as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mx, my) = (mean(x), mean(y));
    let sum = |of: fn(f64, f64) -> f64| x.iter().zip(y).map(|(a, b)| of(a - mx, b - my)).sum::<f64>();
    let under = (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
    if under == 0.0 { 0.0 } else { sum(|a, b| a * b) / under }
}

/// Spearman's rank correlation, ties at their mean rank. NaN where a value is, as there is no rank for it.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    if x.iter().chain(y).any(|value| value.is_nan()) { f64::NAN } else { pearson(&ranks(x), &ranks(y)) }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let ties = order[start..].iter().take_while(|&&i| values[i] == values[order[start]]).count();
        for &index in &order[start..start + ties] {
            ranks[index] = start as f64 + (ties - 1) as f64 / 2.0;
        }
        start += ties;
    }
    ranks
}

/// An answer as SQuAD's evaluation compares it: lower case, without ASCII punctuation, articles and extra space.
fn squad_words(answer: &str) -> Vec<String> {
    let plain: String = answer.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).map(str::to_owned).collect()
}

/// Whether two answers are the same to SQuAD's evaluation (Rajpurkar 2016, section 6.1).
pub fn squad_exact(answer: &str, right: &str) -> bool {
    squad_words(answer) == squad_words(right)
}

/// The overlap of two answers in words, as F1 (Rajpurkar 2016, section 6.1). 1 if both are empty.
pub fn squad_f1(answer: &str, right: &str) -> f64 {
    let (answer, right) = (squad_words(answer), squad_words(right));
    if answer.is_empty() || right.is_empty() {
        return f64::from(u8::from(answer == right));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    right.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let mut same = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    f1(same, answer.len(), right.len())
}

/// Named measures, in the order of their names.
pub type Metrics = BTreeMap<String, f64>;

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn values_of_scikit_learn_and_scipy() {
        // sklearn.metrics.matthews_corrcoef and f1_score(average="macro") of these counts.
        near(matthews(&[vec![5, 1], vec![2, 8]]), 0.618_070_046_2);
        near(matthews(&[vec![3, 1, 0], vec![0, 4, 1], vec![1, 0, 2]]), 0.617_021_276_6);
        near(matthews(&[vec![0, 7], vec![0, 9]]), 0.0);
        near(macro_f1(&[vec![3, 1, 0], vec![0, 4, 1], vec![1, 0, 2]]), 0.738_888_888_9);
        let (x, y) = ([1.0, 2.0, 2.0, 3.5, 0.0], [0.5, 1.5, 2.5, 2.0, 0.1]);
        near(pearson(&x, &y), 0.815_772_499_5);
        near(spearman(&x, &y), 0.820_782_681_7);
        near(pearson(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn of_what_is_no_number_there_is_no_correlation() {
        for values in [[f64::NAN, 1.0, 2.0], [1.0, f64::NAN, f64::NAN], [f64::NAN; 3]] {
            for measure in [pearson, spearman] {
                assert!(measure(&values, &[1.0, 2.0, 3.0]).is_nan() && measure(&[1.0, 2.0, 3.0], &values).is_nan());
            }
        }
        near(spearman(&[f64::INFINITY, 0.0, f64::NEG_INFINITY], &[3.0, 2.0, 1.0]), 1.0);
    }

    #[test]
    fn answers_are_compared_as_squad_does() {
        assert!(squad_exact("The  Broncos!", "broncos"));
        assert!(!squad_exact("Denver Broncos", "Broncos"));
        near(squad_f1("the Denver Broncos", "Broncos"), 2.0 / 3.0);
        near(squad_f1("a b b", "b c"), 0.5);
        near(squad_f1("", ""), 1.0);
        near(squad_f1("x", ""), 0.0);
    }
}
