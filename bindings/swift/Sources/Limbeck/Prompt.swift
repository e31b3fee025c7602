import CLimbeck

/// A text to be completed: an instruction, examples with their completions, and the query, put together as they are with
/// the separator between them. The model reads what stands before the query once, and goes on from there in later calls
/// as long as there is room for it.
///
///     var prompt = Prompt("Review: a dull film\nSentiment:")
///     prompt.examples = [("Review: warm and clever\nSentiment:", " good")]
///     let best = try model.choose(prompt, completions: [" good", " bad"]).best
public struct Prompt: Sendable {
    /// What is to be completed.
    public var query: String
    /// Texts like the query, each with its completion, usually with the space before it.
    public var examples: [(text: String, completion: String)] = []
    /// What comes first; may be empty.
    public var instruction = ""
    /// What stands between the parts: two line ends by default, nothing if empty.
    public var separator = "\n\n"
    /// The most tokens of the prompt: examples that do not fit are left out, the last ones first, and reported. 0: what
    /// the context has room for.
    public var maxTokens = 0
    /// Whether an example that does not fit is `Status.tooLong`.
    public var allExamples = false

    public init(_ query: String) { self.query = query }

    /// The prompt for a call of C's.
    func withPrompt<R>(_ body: (UnsafePointer<limbeck_prompt>) throws -> R) throws -> R {
        try refuseNegative(("maxTokens", maxTokens))
        var prompt = limbeck_prompt()
        limbeck_prompt_init(&prompt, MemoryLayout<limbeck_prompt>.size)
        (prompt.max_tokens, prompt.all_examples) = (maxTokens, allExamples ? 1 : 0)
        return try query.withView { query in
            try instruction.withView { instruction in
                // With a NUL that is not counted: an empty text has an address too, and no address stands for the default.
                try (separator + "\0").withView { view in
                    let separator = limbeck_str(data: view.data, length: view.length - 1)
                    return try Texts(pairs: examples).withPairs { pairs, count in
                        (prompt.query, prompt.instruction, prompt.separator) = (query, instruction, separator)
                        (prompt.examples, prompt.example_count) = (pairs, count)
                        return try body(&prompt)
                    }
                }
            }
        }
    }
}

/// What completions are compared by: natural logs.
public enum Scoring: UInt32, Sendable {
    /// The log probability of a token, the mean over the completion.
    case perToken = 0
    /// The log probability of the whole completion.
    case sum = 1
    /// That sum by the completion's bytes; it does not depend on the tokenizer.
    case perByte = 2
    /// By how much likelier the completion is after the prompt than after `ChooseOptions.answerContext`.
    case answerContext = 3
}

/// Options of calls that score completions.
public struct ChooseOptions: Sendable {
    /// What completions are compared by.
    public var scoring = Scoring.perToken
    /// `Scoring.answerContext`: "Answer: ".
    public var answerContext = ""
    /// Contextual calibration: queries without content, as "Review: N/A"; a completion's probability is divided by its
    /// mean probability there. Empty: not calibrated.
    public var contentFree: [String] = []
    /// `Status.deadlineExceeded` this many milliseconds after the call began. 0: never.
    public var timeoutMilliseconds: UInt64 = 0
    /// Ends the call from another thread.
    public var cancel: Cancel?

    public init() {}

    /// Options in one expression: `.with { $0.scoring = .sum }`.
    public static func with(_ set: (inout ChooseOptions) -> Void) -> ChooseOptions {
        var options = ChooseOptions()
        set(&options)
        return options
    }

    /// The options for a call of C's.
    func withOptions<R>(_ body: (UnsafePointer<limbeck_choose_options>) throws -> R) throws -> R {
        var options = limbeck_choose_options()
        limbeck_choose_options_init(&options, MemoryLayout<limbeck_choose_options>.size)
        (options.scoring, options.deadline_ms, options.cancel) = (scoring.rawValue, timeoutMilliseconds, cancel?.handle)
        return try withExtendedLifetime(cancel) {
            try answerContext.withView { context in
                try Texts(contentFree).withViews { views, count in
                    options.answer_context = context
                    (options.content_free, options.content_free_count) = (views, count)
                    return try body(&options)
                }
            }
        }
    }
}

/// How likely a completion is after a prompt.
public struct Likelihood: Sendable, Equatable {
    /// Natural log of its probability.
    public let logProbability: Double
    /// Its tokens.
    public let tokens: Int
    /// Its bytes, with the white space that stood at the end of the query.
    public let bytes: Int

    /// The log probability by token.
    public var perToken: Double { logProbability / Double(max(tokens, 1)) }
    /// The log probability by byte.
    public var perByte: Double { logProbability / Double(max(bytes, 1)) }

    init(_ choice: limbeck_choice) {
        (logProbability, tokens, bytes) = (choice.log_probability, choice.tokens, choice.bytes)
    }
}

/// A completion with its score.
public struct Choice: Sendable, Equatable {
    /// The completion.
    public let text: String
    /// Its place among the completions given.
    public let index: Int
    /// What completions are compared by: see `Scoring`. After calibration the log of the calibrated probability.
    public let score: Double
    /// The softmax of the scores of all completions.
    public let probability: Double
    /// How likely it is after the prompt.
    public let likelihood: Likelihood
}

/// What was read for a prompt.
public struct PromptUsage: Sendable, Equatable {
    /// Tokens of the prompt.
    public let promptTokens: Int
    /// Of those, tokens that were read in an earlier call.
    public let cachedTokens: Int
    /// Examples that stand in the prompt.
    public let examples: Int
    /// Examples for which there was no room.
    public let examplesDropped: Int

    init(promptTokens: Int = 0, cachedTokens: Int = 0, examples: Int = 0, examplesDropped: Int = 0) {
        (self.promptTokens, self.cachedTokens) = (promptTokens, cachedTokens)
        (self.examples, self.examplesDropped) = (examples, examplesDropped)
    }
}

/// Completions, the best first; of equal scores the one given first goes first.
public struct Choices: Sendable, Equatable {
    public let choices: [Choice]
    public let usage: PromptUsage

    /// The best completion; nil if there is none.
    public var best: Choice? { choices.first }
}

extension CallResult {
    func choices() throws -> Choices {
        let choices = try items(0) { rank in
            var found = limbeck_choice()
            limbeck_choice_init(&found, MemoryLayout<limbeck_choice>.size)
            try check { limbeck_result_choice(handle, rank, &found, $0) }
            return Choice(
                text: String(found.text), index: found.index, score: found.score, probability: found.probability,
                likelihood: Likelihood(found))
        }
        return Choices(choices: choices, usage: try promptUsage())
    }

    func promptUsage() throws -> PromptUsage {
        var usage = limbeck_prompt_usage()
        limbeck_prompt_usage_init(&usage, MemoryLayout<limbeck_prompt_usage>.size)
        try check { limbeck_result_prompt_usage(handle, &usage, $0) }
        return PromptUsage(
            promptTokens: usage.prompt_tokens, cachedTokens: usage.cached_tokens, examples: usage.examples,
            examplesDropped: usage.examples_dropped)
    }
}

extension Model {
    /// Chooses between completions of a prompt. White space at the end of the query counts to the completions: tokens
    /// begin with a space more often than they end with one.
    public func choose(
        _ prompt: Prompt, completions: [String], options: ChooseOptions = ChooseOptions()
    ) throws -> Choices {
        try options.withOptions { options in
            try prompt.withPrompt { prompt in
                try Texts(completions).withViews { views, count in
                    try CallResult.of { limbeck_model_choose(handle, prompt, views, count, options, $0, $1) } read: {
                        try $0.choices()
                    }
                }
            }
        }
    }

    /// How likely a completion of a prompt is. Of the options timeout and cancel count; others are refused.
    public func score(
        _ prompt: Prompt, completion: String, options: ChooseOptions = ChooseOptions()
    ) throws -> Likelihood {
        var found = limbeck_choice()
        limbeck_choice_init(&found, MemoryLayout<limbeck_choice>.size)
        try options.withOptions { options in
            try prompt.withPrompt { prompt in
                try completion.withView { completion in
                    try check {
                        limbeck_model_score(handle, prompt, completion.data, completion.length, options, &found, $0)
                    }
                }
            }
        }
        return Likelihood(found)
    }
}
