import Limbeck

// What goes into the calls of tests/conformance.

struct UnknownCall: Error { let name: String }

func text(_ value: JSON) -> String {
    if case .string(let text) = value { return text }
    return String(repeating: value["repeat"].string, count: Int(value["times"].number))
}

func pair(_ value: JSON) -> (String, String) { (text(value.list[0]), text(value.list[1])) }

func options(_ from: JSON) throws -> CallOptions {
    var options = CallOptions()
    for (name, value) in from.fields {
        switch name {
        case "overflow": options.overflow = ["truncate": .truncate, "error": .error, "window": .window][value.string]!
        case "window_stride": options.windowStride = UInt32(value.number)
        case "top_k": options.topK = Int(value.number)
        case "threshold": options.threshold = Float(value.number)
        case "out_of_scope": options.outOfScope = Float(value.number)
        case "aggregation":
            let all: [String: Aggregation] = ["first": .first, "average": .average, "max": .max, "strict": .strict, "none": .none]
            options.aggregation = all[value.string]!
        case "multi_label": options.multiLabel = value == .bool(true)
        case "max_answer_tokens": options.maxAnswerTokens = Int(value.number)
        case "hypothesis": options.hypothesis = value.string
        case "rank_label": options.rankLabel = value.string
        case "both_orders": options.bothOrders = value == .bool(true)
        default: try limits(name, value, &options.timeoutMilliseconds, &options.cancel)
        }
    }
    return options
}

func generateOptions(_ from: JSON) throws -> GenerateOptions {
    var options = GenerateOptions()
    let contexts: [String: ContextPolicy] = ["error": .error, "stop": .stop, "slide": .slide]
    for (name, value) in from.fields {
        switch name {
        case "max_new_tokens": options.maxNewTokens = Int(value.number)
        case "temperature": options.temperature = Float(value.number)
        case "top_p": options.topP = Float(value.number)
        case "top_k": options.topK = Int(value.number)
        case "seed": options.seed = UInt64(value.number)
        case "repetition_penalty": options.repetitionPenalty = Float(value.number)
        case "ignore_eos": options.ignoreEOS = value == .bool(true)
        case "stops": options.stops = value.list.map(text)
        case "context": options.context = contexts[value.string]!
        case "context_keep": options.contextKeep = UInt32(value.number)
        default: try limits(name, value, &options.timeoutMilliseconds, &options.cancel)
        }
    }
    return options
}

func chooseOptions(_ from: JSON) throws -> ChooseOptions {
    var options = ChooseOptions()
    let scorings: [String: Scoring] = [
        "per_token": .perToken, "sum": .sum, "per_byte": .perByte, "answer_context": .answerContext,
    ]
    for (name, value) in from.fields {
        switch name {
        case "scoring": options.scoring = scorings[value.string]!
        case "answer_context": options.answerContext = text(value)
        case "content_free": options.contentFree = value.list.map(text)
        default: try limits(name, value, &options.timeoutMilliseconds, &options.cancel)
        }
    }
    return options
}

func perplexityOptions(_ from: JSON) throws -> PerplexityOptions {
    var options = PerplexityOptions()
    for (name, value) in from.fields {
        switch name {
        case "stride": options.stride = Int(value.number)
        case "from_start": options.fromStart = value == .bool(true)
        default: try limits(name, value, &options.timeoutMilliseconds, &options.cancel)
        }
    }
    return options
}

/// What all calls have.
func limits(_ name: String, _ value: JSON, _ timeout: inout UInt64, _ cancel: inout Cancel?) throws {
    switch name {
    case "deadline_ms": timeout = UInt64(value.number)
    case "cancelled":
        cancel = try Cancel()
        if value == .bool(true) { cancel?.trigger() }
    default: throw UnknownCall(name: name)
    }
}

func prompt(_ from: JSON) -> Prompt {
    var prompt = Prompt(text(from["query"]))
    if !from["instruction"].isNull { prompt.instruction = text(from["instruction"]) }
    if !from["separator"].isNull { prompt.separator = text(from["separator"]) }
    if !from["max_tokens"].isNull { prompt.maxTokens = Int(from["max_tokens"].number) }
    prompt.examples = from["examples"].list.map(pair).map { (text: $0.0, completion: $0.1) }
    prompt.allExamples = from["all_examples"] == .bool(true)
    return prompt
}
