//! Computing the shards that are missing.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tch::{Device, Kind};

use super::shard::{self, Column};
use super::{Extent, FORMAT, Field, Outputs, TeacherCache, space};
use crate::data::in_order_batches;
use crate::files;
use crate::progress::Reporter;

/// Examples that the teacher sees at once.
const BATCH: usize = 64;
/// More than a shard's header has for fields of usual names.
const HEADER: u64 = 4096;

impl TeacherCache {
    /// Computes and writes the missing shards. `compute` gets indices of examples of like lengths and gives a tensor
    /// of any kind and device for every field, at least as long as the longest of them: `[batch, width]`,
    /// `[batch, length, width]` or `[batch, heads, length, length]`; what it holds where there is only padding does not
    /// matter. No gradients are recorded meanwhile. Whatever ends this, whole shards stay, and the next call goes on
    /// behind them. Another process that is filling this cache is waited for.
    ///
    /// # Errors
    /// `compute` fails, or gives another shape, NaN or infinity; no disk space, which is noticed before the teacher runs
    /// where the system tells how much is free.
    pub fn fill(&mut self, compute: &mut dyn FnMut(&[usize]) -> Result<Outputs>, reporter: &Reporter) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        let waits = || {
            let folder = self.folder.display();
            reporter.note(&format!("Another limbeck is filling {folder} with the same outputs; waiting for it"));
        };
        let _lock = files::wait_for_folder(&self.folder, waits).context("cannot keep the teacher's outputs")?;
        // Another process may have been at work since this one looked.
        self.find_shards(reporter);
        self.remove_leftovers();
        space::require(&self.folder, self.missing_bytes())?;
        files::write_json(
            &self.folder.join("key.json"),
            &json!({"format": FORMAT, "key": self.key, "examples": self.plan.lengths.len()}),
        )?;

        let _guard = tch::no_grad_guard();
        let missing: Vec<usize> = (0..self.shards.len()).filter(|&shard| self.shards[shard].is_none()).collect();
        let total = self.plan.lengths.len() as u64;
        let mut done = total - missing.iter().map(|&shard| self.plan.examples(shard).len() as u64).sum::<u64>();
        let bar = reporter.bar("outputs", total, done);
        let mut widened = BTreeSet::new();
        for shard in missing {
            let mut values = self.room(shard)?;
            let examples = self.plan.examples(shard);
            for batch in in_order_batches(&self.plan.lengths[examples.clone()], BATCH) {
                let batch: Vec<usize> = batch.into_iter().map(|index| examples.start + index).collect();
                let outputs = compute(&batch)?;
                self.gather(shard, &batch, &outputs, &mut values)?;
                done += batch.len() as u64;
                bar.advance(done, "teacher");
            }
            let columns: Vec<Column> =
                self.key.fields.iter().zip(&values).map(|(field, values)| Column::new(field, values)).collect();
            drop(values);
            for (field, column) in self.key.fields.iter().zip(&columns) {
                if column.kind != field.kind() && widened.insert(field.name.clone()) {
                    reporter.note(&format!(
                        "The teacher's `{}` has values beyond fp16; where it has, the cache keeps it in fp32",
                        field.name
                    ));
                }
            }
            shard::write(&self.path(shard), self.stamp(shard), &self.key.fields, &columns)
                .map_err(|error| space::explain(error, &self.folder, self.missing_bytes()))?;
            let held = self.map(shard).with_context(|| format!("cannot map {}", self.path(shard).display()))?;
            self.shards[shard] = Some(held);
        }
        bar.finish();
        Ok(())
    }

    /// What a kill left in the middle of writing. The lock is held: no other process is writing.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(".limbeck-") && name.ends_with(".tmp")) {
                // One that stays only costs disk.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Bytes that are still to be written.
    fn missing_bytes(&self) -> u64 {
        let missing = (0..self.shards.len()).filter(|&shard| self.shards[shard].is_none());
        let bytes = missing.map(|shard| {
            let examples = &self.plan.lengths[self.plan.examples(shard)];
            let values = self.key.fields.iter().flat_map(|field| examples.iter().map(|&length| field.bytes(length)));
            values.fold(HEADER, u64::saturating_add)
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// Zeros for all values of a shard, by field.
    fn room(&self, shard: usize) -> Result<Vec<Vec<f32>>> {
        let room = |field: &Field| {
            let values = usize::try_from(self.plan.values(field.extent, shard))?;
            let mut room = Vec::new();
            room.try_reserve_exact(values)
                .with_context(|| format!("no memory for {values} values of the teacher's `{}`", field.name))?;
            room.resize(values, 0f32);
            Ok(room)
        };
        self.key.fields.iter().map(room).collect()
    }

    /// Takes the padding off a batch of outputs.
    fn gather(&self, shard: usize, batch: &[usize], outputs: &Outputs, values: &mut [Vec<f32>]) -> Result<()> {
        let lengths = || batch.iter().map(|&example| self.plan.lengths[example]);
        let longest = lengths().max().unwrap_or(0);
        for (field, values) in self.key.fields.iter().zip(values) {
            let name = &field.name;
            let tensor = outputs.get(name).with_context(|| {
                let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
                format!("the teacher gave no `{name}`, only {}", names.join(", "))
            })?;
            let size = tensor.size();
            // The teacher may pad further than to the longest.
            let padded = match field.extent {
                Extent::Text(_) => longest,
                _ => size.get(size.len().saturating_sub(2)).map_or(0, |&length| length as usize),
            };
            ensure!(
                padded >= longest && size == field.extent.padded(batch.len(), padded),
                "the teacher's `{name}` has the shape {size:?}; {:?} is expected",
                field.extent.padded(batch.len(), longest)
            );
            let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
            let mut rows = vec![0f32; tensor.numel()];
            tensor.f_copy_data(&mut rows, tensor.numel())?;
            let row_values = rows.len() / batch.len();
            for ((row, &example), length) in rows.chunks_exact(row_values).zip(batch).zip(lengths()) {
                let own = &mut values[self.plan.span(field.extent, shard, example)];
                let runs = field.extent.runs(length, padded);
                for (own, start) in own.chunks_exact_mut(runs.length).zip(runs.starts()) {
                    own.copy_from_slice(&row[start..start + runs.length]);
                }
                ensure!(
                    own.iter().all(|value| value.is_finite()),
                    "the teacher's `{name}` for example {example} holds NaN or infinity: the teacher is broken, or ran \
                     in a type that cannot hold its values"
                );
            }
        }
        Ok(())
    }
}
