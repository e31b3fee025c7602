/// What a self-test found: inputs that were run, and the largest difference, as part of what was expected.
public struct SelfTest: Sendable, Equatable {
    public let vectors: Int
    public let largestDifference: Float
    /// The most that the bundle allows.
    public let tolerance: Float
}

/// How much memory a model is expected to use, with the budget kept.
public struct MemoryPlan: Sendable, Equatable {
    /// The budget that was set, in bytes; 0: none.
    public let budget: UInt64
    /// The most private memory expected, in bytes. Weights mapped from a file are not in it, nor are texts, answers, and
    /// ONNX Runtime's own code.
    public let expected: UInt64
    /// Sessions that may run at one time.
    public let sessions: Int
    /// Tokens of one batch, padding included; a text alone may have more.
    public let batchTokens: Int
    /// Whether weights are rearranged for speed, which takes the memory of a copy.
    public let isPrepacked: Bool
}

/// What a model has done since it was opened. The numbers only grow.
public struct Metrics: Sendable, Equatable {
    /// Calls that reached the model: one for a text, one for a batch.
    public let calls: UInt64
    /// Calls that failed while running; those cancelled or out of time among them.
    public let failures: UInt64
    /// Runs of the graph.
    public let runs: UInt64
    /// Windows that were run: one for a text, more for a long one.
    public let rows: UInt64
    /// Tokens of those windows.
    public let tokens: UInt64
    /// Tokens of padding beside them.
    public let padding: UInt64
    /// Microseconds that runs took, waiting for a session included.
    public let runMicroseconds: UInt64
}
