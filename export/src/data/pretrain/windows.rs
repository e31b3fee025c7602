//! Documents packed into windows of one length, for causal language models.

use crate::data::{EncodedExample, Target};

/// All documents, each followed by `end`, in windows of `length` tokens (Brown 2020, appendix B: "packed", without
/// masking between documents). A window begins with the last token of the one before it, so that every token but the
/// very first is predicted exactly once. The last window may be shorter; one of a single token is left out.
pub fn packed_windows(documents: &[Vec<i64>], end: i64, length: usize) -> Vec<EncodedExample> {
    let length = length.max(2);
    let mut windows = Vec::new();
    let mut window: Vec<i64> = Vec::with_capacity(length);
    for id in documents.iter().flat_map(|document| document.iter().copied().chain([end])) {
        window.push(id);
        if window.len() == length {
            windows.push(EncodedExample::new(std::mem::replace(&mut window, vec![id]), Target::Class(0)));
        }
    }
    if window.len() > 1 {
        windows.push(EncodedExample::new(window, Target::Class(0)));
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_predicted_once() {
        let documents = [vec![1, 2, 3], vec![], vec![4], vec![5; 9]];
        let stream: Vec<i64> = documents.iter().flat_map(|d| d.iter().copied().chain([0])).collect();
        for length in 2..20 {
            let windows = packed_windows(&documents, 0, length);
            let predicted: Vec<i64> = windows.iter().flat_map(|window| window.ids[1..].to_vec()).collect();
            assert_eq!(predicted, stream[1..], "length {length}");
            let seen: usize = windows.iter().map(|window| window.ids.len()).sum();
            assert_eq!(seen, stream.len() + windows.len() - 1);
            assert!(windows.iter().rev().skip(1).all(|window| window.ids.len() == length));
        }
        assert!(packed_windows(&[], 0, 8).is_empty() && packed_windows(&[vec![]], 0, 8).is_empty());
    }
}
