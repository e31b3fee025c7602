//! What is trained, and by whom.

/// Texts a step, of short texts and of long ones.
pub(super) const SHORT: usize = 32;
pub(super) const LONG: usize = 16;

/// One distillation.
pub(super) struct Case {
    pub name: &'static str,
    /// A recipe in `export/benches/train`.
    pub losses: &'static str,
    pub teacher: &'static str,
    pub student: &'static str,
    pub data: &'static str,
    pub batch: usize,
    /// Whether PyTorch runs it too.
    pub peer: bool,
}

pub(super) const CASES: [Case; 5] = [
    Case {
        name: "answers, short",
        losses: "answers",
        teacher: "teacher",
        student: "three",
        data: "short",
        batch: SHORT,
        peer: true,
    },
    Case {
        name: "answers, 128",
        losses: "answers",
        teacher: "teacher",
        student: "three",
        data: "long",
        batch: LONG,
        peer: true,
    },
    Case {
        name: "layers, short",
        losses: "layers",
        teacher: "teacher",
        student: "narrow",
        data: "short",
        batch: SHORT,
        peer: true,
    },
    Case {
        name: "layers, 128",
        losses: "layers",
        teacher: "teacher",
        student: "narrow",
        data: "long",
        batch: LONG,
        peer: true,
    },
    Case {
        name: "base teacher, short",
        losses: "answers",
        teacher: "base-teacher",
        student: "three-of-base",
        data: "short",
        batch: SHORT,
        peer: false,
    },
];

/// Who trains, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// limbeck, the teacher in every step.
    Live,
    /// limbeck as it is: the teacher's outputs from the cache.
    Cached,
    /// PyTorch on limbeck's own batches.
    PeerLike,
    /// PyTorch on shuffled batches, padded to the longest.
    PeerShuffled,
}

impl Way {
    pub(super) fn engine(self) -> &'static str {
        if matches!(self, Way::Live | Way::Cached) { "limbeck" } else { "PyTorch + transformers" }
    }

    pub(super) fn teacher(self) -> &'static str {
        if self == Way::Cached { "cached" } else { "in each step" }
    }

    pub(super) fn batches(self) -> &'static str {
        if self == Way::PeerShuffled { "shuffled" } else { "like lengths" }
    }
}
