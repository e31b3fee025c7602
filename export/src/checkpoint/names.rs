//! Names of tensors in files, and in limbeck.

/// The name limbeck uses for a tensor of a checkpoint; `None` for buffers that hold no weights.
///
/// Strips the family prefix and turns the old LayerNorm names `gamma`, `beta` into `weight`, `bias`.
pub fn canonical_name(file_name: &str) -> Option<String> {
    let name = file_name.strip_prefix("bert.").unwrap_or(file_name);
    if name == "embeddings.position_ids" {
        return None;
    }
    Some(match name.rsplit_once('.') {
        Some((stem, "gamma")) if stem.ends_with("LayerNorm") => format!("{stem}.weight"),
        Some((stem, "beta")) if stem.ends_with("LayerNorm") => format!("{stem}.bias"),
        _ => name.to_owned(),
    })
}

/// The name under which `transformers` expects a tensor: models with a head prefix their encoder.
pub(super) fn file_name(name: &str, with_head: bool) -> String {
    if with_head && !name.starts_with("classifier.") { format!("bert.{name}") } else { name.to_owned() }
}

/// Parameters that a pretrained encoder may lack when it gets a new task.
pub(super) fn may_be_new(name: &str) -> bool {
    name.starts_with("classifier.") || name.starts_with("pooler.")
}

/// Tensors of pretraining or other task heads, which an encoder does not need.
pub(super) fn belongs_to_another_head(name: &str) -> bool {
    ["cls.", "classifier.", "qa_outputs.", "pooler."].iter().any(|prefix| name.starts_with(prefix))
}
