//! The kinds of sections.

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// The [`Manifest`](super::Manifest), as JSON.
    Manifest,
    /// A Hugging Face `tokenizer.json`.
    Tokenizer,
    /// An ONNX model.
    Graph,
    /// External data of the ONNX model.
    Weights,
    /// A JSON array of label names, in the order of the logits.
    Labels,
    /// Calibration of probabilities.
    Calibration,
    /// Inputs and expected outputs, to be run on a device.
    Selftest,
    /// The report made when the model was trained.
    Report,
    /// Licence texts.
    Licence,
    /// Signatures over all other sections.
    Signature,
    /// A kind this version of the library does not know.
    Other(String),
}

impl SectionKind {
    /// The name as it stands in the header.
    pub fn name(&self) -> &str {
        match self {
            SectionKind::Manifest => "manifest",
            SectionKind::Tokenizer => "tokenizer",
            SectionKind::Graph => "graph",
            SectionKind::Weights => "weights",
            SectionKind::Labels => "labels",
            SectionKind::Calibration => "calibration",
            SectionKind::Selftest => "selftest",
            SectionKind::Report => "report",
            SectionKind::Licence => "licence",
            SectionKind::Signature => "signature",
            SectionKind::Other(name) => name,
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> SectionKind {
        match name {
            "manifest" => SectionKind::Manifest,
            "tokenizer" => SectionKind::Tokenizer,
            "graph" => SectionKind::Graph,
            "weights" => SectionKind::Weights,
            "labels" => SectionKind::Labels,
            "calibration" => SectionKind::Calibration,
            "selftest" => SectionKind::Selftest,
            "report" => SectionKind::Report,
            "licence" => SectionKind::Licence,
            "signature" => SectionKind::Signature,
            other => SectionKind::Other(other.to_owned()),
        }
    }

    /// Where a section of this kind begins, unless the header says otherwise.
    pub(super) fn default_alignment(&self) -> u64 {
        match self {
            // The largest page size of the platforms served, so that weights
            // can be mapped by themselves.
            SectionKind::Weights => 16384,
            _ => super::layout::MIN_ALIGNMENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "manifest",
            "tokenizer",
            "graph",
            "weights",
            "labels",
            "calibration",
            "selftest",
            "report",
            "licence",
            "signature",
        ] {
            let kind = SectionKind::from_name(name);
            assert!(!matches!(kind, SectionKind::Other(_)), "{name} is a known kind");
            assert_eq!(kind.name(), name);
        }
        assert_eq!(SectionKind::from_name("hologram").name(), "hologram");
    }
}
