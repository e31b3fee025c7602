import CLimbeck

/// A classifier on top of an embedding model: labels of your own from a few examples each, fitted on the device in
/// milliseconds. It belongs to the very model it was fitted on, and refuses others. It does not hold the model.
public final class Head: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Fits a head on examples. Labels are in the order in which they first come.
    ///
    /// - Parameter strength: weighs the examples against keeping the head simple; 0: 10
    public init(
        fit model: Model, examples: [(text: String, label: String)], strength: Double = 0,
        options: CallOptions = CallOptions()
    ) throws {
        handle = try options.withOptions { options in
            try Texts(pairs: examples).withPairs { pairs, count in
                try made { limbeck_head_fit(model.handle, pairs, count, strength, options, $0, $1) }
            }
        }
    }

    /// Reads a head from a file.
    public init(path: String) throws {
        handle = try path.withView { path in try made { limbeck_head_load(path.data, path.length, $0, $1) } }
    }

    deinit { limbeck_head_free(handle) }

    /// Writes the head to a file, whole or not at all.
    public func save(path: String) throws {
        try path.withView { path in try check { limbeck_head_save(handle, path.data, path.length, $0) } }
    }

    /// The labels.
    public var labels: [String] {
        list(limbeck_head_label_count(handle)) { limbeck_head_label(handle, $0, $1, nil) }
    }

    /// Classifies texts with the model that the head was fitted on. Of the options those of every task, `topK` and
    /// `outOfScope` count.
    public func classify(
        _ texts: [String], with model: Model, options: CallOptions = CallOptions()
    ) throws -> [Classification] {
        try options.withOptions { options in
            try Texts(texts).withViews { texts, count in
                try CallResult.of { limbeck_head_classify(handle, model.handle, texts, count, options, $0, $1) } read: {
                    try $0.classifications()
                }
            }
        }
    }
}
