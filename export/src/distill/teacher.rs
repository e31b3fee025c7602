//! The teacher's answers, computed once.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::arch::{Capture, Model};
use crate::data::{Batch, EncodedExample, in_order_batches};
use crate::progress::Reporter;

/// A teacher's logits and last hidden states for a data set, without padding, on the CPU.
///
/// The teacher is frozen, so its outputs are the same in every epoch; computing them once makes the
/// epochs of the student cheaper by a whole teacher forward pass.
pub struct TeacherOutputs {
    /// `[examples, labels]`.
    pub logits: Tensor,
    hidden: Vec<Tensor>,
}

const BATCH: usize = 64;

impl TeacherOutputs {
    /// Runs the teacher over all examples, dropout off.
    pub fn compute(
        teacher: &Model,
        examples: &[EncodedExample],
        pad_id: usize,
        device: tch::Device,
        reporter: &Reporter,
    ) -> Result<Self> {
        let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
        let mut logits: Vec<Option<Tensor>> = (0..examples.len()).map(|_| None).collect();
        let mut hidden: Vec<Option<Tensor>> = (0..examples.len()).map(|_| None).collect();
        let bar = reporter.bar("outputs", examples.len() as u64, 0);
        let mut done = 0;
        let _guard = tch::no_grad_guard();
        for indices in in_order_batches(&lengths, BATCH) {
            let batch = Batch::new(examples, indices, pad_id, device);
            let output = teacher.forward(&batch.ids, &batch.mask, None, &Capture::default(), false);
            for (row, &index) in batch.indices.iter().enumerate() {
                let length = lengths[index] as i64;
                let states = output.encoded.last_hidden.get(row as i64).narrow(0, 0, length);
                hidden[index] = Some(states.to_device(tch::Device::Cpu).copy());
                logits[index] = Some(output.logits.get(row as i64).to_device(tch::Device::Cpu));
            }
            done += batch.indices.len() as u64;
            bar.advance(done, "teacher");
        }
        bar.finish();
        let logits: Vec<Tensor> = logits.into_iter().flatten().collect();
        Ok(Self { logits: Tensor::stack(&logits, 0), hidden: hidden.into_iter().flatten().collect() })
    }

    /// The logits of a batch, `[batch, labels]`.
    pub fn batch_logits(&self, batch: &Batch) -> Tensor {
        let indices: Vec<i64> = batch.indices.iter().map(|&i| i as i64).collect();
        self.logits.index_select(0, &Tensor::from_slice(&indices)).to_device(batch.ids.device())
    }

    /// The hidden states of a batch, `[batch, length, hidden]`, zero where padded.
    pub fn batch_hidden(&self, batch: &Batch) -> Tensor {
        let size = batch.ids.size();
        let width = self.hidden[batch.indices[0]].size()[1];
        let padded = Tensor::zeros([size[0], size[1], width], (Kind::Float, tch::Device::Cpu));
        for (row, &index) in batch.indices.iter().enumerate() {
            let own = &self.hidden[index];
            padded.get(row as i64).narrow(0, 0, own.size()[0]).copy_(own);
        }
        padded.to_device(batch.ids.device())
    }
}
