//! Peers in turns.

use std::fs;

use anyhow::{Context, Result};

use super::child::{Child, Opened};
use super::prepare::Prepared;
use super::results::{Case, Opening, Results, Times, Tried, check_agreement, cosine, median, quantile};
use super::{Comparison, Peer, Plan};

/// Every word is one token of BERT's vocabulary; the peers are asked how many they saw.
const WORDS: &str = "the battery of this phone lasts two days and its screen is bright enough to read in the sun \
    while the camera needs some light before pictures look as sharp as those of the older model which cost less";
/// Tokens of the text of the first call.
const FIRST: usize = 32;
/// Calls longer than this do not notice that another peer has used the processor's caches.
const LONG_MS: f64 = 200.0;

/// Measures all that `plan` says.
///
/// # Errors
/// A peer ends, or does not compute the same.
pub(super) fn measure(
    prepared: &Prepared,
    comparison: &Comparison,
    chosen: &[&'static Peer],
    plan: &Plan,
    results: &mut Results,
) -> Result<()> {
    let reference = match comparison.reference {
        Some(name) => Some(chosen.iter().position(|peer| peer.name == name).context("the reference takes no part")?),
        None => None,
    };
    let mut opened: Vec<Vec<Opened>> = chosen.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.openings {
        for place in order(chosen.len(), round) {
            let (_, found) = start(prepared, chosen[place], 1)?;
            let versions = found.versions.as_object().into_iter().flatten();
            results.versions.extend(versions.filter_map(|(name, of)| Some((name.clone(), of.as_str()?.to_owned()))));
            opened[place].push(found);
        }
    }
    for &threads in &plan.threads {
        let children = chosen.iter().map(|peer| Ok(start(prepared, peer, threads)?.0));
        let mut children: Vec<Child> = children.collect::<Result<_>>()?;
        for &batch in &plan.batches {
            for &tokens in &plan.lengths {
                let case = case(chosen, reference, &mut children, plan, (threads, batch, tokens))?;
                eprintln!("{}", line(&case));
                results.cases.push(case);
            }
        }
    }
    results.peers = chosen
        .iter()
        .zip(&opened)
        .map(|(peer, opened)| {
            Ok(Tried {
                name: peer.name.to_owned(),
                title: peer.title.to_owned(),
                precision: peer.precision.to_owned(),
                file_bytes: prepared.bytes(peer)?,
                opening: opening(opened),
            })
        })
        .collect::<Result<_>>()?;
    Ok(())
}

/// A new process with its model opened.
fn start(prepared: &Prepared, peer: &Peer, threads: usize) -> Result<(Child, Opened)> {
    let mut child = Child::start(peer.name, prepared.command(peer, threads))?;
    let opened = child.open(&texts(1, FIRST), FIRST)?;
    Ok((child, opened))
}

/// Who comes when: each round begins with another, so that none always follows the same.
fn order(peers: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..peers).map(move |turn| (turn + round) % peers)
}

fn case(
    chosen: &[&'static Peer],
    reference: Option<usize>,
    children: &mut [Child],
    plan: &Plan,
    (threads, batch, tokens): (usize, usize, usize),
) -> Result<Case> {
    let texts = texts(batch, tokens);
    // Warm-up: plans and memory for this shape are made, and the vectors compared.
    let mut vectors = Vec::new();
    let mut estimates = Vec::new();
    for child in children.iter_mut() {
        let found = child.embed(&texts, tokens, 2, true)?;
        estimates.push(quantile(&found.ms, 0.0));
        vectors.push(found.vectors.context("a peer gives no vectors")?);
    }
    let mut times: Vec<Vec<f64>> = chosen.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for place in order(chosen.len(), round) {
            let calls = ((plan.turn_ms / estimates[place]) as usize).clamp(1, 1000);
            let dropped = usize::from(estimates[place] < LONG_MS);
            let found = children[place].embed(&texts, tokens, calls + dropped, false)?;
            times[place].extend(&found.ms[dropped..]);
        }
    }
    let times = chosen
        .iter()
        .zip(&times)
        .zip(&vectors)
        .map(|((peer, times), theirs)| {
            let cosine = reference.map(|own| cosine(&vectors[own], theirs).context(peer.name)).transpose()?;
            if let Some(cosine) = cosine {
                check_agreement(peer, cosine)?;
            }
            Ok(Times {
                peer: peer.name.to_owned(),
                calls: times.len(),
                median_ms: thousandths(median(times)),
                p10_ms: thousandths(quantile(times, 0.1)),
                cosine: cosine.map(|cosine| (cosine * 1e6).round() / 1e6),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Case { threads, batch, tokens, rounds: plan.rounds, load: load(), times })
}

/// Different texts of so many tokens each, two of which are special.
fn texts(batch: usize, tokens: usize) -> Vec<String> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let text = |first: usize| words.iter().copied().cycle().skip(first).take(tokens - 2).collect::<Vec<_>>().join(" ");
    (0..batch).map(|row| text(row % words.len())).collect()
}

fn opening(found: &[Opened]) -> Opening {
    let of = |value: fn(&Opened) -> Option<f64>| {
        let values: Vec<f64> = found.iter().filter_map(value).collect();
        (!values.is_empty()).then(|| thousandths(median(&values)))
    };
    Opening {
        import_ms: of(|opened| opened.import_ms),
        open_ms: of(|opened| Some(opened.open_ms)).unwrap_or_default(),
        first_ms: of(|opened| Some(opened.first_ms)).unwrap_or_default(),
        resident_before_mb: of(|opened| opened.before.resident_mb),
        resident_mb: of(|opened| opened.answered.resident_mb),
        private_mb: of(|opened| opened.answered.private_mb),
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// What is shown while it runs.
fn line(case: &Case) -> String {
    let first = case.times.first().map_or(f64::NAN, |times| times.median_ms);
    let all = case.times.iter().map(|times| {
        let cosine = times.cosine.map_or(String::new(), |cosine| format!(", cosine {cosine:.4}"));
        format!("{} {:.2} ms ({:.2}{cosine})", times.peer, times.median_ms, times.median_ms / first)
    });
    let all = all.collect::<Vec<_>>().join("; ");
    format!("{} threads, batch {}, {} tokens: {all}", case.threads, case.batch, case.tokens)
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another() {
        assert_eq!(order(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(3, 4).collect::<Vec<_>>(), [1, 2, 0]);
    }

    #[test]
    fn texts_have_their_length_and_differ() {
        let texts = texts(8, 32);
        assert!(texts.iter().all(|text| text.split(' ').count() == 30), "{texts:?}");
        assert!((1..8).all(|row| !texts[..row].contains(&texts[row])));
        assert!(texts[1].starts_with("battery of"));
    }
}
