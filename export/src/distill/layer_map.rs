//! Which teacher layer each student layer learns from.

use std::fmt;

use anyhow::{Result, bail, ensure};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which teacher layer each student layer learns from; in a recipe `"uniform"`, `"first"`, `"last"`, `"search"` or a list. (Which
/// layer's weights it starts with is another choice: see
/// [`evenly_spaced_layers`](crate::checkpoint::evenly_spaced_layers).)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LayerMap {
    /// After its `m`-th of `M` layers (from 1) the student is compared with the teacher after `m N / M` of its `N`,
    /// rounded half up: TinyBERT's `g(m) = 3m` for 12 and 4 (Jiao 2020, section 3.1).
    #[default]
    Uniform,
    /// Layer by layer from the first.
    First,
    /// The teacher's last layers.
    Last,
    /// The teacher layer of each student layer, from 0; any order, repeats too.
    Explicit(Vec<usize>),
    /// The one of the named maps whose student does best on dev after a short training.
    Search,
}

impl LayerMap {
    /// What [`LayerMap::Search`] chooses from: the named maps, each set of teacher layers once.
    pub fn candidates(teacher_layers: usize, student_layers: usize) -> Vec<LayerMap> {
        let mut found: Vec<(LayerMap, Vec<usize>)> = Vec::new();
        for map in [LayerMap::Uniform, LayerMap::Last, LayerMap::First] {
            if let Ok(layers) = map.attention(teacher_layers, student_layers)
                && found.iter().all(|(_, known)| *known != layers)
            {
                found.push((map, layers));
            }
        }
        found.into_iter().map(|(map, _)| map).collect()
    }

    /// The teacher layer, from 0, of each student layer: whose attention is compared. 2, 5, 8, 11 for 12, 4 and
    /// [`LayerMap::Uniform`].
    ///
    /// # Errors
    /// A student with more layers than the teacher, unless a list says how; a list of another length, or beyond the
    /// teacher.
    pub fn attention(&self, teacher_layers: usize, student_layers: usize) -> Result<Vec<usize>> {
        let (n, m) = (teacher_layers, student_layers);
        ensure!(n > 0 && m > 0, "a layer map needs layers; the teacher has {n}, the student {m}");
        if let LayerMap::Explicit(layers) = self {
            ensure!(layers.len() == m, "the layer map has {} entries for a student of {m} layers", layers.len());
            if let Some(beyond) = layers.iter().find(|&&layer| layer >= n) {
                bail!("the layer map names teacher layer {beyond}; the teacher has layers 0 to {}", n - 1);
            }
            return Ok(layers.clone());
        }
        ensure!(
            m <= n,
            "the layer map `{self}` cannot give {m} student layers each a layer of a teacher of {n}; list the teacher \
             layer of each student layer"
        );
        Ok(match self {
            LayerMap::Uniform => (1..=m).map(|i| (2 * i * n + m) / (2 * m) - 1).collect(),
            LayerMap::First => (0..m).collect(),
            LayerMap::Last => (n - m..n).collect(),
            LayerMap::Explicit(layers) => layers.clone(),
            LayerMap::Search => bail!("the layer map is yet to be searched"),
        })
    }

    /// The teacher's hidden state of each of the student's, of which 0 is the embedding output and `i` that after the
    /// layer `i - 1`. 0, 3, 6, 9, 12 for 12, 4 and [`LayerMap::Uniform`].
    ///
    /// # Errors
    /// As [`Self::attention`].
    pub fn hidden(&self, teacher_layers: usize, student_layers: usize) -> Result<Vec<usize>> {
        let layers = self.attention(teacher_layers, student_layers)?;
        Ok(std::iter::once(0).chain(layers.into_iter().map(|layer| layer + 1)).collect())
    }
}

impl fmt::Display for LayerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerMap::Uniform => f.write_str("uniform"),
            LayerMap::First => f.write_str("first"),
            LayerMap::Last => f.write_str("last"),
            LayerMap::Search => f.write_str("search"),
            LayerMap::Explicit(layers) => write!(f, "{layers:?}"),
        }
    }
}

impl Serialize for LayerMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LayerMap::Explicit(layers) => layers.serialize(serializer),
            named => serializer.collect_str(named),
        }
    }
}

impl<'de> Deserialize<'de> for LayerMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrList;
        impl<'de> Visitor<'de> for NameOrList {
            type Value = LayerMap;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"uniform\", \"first\", \"last\", \"search\" or a list of teacher layers, counted from 0")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<LayerMap, E> {
                match name {
                    "uniform" => Ok(LayerMap::Uniform),
                    "first" => Ok(LayerMap::First),
                    "last" => Ok(LayerMap::Last),
                    "search" => Ok(LayerMap::Search),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<LayerMap, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(LayerMap::Explicit)
            }
        }
        deserializer.deserialize_any(NameOrList)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_papers() {
        let tables: [(LayerMap, usize, usize, &[usize]); 8] = [
            (LayerMap::Uniform, 12, 4, &[2, 5, 8, 11]),
            (LayerMap::Uniform, 12, 6, &[1, 3, 5, 7, 9, 11]),
            (LayerMap::Uniform, 6, 3, &[1, 3, 5]),
            // 1.5 and 4.5 are rounded up.
            (LayerMap::Uniform, 6, 4, &[1, 2, 4, 5]),
            (LayerMap::First, 12, 4, &[0, 1, 2, 3]),
            (LayerMap::Last, 12, 4, &[8, 9, 10, 11]),
            (LayerMap::Explicit(vec![11]), 12, 1, &[11]),
            (LayerMap::Explicit(vec![0, 0, 1, 1]), 2, 4, &[0, 0, 1, 1]),
        ];
        for (map, teacher, student, want) in tables {
            assert_eq!(map.attention(teacher, student).unwrap(), want, "{map} {teacher} {student}");
            let hidden = map.hidden(teacher, student).unwrap();
            assert_eq!(hidden[0], 0, "the embedding output");
            assert_eq!(hidden[1..].iter().map(|layer| layer - 1).collect::<Vec<_>>(), want);
        }
        assert_eq!(LayerMap::Uniform.hidden(12, 4).unwrap(), [0, 3, 6, 9, 12]);
        assert_eq!(LayerMap::Uniform.hidden(12, 6).unwrap(), [0, 2, 4, 6, 8, 10, 12]);
        assert_eq!(LayerMap::Uniform.hidden(6, 3).unwrap(), [0, 2, 4, 6]);
        assert_eq!(LayerMap::Uniform.hidden(6, 4).unwrap(), [0, 2, 3, 5, 6]);
    }

    #[test]
    fn uniform_ends_at_the_last_layer_and_never_repeats() {
        for teacher in 1..=24 {
            for student in 1..=teacher {
                let layers = LayerMap::Uniform.attention(teacher, student).unwrap();
                assert_eq!(layers[student - 1], teacher - 1);
                assert!(layers.windows(2).all(|pair| pair[0] < pair[1]), "{teacher} {student}: {layers:?}");
            }
        }
    }

    #[test]
    fn candidates_differ() {
        assert_eq!(LayerMap::candidates(12, 4), [LayerMap::Uniform, LayerMap::Last, LayerMap::First]);
        assert_eq!(LayerMap::candidates(2, 1), [LayerMap::Uniform, LayerMap::First]);
        assert_eq!(LayerMap::candidates(3, 3), [LayerMap::Uniform]);
        assert_eq!(LayerMap::candidates(3, 4), []);
    }

    #[test]
    fn mistakes_are_named() {
        for (map, teacher, student, message) in [
            (LayerMap::Uniform, 4, 6, "`uniform` cannot give 6 student layers"),
            (LayerMap::Last, 4, 6, "`last` cannot give 6 student layers"),
            (LayerMap::First, 4, 0, "the student 0"),
            (LayerMap::Explicit(vec![1]), 4, 2, "1 entries for a student of 2 layers"),
            (LayerMap::Explicit(vec![1, 4]), 4, 2, "names teacher layer 4; the teacher has layers 0 to 3"),
        ] {
            let error = map.hidden(teacher, student).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn recipes_name_or_list_it() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Part {
            map: LayerMap,
        }
        for (text, map) in [
            ("map = \"uniform\"\n", LayerMap::Uniform),
            ("map = \"first\"\n", LayerMap::First),
            ("map = \"last\"\n", LayerMap::Last),
            ("map = \"search\"\n", LayerMap::Search),
            ("map = [2, 5, 8, 11]\n", LayerMap::Explicit(vec![2, 5, 8, 11])),
        ] {
            let part: Part = toml::from_str(text).unwrap();
            assert_eq!(part.map, map);
            assert_eq!(toml::to_string(&part).unwrap(), text);
        }
        for text in ["map = \"middle\"", "map = 3", "map = [-1]"] {
            let error = toml::from_str::<Part>(text).unwrap_err().to_string();
            assert!(text == "map = [-1]" || error.contains("\"last\", \"search\" or a list"), "{error}");
        }
    }
}
