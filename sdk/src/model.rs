//! A loaded model.

use std::fs::File;
use std::io::Read;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::bundle::{BundleError, TOKENIZER, Task, check, json};
use crate::metrics::{Counters, Metrics};
use crate::runtime::environment;
use crate::runtime::pool::Pool;
use crate::runtime::prefixes::Prefixes;
use crate::runtime::session::{self, SessionOptions};
use crate::runtime::{MemoryPlan, Provider, ProviderReport, memory};
use crate::task;
use crate::text::{TextTokenizer, TokenBytes, Tokens};
use crate::{Bundle, BundleOptions, Error, PublicKey, Result, SectionInfo};

/// Bytes of prompts' beginnings that a model keeps unless told otherwise.
const PREFIX_CACHE: u64 = 64 << 20;

/// A model ready to run.
///
/// `Send + Sync`: calls take `&self` and may come from many threads at a time.
/// Each running call needs a session; [`ModelBuilder::sessions`] says how many
/// there may be, and further calls wait their turn.
#[derive(Debug)]
pub struct Model {
    bundle: Bundle,
    tokenizer: TextTokenizer,
    pool: Pool,
    counters: Counters,
    /// What only a model for generation has.
    causal: Option<Causal>,
}

/// What a model for generation has beside the others.
#[derive(Debug)]
pub(crate) struct Causal {
    /// What each token stands for.
    pub bytes: TokenBytes,
    /// Beginnings of prompts.
    pub prefixes: Prefixes,
}

impl Model {
    /// Opens a bundle file with the default settings, loading ONNX Runtime if
    /// that has not happened yet (see [`runtime::load`](crate::runtime::load)).
    ///
    /// # Errors
    /// Those of [`Bundle::open`] and [`runtime::load`](crate::runtime::load);
    /// [`Error::Tokenizer`] and [`Error::Inference`] when tokenizer or graph
    /// cannot be used; [`Error::Bundle`] when the bundle needs a newer version
    /// of this library or of ONNX Runtime.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Model::builder().open(path)
    }

    /// Settings to be changed before opening.
    pub fn builder() -> ModelBuilder {
        ModelBuilder::default()
    }

    /// The bundle behind the model.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Runs the model once on a short text, so that the first real call is not
    /// slower than the others.
    ///
    /// # Errors
    /// [`Error::Inference`] if ONNX Runtime fails.
    pub fn warm_up(&self) -> Result<()> {
        task::warm_up(self)
    }

    /// The tokens of a text, special tokens included and not cut to the
    /// model's length.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn tokenize(&self, text: &str) -> Result<Tokens> {
        self.tokenizer.tokens(text)
    }

    /// Which providers were asked for, and what became of them.
    pub fn providers(&self) -> &ProviderReport {
        self.pool.providers()
    }

    /// How much memory the model is expected to use, and what was done to keep to the budget.
    pub fn memory(&self) -> &MemoryPlan {
        self.pool.plan()
    }

    /// What the model has done so far.
    pub fn metrics(&self) -> Metrics {
        self.counters.snapshot()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn causal(&self) -> Result<&Causal> {
        let manifest = self.bundle.manifest();
        let wrong = || Error::WrongTask {
            model: manifest.id.clone(),
            have: manifest.task.name().to_owned(),
            want: "generation",
        };
        self.causal.as_ref().ok_or_else(wrong)
    }
}

/// Settings of a [`Model`].
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    threads: usize,
    spinning: bool,
    sessions: usize,
    providers: Vec<Provider>,
    memory_budget: Option<u64>,
    prefix_cache: Option<u64>,
    runtime_path: Option<PathBuf>,
    bundle: BundleOptions,
}

impl Default for ModelBuilder {
    fn default() -> Self {
        ModelBuilder {
            threads: 1,
            spinning: false,
            sessions: 1,
            providers: Vec::new(),
            memory_budget: None,
            prefix_cache: None,
            runtime_path: None,
            bundle: BundleOptions::default(),
        }
    }
}

impl ModelBuilder {
    /// Threads that one run may use inside an operator, from 1 to 256. Default
    /// 1: no thread is started and calls run on the caller's thread. Opening starts two for as long as it takes, whatever
    /// this is; one, where the bundle is open already.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Whether idle threads of a run spin instead of sleeping. Default off:
    /// spinning is faster on an idle machine and much slower on a busy one.
    pub fn spinning(mut self, spinning: bool) -> Self {
        self.spinning = spinning;
        self
    }

    /// How many calls can run at one time, from 1 to 256. Default 1.
    ///
    /// Each session beyond the first is made when it is first needed. Sessions
    /// share the weights and need memory of their own only for what they
    /// compute. Batch calls spread over all sessions, on threads that end with
    /// the call; those of models that write text take one group of texts after
    /// the other.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// The backends to use, the best first; each operator runs on the first that knows it. What cannot be had is no
    /// error: [`Model::providers`] tells, and the logger. Default: the CPU alone, which is always the last resort.
    pub fn providers(mut self, providers: impl IntoIterator<Item = Provider>) -> Self {
        self.providers = providers.into_iter().collect();
        self
    }

    /// The most private memory, in bytes, that the model may use with all sessions at work on the longest texts. It
    /// is kept by smaller batches, then by fewer sessions, then by not rearranging weights for speed;
    /// [`Model::memory`] tells which. The weights themselves are not counted while they are mapped from a file, nor
    /// are ONNX Runtime's own code, texts and answers. Opening fails with [`Error::MemoryBudget`], which says how
    /// much is needed, if all that is not enough. Default: no limit.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// The most bytes to keep of prompts' beginnings (see [`Prompt`](crate::Prompt)) that were read and may be gone on
    /// from; 0 keeps none. Only models for generation keep any. Default: 64 MiB, or an eighth of the memory budget if
    /// that is less.
    pub fn prefix_cache(mut self, bytes: u64) -> Self {
        self.prefix_cache = Some(bytes);
        self
    }

    /// The ONNX Runtime library to load; see
    /// [`runtime::load`](crate::runtime::load) for what happens without it.
    pub fn runtime_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime_path = Some(path.into());
        self
    }

    /// Asks for a signature by one of these keys before anything in the bundle
    /// is used; see [`BundleOptions::trusted_keys`]. Default: none is asked for.
    pub fn trusted_keys(mut self, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        self.bundle = self.bundle.trusted_keys(keys);
        self
    }

    /// The lowest build number that will do; see
    /// [`BundleOptions::minimum_build`]. Default 0: any.
    pub fn minimum_build(mut self, build: u64) -> Self {
        self.bundle = self.bundle.minimum_build(build);
        self
    }

    /// How to decrypt the encrypted sections of a bundle that this builder
    /// opens; see [`BundleOptions::decrypt`].
    pub fn decrypt(
        mut self,
        hook: impl Fn(&SectionInfo, &[u8]) -> std::result::Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        self.bundle = self.bundle.decrypt(hook);
        self
    }

    /// Sets all that concerns the bundle at one time, in place of what was set before.
    pub fn bundle_options(mut self, options: BundleOptions) -> Self {
        self.bundle = options;
        self
    }

    /// Opens a bundle file.
    ///
    /// # Errors
    /// Those of [`Model::open`] and of [`BundleOptions::open`], and
    /// [`Error::InvalidArgument`] for settings out of range.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model> {
        self.open_by(|options| options.open(path))
    }

    /// Opens a bundle held in memory.
    ///
    /// # Errors
    /// Those of [`ModelBuilder::open`].
    pub fn open_bytes(self, bytes: impl Into<Arc<[u8]>>) -> Result<Model> {
        self.open_by(|options| options.open_bytes(bytes))
    }

    /// Opens a bundle that is a file already open, or lies in one; see
    /// [`Bundle::from_file`].
    ///
    /// # Errors
    /// Those of [`Bundle::from_file`] and [`ModelBuilder::open`].
    pub fn open_file(self, file: File, offset: u64, length: Option<u64>) -> Result<Model> {
        self.open_by(|options| options.open_file(file, offset, length))
    }

    /// Reads a bundle from a stream; see [`Bundle::from_reader`].
    ///
    /// # Errors
    /// Those of [`Bundle::from_reader`] and [`ModelBuilder::open`].
    pub fn open_reader(self, reader: impl Read, length_hint: Option<u64>) -> Result<Model> {
        self.open_by(|options| options.open_reader(reader, length_hint))
    }

    /// Makes a model of a bundle that is open already. Signature and build are
    /// checked as for any other; a bundle left encrypted is not decrypted now.
    ///
    /// # Errors
    /// Those of [`ModelBuilder::open`].
    pub fn open_bundle(self, bundle: Bundle) -> Result<Model> {
        self.bundle.accept(&bundle)?;
        self.load(bundle)
    }

    /// The weights' hash takes a third of the time, so it is computed beside the rest. Nothing reads them as anything but
    /// numbers, and there is no model before they are found right.
    fn open_by(self, open: impl FnOnce(&BundleOptions) -> Result<Bundle>) -> Result<Model> {
        let bundle = open(&self.bundle.clone().weights_later())?;
        let (weights, model) = beside(|| bundle.check_weights(), || self.load(bundle.clone()));
        weights.and(model)
    }

    /// Makes a model of a bundle that keeps to the settings for bundles.
    fn load(self, bundle: Bundle) -> Result<Model> {
        if let Some(section) = bundle.still_encrypted() {
            return Err(bundle.error(BundleError::Encrypted { name: section.name.clone() }));
        }
        for (what, value) in [("threads", self.threads), ("sessions", self.sessions)] {
            if !(1..=256).contains(&value) {
                return Err(Error::InvalidArgument(format!("{what} is {value} and must be from 1 to 256")));
            }
        }
        let manifest = bundle.manifest();
        let problem = |problem| bundle.error(problem);
        check::library_version(&manifest.requires).map_err(problem)?;
        crate::int8::check(manifest).map_err(problem)?;
        if let Task::Other(task) = &manifest.task {
            return Err(problem(BundleError::UnknownFeature { what: "the task", value: task.clone() }));
        }
        if manifest.tokenizer.library != "tokenizers" {
            let value = manifest.tokenizer.library.clone();
            return Err(problem(BundleError::UnknownFeature { what: "the tokenizer library", value }));
        }

        let tokenizer_json = bundle.bytes_of(TOKENIZER).unwrap_or_default();
        let read_tokenizer = || {
            json::check("tokenizer.json", tokenizer_json).map_err(problem)?;
            let tokenizer = TextTokenizer::from_bytes(tokenizer_json, manifest.architecture.vocab_size)?;
            let template = match manifest.task {
                Task::PairClassification | Task::QuestionAnswering | Task::Order => tokenizer.two()?,
                _ => tokenizer.one(),
            };
            if manifest.max_tokens <= template.len() {
                return Err(problem(BundleError::ManifestField {
                    field: "max_tokens".to_owned(),
                    reason: format!(
                        "is {} and leaves no room for text beside {} special tokens",
                        manifest.max_tokens,
                        template.len()
                    ),
                }));
            }
            Ok(tokenizer)
        };
        let (tokenizer, pool) = beside(read_tokenizer, || self.pool(&bundle));
        let (tokenizer, (pool, kept)) = (tokenizer?, pool?);
        let causal = match manifest.task {
            Task::Generation => Some(Causal { bytes: tokenizer.token_bytes()?, prefixes: Prefixes::new(kept) }),
            _ => None,
        };
        Ok(Model { bundle, tokenizer, pool, counters: Counters::default(), causal })
    }

    /// Sessions of a bundle, and how many bytes of prompts' beginnings there is room for.
    fn pool(&self, bundle: &Bundle) -> Result<(Pool, u64)> {
        let manifest = bundle.manifest();
        environment::environment(self.runtime_path.as_deref())?;
        let (needed, have) = (manifest.requires.onnxruntime_api, environment::api_version());
        if needed > have {
            return Err(bundle.error(BundleError::NeedsNewer {
                what: "ONNX Runtime",
                needed: format!("1.{needed}"),
                have: format!("1.{have}"),
            }));
        }
        let most = self.memory_budget.map_or(PREFIX_CACHE, |budget| PREFIX_CACHE.min(budget / 8));
        let mut size = session::size(bundle)?;
        size.threads = self.threads as u64;
        if manifest.task == Task::Generation {
            size.kept = self.prefix_cache.unwrap_or(most);
        }
        let kept = size.kept;
        let plan = memory::plan(manifest, &size, self.sessions, self.memory_budget)?;
        let options = SessionOptions::new(self.threads, self.spinning, self.providers.clone(), plan.prepacked);
        Ok((Pool::new(bundle.clone(), options, plan)?, kept))
    }
}

/// Runs one thing on a thread of its own, which ends with it, while the caller's thread runs another; one after the other
/// where there can be no thread.
fn beside<A: Send, B>(first: impl Fn() -> A + Sync, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let started = thread::Builder::new().name("limbeck-open".to_owned()).spawn_scoped(scope, &first);
        let second = second();
        let first = match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => first(),
        };
        (first, second)
    })
}
