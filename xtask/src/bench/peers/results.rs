//! The result file, and the numbers in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Peer;

/// Cosine to limbeck's fp32 vectors from which an fp32 peer computes the same.
const SAME: f64 = 0.999;

/// What `cargo xtask bench peers --save` writes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub schema: u32,
    pub date: String,
    pub commit: String,
    pub machine: Value,
    /// Of everything that took part.
    pub versions: BTreeMap<String, String>,
    pub model: String,
    /// In the order of the tables; limbeck int8 is the first.
    pub peers: Vec<Tried>,
    pub cases: Vec<Case>,
}

/// A peer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tried {
    pub name: String,
    pub title: String,
    pub precision: String,
    pub file_bytes: u64,
    pub opening: Opening,
}

/// Medians over fresh processes.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Of Python's packages, before the model is opened.
    pub import_ms: Option<f64>,
    pub open_ms: f64,
    pub first_ms: f64,
    /// Before the model is opened, the engine's code loaded where that is not part of opening.
    pub resident_before_mb: Option<f64>,
    /// After the first answer.
    pub resident_mb: Option<f64>,
    /// Of that, what is not a mapped file.
    pub private_mb: Option<f64>,
}

/// What was compared in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub threads: usize,
    pub batch: usize,
    pub tokens: usize,
    pub rounds: usize,
    /// Processes that ran or waited to run, mean of the last minute.
    pub load: Option<f64>,
    pub times: Vec<Times>,
}

/// One peer in a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub peer: String,
    pub calls: usize,
    pub median_ms: f64,
    pub p10_ms: f64,
    /// Smallest of the texts, to the vector of limbeck fp32; null where the weights are others.
    pub cosine: Option<f64>,
}

impl Results {
    /// None yet; `about` is what `limbeck bench --json` prints.
    ///
    /// # Errors
    /// `about` has no date or versions.
    pub fn new(about: &Value, model: &str, commit: String) -> Result<Self> {
        let versions = about["versions"].as_object().context("`limbeck bench` names no versions")?;
        let versions = versions.iter().filter_map(|(name, version)| Some((name.clone(), version.as_str()?.to_owned())));
        Ok(Self {
            schema: 1,
            date: about["date"].as_str().context("`limbeck bench` names no date")?.to_owned(),
            commit,
            machine: about["machine"].clone(),
            versions: versions.collect(),
            model: model.to_owned(),
            peers: Vec::new(),
            cases: Vec::new(),
        })
    }

    /// Adds the cases that an earlier call on the same machine measured with the same code and peers. A case is never
    /// put together from two calls.
    pub fn keep_cases_of(&mut self, earlier: Self) {
        let names = |of: &Self| of.peers.iter().map(|peer| peer.name.clone()).collect::<Vec<_>>();
        if earlier.machine != self.machine
            || earlier.versions != self.versions
            || earlier.commit != self.commit
            || names(&earlier) != names(self)
        {
            return;
        }
        let key = |case: &Case| (case.threads, case.batch, case.tokens);
        let measured: Vec<_> = self.cases.iter().map(key).collect();
        self.cases.extend(earlier.cases.into_iter().filter(|case| !measured.contains(&key(case))));
        self.cases.sort_by_key(key);
    }
}

/// The value below which `share` of them lie, by nearest rank; `times` must not be empty.
pub(super) fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The one in the middle; the mean of two of them where there is none. `times` must not be empty.
pub(super) fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The smallest cosine of two lists of vectors, one after the other.
///
/// # Errors
/// They are of different shape, or one is zero or not finite.
pub(super) fn cosine(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Result<f64> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    ensure!(!ours.is_empty() && ours.len() == theirs.len(), "{} vectors and {}", ours.len(), theirs.len());
    let mut smallest = 1f64;
    for (ours, theirs) in ours.iter().zip(theirs) {
        ensure!(ours.len() == theirs.len(), "{} dimensions and {}", ours.len(), theirs.len());
        let cosine = product(ours, theirs) / (product(ours, ours) * product(theirs, theirs)).sqrt();
        ensure!(cosine.is_finite(), "a vector that is zero or not finite");
        smallest = smallest.min(cosine);
    }
    Ok(smallest)
}

/// Whether a peer computes what limbeck fp32 computes; int8 ones are only reported.
///
/// # Errors
/// It does not.
pub(super) fn check_agreement(peer: &Peer, cosine: f64) -> Result<()> {
    ensure!(
        peer.precision != "fp32" || cosine >= SAME,
        "{} has vectors whose cosine to those of limbeck is only {cosine:.5}: it does not compute the same",
        peer.name
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::peers::PEERS;

    #[test]
    fn middles_and_ranks() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0]), median(&[7.0])), (2.0, 2.5, 7.0));
        let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        assert_eq!((quantile(&ten, 0.1), quantile(&ten, 0.5), quantile(&ten[..1], 0.1)), (1.0, 5.0, 10.0));
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(quantile(&twenty, 0.1), 2.0);
    }

    #[test]
    fn the_worst_vector_counts() {
        let ours = [vec![1.0, 0.0], vec![0.0, 2.0]];
        assert_eq!(cosine(&ours, &[vec![5.0, 0.0], vec![0.0, 0.1]]).unwrap(), 1.0);
        assert!((cosine(&ours, &[vec![1.0, 0.0], vec![3.0, 4.0]]).unwrap() - 0.8).abs() < 1e-12);
        assert!(cosine(&ours, &ours[..1]).is_err() && cosine(&[], &[]).is_err());
        assert!(cosine(&ours, &[vec![1.0, 0.0], vec![0.0, 0.0]]).unwrap_err().to_string().contains("zero"));
        assert!(cosine(&ours, &[vec![1.0], vec![1.0]]).unwrap_err().to_string().contains("2 dimensions and 1"));
    }

    #[test]
    fn fp32_peers_must_agree_and_int8_ones_are_reported() {
        let peer = |name: &str| PEERS.iter().find(|peer| peer.name == name).unwrap();
        assert!(check_agreement(peer("tract"), 0.9995).is_ok());
        assert!(check_agreement(peer("tract"), 0.9985).unwrap_err().to_string().contains("tract"));
        assert!(check_agreement(peer("ort-int8"), 0.9).is_ok());
    }

    #[test]
    fn cases_of_the_same_code_are_kept_whole() {
        let about = json!({"date": "2026-01-02", "machine": {"cpu": "x"}, "versions": {"limbeck": "0.1.0"}});
        let results = |commit: &str, lengths: &[usize], median_ms| {
            let mut results = Results::new(&about, "x", commit.to_owned()).unwrap();
            results.cases.extend(lengths.iter().map(|&tokens| Case {
                threads: 1,
                batch: 1,
                tokens,
                rounds: 2,
                load: None,
                times: vec![Times { peer: "p".to_owned(), calls: 1, median_ms, p10_ms: median_ms, cosine: Some(1.0) }],
            }));
            results
        };
        let medians = |results: &Results| {
            results.cases.iter().map(|case| (case.tokens, case.times[0].median_ms)).collect::<Vec<_>>()
        };
        let mut newer = results("a", &[16, 64], 1.0);
        newer.keep_cases_of(results("a", &[8, 16], 2.0));
        assert_eq!(medians(&newer), [(8, 2.0), (16, 1.0), (64, 1.0)]);
        newer.keep_cases_of(results("b", &[128], 3.0));
        assert_eq!(newer.cases.len(), 3);
    }
}
