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
fn where_in_its_document_a_second_segment_begins_does_not_tell_whether_it_is_next() {
    let lengths: Vec<Vec<usize>> = (0..60).map(|d| (0..3 + d % 5).map(|s| 4 + (d + 3 * s) % 9).collect()).collect();
    let documents = documents(&lengths.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut before = [(0.0, 0.0); 2];
    for seed in 0..200 {
        for (_, b, random) in examples(&documents, SentenceTask::Nsp, 64, seed).iter().map(sides) {
            let document: usize = documents[(b[0] / 1000) as usize].iter().map(Vec::len).sum();
            let (sum, count) = &mut before[usize::from(random)];
            *sum += (b[0] % 1000) as f64 / document as f64;
            *count += 1.0;
        }
    }
    let [next, random] = before.map(|(sum, count)| sum / count);
    // At a random sentence it would be 0.04 and more.
    assert!((next - random).abs() < 0.015, "{next} {random}");
}

#[test]
fn no_second_segment_is_a_documents_opening() {
    let documents = documents(&[&[4, 5], &[1], &[6, 2, 3], &[30], &[3, 3, 3, 3], &[2, 9]]);
    let mut random = 0;
    for seed in 0..200 {
        for (_, b, is_random) in examples(&documents, SentenceTask::Nsp, 24, seed).iter().map(sides) {
            assert!(b[0] % 1000 != 0, "{b:?}");
            random += usize::from(is_random);
        }
    }
    assert!(random > 200, "{random}");
}

/// The true segments end with their documents, few of which are long; the random ones could go on.
#[test]
fn the_end_of_a_second_segment_does_not_tell_whether_it_is_next() {
    // Sentences that end with 7.
    let sentence = |length: usize| [vec![1; length - 1], vec![7]].concat();
    let documents: Vec<Vec<Vec<i64>>> = (0..80)
        .map(|d| (0..if d % 20 == 0 { 12 } else { 2 + d % 2 }).map(|s| sentence(4 + (d + s) % 5)).collect())
        .collect();
    let mut by_class = [Vec::new(), Vec::new()];
    for seed in 0..400 {
        for (_, b, random) in examples(&documents, SentenceTask::Nsp, 128, seed).iter().map(sides) {
            by_class[usize::from(random)].push(b);
        }
    }
    let measures: [fn(&[i64]) -> f64; 3] =
        [|b| b.len() as f64, |b| (b.len() as f64).powi(2), |b| f64::from(u8::from(b.last() == Some(&7)))];
    let mean = |class: usize, of: fn(&[i64]) -> f64| {
        by_class[class].iter().map(|b| of(b)).sum::<f64>() / by_class[class].len() as f64
    };
    for (index, measure) in measures.into_iter().enumerate() {
        let [next, random] = [0, 1].map(|class| mean(class, measure));
        // Of the share that ends with a sentence the difference; all true ones would.
        let apart = if index == 2 { next - random } else { next / random - 1.0 };
        assert!(apart.abs() < 0.1, "{index}: {next} {random}");
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
    // A document of one sentence has nothing that could come after another one.
    let single = [single[0].clone(), vec![vec![4, 5, 6]]];
    let one = Segments { documents: &single, frame: &frame, task: SentenceTask::Nsp, max_tokens: 16, short: 0.0 };
    assert!(one.examples(1).unwrap_err().to_string().contains("two sentences"));
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
    let even = Segments { documents: &documents, frame: &frame, task: SentenceTask::None, max_tokens: 128, short: 0.0 };
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
