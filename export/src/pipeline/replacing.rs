//! BERT-of-Theseus (Xu 2020): each layer of the student stands for a run of the teacher's layers, and takes their place in
//! a step with a probability that grows; the losses are those of the whole, and the student's layers learn to fit in.

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

use crate::arch::{Head, Model, ModelConfig, Params, Sharing};
use crate::recipe::Scheduled;
use crate::train::Precision;

/// Refuses a student whose layers cannot stand among the teacher's.
///
/// # Errors
/// Another shape but for the depth; a depth that does not divide the teacher's.
pub(super) fn can_replace(student: &ModelConfig, teacher: &ModelConfig) -> Result<()> {
    ensure!(
        ModelConfig { layers: teacher.layers, ..student.clone() } == *teacher && student.sharing == Sharing::None,
        "the student's layers stand among the teacher's, so that but for their number both need one shape; leave out \
         student.hidden_size and the like"
    );
    ensure!(
        teacher.layers.is_multiple_of(student.layers),
        "the teacher's {} layers cannot be shared out among the student's {}; take a number that divides them",
        teacher.layers,
        student.layers
    );
    Ok(())
}

/// Teacher and student as one model.
pub(super) struct Replacing<'a> {
    student: &'a Params,
    /// Cut from any graph: they learn nothing.
    teacher: Vec<(String, Tensor)>,
    /// Layers of student and teacher.
    depths: (usize, usize),
    /// The shape of both.
    config: &'a ModelConfig,
    head: Head,
    rate: Scheduled,
    precision: Precision,
}

/// The kind, layer and rest of the name of a parameter of a layer.
fn of_layer(name: &str) -> Option<(&str, usize, &str)> {
    let (kind, rest) = name.strip_prefix("encoder.")?.split_once('.')?;
    let (layer, rest) = rest.split_once('.')?;
    Some((kind, layer.parse().ok()?, rest))
}

impl<'a> Replacing<'a> {
    /// Gives the student the teacher's embeddings and head, which both use (section 3.2: they are frozen while layers are
    /// replaced).
    ///
    /// # Errors
    /// Shapes as of [`can_replace`].
    pub(super) fn new(
        (student, config): (&'a Params, &'a ModelConfig),
        (teacher, of_teacher): (&Params, &ModelConfig),
        head: Head,
        rate: Scheduled,
        precision: Precision,
    ) -> Result<Self> {
        can_replace(config, of_teacher)?;
        let teacher: Vec<_> = teacher.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach())).collect();
        let _guard = tch::no_grad_guard();
        for (name, tensor) in teacher.iter().filter(|(name, _)| of_layer(name).is_none()) {
            let own = student.get(name).with_context(|| format!("the student has no `{name}`"))?;
            own.shallow_clone().f_copy_(tensor)?;
        }
        Ok(Self { student, teacher, depths: (config.layers, of_teacher.layers), config, head, rate, precision })
    }

    /// The model of one micro-batch when `done` of the stage, 0 to 1, is behind, drawn by libtorch's generator.
    pub(super) fn model(&self, done: f64) -> Result<Model> {
        let drawn = Tensor::rand([self.depths.0 as i64], (Kind::Double, Device::Cpu));
        let mut chosen: Vec<bool> = Vec::try_from(drawn.lt(self.rate.at(done)))?;
        // With no layer of the student nothing would learn, and libtorch has no gradient to give.
        if !chosen.contains(&true) {
            let least = drawn.argmin(None::<i64>, false).int64_value(&[]);
            chosen[least as usize] = true;
        }
        Ok(self.with(&chosen))
    }

    /// The model in which the student's layers that are `chosen` stand for theirs of the teacher.
    fn with(&self, chosen: &[bool]) -> Model {
        let run = self.depths.1 / self.depths.0;
        // The layers in order: whose, and which of theirs.
        let layers: Vec<(bool, usize)> = chosen
            .iter()
            .enumerate()
            .flat_map(|(own, &replaced)| match replaced {
                true => vec![(true, own)],
                false => (own * run..(own + 1) * run).map(|layer| (false, layer)).collect(),
            })
            .collect();
        let placed = |of_student: bool, name: &str| -> Option<String> {
            let Some((kind, layer, rest)) = of_layer(name) else { return (!of_student).then(|| name.to_owned()) };
            let place = layers.iter().position(|at| *at == (of_student, layer))?;
            Some(format!("encoder.{kind}.{place}.{rest}"))
        };
        let student = self.student.iter().filter_map(|(name, tensor)| Some((placed(true, name)?, tensor)));
        let teacher = self.teacher.iter().filter_map(|(name, tensor)| Some((placed(false, name)?, tensor)));
        let config = ModelConfig { layers: layers.len(), ..self.config.clone() };
        let params = Params::handles(teacher.chain(student), self.student.device());
        Model::new(&params, &config, self.head).in_precision(self.precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Capture, parameter_layout, preset};

    #[test]
    fn layers_of_both_are_one_model() {
        let _turn = crate::seeded(51);
        let head = Head::Classification { labels: 3 };
        let of = ModelConfig {
            vocab_size: 20,
            hidden_size: 8,
            embedding_size: 8,
            attention_heads: 2,
            intermediate_size: 16,
            layers: 4,
            embedding_dropout: 0.0,
            hidden_dropout: 0.0,
            head_dropout: 0.0,
            attention_dropout: 0.0,
            initializer_range: 0.5,
            ..preset("bert-base-uncased").unwrap().config
        };
        let small = ModelConfig { layers: 2, ..of.clone() };
        let [teacher, student] =
            [&of, &small].map(|config| Params::initialise(&parameter_layout(config, head), Device::Cpu));
        student.set_requires_grad(true);
        let rate = Scheduled::Linear(crate::recipe::Line { from: 0.0, to: 1.0 });
        let both = Replacing::new((&student, &small), (&teacher, &of), head, rate, Precision::Fp32).unwrap();
        let ids = Tensor::from_slice(&[2i64, 5, 3, 2, 7, 3]).view([2, 3]);
        let run = |model: &Model| model.forward(&ids, &ids.ones_like(), None, &Capture::default(), true).logits;
        let alone = |params: &Params, config: &ModelConfig| run(&Model::new(params, config, head));
        // At the start the teacher, in the end the student, with the teacher's embeddings and head.
        assert_eq!(run(&both.with(&[false, false])), alone(&teacher, &of));
        assert_eq!(run(&both.model(1.0).unwrap()), alone(&student, &small));
        assert_eq!(student.get("embeddings.words.weight"), teacher.get("embeddings.words.weight"));
        // The second layer for the teacher's third and fourth: it alone learns.
        let mixed = run(&both.with(&[false, true]));
        let half = ModelConfig { layers: 3, ..of.clone() };
        let put = |name: &str| match of_layer(name) {
            Some((kind, 2, rest)) => student.get(&format!("encoder.{kind}.1.{rest}")).unwrap(),
            _ => teacher.get(name).unwrap(),
        };
        let names: Vec<String> = parameter_layout(&half, head).into_iter().map(|spec| spec.name).collect();
        let by_hand = Params::handles(names.iter().map(|name| (name.clone(), put(name))), Device::Cpu);
        assert_eq!(mixed, alone(&by_hand, &half));
        mixed.square().sum(Kind::Float).backward();
        for (name, tensor) in student.iter() {
            let learns = of_layer(name).is_some_and(|(_, layer, _)| layer == 1);
            assert_eq!(tensor.grad().defined(), learns, "{name}");
        }
        // Half of the way half of the layers are the student's, and one where none was drawn.
        let count = (0..400)
            .map(|_| {
                let model = both.model(0.5).unwrap();
                let capture = Capture { hidden_states: true, ..Capture::default() };
                let output = model.forward(&ids, &ids.ones_like(), None, &capture, false);
                5 - output.encoded.hidden_states.len()
            })
            .sum::<usize>();
        assert!((440..560).contains(&count), "{count} of 800 were replaced");
    }

    #[test]
    fn only_shapes_that_fit_are_mixed() {
        let of = preset("bert-base-uncased").unwrap().config;
        let with = |layers| ModelConfig { layers, ..of.clone() };
        assert!(can_replace(&with(6), &of).is_ok());
        let error = can_replace(&with(5), &of).unwrap_err().to_string();
        assert!(error.contains("12 layers cannot be shared out among the student's 5"), "{error}");
        let wide = ModelConfig { intermediate_size: 1024, ..with(6) };
        let error = can_replace(&wide, &of).unwrap_err().to_string();
        assert!(error.contains("both need one shape"), "{error}");
    }
}
