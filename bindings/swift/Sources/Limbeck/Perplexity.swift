import CLimbeck

/// How surprised a model is by a text.
public struct Perplexity: Sendable, Equatable {
    /// e to the negative mean log probability of a token.
    public let perplexity: Double
    /// Negative log probability in bits, by the bytes of the tokens that were scored; comparable between tokenizers.
    public let bitsPerByte: Double
    /// Natural log of the probability of the tokens that were scored.
    public let logProbability: Double
    /// Tokens that were scored.
    public let tokens: Int
    /// Their bytes.
    public let bytes: Int
    /// Windows that the text was read in; 1 unless it is longer than the context.
    public let windows: Int
}

/// Options of `Model.perplexity`. 0 and nil mean the default.
public struct PerplexityOptions: Sendable {
    /// Tokens before the first that is scored in each further window. 0: half of the context.
    public var stride = 0
    /// Score the first token too, after the one that texts begin with.
    public var fromStart = false
    /// `Status.deadlineExceeded` this many milliseconds after the call began. 0: never.
    public var timeoutMilliseconds: UInt64 = 0
    /// Ends the call from another thread.
    public var cancel: Cancel?

    public init() {}

    /// Options in one expression: `.with { $0.fromStart = true }`.
    public static func with(_ set: (inout PerplexityOptions) -> Void) -> PerplexityOptions {
        var options = PerplexityOptions()
        set(&options)
        return options
    }

    /// The options for a call of C's.
    func withOptions<R>(_ body: (UnsafePointer<limbeck_perplexity_options>) throws -> R) throws -> R {
        try refuseNegative(("stride", stride))
        var options = limbeck_perplexity_options()
        limbeck_perplexity_options_init(&options, MemoryLayout<limbeck_perplexity_options>.size)
        (options.stride, options.from_start) = (stride, fromStart ? 1 : 0)
        (options.deadline_ms, options.cancel) = (timeoutMilliseconds, cancel?.handle)
        return try withExtendedLifetime(cancel) { try body(&options) }
    }
}

extension Model {
    /// How surprised the model is by a text. One that is longer than the context is read in overlapping windows, each
    /// token scored once.
    public func perplexity(_ text: String, options: PerplexityOptions = PerplexityOptions()) throws -> Perplexity {
        var found = limbeck_perplexity()
        limbeck_perplexity_init(&found, MemoryLayout<limbeck_perplexity>.size)
        try options.withOptions { options in
            try text.withView { text in
                try check { limbeck_model_perplexity(handle, text.data, text.length, options, &found, $0) }
            }
        }
        return Perplexity(
            perplexity: found.perplexity, bitsPerByte: found.bits_per_byte, logProbability: found.log_probability,
            tokens: found.tokens, bytes: found.bytes, windows: found.windows)
    }
}
