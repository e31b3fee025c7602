use std::fs;
use std::time::{Duration, Instant};

use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::progress::Output;

/// Small shards, so that a test has several.
const SMALL: Limits = Limits { bytes: 600, examples: 8 };

fn key(fields: &[(&str, Extent)]) -> CacheKey {
    CacheKey {
        teacher: "teacher".into(),
        data: "data".into(),
        max_tokens: 1 << 20,
        fields: fields.iter().map(|&(name, extent)| Field::new(name, extent)).collect(),
    }
}

fn three() -> CacheKey {
    key(&[("scores.1", Extent::Pair(2)), ("logits", Extent::Text(3)), ("hidden.2", Extent::Token(5))])
}

fn silent() -> Reporter {
    Reporter::new(Output::Silent)
}

/// What the teacher of these tests says: position `at` (from 0, without padding) of an example's field.
fn value(example: usize, name: &str, at: usize) -> f32 {
    let seed = example * 7919 + name.len() * 104_729 + at * 31;
    (seed % 4001) as f32 / 97.0 - 20.0
}

/// A padded batch of [`value`], `longest` tokens long, with `padding` where there are none.
fn padded(field: &Field, batch: &[usize], lengths: &[usize], longest: usize, padding: f32) -> Tensor {
    let size = field.extent.padded(batch.len(), longest);
    let row = size[1..].iter().product::<i64>() as usize;
    let mut values = vec![padding; batch.len() * row];
    for (values, &example) in values.chunks_exact_mut(row).zip(batch) {
        let length = lengths[example];
        let said = |at| value(example, &field.name, at);
        match field.extent {
            Extent::Text(width) => (0..width).for_each(|i| values[i] = said(i)),
            Extent::Token(width) => (0..length * width).for_each(|i| values[i] = said(i)),
            Extent::Pair(heads) => {
                for (head, query, key) in
                    (0..heads).flat_map(|h| (0..length).flat_map(move |q| (0..length).map(move |k| (h, q, k))))
                {
                    values[(head * longest + query) * longest + key] = said((head * length + query) * length + key);
                }
            }
        }
    }
    Tensor::from_slice(&values).view(size.as_slice())
}

/// The teacher: garbage where there is padding, of which it may use more than it has to.
fn outputs(key: &CacheKey, batch: &[usize], lengths: &[usize], more: usize) -> Outputs {
    let longest = batch.iter().map(|&i| lengths[i]).max().unwrap() + more;
    let of = |field: &Field| (field.name.clone(), padded(field, batch, lengths, longest, f32::NAN));
    key.fields.iter().map(of).collect()
}

fn filled(folder: &Path, key: &CacheKey, lengths: &[usize], limits: Limits) -> TeacherCache {
    let mut cache = TeacherCache::open_with(folder, key, lengths, limits, &silent()).unwrap();
    cache.fill(&mut |batch| Ok(outputs(key, batch, lengths, 0)), &silent()).unwrap();
    cache
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
}

/// Every field of a batch is what the teacher said, rounded as it is stored.
fn check(cache: &TeacherCache, key: &CacheKey, lengths: &[usize], batch: &[usize]) {
    let names: Vec<&str> = key.fields.iter().map(|field| field.name.as_str()).collect();
    let got = cache.batch(batch, &names, Device::Cpu).unwrap();
    let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
    assert_eq!(got.len(), names.len());
    for field in &key.fields {
        let (got, want) = (&got[&field.name], padded(field, batch, lengths, longest, 0.0));
        assert_eq!((got.kind(), got.size()), (Kind::Float, want.size()), "{}", field.name);
        let mut want = flat(&want);
        if field.kind() == Dtype::F16 {
            want.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        assert_eq!(flat(got), want, "{} of {batch:?}", field.name);
    }
}

#[test]
fn what_is_read_is_what_was_said_to_fp16_rounding() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for round in 0..8 {
        let key = key(&[
            ("scores.1", Extent::Pair(rng.random_range(1..4))),
            ("logits", Extent::Text(rng.random_range(1..5))),
            ("hidden.2", Extent::Token(rng.random_range(1..7))),
            ("embedding", Extent::Text(rng.random_range(1..9))),
        ]);
        let lengths: Vec<usize> = (0..rng.random_range(1..60)).map(|_| rng.random_range(1..9)).collect();
        let limits = Limits { bytes: rng.random_range(1..9000), examples: rng.random_range(1..30) };
        let folder = tempfile::tempdir().unwrap();
        let mut cache = TeacherCache::open_with(folder.path(), &key, &lengths, limits, &silent()).unwrap();
        assert!(!cache.is_complete());
        let mut seen = vec![];
        let more = round % 3;
        cache
            .fill(
                &mut |batch| {
                    seen.extend_from_slice(batch);
                    Ok(outputs(&key, batch, &lengths, more))
                },
                &silent(),
            )
            .unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>(), "every example once");
        let opened = TeacherCache::open_with(folder.path(), &key, &lengths, limits, &silent()).unwrap();
        assert!(cache.is_complete() && opened.is_complete());
        assert_eq!(cache.size_bytes(), opened.size_bytes());
        for _ in 0..6 {
            let batch: Vec<usize> = (0..rng.random_range(1..12)).map(|_| rng.random_range(0..lengths.len())).collect();
            check(&cache, &key, &lengths, &batch);
            check(&opened, &key, &lengths, &batch);
        }
    }
}

#[test]
fn shards_hold_what_the_limits_allow() {
    let fields = three().fields;
    let lengths: Vec<usize> = (0..200).map(|i| 1 + i * 13 % 11).collect();
    let plan = Plan::new(&fields, &lengths, SMALL);
    let bytes = |example: usize| fields.iter().map(|field| field.bytes(lengths[example])).sum::<u64>();
    let mut next = 0;
    for shard in 0..plan.shards() {
        let examples = plan.examples(shard);
        assert_eq!(examples.start, next);
        next = examples.end;
        let held: u64 = examples.clone().map(bytes).sum();
        assert!(examples.len() == 1 || (held <= SMALL.bytes && examples.len() <= SMALL.examples));
        let fits = next < lengths.len() && examples.len() < SMALL.examples && held + bytes(next) <= SMALL.bytes;
        assert!(!fits, "shard {shard} ends too early");
        assert!(examples.into_iter().all(|example| plan.shard_of(example) == shard));
    }
    assert_eq!(next, lengths.len());
}

#[test]
fn any_kind_of_tensor_is_taken() {
    let (key, lengths) = (key(&[("hidden", Extent::Token(2)), ("logits", Extent::Text(1))]), [2, 1]);
    for (kind, round) in [
        (Kind::Half, (|v| f16::from_f32(v).to_f32()) as fn(f32) -> f32),
        (Kind::BFloat16, |v| bf16::from_f32(v).to_f32()),
        (Kind::Double, |v| v),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = TeacherCache::open(folder.path(), &key, &lengths, &silent()).unwrap();
        let said = |batch: &[usize]| outputs(&key, batch, &lengths, 0);
        cache.fill(&mut |b| Ok(said(b).into_iter().map(|(n, t)| (n, t.to_kind(kind))).collect()), &silent()).unwrap();
        let got = cache.batch(&[1], &["hidden", "logits"], Device::Cpu).unwrap();
        let hidden: Vec<f32> = (0..2).map(|i| f16::from_f32(round(value(1, "hidden", i))).to_f32()).collect();
        assert_eq!(flat(&got["hidden"]), hidden, "{kind:?}");
        assert_eq!(flat(&got["logits"]), [round(value(1, "logits", 0))], "{kind:?}");
    }
}

#[test]
fn a_teacher_that_fails_is_gone_on_with() {
    let (key, lengths) = (three(), (0..50).map(|i| 1 + i % 6).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let mut cache = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
    let mut calls = 0;
    let error = cache
        .fill(
            &mut |batch| {
                calls += 1;
                ensure!(calls <= 4, "the teacher is out of reach");
                Ok(outputs(&key, batch, &lengths, 0))
            },
            &silent(),
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "the teacher is out of reach");
    assert!(!cache.is_complete());
    // A kill in the middle of a write would leave this.
    fs::write(cache.folder().join(".limbeck-x.tmp"), b"half").unwrap();
    let whole: usize = (0..4).map(|shard| cache.plan.examples(shard).len()).sum();
    let last = cache.batch(&[0, whole - 1], &["logits"], Device::Cpu);
    assert!(last.is_ok(), "whole shards are readable");
    let error = cache.batch(&[whole], &["logits"], Device::Cpu).unwrap_err().to_string();
    assert!(error.contains(&format!("example {whole} are not computed yet")), "{error}");

    let mut cache = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
    let mut seen = vec![];
    let mut again = |batch: &[usize]| {
        seen.extend_from_slice(batch);
        Ok(outputs(&key, batch, &lengths, 0))
    };
    cache.fill(&mut again, &silent()).unwrap();
    cache.fill(&mut again, &silent()).unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (whole..lengths.len()).collect::<Vec<_>>(), "only what was missing, and once");
    check(&cache, &key, &lengths, &(0..lengths.len()).collect::<Vec<_>>());
    let hidden = |name: &str| name.ends_with(".tmp");
    assert!(fs::read_dir(cache.folder()).unwrap().all(|e| !hidden(e.unwrap().file_name().to_str().unwrap())));
}

#[test]
fn damaged_and_foreign_shards_are_named_and_computed_again() {
    let (key, lengths) = (three(), (0..40).map(|i| 1 + i % 6).collect::<Vec<_>>());
    let foreign_folder = tempfile::tempdir().unwrap();
    let other = CacheKey { teacher: "another".into(), ..key.clone() };
    let foreign = filled(foreign_folder.path(), &other, &lengths, SMALL);
    let folder = tempfile::tempdir().unwrap();
    let cache = filled(folder.path(), &key, &lengths, SMALL);
    let (victim, neighbour) = (cache.path(2), cache.path(3));
    let whole = fs::read(&victim).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let log = folder.path().join("log");
    for (damage, reason) in [
        (whole[..whole.len() - 1].to_vec(), "cut short"),
        (whole[..20].to_vec(), "cut short"),
        (vec![], "000002"),
        ([whole.as_slice(), b"\0"].concat(), "cut short"),
        (flipped(whole.len() - 1), "values have changed"),
        (flipped(3), "000002"),
        (fs::read(foreign.path(2)).unwrap(), "another teacher or other data"),
        (fs::read(&neighbour).unwrap(), "shard 3 under another name"),
    ] {
        // A new file, as the old one is still mapped.
        fs::remove_file(&victim).unwrap();
        fs::write(&victim, damage).unwrap();
        let reporter = silent();
        let _ = fs::remove_file(&log);
        reporter.log_to(&log).unwrap();
        let mut cache = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &reporter).unwrap();
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("000002.safetensors") && said.contains(reason), "{reason}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!cache.is_complete());
        assert!(cache.batch(&[cache.plan.examples(2).start], &["logits"], Device::Cpu).is_err(), "never used");
        let mut seen = vec![];
        cache
            .fill(
                &mut |batch| {
                    seen.extend_from_slice(batch);
                    Ok(outputs(&key, batch, &lengths, 0))
                },
                &reporter,
            )
            .unwrap();
        seen.sort_unstable();
        assert_eq!(seen, cache.plan.examples(2).collect::<Vec<_>>(), "{reason}");
        check(&cache, &key, &lengths, &(0..lengths.len()).collect::<Vec<_>>());
        let opened = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
        check(&opened, &key, &lengths, &(0..lengths.len()).collect::<Vec<_>>());
    }
}

#[test]
fn no_flipped_bit_changes_a_value() {
    let key = key(&[("hidden", Extent::Token(3)), ("logits", Extent::Text(2))]);
    let folder = tempfile::tempdir().unwrap();
    let cache = filled(folder.path(), &key, &[2, 1, 4], SMALL);
    let whole = fs::read(cache.path(0)).unwrap();
    let said = |shard: &Shard| [(0, 0..21), (1, 0..6)].map(|(field, span)| shard.values(field, span).to_vec());
    let right = said(cache.shards[0].as_ref().unwrap());
    let place = folder.path().join("flipped");
    let mut found = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&place, bytes).unwrap();
        let opened = Shard::map(&place, cache.stamp(0), &cache.key.fields, &[21, 6]);
        match opened.and_then(|shard| shard.verify(&cache.key.fields).map(|()| shard)) {
            Ok(shard) => assert_eq!(said(&shard), right, "byte {at}"),
            Err(_) => found += 1,
        }
        fs::remove_file(&place).unwrap();
    }
    // What may pass is white space after the header.
    assert!(found + 8 > whole.len(), "{found} of {}", whole.len());
}

#[test]
fn another_key_has_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (key, lengths) = (three(), [3, 2, 4]);
    let own = filled(folder.path(), &key, &lengths, Limits::default());
    let open = |key: &CacheKey, lengths: &[usize]| TeacherCache::open(folder.path(), key, lengths, &silent()).unwrap();
    let mut folders = BTreeSet::from([own.folder().to_owned()]);
    let mut fewer = key.clone();
    fewer.fields.pop();
    for other in [
        CacheKey { teacher: "x".into(), ..key.clone() },
        CacheKey { data: "x".into(), ..key.clone() },
        CacheKey { max_tokens: 9, ..key.clone() },
        fewer,
    ] {
        let cache = open(&other, &lengths);
        assert!(!cache.is_complete());
        assert!(folders.insert(cache.folder().to_owned()), "{other:?}");
    }
    assert!(folders.insert(open(&key, &[3, 4, 2]).folder().to_owned()));
    // The order in which fields are asked for is no difference; nor is where the folder stands.
    let mut reversed = key.clone();
    reversed.fields.reverse();
    assert!(open(&reversed, &lengths).is_complete());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(own.folder(), elsewhere.path().join(own.folder().file_name().unwrap())).unwrap();
    check(&TeacherCache::open(elsewhere.path(), &key, &lengths, &silent()).unwrap(), &key, &lengths, &[2, 0, 1]);
    assert_ne!(rows_sha256([&[1i64, 2][..], &[3]]), rows_sha256([&[1i64][..], &[2, 3]]));
}

#[test]
fn two_processes_that_share_a_cache_fill_it_once() {
    let (key, lengths) = (three(), (0..30).map(|i| 1 + i % 6).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let mut first = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
    let mut second = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
    let log = folder.path().join("log");
    let reporter = silent();
    reporter.log_to(&log).unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    std::thread::scope(|scope| {
        let mut waiting = Some(|| second.fill(&mut |_| panic!("two at once"), &reporter).unwrap());
        let mut calls = 0;
        first
            .fill(
                &mut |batch| {
                    calls += 1;
                    if calls == 3 {
                        scope.spawn(waiting.take().unwrap());
                        let asked = Instant::now();
                        while said().is_empty() && asked.elapsed() < Duration::from_secs(60) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        let reader = TeacherCache::open_with(folder.path(), &key, &lengths, SMALL, &silent()).unwrap();
                        check(&reader, &key, &lengths, &reader.plan.examples(1).collect::<Vec<_>>());
                    }
                    Ok(outputs(&key, batch, &lengths, 0))
                },
                &silent(),
            )
            .unwrap();
        assert!(calls > 3);
    });
    assert_eq!(said().matches("waiting for it").count(), 1, "{}", said());
    check(&second, &key, &lengths, &[29, 0, 7]);
}

#[test]
fn values_beyond_fp16_are_kept_and_said_once() {
    let key = key(&[("hidden", Extent::Token(2))]);
    let lengths = [1; 12];
    let limits = Limits { bytes: 1000, examples: 3 };
    let folder = tempfile::tempdir().unwrap();
    let reporter = silent();
    reporter.log_to(&folder.path().join("log")).unwrap();
    let mut cache = TeacherCache::open_with(folder.path(), &key, &lengths, limits, &reporter).unwrap();
    // Examples 4 and 10, in shards 1 and 3; 65519 is rounded to the largest fp16, 65520 would be infinity.
    let said = |example: usize| match example {
        4 => [1.2345e6f32, 0.1],
        10 => [-65520.0, 0.1],
        _ => [65519.0, 0.1],
    };
    let mut compute = |batch: &[usize]| {
        let values: Vec<f32> = batch.iter().flat_map(|&example| said(example)).collect();
        Ok(Outputs::from([("hidden".into(), Tensor::from_slice(&values).view([batch.len() as i64, 1, 2]))]))
    };
    cache.fill(&mut compute, &reporter).unwrap();
    let kinds: Vec<Dtype> = cache.shards.iter().flatten().map(|shard| shard.kind(0)).collect();
    assert_eq!(kinds, [Dtype::F16, Dtype::F32, Dtype::F16, Dtype::F32]);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.matches("`hidden` has values beyond fp16").count(), 1, "{log}");
    let opened = TeacherCache::open_with(folder.path(), &key, &lengths, limits, &silent()).unwrap();
    // Rows of both kinds together.
    let got = flat(&opened.batch(&[4, 0, 10], &["hidden"], Device::Cpu).unwrap()["hidden"]);
    assert_eq!(got, [1.2345e6, 0.1, 65504.0, f16::from_f32(0.1).to_f32(), -65520.0, 0.1]);
}

#[test]
fn wrong_outputs_are_refused_by_name() {
    let (key, lengths) = (three(), [2, 3]);
    let folder = tempfile::tempdir().unwrap();
    let mut cache = TeacherCache::open(folder.path(), &key, &lengths, &silent()).unwrap();
    let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    type Change<'a> = &'a dyn Fn(&mut Outputs);
    let replace = |outputs: &mut Outputs, name: &str, tensor: Tensor| {
        outputs.insert(name.to_owned(), tensor);
    };
    let changes: [(Change, &str); 8] = [
        (&|o| drop(o.remove("logits")), "the teacher gave no `logits`, only hidden.2, scores.1"),
        (&|o| replace(o, "logits", zeros(&[2, 4])), "`logits` has the shape [2, 4]; [2, 3] is expected"),
        (&|o| replace(o, "logits", zeros(&[])), "`logits` has the shape []"),
        (&|o| replace(o, "hidden.2", zeros(&[2, 2, 5])), "`hidden.2` has the shape [2, 2, 5]; [2, 3, 5] is expected"),
        (&|o| replace(o, "hidden.2", zeros(&[6, 5])), "`hidden.2` has the shape [6, 5]"),
        (&|o| replace(o, "scores.1", zeros(&[2, 2, 3, 4])), "`scores.1` has the shape [2, 2, 3, 4]"),
        (&|o| replace(o, "scores.1", zeros(&[1, 2, 3, 3])), "`scores.1` has the shape [1, 2, 3, 3]"),
        (
            &|o| replace(o, "hidden.2", Tensor::full([2, 3, 5], f64::INFINITY, (Kind::Float, Device::Cpu))),
            "`hidden.2` for example 0 holds NaN or infinity",
        ),
    ];
    for (change, expected) in changes {
        let mut compute = |batch: &[usize]| {
            let mut said = outputs(&key, batch, &lengths, 0);
            change(&mut said);
            Ok(said)
        };
        let error = format!("{:#}", cache.fill(&mut compute, &silent()).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!cache.path(0).exists());
    }
}

#[test]
fn wrong_questions_are_refused() {
    let (key, lengths) = (three(), [2, 3]);
    let folder = tempfile::tempdir().unwrap();
    let cache = filled(folder.path(), &key, &lengths, SMALL);
    for (indices, fields, expected) in [
        (&[2][..], &["logits"][..], "example 2 of the teacher's outputs: there are 2"),
        (&[0], &["hidden.7"], "no `hidden.7`, only hidden.2, logits, scores.1"),
        (&[], &["logits"], "a batch of no examples"),
    ] {
        let error = cache.batch(indices, fields, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let open = |key: &CacheKey, lengths: &[usize]| {
        TeacherCache::open(folder.path(), key, lengths, &silent()).unwrap_err().to_string()
    };
    let short = CacheKey { max_tokens: 2, ..key.clone() };
    for (error, expected) in [
        (open(&short, &lengths), "example 1 has 3 tokens; 1 to 2 are expected"),
        (open(&key, &[2, 0]), "example 1 has 0 tokens"),
        (open(&self::key(&[]), &lengths), "no field"),
        (open(&self::key(&[("a", Extent::Text(0))]), &lengths), "`a` has the width 0"),
        (open(&self::key(&[("a", Extent::Text(1)), ("a", Extent::Pair(1))]), &lengths), "`a` is asked for twice"),
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let none = TeacherCache::open(folder.path(), &key, &[], &silent()).unwrap();
    assert!(none.is_complete() && none.size_bytes() == 0);
}

#[cfg(unix)]
#[test]
fn a_disk_too_small_is_said_before_the_teacher_runs() {
    let key = key(&[("scores", Extent::Pair(12))]);
    let folder = tempfile::tempdir().unwrap();
    let mut cache = TeacherCache::open(folder.path(), &key, &[1 << 20; 1000], &silent()).unwrap();
    let error = cache.fill(&mut |_| panic!("it ran"), &silent()).unwrap_err().to_string();
    let needed = 12 * (1u64 << 40) * 2 * 1000 + 1000 * 4096;
    assert!(error.contains(&format!("{needed} more bytes")), "{error}");
    assert!(error.contains(&cache.folder().display().to_string()) && error.contains("are free"), "{error}");
}

#[test]
fn threads_read_at_the_same_time() {
    let (key, lengths) = (three(), (0..64).map(|i| 1 + i * 5 % 9).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let cache = filled(folder.path(), &key, &lengths, SMALL);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (cache, key, lengths) = (&cache, &key, &lengths);
            scope.spawn(move || {
                for first in 0..20 {
                    check(cache, key, lengths, &[first + thread, 63 - first, 7 * thread]);
                }
            });
        }
    });
}
