//! A student's first weights: layers taken from its teacher.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use tch::Tensor;

use super::narrow::{Directions, Narrowing};
use crate::arch::{Head, ModelConfig, Params, Spec, initial_value, parameter_layout};

/// `student` layers spread evenly from the first to the last of `teacher`, rounded half up.
/// For 12 and 6 this is 0, 2, 4, 7, 9, 11, the layers DistilBERT was released with.
pub fn evenly_spaced_layers(teacher: usize, student: usize) -> Vec<usize> {
    match student {
        0 => vec![],
        1 => vec![0],
        _ => (0..student).map(|i| (2 * i * (teacher - 1) + student - 1) / (2 * (student - 1))).collect(),
    }
}

/// The teacher's weights in the student's shape. Student layer `i` starts as teacher layer `layer_map[i]`; a block that
/// several layers share starts as the mean of their teacher layers. In another width, weights are the teacher's as seen
/// along `directions` ([`Directions`]); with [`Directions::all`] they are copied to the bit.
///
/// What the teacher does not have starts anew.
///
/// # Errors
/// A map of the wrong length or beyond the teacher; shapes that no directions join.
pub fn student_from_teacher(
    teacher: &Params,
    teacher_config: &ModelConfig,
    student_config: &ModelConfig,
    layer_map: &[usize],
    head: Head,
    directions: &Directions,
) -> Result<Params> {
    let (teacher_blocks, student_blocks) = (teacher_config.blocks(), student_config.blocks());
    if layer_map.len() != student_blocks.len() {
        bail!("the layer map has {} entries for a student of {} layers", layer_map.len(), student_blocks.len());
    }
    let depth = teacher_blocks.len();
    if let Some(beyond) = layer_map.iter().find(|&&layer| layer >= depth) {
        bail!("the layer map names teacher layer {beyond}; the teacher has layers 0 to {}", depth - 1);
    }
    let of_tables = own_table_directions(teacher, teacher_config, student_config)?;
    let embedding = of_tables.as_ref().unwrap_or(directions);
    let narrowing =
        Narrowing { params: teacher, teacher: teacher_config, student: student_config, directions, embedding };
    let same_width = same_width(teacher_config, student_config);
    let mut tensors = BTreeMap::new();
    let (attention, ffn) = student_config.block_counts();
    type Of = fn(&(usize, usize)) -> usize;
    for (kind, count, of) in [("attention", attention, (|b| b.0) as Of), ("ffn", ffn, |b| b.1)] {
        for block in 0..count {
            let mut sources: Vec<usize> = (0..student_blocks.len())
                .filter(|&layer| of(&student_blocks[layer]) == block)
                .map(|layer| of(&teacher_blocks[layer_map[layer]]))
                .collect();
            sources.sort_unstable();
            sources.dedup();
            let parts = sources
                .iter()
                .map(|&source| match (same_width, kind) {
                    (true, _) => Ok(copied(teacher, &format!("encoder.{kind}.{source}."))),
                    (false, "attention") => narrowing.attention(source),
                    (false, _) => narrowing.ffn(source),
                })
                .collect::<Result<Vec<_>>>()?;
            for (name, mean) in mean(&parts) {
                tensors.insert(format!("encoder.{kind}.{block}.{name}"), mean);
            }
        }
    }
    for spec in parameter_layout(student_config, head) {
        if !tensors.contains_key(&spec.name) {
            tensors.insert(spec.name.clone(), outside_blocks(&narrowing, &spec, same_width)?);
        }
    }
    fits(&tensors, &parameter_layout(student_config, head))?;
    Ok(Params::new(tensors, teacher.device()))
}

/// The parameters of a head alone, as [`student_from_teacher`] gives them.
///
/// # Errors
/// Shapes that no directions join.
pub fn head_from_teacher(
    teacher: &Params,
    teacher_config: &ModelConfig,
    student_config: &ModelConfig,
    head: Head,
    directions: &Directions,
) -> Result<BTreeMap<String, Tensor>> {
    let of_tables = own_table_directions(teacher, teacher_config, student_config)?;
    let embedding = of_tables.as_ref().unwrap_or(directions);
    let narrowing =
        Narrowing { params: teacher, teacher: teacher_config, student: student_config, directions, embedding };
    let same_width = same_width(teacher_config, student_config);
    let specs: Vec<Spec> =
        parameter_layout(student_config, head).into_iter().filter(|spec| spec.name.starts_with("head.")).collect();
    let of = |spec: &Spec| Ok((spec.name.clone(), outside_blocks(&narrowing, spec, same_width)?));
    let tensors = specs.iter().map(of).collect::<Result<_>>()?;
    fits(&tensors, &specs)?;
    Ok(tensors)
}

fn same_width(teacher: &ModelConfig, student: &ModelConfig) -> bool {
    student.hidden_size == teacher.hidden_size
        && student.attention_heads == teacher.attention_heads
        && student.head_size() == teacher.head_size()
        && student.intermediate_size == teacher.intermediate_size
}

/// A parameter that belongs to no block: the teacher's, its view in the student's width, or a new one.
fn outside_blocks(narrowing: &Narrowing, spec: &Spec, same_width: bool) -> Result<Tensor> {
    let value = match narrowing.params.get(&spec.name) {
        Some(tensor) if same_width && tensor.size() == spec.shape => Some(tensor.detach().copy()),
        _ => narrowing.other(&spec.name)?,
    };
    Ok(value.unwrap_or_else(|| initial_value(spec, narrowing.params.device())))
}

fn fits(tensors: &BTreeMap<String, Tensor>, layout: &[Spec]) -> Result<()> {
    for spec in layout {
        match tensors.get(&spec.name) {
            Some(tensor) if tensor.size() == spec.shape => {}
            Some(tensor) => bail!(
                "the student cannot start from the teacher: `{}` would have shape {:?}, the student needs {:?}; \
                 give it other sizes, or start = \"random\"",
                spec.name,
                tensor.size(),
                spec.shape
            ),
            None => bail!("the teacher has no tensor `{}`", spec.name),
        }
    }
    Ok(())
}

/// The principal directions of the token table, for the tables of a factorized student of a teacher that is none.
fn own_table_directions(
    teacher: &Params,
    teacher_config: &ModelConfig,
    student: &ModelConfig,
) -> Result<Option<Directions>> {
    if student.embedding_size >= student.hidden_size || teacher_config.embedding_projection {
        return Ok(None);
    }
    let words = teacher.get("embeddings.words.weight").context("the teacher has no token table")?;
    let words = words.detach().to_device(tch::Device::Cpu);
    Directions::principal(&words.tr().matmul(&words), student.embedding_size).map(Some)
}

/// The tensors below a prefix, by the rest of their names.
fn copied(params: &Params, prefix: &str) -> BTreeMap<String, Tensor> {
    params
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.detach().copy())))
        .collect()
}

/// The mean of tensors of the same names; of one set, that set to the bit.
fn mean(parts: &[BTreeMap<String, Tensor>]) -> BTreeMap<String, Tensor> {
    let Some(first) = parts.first() else { return BTreeMap::new() };
    first
        .iter()
        .map(|(name, tensor)| {
            let sum = parts[1..].iter().filter_map(|part| part.get(name)).fold(tensor.copy(), |sum, other| sum + other);
            (name.clone(), if parts.len() == 1 { sum } else { sum / parts.len() as f64 })
        })
        .collect()
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
