import CLimbeck

/// What was read of a text, and how long it took.
public struct Usage: Sendable, Equatable {
    /// Tokens that the model read, special ones included; each counts once.
    public let tokensUsed: Int
    /// Tokens of the text that it did not read.
    public let tokensDropped: Int
    /// Windows the text was read in; 1 unless it was too long.
    public let windows: Int
    /// Nanoseconds from text to token ids.
    public let tokenizeNanoseconds: UInt64
    /// Nanoseconds waiting and running; texts that ran together share them.
    public let inferenceNanoseconds: UInt64
    /// Nanoseconds from logits to the answer.
    public let postNanoseconds: UInt64
}

/// A label with its score.
public struct Score: Sendable, Equatable {
    /// Its name.
    public let label: String
    /// Its place in the list of the model, of the call (zero-shot) or of the head.
    public let index: Int
    /// Its probability, 0 to 1; the logit itself if the model has none.
    public let probability: Float
    /// The model's raw score; 0 for zero-shot labels.
    public let logit: Float
    /// Whether the label holds: the best one, where just one can; those above their threshold, where several can; none
    /// if the text is out of scope. False for zero-shot labels.
    public let holds: Bool
}

/// What a text is: its labels, the likeliest first.
public struct Classification: Sendable, Equatable {
    public let labels: [Score]
    /// Whether the best label is sure enough for the text to be the model's business at all; true if neither bundle nor
    /// call sets a threshold.
    public let isInScope: Bool
    public let usage: Usage

    /// The likeliest label; nil if there are none.
    public var best: Score? { labels.first }
}

/// Which of the caller's labels fit a text, the likeliest first. The usage is a sum over all labels.
public struct ZeroShot: Sendable, Equatable {
    public let labels: [Score]
    public let usage: Usage
}

/// A ranked text: its place in the call, and how well it fits the query.
public struct Ranked: Sendable, Equatable {
    public let index: Int
    public let score: Float
    public let usage: Usage
}

/// A piece of a text with a label.
public struct Entity: Sendable, Equatable {
    /// What it is: "PER".
    public let label: String
    /// The piece itself.
    public let text: String
    /// Where it stands in the text that was given to the call.
    public let range: Range<String.Index>
    /// Mean probability of the labels of its words.
    public let score: Float
}

/// The entities of a text, in its order.
public struct Tagging: Sendable, Equatable {
    public let entities: [Entity]
    public let usage: Usage
}

/// A piece of a text that answers a question.
public struct Answer: Sendable, Equatable {
    /// The piece itself, of whole words.
    public let text: String
    /// Where it stands in the text that was given to the call.
    public let range: Range<String.Index>
    /// Probability that the answer starts there times probability that it ends there, summed over all places with the
    /// same words, so it may exceed 1.
    public let score: Float
}

/// The answers to a question, the best first.
public struct Answers: Sendable, Equatable {
    public let answers: [Answer]
    /// The score of "the text does not say", to be compared with theirs. Only a model trained on questions without an
    /// answer gives it a meaning.
    public let noAnswer: Float
    public let usage: Usage

    /// The best answer; nil if there is none.
    public var best: Answer? { answers.first }
}

/// What could stand in place of a mask.
public struct Guess: Sendable, Equatable {
    /// The token as text.
    public let text: String
    /// The token as it stands in the vocabulary: "##ing".
    public let token: String
    /// Its id.
    public let id: UInt32
    /// Its probability among all tokens of the vocabulary.
    public let probability: Float
}

/// A mask: where it stands in the text, and the guesses for it, the likeliest first.
public struct FilledMask: Sendable, Equatable {
    public let range: Range<String.Index>
    public let guesses: [Guess]
}

/// The masks of a text, in its order.
public struct FilledMasks: Sendable, Equatable {
    public let masks: [FilledMask]
    public let usage: Usage
}

/// The vector of a text.
public struct Embedding: Sendable, Equatable {
    public let vector: [Float]
    public let usage: Usage
}

/// A result of C's, while it is read.
struct CallResult {
    let handle: OpaquePointer

    /// Makes a call, reads what `read` wants of its result, and frees it.
    static func of<R>(
        _ call: (UnsafeMutablePointer<OpaquePointer?>, ErrorPlace) -> limbeck_status, read: (CallResult) throws -> R
    ) throws -> R {
        let handle = try made(call)
        defer { limbeck_result_free(handle) }
        return try read(CallResult(handle: handle))
    }

    /// An answer for each text of the call.
    func each<R>(_ read: (Int) throws -> R) rethrows -> [R] { try (0..<limbeck_result_count(handle)).map(read) }

    func classifications() throws -> [Classification] {
        try each { text in
            var inScope = false
            try check { limbeck_result_in_scope(handle, text, &inScope, $0) }
            return Classification(labels: try scores(text), isInScope: inScope, usage: try usage(text))
        }
    }

    func zeroShots() throws -> [ZeroShot] {
        try each { ZeroShot(labels: try scores($0), usage: try usage($0)) }
    }

    func ranked() throws -> [Ranked] {
        try each { text in
            guard let score = try scores(text).first else { throw LimbeckError(.internal, "a ranked text has no score") }
            return Ranked(index: score.index, score: score.probability, usage: try usage(text))
        }
    }

    func taggings(_ texts: [String]) throws -> [Tagging] {
        try each { text in
            let entities = try items(text) { index in
                var entity = limbeck_entity()
                limbeck_entity_init(&entity, MemoryLayout<limbeck_entity>.size)
                try check { limbeck_result_entity(handle, text, index, &entity, $0) }
                let range = texts[text].range(entity.span)
                return Entity(label: String(entity.label), text: String(entity.text), range: range, score: entity.score)
            }
            return Tagging(entities: entities, usage: try usage(text))
        }
    }

    func answers(_ texts: [String]) throws -> [Answers] {
        try each { text in
            let answers = try items(text) { index in
                var answer = limbeck_answer()
                limbeck_answer_init(&answer, MemoryLayout<limbeck_answer>.size)
                try check { limbeck_result_answer(handle, text, index, &answer, $0) }
                return Answer(text: String(answer.text), range: texts[text].range(answer.span), score: answer.score)
            }
            var noAnswer: Float = 0
            try check { limbeck_result_no_answer(handle, text, &noAnswer, $0) }
            return Answers(answers: answers, noAnswer: noAnswer, usage: try usage(text))
        }
    }

    func filledMasks(_ texts: [String]) throws -> [FilledMasks] {
        try each { text in
            var masks: [FilledMask] = []
            let guesses: [(Int, Range<String.Index>, Guess)] = try items(text) { index in
                var guess = limbeck_guess()
                limbeck_guess_init(&guess, MemoryLayout<limbeck_guess>.size)
                try check { limbeck_result_guess(handle, text, index, &guess, $0) }
                let own = Guess(
                    text: String(guess.text), token: String(guess.token), id: guess.id, probability: guess.probability)
                return (guess.mask, texts[text].range(guess.span), own)
            }
            // They come mask by mask.
            var begin = 0
            while begin < guesses.count {
                let end = guesses[begin...].firstIndex { $0.0 != guesses[begin].0 } ?? guesses.count
                masks.append(FilledMask(range: guesses[begin].1, guesses: guesses[begin..<end].map { $0.2 }))
                begin = end
            }
            return FilledMasks(masks: masks, usage: try usage(text))
        }
    }

    func embeddings() throws -> [Embedding] {
        try each { text in
            var data: UnsafePointer<Float>?
            var length = 0
            try check { limbeck_result_vector(handle, text, &data, &length, $0) }
            let vector = [Float](UnsafeBufferPointer(start: data, count: length))
            return Embedding(vector: vector, usage: try usage(text))
        }
    }

    private func scores(_ text: Int) throws -> [Score] {
        try items(text) { rank in
            var score = limbeck_score()
            limbeck_score_init(&score, MemoryLayout<limbeck_score>.size)
            try check { limbeck_result_score(handle, text, rank, &score, $0) }
            return Score(
                label: String(score.label), index: score.index, probability: score.probability, logit: score.logit,
                holds: score.holds != 0)
        }
    }

    func items<R>(_ text: Int, _ read: (Int) throws -> R) throws -> [R] {
        var count = 0
        try check { limbeck_result_item_count(handle, text, &count, $0) }
        return try (0..<count).map(read)
    }

    func usage(_ text: Int) throws -> Usage {
        var usage = limbeck_usage()
        limbeck_usage_init(&usage, MemoryLayout<limbeck_usage>.size)
        try check { limbeck_result_usage(handle, text, &usage, $0) }
        return Usage(
            tokensUsed: usage.tokens_used, tokensDropped: usage.tokens_dropped, windows: usage.windows,
            tokenizeNanoseconds: usage.tokenize_ns, inferenceNanoseconds: usage.inference_ns,
            postNanoseconds: usage.post_ns)
    }
}

extension Array {
    /// The answer of a call for one text.
    func only() throws -> Element {
        guard count == 1, let first else { throw LimbeckError(.internal, "\(count) answers for one text") }
        return first
    }
}
