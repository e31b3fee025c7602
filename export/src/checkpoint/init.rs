//! A student's first weights: layers taken from its teacher.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::arch::{Head, ModelConfig, Params, parameter_layout};

/// `student` layers spread evenly from the first to the last of `teacher`, rounded half up.
/// For 12 and 6 this is 0, 2, 4, 7, 9, 11, the layers DistilBERT was released with.
pub fn evenly_spaced_layers(teacher: usize, student: usize) -> Vec<usize> {
    match student {
        0 => vec![],
        1 => vec![0],
        _ => (0..student).map(|i| (2 * i * (teacher - 1) + student - 1) / (2 * (student - 1))).collect(),
    }
}

/// Copies embeddings, pooler, head and the mapped layers: student layer `i` starts as teacher layer
/// `layer_map[i]`.
///
/// # Errors
/// A map of the wrong length or beyond the teacher, or models of another width.
pub fn student_from_teacher(
    teacher: &Params,
    teacher_config: &ModelConfig,
    student_config: &ModelConfig,
    layer_map: &[usize],
    head: Head,
) -> Result<Params> {
    if layer_map.len() != student_config.layers {
        bail!("the layer map has {} entries for a student of {} layers", layer_map.len(), student_config.layers);
    }
    if let Some(beyond) = layer_map.iter().find(|&&layer| layer >= teacher_config.layers) {
        bail!("the layer map names teacher layer {beyond}; the teacher has layers 0 to {}", teacher_config.layers - 1);
    }
    let mut tensors = BTreeMap::new();
    for spec in parameter_layout(student_config, head) {
        let source = match spec.name.strip_prefix("encoder.layer.").and_then(|rest| rest.split_once('.')) {
            Some((index, rest)) => {
                let index: usize = index.parse()?;
                format!("encoder.layer.{}.{rest}", layer_map[index])
            }
            None => spec.name.clone(),
        };
        match teacher.get(&source) {
            Some(tensor) if tensor.size() == spec.shape => {
                tensors.insert(spec.name, tensor.detach().copy());
            }
            Some(tensor) => bail!(
                "the student cannot start from the teacher: `{source}` has shape {:?}, the student needs {:?}; \
                 give both the same hidden and intermediate size",
                tensor.size(),
                spec.shape
            ),
            None => bail!("the teacher has no tensor `{source}`"),
        }
    }
    Ok(Params::new(tensors, teacher.device()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_spacing_is_distilberts() {
        assert_eq!(evenly_spaced_layers(12, 6), [0, 2, 4, 7, 9, 11]);
        assert_eq!(evenly_spaced_layers(6, 3), [0, 3, 5]);
        assert_eq!(evenly_spaced_layers(12, 12), (0..12).collect::<Vec<_>>());
        assert_eq!(evenly_spaced_layers(24, 12)[11], 23);
        assert_eq!(evenly_spaced_layers(6, 1), [0]);
    }
}
