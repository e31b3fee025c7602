import CLimbeck

/// What to do with a text of more tokens than the model takes.
public enum Overflow: UInt32, Sendable {
    /// What the task does by itself; each says what.
    case `default` = 0
    /// Use the first tokens, and report in `Usage` how many were dropped. Of two texts the longer one is cut.
    case truncate = 1
    /// Throw `Status.tooLong`.
    case error = 2
    /// Read the whole text in overlapping windows; each task says how it puts their answers together.
    case window = 3
}

/// How tokens become words, for entities and replaced tokens. The latter have no labels for `first` and `strict` to speak
/// of: they are refused.
public enum Aggregation: Sendable {
    /// What the task does by itself: `first` for entities, `max` for replaced tokens.
    case `default`
    /// A word is of the entity that its first token says, as models are usually trained.
    case first
    /// A word has the label with the highest mean probability over its tokens. Replaced tokens: it has their mean
    /// probability.
    case average
    /// A word has the label of the token that is most certain. Replaced tokens: it is as suspicious as the most suspicious
    /// of its tokens.
    case max
    /// As `first`, and only entities whose labels follow the rules of their scheme count.
    case strict
    /// Each token that is not outside is an answer with its full label (`B-PER`). Replaced tokens: runs of neighbouring
    /// tokens in place of words.
    case none

    /// Its number in `limbeck.h`, which has one for `default` and `first`.
    var number: UInt32 {
        switch self {
        case .default, .first: 0
        case .average: 1
        case .max: 2
        case .strict: 3
        case .none: 4
        }
    }
}

/// Options of the calls of all tasks. 0, nil and the empty text mean the default. An option that is set and that the
/// task does not read is refused.
public struct CallOptions: Sendable {
    /// What to do with a text that is too long.
    public var overflow = Overflow.default
    /// Tokens that two neighbouring windows share. 0: 128, or half a window if that is less.
    public var windowStride: UInt32 = 0
    /// `Status.deadlineExceeded` this many milliseconds after the call began. 0: never.
    public var timeoutMilliseconds: UInt64 = 0
    /// Ends the call from another thread.
    public var cancel: Cancel?
    /// How many labels, answers, guesses for a mask, or ranked texts to give, the best ones. 0: all labels and texts, 1
    /// answer, 5 guesses.
    public var topK = 0
    /// Classification with independent labels: the lowest probability at which a label holds. Entities: leave out those
    /// with a lower score. Replaced tokens: the lowest probability of a suspicious word. 0: the bundle's thresholds; all
    /// entities; 0.5.
    public var threshold: Float = 0
    /// Classification: out of scope if the best label has less. 0: as the bundle says.
    public var outOfScope: Float = 0
    /// Entities and replaced tokens: how tokens become words.
    public var aggregation = Aggregation.default
    /// Zero-shot: whether each label has a probability of its own.
    public var multiLabel = false
    /// Answers: the most tokens of an answer. 0: 15.
    public var maxAnswerTokens = 0
    /// Zero-shot: says that the label at `{}` holds. Empty: `This example is {}.`
    public var hypothesis = ""
    /// Ranking: the label whose score counts. Empty: the only one, or the one for entailment.
    public var rankLabel = ""
    /// Order: read each pair in both orders and combine them, so that the answer for a swapped pair is the opposite; twice
    /// the work.
    public var bothOrders = false

    public init() {}

    /// Options in one expression: `.with { $0.topK = 3 }`.
    public static func with(_ set: (inout CallOptions) -> Void) -> CallOptions {
        var options = CallOptions()
        set(&options)
        return options
    }

    /// The options for a call of C's.
    func withOptions<R>(_ body: (UnsafePointer<limbeck_call_options>) throws -> R) throws -> R {
        try refuseNegative(("topK", topK), ("maxAnswerTokens", maxAnswerTokens))
        var options = limbeck_call_options()
        limbeck_call_options_init(&options, MemoryLayout<limbeck_call_options>.size)
        options.overflow = overflow.rawValue
        options.window_stride = windowStride
        options.deadline_ms = timeoutMilliseconds
        options.cancel = cancel?.handle
        options.top_k = topK
        options.threshold = threshold
        options.out_of_scope = outOfScope
        options.aggregation = aggregation.number
        options.multi_label = multiLabel ? 1 : 0
        options.max_answer_tokens = maxAnswerTokens
        options.both_orders = bothOrders ? 1 : 0
        return try withExtendedLifetime(cancel) {
            try hypothesis.withView { hypothesis in
                try rankLabel.withView { label in
                    (options.hypothesis, options.rank_label) = (hypothesis, label)
                    return try body(&options)
                }
            }
        }
    }
}
