//! A student's first weights: layers taken from its teacher.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

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
/// `layer_map[i]`. A student that shares blocks starts each with the first layer that uses it.
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
    let (teacher_blocks, student_blocks) = (teacher_config.blocks(), student_config.blocks());
    if layer_map.len() != student_blocks.len() {
        bail!("the layer map has {} entries for a student of {} layers", layer_map.len(), student_blocks.len());
    }
    let depth = teacher_blocks.len();
    if let Some(beyond) = layer_map.iter().find(|&&layer| layer >= depth) {
        bail!("the layer map names teacher layer {beyond}; the teacher has layers 0 to {}", depth - 1);
    }
    // The teacher's name of a student's parameter: of a block, that of the layer it is mapped to.
    let source_of = |name: &str| -> Result<String> {
        for (kind, of) in [("attention", (|b| b.0) as fn(&(usize, usize)) -> usize), ("ffn", |b| b.1)] {
            let prefix = format!("encoder.{kind}.");
            if let Some((block, part)) = name.strip_prefix(&prefix).and_then(|rest| rest.split_once('.')) {
                let block: usize = block.parse()?;
                let layer = student_blocks.iter().position(|b| of(b) == block).context("a block that no layer uses")?;
                return Ok(format!("{prefix}{}.{part}", of(&teacher_blocks[layer_map[layer]])));
            }
        }
        Ok(name.to_owned())
    };
    let mut tensors = BTreeMap::new();
    for spec in parameter_layout(student_config, head) {
        let source = source_of(&spec.name)?;
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
