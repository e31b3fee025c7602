import Dispatch

extension Model {
    /// The calls of this model for `async` code.
    public var concurrent: ConcurrentModel { ConcurrentModel(self) }
}

/// The calls of a `Model` for `async` code: they run on a queue of their own and block no thread of Swift's. Cancelling
/// the task ends the call where it is, within some 50 ms, and only then does it throw `CancellationError`.
///
/// A type of its own, so that it is always seen which kind of call is made: of two functions that differ in `async`
/// alone Swift would choose by where they are called.
public struct ConcurrentModel: Sendable {
    /// The model itself.
    public let model: Model

    private static let queue = DispatchQueue(label: "limbeck", attributes: .concurrent)

    init(_ model: Model) { self.model = model }

    /// See `Model.classify(_:options:)`.
    public func classify(_ text: String, options: CallOptions = CallOptions()) async throws -> Classification {
        try await run(options) { [model] in try model.classify(text, options: $0) }
    }

    /// See `Model.classify(batch:options:)`.
    public func classify(batch texts: [String], options: CallOptions = CallOptions()) async throws -> [Classification] {
        try await run(options) { [model] in try model.classify(batch: texts, options: $0) }
    }

    /// See `Model.classify(pair:_:options:)`.
    public func classify(
        pair first: String, _ second: String, options: CallOptions = CallOptions()
    ) async throws -> Classification {
        try await run(options) { [model] in try model.classify(pair: first, second, options: $0) }
    }

    /// See `Model.classify(pairs:options:)`.
    public func classify(
        pairs: [(String, String)], options: CallOptions = CallOptions()
    ) async throws -> [Classification] {
        try await run(options) { [model] in try model.classify(pairs: pairs, options: $0) }
    }

    /// See `Model.zeroShot(_:labels:options:)`.
    public func zeroShot(
        _ text: String, labels: [String], options: CallOptions = CallOptions()
    ) async throws -> ZeroShot {
        try await run(options) { [model] in try model.zeroShot(text, labels: labels, options: $0) }
    }

    /// See `Model.zeroShot(batch:labels:options:)`.
    public func zeroShot(
        batch texts: [String], labels: [String], options: CallOptions = CallOptions()
    ) async throws -> [ZeroShot] {
        try await run(options) { [model] in try model.zeroShot(batch: texts, labels: labels, options: $0) }
    }

    /// See `Model.rerank(query:texts:options:)`.
    public func rerank(
        query: String, texts: [String], options: CallOptions = CallOptions()
    ) async throws -> [Ranked] {
        try await run(options) { [model] in try model.rerank(query: query, texts: texts, options: $0) }
    }

    /// See `Model.tag(_:options:)`.
    public func tag(_ text: String, options: CallOptions = CallOptions()) async throws -> Tagging {
        try await run(options) { [model] in try model.tag(text, options: $0) }
    }

    /// See `Model.tag(batch:options:)`.
    public func tag(batch texts: [String], options: CallOptions = CallOptions()) async throws -> [Tagging] {
        try await run(options) { [model] in try model.tag(batch: texts, options: $0) }
    }

    /// See `Model.answer(question:text:options:)`.
    public func answer(
        question: String, text: String, options: CallOptions = CallOptions()
    ) async throws -> Answers {
        try await run(options) { [model] in try model.answer(question: question, text: text, options: $0) }
    }

    /// See `Model.answer(batch:options:)`.
    public func answer(
        batch questions: [(question: String, text: String)], options: CallOptions = CallOptions()
    ) async throws -> [Answers] {
        try await run(options) { [model] in try model.answer(batch: questions, options: $0) }
    }

    /// See `Model.embed(_:options:)`.
    public func embed(_ text: String, options: CallOptions = CallOptions()) async throws -> Embedding {
        try await run(options) { [model] in try model.embed(text, options: $0) }
    }

    /// See `Model.embed(batch:options:)`.
    public func embed(batch texts: [String], options: CallOptions = CallOptions()) async throws -> [Embedding] {
        try await run(options) { [model] in try model.embed(batch: texts, options: $0) }
    }

    /// See `Model.fillMask(_:options:)`.
    public func fillMask(_ text: String, options: CallOptions = CallOptions()) async throws -> FilledMasks {
        try await run(options) { [model] in try model.fillMask(text, options: $0) }
    }

    /// See `Model.fillMask(batch:options:)`.
    public func fillMask(batch texts: [String], options: CallOptions = CallOptions()) async throws -> [FilledMasks] {
        try await run(options) { [model] in try model.fillMask(batch: texts, options: $0) }
    }

    /// See `Model.order(_:_:options:)`.
    public func order(
        _ first: String, _ second: String, options: CallOptions = CallOptions()
    ) async throws -> Order {
        try await run(options) { [model] in try model.order(first, second, options: $0) }
    }

    /// See `Model.order(batch:options:)`.
    public func order(batch pairs: [(String, String)], options: CallOptions = CallOptions()) async throws -> [Order] {
        try await run(options) { [model] in try model.order(batch: pairs, options: $0) }
    }

    /// See `Model.replaced(_:options:)`.
    public func replaced(_ text: String, options: CallOptions = CallOptions()) async throws -> Replacements {
        try await run(options) { [model] in try model.replaced(text, options: $0) }
    }

    /// See `Model.replaced(batch:options:)`.
    public func replaced(batch texts: [String], options: CallOptions = CallOptions()) async throws -> [Replacements] {
        try await run(options) { [model] in try model.replaced(batch: texts, options: $0) }
    }

    /// See `Model.generate(_:options:function:)`. The function is called on the queue.
    public func generate(
        _ prompt: String, options: GenerateOptions = GenerateOptions(),
        function: (@Sendable (Piece) throws -> Bool)? = nil
    ) async throws -> Generation {
        try await run(options) { [model] in try model.generate(prompt, options: $0, function: function) }
    }

    /// See `Model.generate(from:options:function:)`. The function is called on the queue.
    public func generate(
        from prompt: Prompt, options: GenerateOptions = GenerateOptions(),
        function: (@Sendable (Piece) throws -> Bool)? = nil
    ) async throws -> Generation {
        try await run(options) { [model] in try model.generate(from: prompt, options: $0, function: function) }
    }

    /// See `Model.generate(batch:options:)`.
    public func generate(
        batch prompts: [String], options: GenerateOptions = GenerateOptions()
    ) async throws -> [Generation] {
        try await run(options) { [model] in try model.generate(batch: prompts, options: $0) }
    }

    /// Writes on from a text: its tokens as they are written.
    public func stream(_ prompt: String, options: GenerateOptions = GenerateOptions()) -> Pieces {
        Pieces { function in _ = try await generate(prompt, options: options, function: function) }
    }

    /// Writes on from a prompt with examples: its tokens as they are written.
    public func stream(from prompt: Prompt, options: GenerateOptions = GenerateOptions()) -> Pieces {
        Pieces { function in _ = try await generate(from: prompt, options: options, function: function) }
    }

    /// See `Model.choose(_:completions:options:)`.
    public func choose(
        _ prompt: Prompt, completions: [String], options: ChooseOptions = ChooseOptions()
    ) async throws -> Choices {
        try await run(options) { [model] in try model.choose(prompt, completions: completions, options: $0) }
    }

    /// See `Model.score(_:completion:options:)`.
    public func score(
        _ prompt: Prompt, completion: String, options: ChooseOptions = ChooseOptions()
    ) async throws -> Likelihood {
        try await run(options) { [model] in try model.score(prompt, completion: completion, options: $0) }
    }

    /// See `Model.perplexity(_:options:)`.
    public func perplexity(
        _ text: String, options: PerplexityOptions = PerplexityOptions()
    ) async throws -> Perplexity {
        try await run(options) { [model] in try model.perplexity(text, options: $0) }
    }

    /// Makes a call on the queue, which ends when the task is cancelled.
    private func run<O: Cancellable, R: Sendable>(
        _ options: O, _ call: @escaping @Sendable (O) throws -> R
    ) async throws -> R {
        let cancel = try Cancel()
        options.cancel?.lead(cancel)
        defer { options.cancel?.release(cancel) }
        var changed = options
        changed.cancel = cancel
        let own = changed
        do {
            return try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    Self.queue.async { continuation.resume(with: Result { try call(own) }) }
                }
            } onCancel: {
                cancel.trigger()
            }
        } catch let error as LimbeckError where error.status == .cancelled {
            try Task.checkCancellation()
            throw error
        }
    }
}

/// Options with a token.
private protocol Cancellable: Sendable {
    var cancel: Cancel? { get set }
}

extension CallOptions: Cancellable {}
extension GenerateOptions: Cancellable {}
extension ChooseOptions: Cancellable {}
extension PerplexityOptions: Cancellable {}
