import CLimbeck

/// A piece of a text, with how likely it was put there in place of another.
public struct Replaced: Sendable, Equatable {
    /// The piece itself.
    public let text: String
    /// Where it stands in the text that was given to the call. Unlike other ranges, that of a single token may cut
    /// through a `Character`.
    public let range: Range<String.Index>
    /// How likely something else stood here.
    public let probability: Float
}

/// What was likely replaced in a text.
public struct Replacements: Sendable, Equatable {
    /// The suspicious words, in the order of the text; with `Aggregation.none` the runs of tokens.
    public let spans: [Replaced]
    /// Every token that was read, suspicious or not.
    public let tokens: [Replaced]
    public let usage: Usage
}

extension Model {
    /// Finds typing errors and corruption: says of each token of a text how likely it was put there in place of another,
    /// and which words that makes suspicious. A model of the task "replaced". A text that is too long is read in windows
    /// by default.
    public func replaced(_ text: String, options: CallOptions = CallOptions()) throws -> Replacements {
        try replaced(batch: [text], options: options).only()
    }

    /// Looks for replaced tokens in texts.
    public func replaced(batch texts: [String], options: CallOptions = CallOptions()) throws -> [Replacements] {
        // C has one number for it and for what was not set, and refuses `strict`.
        if options.aggregation == .first {
            throw LimbeckError(.invalidArgument, "aggregation is first and must be one of max, average, none")
        }
        return try options.withOptions { options in
            try Texts(texts).withViews { views, count in
                try CallResult.of { limbeck_model_replaced_batch(handle, views, count, options, $0, $1) } read: {
                    try $0.replacements(texts)
                }
            }
        }
    }
}

extension CallResult {
    fileprivate func replacements(_ texts: [String]) throws -> [Replacements] {
        try each { text in
            let spans = try items(text) { index in
                try piece(of: texts[text]) { limbeck_result_replaced(handle, text, index, $0, $1) }
            }
            var count = 0
            try check { limbeck_result_token_count(handle, text, &count, $0) }
            let tokens = try (0..<count).map { index in
                try piece(of: texts[text]) { limbeck_result_token(handle, text, index, $0, $1) }
            }
            return Replacements(spans: spans, tokens: tokens, usage: try usage(text))
        }
    }

    private func piece(
        of text: String, _ fill: (UnsafeMutablePointer<limbeck_replaced>, ErrorPlace) -> limbeck_status
    ) throws -> Replaced {
        var piece = limbeck_replaced()
        limbeck_replaced_init(&piece, MemoryLayout<limbeck_replaced>.size)
        try check { fill(&piece, $0) }
        return Replaced(text: String(piece.text), range: text.range(piece.span), probability: piece.probability)
    }
}
