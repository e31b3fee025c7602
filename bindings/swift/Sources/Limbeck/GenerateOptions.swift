import CLimbeck

/// What to do when prompt and new tokens are more than the model's context holds.
public enum ContextPolicy: UInt32, Sendable {
    /// Throw `Status.tooLong` before anything is written, if the context might become full.
    case error = 0
    /// Write until the context is full: `Finish.context`. A longer prompt is `Status.tooLong`.
    case stop = 1
    /// Forget the oldest tokens whenever the context is full; `Generation.tokensDropped` says how many.
    case slide = 2
}

/// Options of calls that write text. 0 and nil mean the default.
public struct GenerateOptions: Sendable {
    /// The most tokens to write. 0: 128.
    public var maxNewTokens = 0
    /// Above 0: tokens are drawn, from logits divided by this. 0: the likeliest token each time.
    public var temperature: Float = 0
    /// Draw among the fewest likeliest tokens whose probabilities reach this sum. 0: among all.
    public var topP: Float = 0
    /// Draw among so many of the likeliest tokens. 0: among all.
    public var topK = 0
    /// The seed of the draws: with the same one the same model writes the same text.
    public var seed: UInt64 = 0
    /// Makes tokens that stand in the context less likely, if above 1. 0: 1.
    public var repetitionPenalty: Float = 0
    /// Write on after the model's end of text.
    public var ignoreEOS = false
    /// Strings that end the text, which ends before them.
    public var stops: [String] = []
    /// What to do when the context is full.
    public var context = ContextPolicy.error
    /// `ContextPolicy.slide`: how many tokens stay. 0: half of the context.
    public var contextKeep: UInt32 = 0
    /// `Status.deadlineExceeded` this many milliseconds after the call began. 0: never.
    public var timeoutMilliseconds: UInt64 = 0
    /// Ends the call from another thread, between two tokens or within one.
    public var cancel: Cancel?

    public init() {}

    /// Options in one expression: `.with { $0.maxNewTokens = 40 }`.
    public static func with(_ set: (inout GenerateOptions) -> Void) -> GenerateOptions {
        var options = GenerateOptions()
        set(&options)
        return options
    }

    /// The options for a call of C's.
    func withOptions<R>(_ body: (UnsafePointer<limbeck_generate_options>) throws -> R) throws -> R {
        try refuseNegative(("maxNewTokens", maxNewTokens), ("topK", topK))
        var options = limbeck_generate_options()
        limbeck_generate_options_init(&options, MemoryLayout<limbeck_generate_options>.size)
        options.max_new_tokens = maxNewTokens
        (options.temperature, options.top_p, options.top_k) = (temperature, topP, topK)
        (options.seed, options.repetition_penalty, options.ignore_eos) = (seed, repetitionPenalty, ignoreEOS ? 1 : 0)
        (options.context, options.context_keep) = (context.rawValue, contextKeep)
        (options.deadline_ms, options.cancel) = (timeoutMilliseconds, cancel?.handle)
        return try withExtendedLifetime(cancel) {
            try Texts(stops).withViews { views, count in
                (options.stops, options.stop_count) = (views, count)
                return try body(&options)
            }
        }
    }
}

/// Throws for a number that C would take for a very large one.
func refuseNegative(_ numbers: (String, Int)...) throws {
    for (name, value) in numbers where value < 0 {
        throw LimbeckError(.invalidArgument, "\(name) is \(value) and must not be negative")
    }
}
