import CLimbeck

/// A token as it is written.
public struct Piece: Sendable, Equatable {
    /// Its id.
    public let id: UInt32
    /// The text that became certain with it: whole characters of Unicode, and nothing that may yet be part of a stop
    /// string. May be empty.
    public let text: String
}

/// Takes a token as it is written, and says whether to go on; if not, the text ends here: `Finish.unfinished`. What it
/// throws ends the call and is thrown.
public typealias TokenFunction = (Piece) throws -> Bool

/// Why a text ended.
public enum Finish: UInt32, Sendable {
    /// It has not: the token function ended the call.
    case unfinished = 0
    /// The model wrote its end of text.
    case endOfText = 1
    /// A stop string came.
    case stop = 2
    /// As many tokens were written as were allowed.
    case length = 3
    /// The context was full: `ContextPolicy.stop`.
    case context = 4
}

/// A text that was written.
public struct Generation: Sendable, Equatable {
    /// What follows the prompt, without end of text or stop string.
    public let text: String
    /// Its tokens, the one that ended it among them.
    public let ids: [UInt32]
    /// Why it ended.
    public let finish: Finish
    /// Tokens of the prompt.
    public let promptTokens: Int
    /// Of those, tokens that were read in an earlier call: see `Prompt`.
    public let cachedTokens: Int
    /// Tokens at the beginning that were forgotten: `ContextPolicy.slide`.
    public let tokensDropped: Int
    /// Examples that stand in the prompt.
    public let examples: Int
    /// Examples for which there was no room.
    public let examplesDropped: Int
    /// Nanoseconds from text to token ids.
    public let tokenizeNanoseconds: UInt64
    /// Nanoseconds reading prompts, and what is read anew when the context is full. Texts that were written together
    /// share this and those that follow.
    public let prefillNanoseconds: UInt64
    /// Nanoseconds running the model for all further tokens.
    public let decodeNanoseconds: UInt64
    /// Nanoseconds choosing tokens and making text of them.
    public let samplingNanoseconds: UInt64

    /// How many tokens were written.
    public var generatedTokens: Int { ids.count }
}

extension CallResult {
    /// What was written. A batch has texts for prompts: nothing in it was kept from earlier calls, nor is an example.
    func generations() throws -> [Generation] {
        let one = limbeck_result_count(handle) == 1
        return try each { text in
            let usage = try one ? promptUsage() : PromptUsage()
            var found = limbeck_generation()
            limbeck_generation_init(&found, MemoryLayout<limbeck_generation>.size)
            try check { limbeck_result_generation(handle, text, &found, $0) }
            return Generation(
                text: String(found.text),
                ids: [UInt32](UnsafeBufferPointer(start: found.ids, count: found.generated_tokens)),
                finish: Finish(rawValue: found.finish) ?? .unfinished, promptTokens: found.prompt_tokens,
                cachedTokens: usage.cachedTokens, tokensDropped: found.tokens_dropped, examples: usage.examples,
                examplesDropped: usage.examplesDropped, tokenizeNanoseconds: found.tokenize_ns,
                prefillNanoseconds: found.prefill_ns, decodeNanoseconds: found.decode_ns,
                samplingNanoseconds: found.sampling_ns)
        }
    }
}

extension Model {
    /// Writes on from a text. A model of the task "generation". `function`, if there is one, is given each token as it is
    /// written, on the thread of the call, and may end the text; it may make other calls, also on this model.
    ///
    ///     let found = try model.generate("Once upon", options: .with { $0.maxNewTokens = 40 }) { piece in
    ///         print(piece.text, terminator: "")
    ///         return true
    ///     }
    public func generate(
        _ prompt: String, options: GenerateOptions = GenerateOptions(), function: TokenFunction? = nil
    ) throws -> Generation {
        try prompt.withView { prompt in
            try write(options, function) { limbeck_model_generate(handle, prompt.data, prompt.length, $0, $1, $2, $3, $4) }
        }
    }

    /// Writes on from a prompt with examples. Where `ContextPolicy.error` is the policy, examples that leave no room for
    /// `maxNewTokens` are left out.
    public func generate(
        from prompt: Prompt, options: GenerateOptions = GenerateOptions(), function: TokenFunction? = nil
    ) throws -> Generation {
        try prompt.withPrompt { prompt in
            try write(options, function) { limbeck_model_generate_prompt(handle, prompt, $0, $1, $2, $3, $4) }
        }
    }

    /// Writes on from many texts, as many together as memory allows.
    public func generate(batch prompts: [String], options: GenerateOptions = GenerateOptions()) throws -> [Generation] {
        try options.withOptions { options in
            try Texts(prompts).withViews { views, count in
                try CallResult.of { limbeck_model_generate_batch(handle, views, count, options, $0, $1) } read: {
                    try $0.generations()
                }
            }
        }
    }

    private func write(
        _ options: GenerateOptions, _ function: TokenFunction?,
        _ call: (
            UnsafePointer<limbeck_generate_options>, limbeck_token_function?, UnsafeMutableRawPointer?,
            UnsafeMutablePointer<OpaquePointer?>, ErrorPlace
        ) -> limbeck_status
    ) throws -> Generation {
        let taker = function.map(Taker.init)
        return try withExtendedLifetime(taker) {
            var (take, data): (limbeck_token_function?, UnsafeMutableRawPointer?) = (nil, nil)
            if let taker {
                data = Unmanaged.passUnretained(taker).toOpaque()
                take = { data, id, text in
                    guard let data else { return false }
                    return Unmanaged<Taker>.fromOpaque(data).takeUnretainedValue().take(Piece(id: id, text: String(text)))
                }
            }
            let written = try options.withOptions { options in
                try CallResult.of { call(options, take, data, $0, $1) } read: { try $0.generations().only() }
            }
            if let failure = taker?.failure { throw failure }
            return written
        }
    }
}

/// A token function, and what it threw.
private final class Taker {
    private let function: TokenFunction
    private(set) var failure: Error?

    init(_ function: @escaping TokenFunction) { self.function = function }

    func take(_ piece: Piece) -> Bool {
        do {
            return try function(piece)
        } catch {
            failure = error
            return false
        }
    }
}
