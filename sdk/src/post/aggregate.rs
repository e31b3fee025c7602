//! Several windows of one text to one row of logits.

/// The mean of the rows, each counted by its weight. Rows must have one
/// length; without rows, or with weights that are all zero, the rows count the
/// same.
pub(crate) fn weighted_mean(rows: &[&[f32]], weights: &[usize]) -> Vec<f32> {
    // One window is the common case, and its logits must not change at all.
    if let [row] = rows {
        return row.to_vec();
    }
    let equal = weights.iter().all(|&w| w == 0);
    let weight = |i: usize| if equal { 1.0 } else { weights.get(i).copied().unwrap_or(0) as f64 };
    let total: f64 = (0..rows.len()).map(weight).sum();
    let columns = rows.first().map_or(0, |row| row.len());
    (0..columns)
        .map(|column| {
            let sum: f64 = rows.iter().enumerate().map(|(i, row)| weight(i) * f64::from(row[column])).sum();
            (sum / total) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_window_is_kept_as_it_is() {
        assert_eq!(weighted_mean(&[&[0.1, -7.3]], &[0]), [0.1, -7.3]);
    }

    #[test]
    fn windows_count_by_their_tokens() {
        assert_eq!(weighted_mean(&[&[1.0, 0.0], &[0.0, 4.0]], &[3, 1]), [0.75, 1.0]);
    }

    #[test]
    fn zero_weights_give_a_plain_mean() {
        assert_eq!(weighted_mean(&[&[1.0], &[3.0]], &[0, 0]), [2.0]);
        assert_eq!(weighted_mean(&[], &[]), [0f32; 0]);
    }
}
