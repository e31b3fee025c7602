import Limbeck
import XCTest

// What comes out, in the form of limbeck_result_json.

func results<T>(_ found: [T], _ form: (T) -> JSON) -> JSON { .object(["results": .array(found.map(form))]) }

func used(_ usage: Usage, _ fields: [String: JSON]) -> JSON {
    let own: [String: JSON] = [
        "tokens_used": .int(usage.tokensUsed), "tokens_dropped": .int(usage.tokensDropped), "windows": .int(usage.windows),
    ]
    return .object(fields.merging(own) { first, _ in first })
}

func usage(_ promptTokens: Int, _ examples: Int, _ dropped: Int) -> JSON {
    .object(["prompt_tokens": .int(promptTokens), "examples": .int(examples), "examples_dropped": .int(dropped)])
}

func likelihood(_ score: Double, _ found: Likelihood, _ fields: [String: JSON]) -> JSON {
    let own: [String: JSON] = [
        "score": .number(score), "log_probability": .number(found.logProbability), "tokens": .int(found.tokens),
        "bytes": .int(found.bytes),
    ]
    return .object(fields.merging(own) { first, _ in first })
}

func classification(_ found: Classification) -> JSON {
    used(found.usage, [
        "labels": .array(found.labels.map {
            .object([
                "label": .string($0.label), "index": .int($0.index), "probability": .float($0.probability),
                "logit": .float($0.logit), "holds": .bool($0.holds),
            ])
        }),
        "in_scope": .bool(found.isInScope),
    ])
}

func replaced(_ pieces: [Replaced], in text: String) -> JSON {
    .array(pieces.map {
        .object([
            "probability": .float($0.probability), "span": span($0.range, in: text, $0.text), "text": .string($0.text),
        ])
    })
}

/// The places of a range in all three units, so that it is seen that an index of Swift's stands for each.
func span(_ range: Range<String.Index>, in text: String, _ piece: String) -> JSON {
    XCTAssertEqual(String(text[range]), piece)
    func places(_ distance: (String.Index) -> Int) -> JSON {
        .array([.int(distance(range.lowerBound)), .int(distance(range.upperBound))])
    }
    return .object([
        "bytes": places { text.utf8.distance(from: text.startIndex, to: $0) },
        "utf16": places { text.utf16.distance(from: text.startIndex, to: $0) },
        "chars": places { text.unicodeScalars.distance(from: text.startIndex, to: $0) },
    ])
}

func error(_ failure: LimbeckError) -> JSON {
    .object(["status": .string(failure.name), "message": .string(failure.message)])
}

/// What differs; empty if nothing does.
func difference(_ expected: JSON, _ found: JSON, _ tolerance: Double) -> String {
    let differs = ": expected \(expected), found \(found)"
    switch (expected, found) {
    case (.number(let one), .number(let other)): return abs(one - other) <= tolerance ? "" : differs
    // The parts of a message.
    case (.array(let parts), .string(let message)):
        return parts.first { !message.contains($0.string) }.map { ": \(message) has no \($0)" } ?? ""
    case (.array(let all), .array(let those)):
        if all.count != those.count { return differs }
        for (index, (one, other)) in zip(all, those).enumerated() {
            let inner = difference(one, other, tolerance)
            if !inner.isEmpty { return "[\(index)]\(inner)" }
        }
        return ""
    case (.object(let all), .object(let those)):
        if Set(all.keys) != Set(those.keys) { return differs }
        for (name, one) in all {
            let inner = difference(one, those[name] ?? .null, tolerance)
            if !inner.isEmpty { return ".\(name)\(inner)" }
        }
        return ""
    default: return expected == found ? "" : differs
    }
}
