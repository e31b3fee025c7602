import CLimbeck

/// How a model is to run. 0 and nil mean the default.
public struct ModelOptions: Sendable {
    /// Threads that one call may use inside an operator, up to 256. 1: the call runs on the thread that makes it, and no
    /// other is started. 0: as the environment says, or else 1.
    public var threads: UInt32 = 0
    /// Calls that can run at one time, up to 256, each with working memory of its own; made when first needed. 0: one. A
    /// batch call spreads over all, on threads that end with the call.
    public var sessions: UInt32 = 0
    /// Whether idle threads of a call spin, which is faster on an idle machine, slower on a busy one, and costs power.
    public var spinning = false
    /// The most private memory, in bytes, that the model may use with all sessions at work on the longest texts: kept by
    /// smaller batches, fewer sessions and slower weights, or else `Status.memoryBudget`. 0: no limit.
    public var memoryBudget: UInt64 = 0
    /// Backends to use, the best first: "cpu", "xnnpack", "coreml" and others. What cannot be had is no error: see
    /// `Model.providersJSON`. Empty: the CPU, which is always the last resort.
    public var providers: [String] = []
    /// What must hold for the bundle, where the model is opened from a file.
    public var bundle = BundleOptions()

    public init() {}

    /// Options in one expression: `.with { $0.sessions = 2 }`.
    public static func with(_ set: (inout ModelOptions) -> Void) -> ModelOptions {
        var options = ModelOptions()
        set(&options)
        return options
    }
}

/// A model ready to run. Calls may come from many threads: as many run at one time as the model has sessions, others
/// wait their turn. A call blocks its thread; `concurrent` has the same calls for `async` code.
///
/// Each task has a call for one text and one for many. In a batch each answer is what its text would get alone, but for
/// rounding in the last digits; when one text fails, the call fails; timeout and cancel are those of all of it.
public final class Model: @unchecked Sendable {
    let handle: OpaquePointer

    init(handle: OpaquePointer) { self.handle = handle }

    /// Opens a bundle file, verifies it, and makes its model ready.
    public convenience init(_ environment: Environment, path: String, options: ModelOptions = ModelOptions()) throws {
        try self.init(environment, bundle: ModelBundle(path: path, options: options.bundle), options: options)
    }

    /// Makes the model of a bundle ready, which may have been opened in any way.
    public convenience init(
        _ environment: Environment, bundle: ModelBundle, options: ModelOptions = ModelOptions()
    ) throws {
        var raw = limbeck_model_options()
        limbeck_model_options_init(&raw, MemoryLayout<limbeck_model_options>.size)
        (raw.threads, raw.sessions, raw.spinning) = (options.threads, options.sessions, options.spinning ? 1 : 0)
        raw.memory_budget = options.memoryBudget
        let handle = try Texts(options.providers).withViews { providers, count in
            (raw.providers, raw.provider_count) = (count == 0 ? nil : providers, count)
            return try made { limbeck_model_open_bundle(environment.handle, bundle.handle, &raw, $0, $1) }
        }
        self.init(handle: handle)
    }

    deinit { limbeck_model_free(handle) }

    /// The bundle of the model.
    public func bundle() throws -> ModelBundle {
        ModelBundle(handle: try made { limbeck_model_bundle(handle, $0, $1) })
    }

    /// How many floats an embedding of this model has; 0 if it makes none.
    public var embeddingSize: Int { limbeck_model_embedding_size(handle) }
    /// What stands in a text for a word to be guessed: "[MASK]"; empty if it guesses none.
    public var maskToken: String { String(limbeck_model_mask_token(handle)) }
    /// Which providers were asked for and what became of them, as `limbeck_model_providers_json` says.
    public var providersJSON: String { String(limbeck_model_providers_json(handle)) }

    /// Runs the model on a text of its own, so that the first real call is not slower.
    public func warmUp() throws { try check { limbeck_model_warm_up(handle, $0) } }

    /// Runs the inputs that were packed with the model and compares what comes of them with what is expected.
    public func selfTest() throws -> SelfTest {
        var report = limbeck_self_test()
        limbeck_self_test_init(&report, MemoryLayout<limbeck_self_test>.size)
        try check { limbeck_model_self_test(handle, &report, $0) }
        return SelfTest(
            vectors: report.vectors, largestDifference: report.largest_difference, tolerance: report.tolerance)
    }

    /// How much memory the model is expected to use.
    public func memory() throws -> MemoryPlan {
        var plan = limbeck_memory()
        limbeck_memory_init(&plan, MemoryLayout<limbeck_memory>.size)
        try check { limbeck_model_memory(handle, &plan, $0) }
        return MemoryPlan(
            budget: plan.budget, expected: plan.expected, sessions: plan.sessions, batchTokens: plan.batch_tokens,
            isPrepacked: plan.prepacked != 0)
    }

    /// What the model has done so far.
    public func metrics() throws -> Metrics {
        var metrics = limbeck_metrics()
        limbeck_metrics_init(&metrics, MemoryLayout<limbeck_metrics>.size)
        try check { limbeck_model_metrics(handle, &metrics, $0) }
        return Metrics(
            calls: metrics.calls, failures: metrics.failures, runs: metrics.runs, rows: metrics.rows,
            tokens: metrics.tokens, padding: metrics.padding, runMicroseconds: metrics.run_micros)
    }

    /// How many tokens a text has for this model, special tokens included and uncut.
    public func countTokens(_ text: String) throws -> Int {
        var count = 0
        try text.withView { text in
            try check { limbeck_model_count_tokens(handle, text.data, text.length, &count, $0) }
        }
        return count
    }

    /// Classifies a text. One that is too long is truncated by default; windows are put together by the mean of their
    /// logits, each weighted by its tokens.
    public func classify(_ text: String, options: CallOptions = CallOptions()) throws -> Classification {
        try classify(batch: [text], options: options).only()
    }

    /// Classifies texts.
    public func classify(batch texts: [String], options: CallOptions = CallOptions()) throws -> [Classification] {
        try options.withOptions { options in
            try Texts(texts).withViews { views, count in
                try CallResult.of { limbeck_model_classify_batch(handle, views, count, options, $0, $1) } read: {
                    try $0.classifications()
                }
            }
        }
    }

    /// Classifies a pair of texts: does one follow from the other, do they say the same? A model of the task
    /// "pair-classification". Of texts that are too long the longer one is truncated by default.
    public func classify(
        pair first: String, _ second: String, options: CallOptions = CallOptions()
    ) throws -> Classification {
        try classify(pairs: [(first, second)], options: options).only()
    }

    /// Classifies pairs of texts.
    public func classify(pairs: [(String, String)], options: CallOptions = CallOptions()) throws -> [Classification] {
        try options.withOptions { options in
            try Texts(pairs: pairs).withPairs { pairs, count in
                try CallResult.of { limbeck_model_classify_pairs(handle, pairs, count, options, $0, $1) } read: {
                    try $0.classifications()
                }
            }
        }
    }

    /// Says which of some labels of your own fit a text. The model was never trained on them, but to tell what follows
    /// from a text ("pair-classification" with `entailment` in its manifest). A text that is too long is truncated by
    /// default; a label's sentence never is.
    public func zeroShot(
        _ text: String, labels: [String], options: CallOptions = CallOptions()
    ) throws -> ZeroShot {
        try zeroShot(batch: [text], labels: labels, options: options).only()
    }

    /// Says which of some labels of your own fit each of some texts.
    public func zeroShot(
        batch texts: [String], labels: [String], options: CallOptions = CallOptions()
    ) throws -> [ZeroShot] {
        try options.withOptions { options in
            try Texts(texts).withViews { texts, count in
                try Texts(labels).withViews { labels, labelCount in
                    try CallResult.of {
                        limbeck_model_zero_shot_batch(handle, texts, count, labels, labelCount, options, $0, $1)
                    } read: { try $0.zeroShots() }
                }
            }
        }
    }

    /// Orders texts by how well they fit a query, the best first. A text that is too long is read in windows by default,
    /// of which the best one counts; the query is never cut.
    public func rerank(
        query: String, texts: [String], options: CallOptions = CallOptions()
    ) throws -> [Ranked] {
        try options.withOptions { options in
            try query.withView { query in
                try Texts(texts).withViews { texts, count in
                    try CallResult.of {
                        limbeck_model_rerank(handle, query.data, query.length, texts, count, options, $0, $1)
                    } read: { try $0.ranked() }
                }
            }
        }
    }

    /// Finds the entities of a text, in its order. One that is too long is read in windows by default.
    public func tag(_ text: String, options: CallOptions = CallOptions()) throws -> Tagging {
        try tag(batch: [text], options: options).only()
    }

    /// Finds the entities of texts.
    public func tag(batch texts: [String], options: CallOptions = CallOptions()) throws -> [Tagging] {
        try options.withOptions { options in
            try Texts(texts).withViews { views, count in
                try CallResult.of { limbeck_model_tag_batch(handle, views, count, options, $0, $1) } read: {
                    try $0.taggings(texts)
                }
            }
        }
    }

    /// Answers a question with a piece of a text. One that is too long is read in windows by default, over all of which
    /// the answers compete; the question is never cut.
    public func answer(
        question: String, text: String, options: CallOptions = CallOptions()
    ) throws -> Answers {
        try answer(batch: [(question, text)], options: options).only()
    }

    /// Answers questions, each from a text of its own.
    public func answer(
        batch questions: [(question: String, text: String)], options: CallOptions = CallOptions()
    ) throws -> [Answers] {
        try options.withOptions { options in
            try Texts(pairs: questions).withPairs { pairs, count in
                try CallResult.of { limbeck_model_answer_batch(handle, pairs, count, options, $0, $1) } read: {
                    try $0.answers(questions.map(\.text))
                }
            }
        }
    }

    /// Turns a text into a vector of `embeddingSize` floats. One that is too long is truncated by default; windows are
    /// put together by the mean of their vectors, each weighted by its tokens.
    public func embed(_ text: String, options: CallOptions = CallOptions()) throws -> Embedding {
        try embed(batch: [text], options: options).only()
    }

    /// Turns texts into vectors.
    public func embed(batch texts: [String], options: CallOptions = CallOptions()) throws -> [Embedding] {
        try options.withOptions { options in
            try Texts(texts).withViews { views, count in
                try CallResult.of { limbeck_model_embed_batch(handle, views, count, options, nil, 0, $0, $1) } read: {
                    try $0.embeddings()
                }
            }
        }
    }

    /// Guesses the masked words of a text, which stand in it as `maskToken`. A text that is too long is read in windows
    /// by default.
    public func fillMask(_ text: String, options: CallOptions = CallOptions()) throws -> FilledMasks {
        try fillMask(batch: [text], options: options).only()
    }

    /// Guesses the masked words of texts.
    public func fillMask(batch texts: [String], options: CallOptions = CallOptions()) throws -> [FilledMasks] {
        try options.withOptions { options in
            try Texts(texts).withViews { views, count in
                try CallResult.of { limbeck_model_fill_mask_batch(handle, views, count, options, $0, $1) } read: {
                    try $0.filledMasks(texts)
                }
            }
        }
    }
}
