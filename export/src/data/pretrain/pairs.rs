//! Segments of documents between special tokens, alone or in pairs.

use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::encode::{library, wide};
use crate::data::{EncodedExample, Encoder, Target};

/// What is learned of two segments. The right answer is class 0 or 1 of the head's two logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentenceTask {
    /// Nothing: texts of one segment.
    #[default]
    None,
    /// Next sentence (Devlin 2019, task 2): class 1 where the second segment is of another document, half of the time.
    Nsp,
    /// Sentence order (Lan 2020, section 3.1): class 1 where two consecutive segments are swapped, half of the time.
    Sop,
}

/// The special tokens that a tokenizer puts round one text and round two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    before: Vec<i64>,
    after: Vec<i64>,
    pair: [Vec<i64>; 3],
}

impl Frame {
    /// As the tokenizer's post-processor has them.
    ///
    /// # Errors
    /// A tokenizer that makes nothing of "a b".
    pub fn of(encoder: &Encoder) -> Result<Self> {
        let tokenizer = encoder.tokenizer();
        let probe = "a b";
        let one = tokenizer.encode(probe, true).map_err(library)?;
        let two = tokenizer.encode((probe, probe), true).map_err(library)?;
        let text = |ids: &[u32], sequences: &[Option<usize>], of: usize| -> Result<(usize, usize, Vec<i64>)> {
            let first =
                sequences.iter().position(|s| *s == Some(of)).context("the tokenizer makes nothing of \"a b\"")?;
            let last = sequences.iter().rposition(|s| *s == Some(of)).unwrap_or(first);
            Ok((first, last + 1, wide(ids)))
        };
        let (first, last, ids) = text(one.get_ids(), &one.get_sequence_ids(), 0)?;
        let (first_of_a, last_of_a, pair) = text(two.get_ids(), &two.get_sequence_ids(), 0)?;
        let (first_of_b, last_of_b, _) = text(two.get_ids(), &two.get_sequence_ids(), 1)?;
        ensure!(last_of_a <= first_of_b, "the tokenizer puts the second text before the first");
        Ok(Self {
            before: ids[..first].to_vec(),
            after: ids[last..].to_vec(),
            pair: [pair[..first_of_a].to_vec(), pair[last_of_a..first_of_b].to_vec(), pair[last_of_b..].to_vec()],
        })
    }

    /// Special tokens of a text of one segment, or of two.
    fn special(&self, two: bool) -> usize {
        if two { self.pair.iter().map(Vec::len).sum() } else { self.before.len() + self.after.len() }
    }

    fn one(&self, segment: &[i64]) -> EncodedExample {
        EncodedExample::new([&self.before, segment, &self.after].concat(), Target::Class(0))
    }

    fn two(&self, first: &[i64], second: &[i64], class: usize) -> EncodedExample {
        let [before, between, after] = &self.pair;
        let ids = [before, first, between, second, after].concat();
        let mut types = vec![0; before.len() + first.len() + between.len()];
        types.resize(ids.len(), 1);
        EncodedExample { types, ..EncodedExample::new(ids, Target::Class(class)) }
    }
}

/// How documents become examples (google-research/bert and albert, `create_pretraining_data.py`).
pub struct Segments<'a> {
    /// Documents, as sentences in tokens.
    pub documents: &'a [Vec<Vec<i64>>],
    /// Special tokens.
    pub frame: &'a Frame,
    /// What is learned of pairs.
    pub task: SentenceTask,
    /// Longest example in tokens, special ones included.
    pub max_tokens: usize,
    /// Share of examples that aim at a random shorter length (`short_seq_prob`, 0.1).
    pub short: f64,
}

/// How often another document is drawn for one that is not the same, as in BERT's code.
const TRIES: usize = 10;

impl Segments<'_> {
    /// Goes through all documents once, in random order, with all random choices by `seed`: another seed gives other
    /// examples of the same text (`dupe_factor`).
    ///
    /// Pairs are runs of whole sentences, at least one in each segment. A cut inside of a sentence would tell which segment
    /// of an order task came first, so there the run ends before the sentence that is too much, and one that does not
    /// fit with the next, or is left over at a document's end, is left out. Next-sentence pairs are cut at their outer ends, alike in both classes; one
    /// sentence that is left over makes none.
    /// Without pairs a document is cut into pieces wherever one is full, so that only its last one has fewer tokens
    /// than were aimed at.
    ///
    /// # Errors
    /// Special tokens that leave no room; next-sentence pairs of fewer than two documents.
    pub fn examples(&self, seed: u64) -> Result<Vec<EncodedExample>> {
        let two = self.task != SentenceTask::None;
        let room = self.max_tokens.saturating_sub(self.frame.special(two));
        ensure!(room >= 2, "special tokens leave no room for a text in max_tokens {}", self.max_tokens);
        ensure!(
            self.task != SentenceTask::Nsp || self.documents.len() > 1,
            "next-sentence pairs need at least two documents; put an empty line between documents, or use sentence = \"sop\""
        );
        ensure!((0.0..=1.0).contains(&self.short), "short_sequences must be from 0 to 1");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut examples = Vec::new();
        for document in 0..self.documents.len() {
            let of_document = match self.task {
                SentenceTask::None => Self::pieces,
                SentenceTask::Nsp => Self::next_sentences,
                SentenceTask::Sop => Self::orders,
            };
            of_document(self, document, room, &mut rng, &mut examples);
        }
        examples.shuffle(&mut rng);
        Ok(examples)
    }

    /// How many tokens an example aims at.
    fn aim(&self, room: usize, rng: &mut ChaCha8Rng) -> usize {
        match rng.random::<f64>() < self.short {
            true => rng.random_range(2..=room),
            false => room,
        }
    }

    /// Examples of one segment: nothing is lost.
    fn pieces(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let tokens = self.documents[index].concat();
        let mut left = tokens.as_slice();
        while !left.is_empty() {
            let (piece, after) = left.split_at(self.aim(room, rng).min(left.len()));
            examples.push(self.frame.one(piece));
            left = after;
        }
    }

    /// Two segments in their order or swapped.
    fn orders(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let mut left = self.documents[index].as_slice();
        while !left.is_empty() {
            let target = self.aim(room, rng);
            let (mut sentences, mut length) = (0, 0);
            for sentence in left {
                if length + sentence.len() > room || (sentences >= 2 && length >= target) {
                    break;
                }
                sentences += 1;
                length += sentence.len();
            }
            if sentences >= 2 {
                let (_, a, b) = split(&left[..sentences], rng);
                examples.push(match rng.random::<bool>() {
                    true => self.frame.two(&b, &a, 1),
                    false => self.frame.two(&a, &b, 0),
                });
            }
            left = &left[sentences.max(1)..];
        }
    }

    /// Two segments, the second of the same document or of another.
    fn next_sentences(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let document = &self.documents[index];
        let mut target = self.aim(room, rng);
        let (mut first, mut length, mut next) = (0, 0, 0);
        while next < document.len() {
            length += document[next].len();
            next += 1;
            if next - first < 2 || (next < document.len() && length < target) {
                continue;
            }
            let (sentences, mut a, mut b) = split(&document[first..next], rng);
            let random = rng.random::<bool>();
            if random {
                b.clear();
                self.of_another(index, target.saturating_sub(a.len()), &mut b, rng);
                // What was not used stands at the start of the next example.
                next = first + sentences;
            }
            cut(&mut a, &mut b, room);
            if !a.is_empty() && !b.is_empty() {
                examples.push(self.frame.two(&a, &b, usize::from(random)));
            }
            (first, length) = (next, 0);
            target = self.aim(room, rng);
        }
    }

    /// Sentences from a random place of another document, until there are as many tokens as asked for.
    fn of_another(&self, index: usize, wanted: usize, into: &mut Vec<i64>, rng: &mut ChaCha8Rng) {
        let mut other = index;
        for _ in 0..TRIES {
            other = rng.random_range(0..self.documents.len());
            if other != index {
                break;
            }
        }
        if other == index {
            other = (index + 1) % self.documents.len();
        }
        let document = &self.documents[other];
        for sentence in &document[rng.random_range(0..document.len())..] {
            into.extend(sentence);
            if into.len() >= wanted {
                break;
            }
        }
    }
}

/// Two parts of a chunk of several sentences, cut between two of them at random; and how many are in the first.
fn split(chunk: &[Vec<i64>], rng: &mut ChaCha8Rng) -> (usize, Vec<i64>, Vec<i64>) {
    let at = rng.random_range(1..chunk.len());
    (at, chunk[..at].concat(), chunk[at..].concat())
}

/// Cuts the longer of the two, the first at its start and the second at its end, until both fit.
fn cut(a: &mut Vec<i64>, b: &mut Vec<i64>, room: usize) {
    let over = (a.len() + b.len()).saturating_sub(room);
    // The longer one first, then both in turn.
    let from_a = {
        let (long, short) = (a.len().max(b.len()), a.len().min(b.len()));
        let alone = over.min(long - short);
        let (of_long, of_short) = (alone + (over - alone).div_ceil(2), (over - alone) / 2);
        if a.len() >= b.len() { of_long } else { of_short }
    };
    a.drain(..from_a.min(a.len()));
    b.truncate(room.saturating_sub(a.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLS: i64 = -1;
    const SEP: i64 = -2;

    fn frame() -> Frame {
        Frame { before: vec![CLS], after: vec![SEP], pair: [vec![CLS], vec![SEP], vec![SEP]] }
    }

    /// Documents whose token `1000 d + i` is the ith of document d.
    fn documents(lengths: &[&[usize]]) -> Vec<Vec<Vec<i64>>> {
        let document = |(d, lengths): (usize, &&[usize])| {
            let mut next = 1000 * d as i64;
            let sentence = |&length: &usize| {
                let own = (next..next + length as i64).collect();
                next += length as i64;
                own
            };
            lengths.iter().map(sentence).collect()
        };
        lengths.iter().enumerate().map(document).collect()
    }

    fn examples(documents: &[Vec<Vec<i64>>], task: SentenceTask, max_tokens: usize, seed: u64) -> Vec<EncodedExample> {
        let frame = frame();
        Segments { documents, frame: &frame, task, max_tokens, short: 0.1 }.examples(seed).unwrap()
    }

    fn sides(example: &EncodedExample) -> (Vec<i64>, Vec<i64>, bool) {
        let parts: Vec<&[i64]> = example.ids.split(|&id| id < 0).collect();
        assert_eq!(parts.len(), 4, "{:?}", example.ids);
        let types: Vec<i64> = example
            .ids
            .iter()
            .scan(0, |seps, &id| {
                let own = i64::from(*seps > 0);
                *seps += i32::from(id == SEP);
                Some(own)
            })
            .collect();
        assert_eq!(example.types, types);
        (parts[1].to_vec(), parts[2].to_vec(), example.target == Target::Class(1))
    }

    fn some_documents() -> Vec<Vec<Vec<i64>>> {
        documents(&[&[5, 7, 3, 9, 4, 6, 40, 2], &[1], &[3, 3, 3, 3, 3, 3, 3, 3, 3, 3], &[30], &[2, 1, 1, 50, 8]])
    }

    #[test]
    fn a_swapped_pair_swapped_back_is_the_source() {
        let documents = some_documents();
        let (mut swapped, mut all) = (0, 0);
        for seed in 0..300 {
            for example in examples(&documents, SentenceTask::Sop, 24, seed) {
                let (a, b, is_swapped) = sides(&example);
                assert!(example.ids.len() <= 24 && !a.is_empty() && !b.is_empty());
                let source = if is_swapped { [b, a].concat() } else { [a, b].concat() };
                assert!(source.windows(2).all(|two| two[1] == two[0] + 1), "{source:?}: not consecutive");
                swapped += usize::from(is_swapped);
                all += 1;
            }
        }
        let share = swapped as f64 / all as f64;
        assert!(all > 1400 && (share - 0.5).abs() < 0.03, "{share} of {all}");
    }

    #[test]
    fn where_segments_are_cut_does_not_tell_their_order() {
        // Sentences of 2 to 40 tokens, the last of which is 7.
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut sentence = || [vec![1; rng.random_range(1..40)], vec![7]].concat();
        let documents: Vec<Vec<Vec<i64>>> = (0..60).map(|_| (0..80).map(|_| sentence()).collect()).collect();
        let (mut right, mut all) = (0, 0);
        for seed in 0..4 {
            for example in examples(&documents, SentenceTask::Sop, 64, seed) {
                let (a, b, is_swapped) = sides(&example);
                assert!(a[a.len() - 1] == 7 && b[b.len() - 1] == 7, "a segment ends inside of a sentence");
                right += usize::from((a[a.len() - 1] != 7 && b[b.len() - 1] == 7) == is_swapped);
                all += 1;
            }
        }
        let share = right as f64 / all as f64;
        assert!(all > 4000 && (share - 0.5).abs() < 0.03, "{share} of {all}");
    }

    #[test]
    fn order_pairs_leave_out_a_sentence_that_does_not_fit_with_the_next() {
        // 40 is too long for the room of 21; 20 fits beside neither of its neighbours.
        let documents = documents(&[&[5, 7, 40, 3, 9, 20, 4, 6, 2]]);
        let frame = frame();
        let segments =
            Segments { documents: &documents, frame: &frame, task: SentenceTask::Sop, max_tokens: 24, short: 0.0 };
        let mut seen: Vec<i64> = segments
            .examples(1)
            .unwrap()
            .iter()
            .flat_map(|example| example.ids.iter().copied().filter(|&id| id >= 0))
            .collect();
        seen.sort_unstable();
        let expected: Vec<i64> = (0..12).chain(52..64).chain(84..96).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn where_a_second_segment_begins_does_not_tell_whether_it_is_next() {
        // Sentences that begin with 7, many of them longer than the example.
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let mut sentence = || [vec![7], vec![1; rng.random_range(1..60)]].concat();
        let documents: Vec<Vec<Vec<i64>>> = (0..40).map(|d| (0..1 + d % 9).map(|_| sentence()).collect()).collect();
        let pairs = examples(&documents, SentenceTask::Nsp, 32, 1);
        assert!(pairs.len() > 50);
        for (a, b, _) in pairs.iter().map(sides) {
            assert!(b[0] == 7 && !a.is_empty());
        }
    }

    #[test]
    fn half_of_the_next_sentences_are_of_another_document() {
        let documents = documents(&[&[4; 40], &[6; 30], &[5; 35], &[3; 50]]);
        let (mut random, mut all) = (0, 0);
        for seed in 0..60 {
            for example in examples(&documents, SentenceTask::Nsp, 32, seed) {
                let (a, b, is_random) = sides(&example);
                assert!(example.ids.len() <= 32);
                let (of_a, of_b) = (a[0] / 1000, b[0] / 1000);
                assert_eq!(of_a != of_b, is_random);
                if !is_random {
                    assert_eq!(b[0], a[a.len() - 1] + 1);
                }
                random += usize::from(is_random);
                all += 1;
            }
        }
        let share = random as f64 / all as f64;
        assert!(all > 1500 && (share - 0.5).abs() < 0.03, "{share} of {all}");
        let single = [vec![vec![1, 2], vec![3]]];
        let frame = frame();
        let one = Segments { documents: &single, frame: &frame, task: SentenceTask::Nsp, max_tokens: 16, short: 0.0 };
        assert!(one.examples(1).unwrap_err().to_string().contains("two documents"));
    }

    #[test]
    fn single_segments_lose_nothing() {
        let documents = some_documents();
        let mut seen: Vec<i64> = examples(&documents, SentenceTask::None, 16, 3)
            .iter()
            .flat_map(|e| e.ids[1..e.ids.len() - 1].to_vec())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, documents.concat().concat());
    }

    #[test]
    fn single_segments_are_full_but_for_the_short_ones() {
        // Sentences of 5 to 34 tokens.
        let lengths: Vec<usize> = (0..400).map(|i| 5 + i * 7 % 30).collect();
        let documents = documents(&[lengths.as_slice(); 12]);
        let room = 126;
        let (mut all, mut full, mut scraps) = (0.0, 0.0, 0.0);
        for seed in 0..5 {
            for example in examples(&documents, SentenceTask::None, room + 2, seed) {
                let length = example.ids.len() - 2;
                assert!(length <= room);
                all += 1.0;
                full += f64::from(u8::from(length == room));
                scraps += f64::from(u8::from(length < room / 4));
            }
        }
        // One of 65 is a document's end.
        let (full, scraps) = (full / all, scraps / all);
        assert!(all > 3000.0 && (full - 0.9 * (1.0 - 12.0 * 5.0 / all)).abs() < 0.02, "{full} of {all}");
        assert!(scraps < 0.05, "{scraps}");
        let frame = frame();
        let even =
            Segments { documents: &documents, frame: &frame, task: SentenceTask::None, max_tokens: 128, short: 0.0 };
        let short = even.examples(1).unwrap().iter().filter(|example| example.ids.len() < 128).count();
        assert!(short <= documents.len(), "{short} examples that are not full");
    }

    #[test]
    fn seeds_give_other_examples_and_the_same_again() {
        let documents = some_documents();
        for task in [SentenceTask::None, SentenceTask::Nsp, SentenceTask::Sop] {
            assert_eq!(examples(&documents, task, 20, 1), examples(&documents, task, 20, 1));
            assert_ne!(examples(&documents, task, 20, 1), examples(&documents, task, 20, 2));
        }
    }

    #[test]
    fn cutting_is_at_the_outer_ends() {
        for (a, b, room) in [(10, 3, 8), (3, 10, 8), (6, 6, 7), (1, 1, 2), (9, 2, 20), (1, 30, 4), (30, 1, 4)] {
            let (mut one, mut two): (Vec<i64>, Vec<i64>) = ((0..a).collect(), (a..a + b).collect());
            cut(&mut one, &mut two, room);
            assert_eq!(one.len() + two.len(), room.min((a + b) as usize));
            assert!(one.is_empty() || one[one.len() - 1] == a - 1);
            assert!(two.is_empty() || two[0] == a);
            assert!(!one.is_empty() && !two.is_empty());
        }
    }
}
